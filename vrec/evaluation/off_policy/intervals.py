"""Intervals of off-policy estimates: betting, valid for any number of rows and rare rewards, and normal ones.

An estimate is a ratio Σy / Σn over independent groups of rows, whose terms y − θn have a mean of 0 at the
true value θ: y = w·r and n = 1 for IPS, n = w for SNIPS (E[w·(r − θ)] = 0, since E[w] = 1), y = q̄ + w·(r − q)
and n = 1 for DR. Wealth that is bet on these terms bounds θ (Waudby-Smith and Ramdas 2024), see
`vrec.evaluation.sequential`. Bets need limits of a group's terms that are known before the group is: the
largest of earlier groups, in a random order. The few groups beyond count in part, whatever their rewards.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from vrec.core.errors import EvaluationError
from vrec.evaluation.off_policy.log import Codes
from vrec.evaluation.sequential import BetSizes, RatioSums, UserLimits, lower_ends, upper_ends

Floats = npt.NDArray[np.float64]
IntervalKind = Literal["betting", "normal"]

FIRST_GROUPS = 10
"""Groups that set the first limits, and are not bet on."""


@dataclass(frozen=True, slots=True)
class OutcomeTerms:
    """Terms of an estimate Σy / Σn over rows or groups, with rewards in [0, 1]."""

    y: Floats
    n: Floats
    most: Floats
    """Largest y that the weights allow, whatever the rewards."""
    deficit: Floats
    """Distance below 0 of the smallest y that the weights allow."""

    def summed(self, groups: Codes) -> "OutcomeTerms":
        """Return the terms of groups; unchanged where there are none."""
        if not len(groups):
            return self
        code = np.unique(groups, return_inverse=True)[1]
        return OutcomeTerms(
            *(np.bincount(code, weights=a).astype(float) for a in (self.y, self.n, self.most, self.deficit))
        )

    @property
    def value(self) -> float:
        """Σy / Σn."""
        return float(self.y.sum() / self.n.sum())


def weighted_terms(rewards: Floats, weights: Floats, n: Floats) -> OutcomeTerms:
    """Return the terms w·r of (N,) rewards in [0, 1], over (N,) `n`."""
    return OutcomeTerms(weights * rewards, n, weights, np.zeros_like(weights))


def doubly_robust_terms(rewards: Floats, weights: Floats, logged: Floats, mean: Floats) -> OutcomeTerms:
    """Return the terms q̄ + w·(r − q), with (N,) predictions q = `logged` and q̄ = `mean`."""
    least, most = mean - weights * logged, mean + weights * (1 - logged)
    y = mean + weights * (rewards - logged)
    return OutcomeTerms(y, np.ones_like(y), np.maximum(most, 0), np.maximum(-least, 0))


def betting_interval(terms: OutcomeTerms, level: float, seed: int) -> tuple[float, float]:
    """Return the interval of Σy / Σn in [0, 1] that holds with probability `level`, by betting.

    Args:
        terms: Terms of G independent groups.
        level: Confidence level; each end misses with probability (1 − level) / 2 at most.
        seed: Seed of the order in which limits are learned.
    """
    order = np.random.default_rng(seed).permutation(len(terms.y))
    # Terms of a size near 1, as the choice of bets expects; a power of 2 hardly depends on the sample.
    scale = 2.0 ** np.round(np.log2(terms.n.mean()))
    y, n, most, deficit = (a[order] / scale for a in (terms.y, terms.n, terms.most, terms.deficit))
    share, limits = np.ones(len(y)), []
    for sizes in (most, n, deficit):
        limit = np.maximum.accumulate(sizes)[:-1]
        inside = sizes[1:] <= limit
        share[1:] = np.minimum(share[1:], np.where(inside, 1, limit / np.where(inside, 1, sizes[1:])))
        limits.append(float(limit[-1]) if len(limit) else 0.0)
    y, n = ((a * share)[FIRST_GROUPS:] for a in (y, n))
    if not n.any():
        return 0.0, 1.0
    sums = RatioSums(
        users=len(y), holders=float((y > 0).sum()), y=y.sum(), n=n.sum(), yy=y @ y, yn=y @ n, nn=n @ n,
        limits=UserLimits(*limits),
    )  # fmt: skip
    budget = np.log(2 / (1 - level))
    # What y² would be if every reward were at its largest, over the rate: from weights alone.
    typical = 2.0 ** np.round(np.log2(max((most @ most) / n.sum(), 1e-300)))
    bets = BetSizes(len(y), budget, float(typical))
    low, high = (float(ends(sums, np.array([budget]), bets)[0]) for ends in (lower_ends, upper_ends))
    return max(low, 0.0), min(high, 1.0)


def normal_interval(terms: OutcomeTerms, level: float, min_outcomes: float) -> tuple[float, float]:
    """Return the normal interval of Σy / Σn in [0, 1], with the delta method's variance.

    Args:
        terms: Terms of G independent groups.
        level: Confidence level, reached in the limit of many groups.
        min_outcomes: Fewest effective outcomes, (Σa²)² / Σa⁴ with a = y − θn: for rare rewards their number,
            less where weights differ.

    Raises:
        EvaluationError: If there are fewer.
    """
    size, value = len(terms.y), terms.value
    influence = (terms.y - value * terms.n) / terms.n.mean()
    square = float((influence**2).sum())
    outcomes = square**2 / max(float((influence**4).sum()), 1e-300)
    if outcomes < min_outcomes:
        raise EvaluationError(
            f"off_policy: the log has {outcomes:.1f} effective outcomes, below normal_min_outcomes "
            f"{min_outcomes:g}: a normal interval would be too narrow",
            fix="use interval betting, or log more rows",
        )
    half_width = float(ndtri((1 + level) / 2) * np.sqrt(square / (size * (size - 1))))
    return max(value - half_width, 0.0), min(value + half_width, 1.0)
