"""Pointwise metrics of predictions for logged impressions: discrimination, calibration, regression error.

All functions take one observation and one prediction per row, and do not depend on the order of rows. They
raise InsufficientDataError where a metric is undefined for the rows, rather than return NaN, and
EvaluationError where the input is invalid.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vrec.core.checks import find_bad_rows
from vrec.core.errors import EvaluationError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[Any]
"""(N,) of any real or bool dtype."""


class InsufficientDataError(EvaluationError):
    """Metric undefined for valid rows: there are none, or all have the same outcome."""


_EPSILON = 1e-7
"""Smallest distance of a probability from 0 and 1 in the log loss; representable in float32."""


@dataclass(frozen=True, slots=True)
class GroupedAuc:
    """AUC averaged over users, with the number of users and rows it covers."""

    value: float
    users: int
    """Users with both outcomes."""
    rows: int
    """Impressions of these users."""


class WeightedAucCurve:
    """ROC curve of N predictions, prepared to compute the AUC and what each row adds to it."""

    def __init__(self, outcome: Numbers, predicted: Numbers) -> None:
        """Sort the predictions.

        Args:
            outcome: (N,) 0 or 1.
            predicted: (N,) scores; only their order matters.

        Raises:
            EvaluationError: If an outcome is not 0 or 1, or a prediction is not finite.
        """
        truth, score = _validate_binary(outcome, predicted)
        levels, level = np.unique(score, return_inverse=True)
        self._levels = len(levels)
        by_outcome = [np.flatnonzero(truth == value) for value in (1, 0)]
        self._rows_and_levels: list[tuple[Ints, Ints]] = [(rows, level[rows]) for rows in by_outcome]

    def auc(self, weight: Numbers | None = None) -> float:
        """Return the AUC with row i counted `weight[i]` times.

        Args:
            weight: (N,) non-negative; None counts each row once.

        Returns:
            The AUC in [0, 1]; NaN where one outcome has no weight.
        """
        positives, negatives = (
            np.bincount(level, None if weight is None else weight[rows], self._levels)
            for rows, level in self._rows_and_levels
        )
        below = np.cumsum(negatives) - negatives / 2
        pairs = float(positives.sum()) * float(negatives.sum())
        return float(positives @ below / pairs) if pairs else float("nan")

    def influence(self) -> Floats:
        """Return (N,) changes of the AUC with each row's weight: placements less their mean (DeLong 1988).

        Their sum is 0. Raises InsufficientDataError if there is only one outcome.
        """
        (positive, level), (negative, other) = self._rows_and_levels
        if not len(positive) or not len(negative):
            raise InsufficientDataError("there is only one outcome")
        positives, negatives = (np.bincount(levels, minlength=self._levels) for levels in (level, other))
        below = (np.cumsum(negatives) - negatives / 2) / len(negative)
        above = (len(positive) - np.cumsum(positives) + positives / 2) / len(positive)
        influence = np.zeros(len(positive) + len(negative))
        influence[positive] = (below[level] - below[level].mean()) / len(positive)
        influence[negative] = (above[other] - above[other].mean()) / len(negative)
        return influence


def auc(outcome: Numbers, predicted: Numbers) -> float:
    """Return the probability that a random positive row scores above a random negative one, ties half.

    Raises:
        InsufficientDataError: If there is only one outcome.
    """
    value = WeightedAucCurve(outcome, predicted).auc()
    if np.isnan(value):
        raise InsufficientDataError(f"all {len(outcome):,} rows have outcome {float(outcome[0]):g}")
    return value


def grouped_auc(outcome: Numbers, predicted: Numbers, user: Numbers) -> GroupedAuc:
    """Return the mean AUC per user, weighted by impressions (Zhu et al. 2017; Zhou et al. 2018).

    Args:
        outcome: (N,) 0 or 1.
        predicted: (N,) scores.
        user: (N,) user numbers. Users with one outcome only are left out.

    Raises:
        InsufficientDataError: If no user has both outcomes.
    """
    value, rows = user_aucs(outcome, predicted, user)
    defined = ~np.isnan(value)
    if not defined.any():
        raise InsufficientDataError(f"none of {len(value):,} users has both outcomes")
    total = int(rows[defined].sum())
    return GroupedAuc(float(value[defined] @ rows[defined] / total), int(defined.sum()), total)


def user_aucs(outcome: Numbers, predicted: Numbers, user: Numbers) -> tuple[Floats, Ints]:
    """Return each user's AUC and number of impressions.

    Returns:
        (U,) AUCs in ascending order of user number, NaN for users with one outcome, and (U,) row counts.
    """
    truth, score = _validate_binary(outcome, predicted)
    user_index = np.unique(user, return_inverse=True)[1].reshape(-1)
    order = np.lexsort((score, user_index))
    truth, score, group = truth[order], score[order], user_index[order]
    rows = np.bincount(group)
    starts_tie = np.append(True, (np.diff(group) != 0) | (np.diff(score) != 0))
    tie = np.cumsum(starts_tie) - 1
    first, size = np.flatnonzero(starts_tie), np.bincount(tie)
    # Equal predictions of a user share the middle of their ranks, counted within the user.
    rank = first[tie] + (size[tie] + 1) / 2 - (np.cumsum(rows) - rows)[group]
    positives = np.bincount(group, weights=truth)
    pairs = positives * (rows - positives)
    above = np.bincount(group, weights=truth * rank) - positives * (positives + 1) / 2
    return np.divide(above, pairs, out=np.full(len(rows), np.nan), where=pairs > 0), rows


def log_loss(outcome: Numbers, predicted: Numbers) -> float:
    """Return the mean negative log-likelihood in nats, probabilities clipped to [1e-7, 1 − 1e-7]."""
    truth, probability = _validate_probabilities(outcome, predicted)
    clipped = np.clip(probability, _EPSILON, 1 - _EPSILON)
    return float(-np.mean(np.where(truth == 1, np.log(clipped), np.log1p(-clipped))))


def ece(outcome: Numbers, predicted: Numbers, bins: int) -> float:
    """Return the expected calibration error: mean |predicted − observed rate| over bins of predictions.

    Bins hold about equally many rows and are weighted by them; equal predictions share a bin (Nixon et al.
    2019). A perfectly calibrated ranker scores about √(2 p (1 − p) bins / (π N)) from noise alone.
    """
    truth, probability = _validate_probabilities(outcome, predicted)
    bin_index = equal_count_bins(probability, bins)
    return float(np.abs(np.bincount(bin_index, weights=probability - truth)).sum() / len(truth))


def bias(observed: Numbers, predicted: Numbers) -> float:
    """Return mean prediction − mean observation, in their unit; positive where predictions are too high."""
    truth, prediction = _validate_finite(observed, predicted)
    return float(prediction.mean() - truth.mean())


def mae(observed: Numbers, predicted: Numbers) -> float:
    """Return the mean |predicted − observed|, in their unit. Medians minimize it, not means."""
    truth, prediction = _validate_finite(observed, predicted)
    return float(np.abs(prediction - truth).mean())


def xauc(observed: Numbers, predicted: Numbers) -> float:
    """Return the share of row pairs with different observations that are predicted in the same order.

    Tied predictions count half. All pairs are counted, in O(N log N); Zhan et al. (2022) sample pairs.

    Raises:
        InsufficientDataError: If all observations are equal.
    """
    agreeing, pairs = _concordant_pairs(*_validate_finite(observed, predicted))
    if not pairs:
        raise InsufficientDataError(f"all {len(observed):,} rows have the same observation")
    return agreeing / pairs


def grouped_xauc(observed: Numbers, predicted: Numbers, group: Numbers) -> float:
    """Return the XAUC over pairs of rows within the same group only, such as similar durations.

    Raises:
        InsufficientDataError: If no group has two different observations.
    """
    truth, prediction = _validate_finite(observed, predicted)
    order = np.argsort(group, kind="stable")
    ends = np.flatnonzero(np.diff(np.asarray(group)[order])) + 1
    counts = [_concordant_pairs(truth[rows], prediction[rows]) for rows in np.split(order, ends)]
    agreeing, pairs = (sum(column) for column in zip(*counts, strict=True))
    if not pairs:
        raise InsufficientDataError("no group has rows with different observations")
    return agreeing / pairs


def equal_count_bins(values: Numbers, most: int) -> Ints:
    """Assign each value to one of at most `most` quantile bins; equal values share a bin.

    Returns:
        (N,) bin numbers from 0, ascending with the value. NaN values have a bin of their own, the last.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return np.zeros(len(values), dtype=np.int64)
    edges = np.unique(np.quantile(known, np.arange(1, most) / most, method="inverted_cdf"))
    edges = edges[edges < known.max()]
    # NaN is sorted behind all numbers, infinity included.
    return np.searchsorted(np.append(edges, np.inf), values, side="left")


def _concordant_pairs(truth: Floats, prediction: Floats) -> tuple[float, int]:
    """Return the concordant pairs, tied predictions counted half, and the pairs with different truth."""
    # Importing it takes a second, which every command would pay.
    from scipy.stats import kendalltau

    # Of pairs that differ in truth, (concordant − discordant) is Kendall's numerator: scipy counts it in
    # O(N log N), and its denominator is multiplied back here.
    count = len(truth)
    pairs = count * (count - 1) // 2
    comparable, predicted_apart = pairs - _tied_pairs(truth), pairs - _tied_pairs(prediction)
    if not comparable or not predicted_apart:
        return comparable / 2, comparable
    tau = float(kendalltau(truth, prediction).statistic)
    return (comparable + tau * math.sqrt(comparable) * math.sqrt(predicted_apart)) / 2, comparable


def _tied_pairs(values: Floats) -> int:
    counts = np.unique(values, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def _validate_finite(observed: Numbers, predicted: Numbers) -> tuple[Floats, Floats]:
    truth, prediction = np.asarray(observed, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != prediction.shape:
        raise EvaluationError(
            f"{truth.shape} observations with {prediction.shape} predictions",
            fix="give one observation and one prediction per row",
        )
    if not len(truth):
        raise InsufficientDataError("there are no rows")
    for name, values in (("observations", truth), ("predictions", prediction)):
        if bad := find_bad_rows(~np.isfinite(values)):
            raise EvaluationError(
                f"{bad.count:,} of {len(values):,} {name} are not finite, such as row {bad.first}",
                fix=f"find the step that makes {name} NaN or infinite",
            )
    return truth, prediction


def _validate_binary(outcome: Numbers, predicted: Numbers) -> tuple[Floats, Floats]:
    truth, prediction = _validate_finite(outcome, predicted)
    if bad := find_bad_rows((truth != 0) & (truth != 1)):
        raise EvaluationError(
            f"{bad.count:,} of {len(truth):,} outcomes are neither 0 nor 1, such as {truth[bad.first]:g} "
            f"in row {bad.first}",
            fix="give 1 where the event happened, else 0",
        )
    return truth, prediction


def _validate_probabilities(outcome: Numbers, predicted: Numbers) -> tuple[Floats, Floats]:
    truth, prediction = _validate_binary(outcome, predicted)
    bad = np.flatnonzero((prediction < 0) | (prediction > 1))
    if len(bad):
        raise EvaluationError(
            f"{len(bad):,} of {len(prediction):,} predictions are not probabilities, such as "
            f"{prediction[bad[0]]:g} in row {bad[0]}",
            fix="give probabilities from 0 to 1",
        )
    return truth, prediction
