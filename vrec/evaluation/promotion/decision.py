"""Promotion of a challenger over the bundle in service, on evidence beyond the interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vrec.evaluation.intervals import Floats, mean_intervals, paired_differences

Verdict = Literal["better", "not better", "worse", "too few", "guard", "off-policy"]
"""Outcome of a test; only `better` is promoted."""


@dataclass(frozen=True, slots=True)
class PairedGain:
    """Mean difference in a metric between two bundles over the same shoppers, with its interval."""

    challenger: float
    """Mean of the challenger."""
    in_service: float
    """Mean of the bundle in service."""
    difference: float
    low: float | None
    """Ends of the interval; None where the lists of too few shoppers differ."""
    high: float | None
    shoppers: int
    outcomes: int
    """Shoppers whose difference is not the most frequent one, which is 0 as a rule."""

    @property
    def is_better(self) -> bool:
        """True if the whole interval is above 0."""
        return self.low is not None and self.low > 0

    @property
    def is_worse(self) -> bool:
        """True if the whole interval is below 0."""
        return self.high is not None and self.high < 0


def paired_gain(
    challenger: Floats, in_service: Floats, level: float, min_outcomes: int, tests: int = 1
) -> PairedGain:
    """Return the gain of a challenger, with the interval of `vrec.evaluation.intervals`.

    Args:
        challenger: (U,) metric of each shopper, in [0, 1].
        in_service: (U,) the same for the bundle in service.
        level: Confidence level of all tests together.
        min_outcomes: Fewest shoppers with another difference than most for an interval.
        tests: Number of challengers that are tested together (Bonferroni).

    Raises:
        ValueError: The shapes differ, or a value is not finite.
    """
    if challenger.shape != in_service.shape or challenger.ndim != 1:
        raise ValueError(
            f"{challenger.shape} values against {in_service.shape}: want one per shopper of both"
        )
    if not (np.isfinite(challenger).all() and np.isfinite(in_service).all()):
        raise ValueError("a metric is not finite")
    shoppers = len(challenger)
    if not shoppers:
        return PairedGain(0.0, 0.0, 0.0, None, None, 0, 0)
    gaps = paired_differences(challenger, in_service)
    found = mean_intervals(gaps[:, None], 1 - (1 - level) / tests, min_outcomes, (-1.0, 1.0))
    means = float(challenger.mean()), float(in_service.mean())
    return PairedGain(*means, float(gaps.mean()), *found.ends(0), shoppers, int(found.outcomes[0]))


@dataclass(frozen=True, slots=True)
class GuardFigure:
    """Figure that a promotion must not make worse beyond a limit."""

    name: str
    challenger: float
    in_service: float
    limit: float
    """Worst value that is allowed."""
    higher_is_better: bool

    @property
    def is_worse(self) -> bool:
        """True if the challenger is beyond the limit; a figure that is not a number is."""
        if self.higher_is_better:
            return not self.challenger >= self.limit
        return not self.challenger <= self.limit

    def __str__(self) -> str:
        """Return it in words."""
        word = "at least" if self.higher_is_better else "at most"
        return (
            f"{self.name} {self.challenger:.4g}, in service {self.in_service:.4g}, allowed {word} "
            f"{self.limit:.4g}"
        )


def at_least(name: str, challenger: float, in_service: float, tolerance: float) -> GuardFigure:
    """Return a guard on a figure ≥ 0 that may be lower by a share of that of the bundle in service."""
    return GuardFigure(name, challenger, in_service, in_service * (1 - tolerance), higher_is_better=True)


def at_most(name: str, challenger: float, in_service: float, more: float) -> GuardFigure:
    """Return a guard on a figure that may be higher by an amount."""
    return GuardFigure(name, challenger, in_service, in_service + more, higher_is_better=False)


@dataclass(frozen=True, slots=True)
class PolicyValues:
    """Off-policy estimates of the click rate in the first place of lists, each with its interval."""

    challenger: tuple[float, float, float]
    """Value, lower and upper end."""
    in_service: tuple[float, float, float]

    @property
    def is_worse(self) -> bool:
        """True if the challenger's interval lies below the other one."""
        return self.challenger[2] < self.in_service[1]


@dataclass(frozen=True, slots=True)
class PromotionDecision:
    """Decision about a challenger, with its reasons in words."""

    verdict: Verdict
    reasons: tuple[str, ...]

    @property
    def promotes(self) -> bool:
        """True if the challenger goes into service."""
        return self.verdict == "better"


def decide(
    gain: PairedGain, guards: Sequence[GuardFigure] = (), policy: PolicyValues | None = None
) -> PromotionDecision:
    """Decide about a challenger: it is promoted only if it is better and nothing that is guarded is worse.

    Args:
        gain: Gain over the bundle in service.
        guards: Guard metrics.
        policy: Off-policy estimates; None where the log does not allow any.
    """
    if gain.low is None or gain.high is None:
        reason = f"the lists of {gain.outcomes:,} of {gain.shoppers:,} shoppers differ in the metric: too few"
        return PromotionDecision("too few", (reason,))
    said = (
        f"difference {gain.difference:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] of {gain.shoppers:,} shoppers"
    )
    if not gain.is_better:
        return PromotionDecision("worse" if gain.is_worse else "not better", (said,))
    if worse := [str(guard) for guard in guards if guard.is_worse]:
        return PromotionDecision("guard", (said, *worse))
    if policy is not None and policy.is_worse:
        ours, theirs = policy.challenger, policy.in_service
        reason = (
            f"off-policy click rate {ours[0]:.4f} [{ours[1]:.4f}, {ours[2]:.4f}], in service {theirs[0]:.4f} "
            f"[{theirs[1]:.4f}, {theirs[2]:.4f}]"
        )
        return PromotionDecision("off-policy", (said, reason))
    return PromotionDecision("better", (said,))
