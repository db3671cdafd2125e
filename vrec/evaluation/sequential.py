"""Confidence sequences of ratios of sums over users, valid at any number of looks and for rare outcomes.

For a rate θ = E[y] / E[n] the sum S = Σ(y − θn) over users has mean 0. Wealth that is bet on users' outcomes,
Π(1 + λ(y − θn)), has an expectation of 1 if θ is the truth, so that by Ville's inequality it ever exceeds 1/α
with probability α at most (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by
betting"). A lower bound of the wealth, exp(λS − ψ(λ)V) with V = Σ(y − θn)² and ψ(λ) = −ln(1 − λ) − λ (Fan
et al. 2015; Howard et al. 2021), needs sums only. Bets of many sizes are averaged. Nothing is asymptotic: a
user's outcomes have to be bounded, see `UserLimits`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BETS = 2.0 ** (np.arange(-16, 17) / 2)
"""Sizes of bets, relative to the one that is best at the expected number of users."""
BET_WEIGHTS = 1 / (1 + np.log2(BETS) ** 2)
BET_WEIGHTS /= BET_WEIGHTS.sum()
LARGEST_BET = 0.9
"""Largest bet as a share of what one user could lose."""
SQUARE_PER_RATE = 10.0
"""Guess of a user's mean y² over the rate θ; only the width depends on it, and little."""
SPLITS = 33
"""Splits of the evidence between two arms."""
CASH = 0.25
"""Share of the wealth in an arm that is not bet, so that an arm never loses more than the rest."""
STEPS, DOUBLINGS = 32, 60
"""Bisections and doublings in the search for the end of an interval."""


@dataclass(slots=True)
class UserLimits:
    """Limits of a user's outcome and impressions: the largest seen in earlier users.

    A limit has to be known before the user is: with it, no single user decides an interval. Users beyond a
    limit count in part, outcomes and impressions in the same proportion, and raise it for later users.
    """

    outcome: float = 1.0
    trials: float = 10.0
    deficit: float = 0.0
    """Most by which an outcome can be below 0."""

    def weight(self, outcome: float, trials: float) -> float:
        """Return a user's weight, 1 within the limits."""
        return min(1.0, self.outcome / max(outcome, 1e-300), self.trials / max(trials, 1e-300))

    def update(self, outcome: float, trials: float) -> None:
        """Take a user into account for those to come; a limit at most doubles."""
        self.outcome = max(self.outcome, min(outcome, 2 * self.outcome))
        self.trials = max(self.trials, min(trials, 2 * self.trials))


@dataclass(slots=True)
class RatioSums:
    """Sums over users, sufficient for the confidence sequence of Σy / Σn."""

    users: float = 0.0
    """Users with n > 0."""
    holders: float = 0.0
    """Users with y > 0."""
    y: float = 0.0
    n: float = 0.0
    yy: float = 0.0
    yn: float = 0.0
    nn: float = 0.0
    limits: UserLimits = field(default_factory=UserLimits)
    """Largest limits that any of the users had."""

    @property
    def value(self) -> float:
        """Σy / Σn; NaN without trials."""
        return self.y / self.n if self.n > 0 else math.nan

    def add(self, y: float, n: float, sign: float = 1.0) -> None:
        """Add a user's weighted outcome and trials, or take them off with sign −1."""
        self.users += sign * (n > 0)
        self.holders += sign * (y > 0)
        self.y += sign * y
        self.n += sign * n
        self.yy += sign * y * y
        self.yn += sign * y * n
        self.nn += sign * n * n


@dataclass(frozen=True, slots=True)
class BetSizes:
    """Choice of the bets; it decides how wide intervals are, not whether they hold."""

    expected_users: float
    """Number of users at which intervals are to be tightest."""
    budget: float
    """Log wealth that the bets are to reach."""
    square_per_rate: float = SQUARE_PER_RATE
    """Guess of a user's mean y² over the rate."""


def bet_wealths(sums: RatioSums, rates: Floats, sizes: BetSizes, *, too_high: bool) -> Floats:
    """Return (K, len(BETS)) log wealth of a bet of each size against each of (K,) rates ≥ 0.

    Args:
        sums: Sums over users.
        rates: (K,) hypothetical rates.
        sizes: Choice of the bets.
        too_high: True to bet that a rate is too high, False to bet that it is too low.
    """
    rates = rates[:, None]
    limits = sums.limits
    loss = limits.outcome if too_high else rates * limits.trials + limits.deficit
    gain = (rates * sums.n - sums.y) * (1 if too_high else -1)
    square = np.maximum(sums.yy - 2 * rates * sums.yn + rates**2 * sums.nn, 0)
    typical = sizes.expected_users * sizes.square_per_rate * np.maximum(rates, 1 / sizes.expected_users)
    bets = np.sqrt(2 * sizes.budget / typical) * BETS
    risk = np.minimum(bets * loss, 1.0)
    allowed = risk <= LARGEST_BET
    risk = np.where(allowed, risk, 0.5)
    # ψ(risk) / risk², by its series where that would cancel.
    exact = (-np.log1p(-risk) - risk) / np.maximum(risk, 1e-9) ** 2
    curvature = np.where(risk < 1e-3, 0.5 + risk / 3, exact)
    # A bet that one user could ruin is given up, with what it had.
    return np.where(allowed, bets * gain - bets**2 * curvature * square, -1e300)


def mixed_wealth(wealths: Floats) -> Floats:
    """Return the log of the mean wealth over bets from (…, len(BETS)) log wealths of each."""
    terms = wealths + np.log(BET_WEIGHTS)
    top = terms.max(axis=-1)
    return top + np.log(np.exp(terms - top[..., None]).sum(axis=-1))


def log_wealth(sums: RatioSums, rates: Floats, sizes: BetSizes, *, too_high: bool) -> Floats:
    """Return the log of the mean wealth of the bets of `bet_wealths` against each of (K,) rates ≥ 0."""
    return mixed_wealth(bet_wealths(sums, rates, sizes, too_high=too_high))


def lower_ends(sums: RatioSums, evidence: Floats, sizes: BetSizes) -> Floats:
    """Return for each (K,) log wealth the greatest rate against which more is won as too low; 0 for none."""

    def is_rejected(rates: Floats) -> npt.NDArray[np.bool_]:
        return log_wealth(sums, rates, sizes, too_high=False) > evidence

    low, high = np.zeros_like(evidence), _beyond(sums, evidence, lambda rates: ~is_rejected(rates))
    high = np.where(np.isfinite(high), high, 0)
    for _ in range(STEPS):
        middle = (low + high) / 2
        rejected = is_rejected(middle)
        low, high = np.where(rejected, middle, low), np.where(rejected, high, middle)
    return low


def upper_ends(sums: RatioSums, evidence: Floats, sizes: BetSizes) -> Floats:
    """Return for each (K,) log wealth the least rate against which more is won as too high; inf for none."""

    def is_rejected(rates: Floats) -> npt.NDArray[np.bool_]:
        return log_wealth(sums, rates, sizes, too_high=True) > evidence

    beyond = _beyond(sums, evidence, is_rejected)
    low, high = np.zeros_like(evidence), np.where(np.isfinite(beyond), beyond, 1)
    for _ in range(STEPS):
        middle = (low + high) / 2
        rejected = is_rejected(middle)
        low, high = np.where(rejected, low, middle), np.where(rejected, middle, high)
    return np.where(np.isfinite(beyond), high, np.inf)


def _beyond(sums: RatioSums, evidence: Floats, reached: Callable[[Floats], npt.NDArray[np.bool_]]) -> Floats:
    """Return (K,) rates at which `reached` is True, found by doubling; inf where none is."""
    rate = np.full_like(evidence, max(sums.y, 1e-3) / max(sums.n, 1e-300))
    for _ in range(DOUBLINGS):
        found = reached(rate)
        if found.all():
            break
        rate = np.where(found, rate, 2 * rate)
    return np.where(reached(rate), rate, np.inf)


def ratio_interval(sums: RatioSums, level: float, expected_users: float) -> tuple[float, float]:
    """Return the interval of E[y] / E[n] that holds at all looks together with probability `level`."""
    budget = math.log(2 / (1 - level))
    evidence, sizes = np.array([budget]), BetSizes(expected_users, budget)
    return float(lower_ends(sums, evidence, sizes)[0]), float(upper_ends(sums, evidence, sizes)[0])


def difference_interval(
    treated: RatioSums, control: RatioSums, level: float, expected_users: float
) -> tuple[float, float]:
    """Return the interval of the difference treated − control of two independent arms.

    The wealth in both arms multiplies: pairs of rates are ruled out together, and the interval holds the
    differences of the pairs that are left.
    """
    budget = math.log(2 / (1 - level))
    sizes = BetSizes(expected_users / 2, budget)
    # From almost all of what one arm may lose to what it then takes in the other.
    spread = budget / 2 - math.log(CASH) - 0.05
    first = budget / 2 + np.linspace(-1, 1, SPLITS) * spread
    first, rest = _without_cash(first), _without_cash(budget - first)
    high = upper_ends(treated, first, sizes) - lower_ends(control, rest, sizes)
    low = lower_ends(treated, first, sizes) - upper_ends(control, rest, sizes)
    return float(low.min()), float(high.max())


def _without_cash(evidence: Floats) -> Floats:
    """Return the (K,) log wealth of the bets where cash and bets together have a given one."""
    return np.log(np.exp(evidence) - CASH) - math.log(1 - CASH)


def with_cash(wealth: Floats) -> Floats:
    """Return the log of what cash and bets together have, from the log wealth of the bets."""
    return np.logaddexp(wealth + math.log(1 - CASH), math.log(CASH))


def weigh_users(y: Floats, n: Floats) -> tuple[Floats, Floats, list[UserLimits]]:
    """Return (N,) weighted outcomes and trials of users in order of arrival, and the limits after each."""
    limits, weights, after = UserLimits(), np.ones(len(y)), []
    for i, (outcome, trials) in enumerate(zip(y.tolist(), n.tolist(), strict=True)):
        weights[i] = limits.weight(outcome, trials)
        if outcome > limits.outcome or trials > limits.trials:
            limits = replace(limits)
            limits.update(outcome, trials)
        after.append(limits)
    return y * weights, n * weights, after


def running_sums(y: Floats, n: Floats, member: npt.NDArray[np.bool_]) -> Floats:
    """Return (7, N) cumulative sums over the members: users, holders, y, n, yy, yn, nn."""
    rows = np.stack([n > 0, y > 0, y, n, y * y, y * n, n * n]).astype(np.float64)
    return np.cumsum(rows * member, axis=1)


def sums_at(running: Floats, users: int, limits: UserLimits) -> RatioSums:
    """Return the sums over the first users from `running_sums`, with the limits after them."""
    count, holders, y, n, yy, yn, nn = running[:, users - 1].tolist()
    return RatioSums(count, holders, y, n, yy, yn, nn, limits)
