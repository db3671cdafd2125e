"""Confidence intervals of means over users, for many metrics at once.

A user's metric is mostly 0 with a few hits, or a difference that is mostly 0: bounded, skewed, and with few
users or few hits not normal. The interval is the wider of two at each end: Student's t, and t corrected for
the sample's skewness (Hall 1992, "On the removal of skewness by transformation"). With few outcomes nothing
that is computed from the users alone holds, and there is none.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Floats = npt.NDArray[np.float64]

_SMALL = 1e-6
"""Skewness below which the correction is left out, as it would divide by it."""


@dataclass(frozen=True, slots=True)
class MeanIntervals:
    """Intervals of M means."""

    low: Floats
    """(M,) lower ends; NaN where there are too few outcomes."""
    high: Floats
    """(M,) upper ends, likewise."""
    outcomes: npt.NDArray[np.int64]
    """(M,) users whose value is not the column's most frequent one, such as users with a hit."""

    def ends(self, column: int) -> tuple[float | None, float | None]:
        """Return the ends of one interval; None where there are too few outcomes."""
        low, high = float(self.low[column]), float(self.high[column])
        return (None, None) if np.isnan(low) else (low, high)


def mean_intervals(
    values: Floats,
    level: float,
    min_outcomes: int,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> MeanIntervals:
    """Return the intervals of the column means of independent users.

    Args:
        values: (U, M), a row per user; NaN leaves a user out of a column.
        level: Confidence level.
        min_outcomes: Fewest outcomes with which there is an interval.
        bounds: Least and largest possible mean, to which intervals are cut.
    """
    low, high = np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    outcomes = np.zeros(values.shape[1], np.int64)
    for column, numbers in enumerate(values.T):
        known = numbers[~np.isnan(numbers)]
        outcomes[column] = count_outcomes(known)
        if outcomes[column] >= max(min_outcomes, 1) and len(known) > 2:
            low[column], high[column] = np.clip(_interval(known, level), *bounds)
    return MeanIntervals(low, high, outcomes)


def count_outcomes(values: Floats) -> int:
    """Return how many of (U,) values are not the most frequent one."""
    if not len(values):
        return 0
    # Equal values can differ in the last bit by the order of their sums.
    return len(values) - int(np.unique(np.round(values, 12), return_counts=True)[1].max())


def _interval(values: Floats, level: float) -> tuple[float, float]:
    """Return the interval of the mean of (U,) values, U > 2."""
    users, mean = len(values), float(values.mean())
    centered = values - mean
    variance = float(centered @ centered) / users
    if variance <= 0:
        return mean, mean
    error = np.sqrt(variance / (users - 1))
    correction = np.sqrt(users * (users - 1)) / (users - 2)
    skew = float((centered**3).mean()) / variance**1.5 * correction / np.sqrt(users)
    t = float(stdtrit(users - 1, (1 + level) / 2))
    below, above = max(t, _untransformed(t, skew)), max(t, -_untransformed(-t, skew))
    return mean - error * below, mean + error * above


def _untransformed(quantile: float, skew: float) -> float:
    """Return the t whose cubic transform, with `skew` = skewness / √users, is a quantile (Hall 1992)."""
    if abs(skew) < _SMALL:
        return quantile
    return 3 / skew * (float(np.cbrt(1 + skew * (quantile - skew / 6))) - 1)


def paired_differences(values: Floats, against: Floats) -> Floats:
    """Return `values` − `against`, exactly 0 where they are equal up to rounding."""
    return np.round(values - against, 12) + 0.0
