"""Empirical lower bound of a mechanism's ε, from many runs on two data sets that differ by one shopper."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EpsilonBound:
    """Lower bound of ε that holds with some confidence."""

    epsilon: float
    """0 where the runs show no difference."""
    threshold: float
    """Value of the statistic that the guess rests on."""
    true_positives: int
    false_positives: int
    runs: int
    """Runs on each of the two data sets that were counted."""


def audit_mechanism(
    with_shopper: Callable[[], float],
    without_shopper: Callable[[], float],
    delta: float,
    *,
    runs: int,
    confidence: float = 0.999,
) -> EpsilonBound:
    """Return a lower bound of ε from a statistic of a mechanism's result on two neighboring data sets.

    Half of the runs choose the threshold and its direction, the others count how often the statistic lies
    beyond it. An (ε, δ) private mechanism has TPR ≤ e^ε FPR + δ, in both directions; the rates are bounded by
    Clopper and Pearson's intervals (Jagielski, Ullman and Oprea 2020).

    Args:
        with_shopper: Function that runs the mechanism on the data with the shopper and returns a statistic.
        without_shopper: The same on the data without the shopper.
        delta: δ that the mechanism claims.
        runs: Runs on each data set.
        confidence: Probability with which the bound holds.
    """
    inside = np.array([with_shopper() for _ in range(runs)])
    outside = np.array([without_shopper() for _ in range(runs)])
    return bound_epsilon(inside, outside, delta, confidence=confidence)


def bound_epsilon(
    inside: Floats, outside: Floats, delta: float, *, confidence: float = 0.999
) -> EpsilonBound:
    """Return the lower bound of ε from (N,) statistics of runs with and without a shopper."""
    half = len(inside) // 2
    choices = [
        (guess.epsilon, swap, sign, guess.threshold)
        for swap in (False, True)
        for sign in (1.0, -1.0)
        for guess in _bounds(inside[:half], outside[:half], delta, confidence, swap=swap, sign=sign)
    ]
    _, swap, sign, threshold = max(choices)
    positive, negative = (outside, inside) if swap else (inside, outside)
    return _bound(positive[half:] * sign, negative[half:] * sign, threshold, delta, confidence)


def _bounds(
    inside: Floats, outside: Floats, delta: float, confidence: float, *, swap: bool, sign: float
) -> list[EpsilonBound]:
    positive, negative = (outside, inside) if swap else (inside, outside)
    thresholds = np.unique(
        np.quantile(sign * np.concatenate([positive, negative]), np.linspace(0.01, 0.999, 60))
    )
    return [_bound(positive * sign, negative * sign, float(t), delta, confidence) for t in thresholds]


def _bound(
    positive: Floats, negative: Floats, threshold: float, delta: float, confidence: float
) -> EpsilonBound:
    hits, alarms = int((positive >= threshold).sum()), int((negative >= threshold).sum())
    level = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(level, hits, len(positive) - hits + 1))
    high = 1.0 if alarms == len(negative) else float(beta.ppf(1 - level, alarms + 1, len(negative) - alarms))
    epsilon = log((low - delta) / high) if low > delta and high > 0 else -inf
    return EpsilonBound(max(epsilon, 0.0), threshold, hits, alarms, len(positive))
