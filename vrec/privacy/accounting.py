"""ε of one mechanism and of many together, by Google's dp-accounting."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, nextafter, sqrt
from typing import Any, Self

from vrec.core.errors import FitError


@dataclass(frozen=True, slots=True)
class MechanismCost:
    """Gaussian mechanism as an accountant sees it, with sampled shoppers or with all."""

    noise_multiplier: float
    """Standard deviation of the noise over the L2 sensitivity to one shopper."""
    sampling_probability: float = 1.0
    """Probability with which each shopper takes part in a step, independently (Poisson sampling)."""
    steps: int = 1
    """Times that it is applied with fresh noise."""
    extra_delta: float = 0.0
    """δ beside that of the noise, such as that of keys that noise puts over a threshold."""

    def as_json(self) -> dict[str, float | int]:
        """Return the fields as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Return the cost that `as_json` gave.

        Raises:
            ValueError: The values are none of a cost.
        """
        if not isinstance(values, dict) or set(values) != set(cls.__slots__):
            raise ValueError("not the fields of a mechanism")
        cost = cls(**values)
        numbers = (cost.noise_multiplier, cost.sampling_probability, cost.steps, cost.extra_delta)
        if not all(type(number) in (int, float) and isfinite(number) for number in numbers):
            raise ValueError("not finite numbers")
        sane = cost.noise_multiplier > 0 and 0 < cost.sampling_probability <= 1
        if not (sane and cost.steps >= 1 and int(cost.steps) == cost.steps and 0 <= cost.extra_delta < 1):
            raise ValueError("numbers out of range")
        return cost


def gaussian_multiplier(epsilon: float, delta: float) -> float:
    """Return the noise multiplier with which one Gaussian mechanism is (ε, δ) private.

    Balle and Wang 2018, "Improving the Gaussian mechanism for differential privacy".
    """
    from dp_accounting import get_epsilon_gaussian, get_sigma_gaussian

    multiplier = get_sigma_gaussian(epsilon, delta)
    # The library's root may lie a rounding below the exact one.
    while get_epsilon_gaussian(multiplier, delta) > epsilon:
        multiplier = nextafter(multiplier * (1 + 1e-9), inf)
    return float(multiplier)


def split_multiplier(multiplier: float, share: float) -> float:
    """Return the multiplier of a part of a mechanism, where `share` of 1 / multiplier² goes to that part.

    Gaussian mechanisms with multipliers z₁ and z₂ together are one with 1/z² = 1/z₁² + 1/z₂² (Dong, Roth and
    Su 2022, "Gaussian differential privacy").
    """
    return multiplier / sqrt(share)


def composed_epsilon(costs: Sequence[MechanismCost], delta: float) -> float:
    """Return the ε of some mechanisms together on the same shoppers, inf where δ is used up.

    Gaussian mechanisms without sampling are one Gaussian mechanism, whose ε is exact. With sampling, the
    privacy loss distribution of all is computed by its Fourier transform, rounded up (Koskela, Jälkö and
    Honkela 2020; Doroshenko et al. 2022).
    """
    remaining = delta - sum(cost.extra_delta for cost in costs)
    if not costs:
        return 0.0
    if remaining <= 0:
        return inf
    if all(cost.sampling_probability == 1 for cost in costs):
        from dp_accounting import get_epsilon_gaussian

        precision = sum(cost.steps / cost.noise_multiplier**2 for cost in costs)
        return float(get_epsilon_gaussian(1 / sqrt(precision), remaining))
    return _sampled_epsilon(costs, remaining)


def _sampled_epsilon(costs: Sequence[MechanismCost], delta: float) -> float:
    from dp_accounting import dp_event
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant()
    for cost in costs:
        event: dp_event.DpEvent = dp_event.GaussianDpEvent(cost.noise_multiplier)
        if cost.sampling_probability < 1:
            event = dp_event.PoissonSampledDpEvent(cost.sampling_probability, event)
        accountant.compose(event, int(cost.steps))
    return float(accountant.get_epsilon(delta))


def training_multiplier(
    epsilon: float, delta: float, probability: float, steps: int, others: Sequence[MechanismCost] = ()
) -> float:
    """Return the noise multiplier of sampled steps that together with other mechanisms are (ε, δ) private.

    Args:
        epsilon: ε of all together.
        delta: δ of all together.
        probability: Probability with which each shopper takes part in a step.
        steps: Number of steps.
        others: Mechanisms on the same shoppers, whose ε alone is below `epsilon`.

    Returns:
        A multiplier with which they spend between 99.5 and 100 % of `epsilon`, unless it is at a bound of the
        search.
    """

    def spent(multiplier: float) -> float:
        return composed_epsilon([*others, MechanismCost(multiplier, probability, steps)], delta)

    # ε falls about as 1 / multiplier, which finds the root in a few steps; a bracket bounds them.
    low, high = 1e-2, 1e6
    multiplier = max(gaussian_multiplier(epsilon, delta) * probability * sqrt(steps), 0.5)
    for _ in range(60):
        found = spent(multiplier)
        if 0.995 * epsilon <= found <= epsilon or high / low < 1 + 1e-6:
            break
        low, high = (multiplier, high) if found > epsilon else (low, multiplier)
        guess = multiplier * found / (0.9975 * epsilon)
        multiplier = guess if low < guess < high else sqrt(low * high)
    return multiplier if spent(multiplier) <= epsilon else high


def check_private(epsilon: float, delta: float) -> None:
    """Check ε and δ of a fit.

    Raises:
        FitError: ε is not a finite number above 0, or δ is not in (0, 1).
    """
    if not (isfinite(epsilon) and epsilon > 0):
        raise FitError(
            f"privacy.epsilon is {epsilon}: want a finite number above 0",
            fix="give a number such as 4, or leave it out for a fit without privacy",
        )
    if not 0 < delta < 1:
        raise FitError(
            f"privacy.delta is {delta}: want a number between 0 and 1", fix="give a number such as 1e-6"
        )
