"""Metrics of what was predicted of logged impressions, one number a row: order, chances, seconds.

Each raises TooLittle where the rows cannot say it, rather than give NaN, and EvaluationError where they are
broken. The order of rows is of no consequence.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vrec.core.errors import EvaluationError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]
"""(N,) of any real or bool dtype."""


class InsufficientDataError(EvaluationError):
    """The rows are sound but cannot say it: there are none, or all of one outcome."""


_NO_CHANCE = 1e-7
"""Chances are taken to be at least this far from 0 and 1, which float32 can tell from them."""


@dataclass(frozen=True, slots=True)
class GroupedAuc:
    """AUC within users, and how much of the rows it speaks of."""

    value: float
    users: int
    """Users with both outcomes."""
    rows: int
    """Their impressions."""


class WeightedAucCurve:
    """Predictions of N rows in order, ready to give the AUC of many weightings of the same rows."""

    def __init__(self, outcome: Numbers, predicted: Numbers) -> None:
        """Raises EvaluationError for outcomes that are not 0 or 1, or predictions that are not finite."""
        truth, score = _binary(outcome, predicted)
        levels, level = np.unique(score, return_inverse=True)
        self._levels = len(levels)
        split = [np.flatnonzero(truth == value) for value in (1, 0)]
        self._parts: list[tuple[Ints, Ints]] = [(rows, level[rows]) for rows in split]

    def auc(self, weight: Numbers | None = None) -> float:
        """The AUC with each row counted `weight` (N,) times, once without; NaN where one outcome is left."""
        hits, misses = (
            np.bincount(level, None if weight is None else weight[rows], self._levels)
            for rows, level in self._parts
        )
        below = np.cumsum(misses) - misses / 2
        pairs = float(hits.sum()) * float(misses.sum())
        return float(hits @ below / pairs) if pairs else float("nan")


def auc(outcome: Numbers, predicted: Numbers) -> float:
    """The chance in [0, 1] that a row with outcome 1 is predicted above one with 0, ties counted half.

    Raises TooLittle where there is only one outcome.
    """
    found = WeightedAucCurve(outcome, predicted).auc()
    if np.isnan(found):
        raise InsufficientDataError(f"all {len(outcome):,} rows have outcome {float(outcome[0]):g}")
    return found


def grouped_auc(outcome: Numbers, predicted: Numbers, user: Numbers) -> GroupedAuc:
    """The mean of the users' AUCs, each weighted by impressions (Zhu et al. 2017; Zhou et al. 2018).

    `user` (N,) numbers them. Users with one outcome are left out; raises TooLittle where all are.
    """
    value, rows = user_aucs(outcome, predicted, user)
    counted = ~np.isnan(value)
    if not counted.any():
        raise InsufficientDataError(f"none of {len(value):,} users has both outcomes")
    total = int(rows[counted].sum())
    return GroupedAuc(float(value[counted] @ rows[counted] / total), int(counted.sum()), total)


def user_aucs(outcome: Numbers, predicted: Numbers, user: Numbers) -> tuple[Floats, Ints]:
    """The AUC (U,) of each user in the order of their numbers, NaN for one outcome, and impressions (U,)."""
    truth, score = _binary(outcome, predicted)
    of_row = np.unique(user, return_inverse=True)[1].reshape(-1)
    order = np.lexsort((score, of_row))
    truth, score, group = truth[order], score[order], of_row[order]
    rows = np.bincount(group)
    fresh = np.append(True, (np.diff(group) != 0) | (np.diff(score) != 0))
    tie = np.cumsum(fresh) - 1
    first, size = np.flatnonzero(fresh), np.bincount(tie)
    # Equal predictions of a user share the middle of their ranks, counted within the user.
    rank = first[tie] + (size[tie] + 1) / 2 - (np.cumsum(rows) - rows)[group]
    hits = np.bincount(group, weights=truth)
    pairs = hits * (rows - hits)
    above = np.bincount(group, weights=truth * rank) - hits * (hits + 1) / 2
    return np.divide(above, pairs, out=np.full(len(rows), np.nan), where=pairs > 0), rows


def log_loss(outcome: Numbers, predicted: Numbers) -> float:
    """The mean −log of the chance given to what came, in nats; chances of 0 and 1 count as 1e-7 from them."""
    truth, chance = _chances(outcome, predicted)
    sure = np.clip(chance, _NO_CHANCE, 1 - _NO_CHANCE)
    return float(-np.mean(np.where(truth == 1, np.log(sure), np.log1p(-sure))))


def ece(outcome: Numbers, predicted: Numbers, bins: int) -> float:
    """Expected calibration error: the mean |predicted − observed rate| of rows binned by prediction.

    `bins` bins of about as many rows each; equal predictions share one (Nixon et al. 2019). Even a calibrated
    ranker has some: about √(2 p (1 − p) bins / (π N)).
    """
    truth, chance = _chances(outcome, predicted)
    bin_of = equal_count_bins(chance, bins)
    return float(np.abs(np.bincount(bin_of, weights=chance - truth)).sum() / len(truth))


def bias(observed: Numbers, predicted: Numbers) -> float:
    """Mean prediction − mean observation, in their unit: above 0 where too much is promised."""
    truth, guess = _finite(observed, predicted)
    return float(guess.mean() - truth.mean())


def mae(observed: Numbers, predicted: Numbers) -> float:
    """The mean |predicted − observed|, in their unit. Note that it is least for medians, not means."""
    truth, guess = _finite(observed, predicted)
    return float(np.abs(guess - truth).mean())


def xauc(observed: Numbers, predicted: Numbers) -> float:
    """The share of pairs of rows with different observations that are predicted in the same order.

    Ties of prediction count half; all pairs are counted, in O(N log N). Zhan et al. (2022), who sample pairs.
    Raises TooLittle where all observations are the same.
    """
    agreeing, pairs = _agreement(*_finite(observed, predicted))
    if not pairs:
        raise InsufficientDataError(f"all {len(observed):,} rows have the same observation")
    return agreeing / pairs


def grouped_xauc(observed: Numbers, predicted: Numbers, group: Numbers) -> float:
    """The XAUC over those pairs only whose rows are of one group (N,), such as durations that are alike.

    Raises TooLittle where no group has two different observations.
    """
    truth, guess = _finite(observed, predicted)
    order = np.argsort(group, kind="stable")
    ends = np.flatnonzero(np.diff(np.asarray(group)[order])) + 1
    found = [_agreement(truth[rows], guess[rows]) for rows in np.split(order, ends)]
    agreeing, pairs = (sum(column) for column in zip(*found, strict=True))
    if not pairs:
        raise InsufficientDataError("no group has rows with different observations")
    return agreeing / pairs


def equal_count_bins(values: Numbers, most: int) -> Ints:
    """A bin (N,) from 0 for each value: at most `most` bins, rising, of about as many rows; equals share one.

    Values that are NaN have a bin of their own, the last.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return np.zeros(len(values), dtype=np.int64)
    edges = np.unique(np.quantile(known, np.arange(1, most) / most, method="inverted_cdf"))
    edges = edges[edges < known.max()]
    # NaN is sorted behind all numbers, infinity included.
    return np.searchsorted(np.append(edges, np.inf), values, side="left")


def _agreement(truth: Floats, guess: Floats) -> tuple[float, int]:
    # Takes a second to import, which every command would pay.
    from scipy.stats import kendalltau

    # Of pairs that differ in truth, (agreeing − opposed) is Kendall's numerator: scipy counts it in
    # O(N log N), and divides it by what is multiplied back here.
    count = len(truth)
    pairs = count * (count - 1) // 2
    told, guessed = pairs - _tied(truth), pairs - _tied(guess)
    if not told or not guessed:
        return told / 2, told
    tau = float(kendalltau(truth, guess).statistic)
    return (told + tau * math.sqrt(told) * math.sqrt(guessed)) / 2, told


def _tied(values: Floats) -> int:
    counts = np.unique(values, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def _finite(observed: Numbers, predicted: Numbers) -> tuple[Floats, Floats]:
    truth, guess = np.asarray(observed, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != guess.shape:
        raise EvaluationError(
            f"{truth.shape} observations with {guess.shape} predictions", fix="give one of each for a row"
        )
    if not len(truth):
        raise InsufficientDataError("there are no rows")
    for name, values in (("observations", truth), ("predictions", guess)):
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise EvaluationError(
                f"{len(bad):,} of {len(values):,} {name} are not finite, such as row {bad[0]}",
                fix=f"find out where the {name} lose their numbers",
            )
    return truth, guess


def _binary(outcome: Numbers, predicted: Numbers) -> tuple[Floats, Floats]:
    truth, guess = _finite(outcome, predicted)
    bad = np.flatnonzero((truth != 0) & (truth != 1))
    if len(bad):
        raise EvaluationError(
            f"{len(bad):,} of {len(truth):,} outcomes are neither 0 nor 1, such as {truth[bad[0]]:g} "
            f"in row {bad[0]}",
            fix="give 1 where it happened, else 0",
        )
    return truth, guess


def _chances(outcome: Numbers, predicted: Numbers) -> tuple[Floats, Floats]:
    truth, guess = _binary(outcome, predicted)
    bad = np.flatnonzero((guess < 0) | (guess > 1))
    if len(bad):
        raise EvaluationError(
            f"{len(bad):,} of {len(guess):,} predictions are no chances, such as {guess[bad[0]]:g} "
            f"in row {bad[0]}",
            fix="give chances from 0 to 1",
        )
    return truth, guess
