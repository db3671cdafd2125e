"""Evaluation and comparison of rankers on logged impressions, overall and for cold videos.

Metrics that are undefined for the rows are left out, with the reason.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import EvaluationError
from vrec.evaluation.intervals import count_outcomes, mean_intervals, paired_differences
from vrec.evaluation.ranking.metrics import (
    Floats,
    GroupedAuc,
    InsufficientDataError,
    Numbers,
    WeightedAucCurve,
    auc,
    bias,
    ece,
    equal_count_bins,
    grouped_auc,
    grouped_xauc,
    log_loss,
    mae,
    user_aucs,
    xauc,
)
from vrec.ranking.features.arrays import ImpressionLabels, RankerPredictions


class RankerMetricsConfig(BaseConfig):
    """Settings for the metrics of rankers."""

    bins: int = Field(default=20, ge=2)
    """Calibration bins, each with equally many impressions. More bins find finer errors, with more noise."""
    duration_buckets: int = Field(default=20, ge=1)
    """Duration buckets, each with equally many impressions, within which watch times are compared; unknown
    durations are one more."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Confidence level of the intervals."""
    min_outcomes: int = Field(default=10, ge=2)
    """Fewest users for an interval: with each outcome (for the gAUC: with both), and for whom rankers
    differ."""


@dataclass(frozen=True, slots=True)
class RankerMetrics:
    """Metrics of a ranker on a set of impressions.

    click_auc, click_gauc, click_log_loss, click_ece, click_bias; conv_auc, conv_log_loss, conv_ece and
    conv_bias for a click that ends in a conversion, over mature impressions; cvr_auc of p_conv / p_click over
    mature clicks; watch_mae and watch_bias in seconds; watch_xauc, and watch_xauc_duration among videos of
    similar duration.
    """

    metrics: dict[str, float]
    """By name; undefined metrics are absent."""
    constant: dict[str, float]
    """The same metrics of the constant predictor that is right on average on these rows (baseline)."""
    left_out: dict[str, str]
    """Reason why a metric is absent, by name."""
    counts: dict[str, int]
    """rows, users, clicks, watched, mature, mature_clicks, conversions, click_gauc_users, click_gauc_rows."""


@dataclass(frozen=True, slots=True)
class RankerEvaluation:
    """Metrics of a ranker over all impressions, and over those of cold videos."""

    overall: RankerMetrics
    cold: RankerMetrics | None = None
    """Over videos without an impression in training; None where they were not given."""


@dataclass(frozen=True, slots=True)
class RankerDifference:
    """Difference of a metric between two rankers, with its interval over users."""

    value: float
    low: float | None
    """None where there are too few outcomes for an interval."""
    high: float | None
    outcomes: int
    """Users with the rarer outcome (for the gAUC: with both), at most those for whom the rankers differ."""


@dataclass(frozen=True, slots=True)
class RankerComparison:
    """Differences between two rankers on the same impressions."""

    auc: RankerDifference
    gauc: RankerDifference


def evaluate_ranker(
    predictions: RankerPredictions,
    labels: ImpressionLabels,
    cold: npt.NDArray[np.bool_] | None,
    config: RankerMetricsConfig,
) -> RankerEvaluation:
    """Evaluate a ranker over N logged impressions, and over those marked `cold` (N,).

    Raises:
        EvaluationError: If lengths differ, or predictions are not finite, probabilities or durations.
    """
    lengths = {"predictions": len(predictions.p_click), "labels": len(labels)}
    if cold is not None:
        lengths["cold"] = len(cold)
    if len(set(lengths.values())) > 1:
        raise EvaluationError(f"{lengths}: lengths differ", fix="give one row of each per impression")
    _check_predictions(predictions)
    overall = _evaluate(predictions, labels, config)
    if cold is None:
        return RankerEvaluation(overall)
    rows = np.flatnonzero(cold)
    return RankerEvaluation(overall, _evaluate(predictions.take(rows), labels.take(rows), config))


def compare_rankers(
    predictions: Numbers, baseline: Numbers, outcome: Numbers, user: Numbers, config: RankerMetricsConfig
) -> RankerComparison:
    """Compare the AUC and gAUC of two rankers on the same N impressions.

    Intervals are over users, who bring all their impressions to both rankers: impressions of one user are not
    independent. A user's value is what the AUC changes by with the user's weight (its influence), as in the
    variance of DeLong et al. (1988), which Obuchowski (1997) extends to clusters.

    Args:
        predictions: (N,) scores of the ranker.
        baseline: (N,) scores of the other ranker.
        outcome: (N,) 0 or 1.
        user: (N,) user numbers.
        config: Level, and the fewest outcomes for an interval.

    Returns:
        Differences, positive where `predictions` are better.

    Raises:
        InsufficientDataError: If there is only one outcome, or no user has both.
    """
    curves = [WeightedAucCurve(outcome, predicted) for predicted in (predictions, baseline)]
    aucs = [auc(outcome, predicted) for predicted in (predictions, baseline)]
    gaucs = [grouped_auc(outcome, predicted, user).value for predicted in (predictions, baseline)]
    code = np.unique(user, return_inverse=True)[1]
    positive = np.bincount(code, weights=outcome > 0)
    rarer = min(int((positive > 0).sum()), int((positive < np.bincount(code)).sum()))
    ours, theirs = (np.bincount(code, weights=curve.influence()).astype(np.float64) for curve in curves)
    gaps = paired_differences(ours, theirs)
    both, grouped = _gauc_gaps(predictions, baseline, outcome, user)
    return RankerComparison(
        _difference(aucs[0] - aucs[1], gaps, rarer, config),
        _difference(gaucs[0] - gaucs[1], grouped, both, config),
    )


def _gauc_gaps(
    predictions: Numbers, baseline: Numbers, outcome: Numbers, user: Numbers
) -> tuple[int, Floats]:
    """Return the users with both outcomes, and (U,) the differences of influences on the gAUC."""
    aucs, rows = user_aucs(outcome, predictions, user)
    others, _ = user_aucs(outcome, baseline, user)
    both = ~np.isnan(aucs)
    gap, share = (aucs - others)[both], rows[both] / rows[both].sum()
    # Users with one outcome count for nothing, so that they say nothing of the spread either.
    return int(both.sum()), np.round(share * (gap - share @ gap), 12)


def _difference(
    value: float, influence: Floats, outcomes: int, config: RankerMetricsConfig
) -> RankerDifference:
    """Return a difference, with the interval from (U,) influences of users, whose sum is 0."""
    outcomes = min(outcomes, count_outcomes(influence))
    fewest = len(influence) + 1 if outcomes < config.min_outcomes else config.min_outcomes
    found = mean_intervals((value + len(influence) * influence)[:, None], config.level, fewest, (-1.0, 1.0))
    return RankerDifference(value, *found.ends(0), outcomes)


def _evaluate(
    predictions: RankerPredictions, labels: ImpressionLabels, config: RankerMetricsConfig
) -> RankerMetrics:
    mature, clicked = labels.mature, labels.click > 0
    counts = {
        "rows": len(labels),
        "users": len(np.unique(labels.user)),
        "clicks": int(clicked.sum()),
        "watched": int((labels.watch_s > 0).sum()),
        "mature": int(mature.sum()),
        "mature_clicks": int((mature & clicked).sum()),
        "conversions": int((labels.conversion[mature] > 0).sum()),
    }
    metrics: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for name, (rows, measure) in _measures(predictions, labels, config).items():
        try:
            result = measure()
        except InsufficientDataError as reason:
            left_out[name] = f"of {rows}: {reason}"
            continue
        metrics[name] = _value(result)
        if isinstance(result, GroupedAuc):
            counts |= {f"{name}_users": result.users, f"{name}_rows": result.rows}
    constant = _measures(_constant_predictions(labels), labels, config)
    return RankerMetrics(metrics, {name: _value(constant[name][1]()) for name in metrics}, left_out, counts)


def _value(result: float | GroupedAuc) -> float:
    return result.value if isinstance(result, GroupedAuc) else result


def _measures(
    predictions: RankerPredictions, labels: ImpressionLabels, config: RankerMetricsConfig
) -> dict[str, tuple[str, Callable[[], float | GroupedAuc]]]:
    """Return, for each metric, a description of its rows and a function that computes it."""
    click, p_click = labels.click, predictions.p_click
    watch, seconds = labels.watch_s, predictions.watch_s
    mature = np.flatnonzero(labels.mature)
    conv, p_conv = labels.conversion[mature], predictions.p_conv[mature]
    clicked = click[mature] > 0
    # With p_click = 0 the CVR is undefined: any small divisor keeps the order of the other rows.
    cvr = p_conv / np.maximum(p_click[mature], np.finfo(np.float32).tiny)
    all_rows, mature_rows = "the impressions", "the mature impressions"
    return {
        "click_auc": (all_rows, lambda: auc(click, p_click)),
        "click_gauc": (all_rows, lambda: grouped_auc(click, p_click, labels.user)),
        "click_log_loss": (all_rows, lambda: log_loss(click, p_click)),
        "click_ece": (all_rows, lambda: ece(click, p_click, config.bins)),
        "click_bias": (all_rows, lambda: bias(click, p_click)),
        "watch_mae": (all_rows, lambda: mae(watch, seconds)),
        "watch_bias": (all_rows, lambda: bias(watch, seconds)),
        "watch_xauc": (all_rows, lambda: xauc(watch, seconds)),
        "watch_xauc_duration": (
            all_rows,
            lambda: grouped_xauc(
                watch, seconds, equal_count_bins(labels.duration_s, config.duration_buckets)
            ),
        ),
        "cvr_auc": ("the mature clicks", lambda: auc(conv[clicked], cvr[clicked])),
        "conv_auc": (mature_rows, lambda: auc(conv, p_conv)),
        "conv_log_loss": (mature_rows, lambda: log_loss(conv, p_conv)),
        "conv_ece": (mature_rows, lambda: ece(conv, p_conv, config.bins)),
        "conv_bias": (mature_rows, lambda: bias(conv, p_conv)),
    }


def _constant_predictions(labels: ImpressionLabels) -> RankerPredictions:
    def filled(values: Numbers) -> npt.NDArray[np.float32]:
        mean = values.mean(dtype=np.float64) if len(values) else 0.0
        return np.full(len(labels), mean, dtype=np.float32)

    conversion = filled(labels.conversion[labels.mature])
    return RankerPredictions(
        filled(labels.click), filled(labels.watch_s), conversion, filled(labels.click[:0])
    )


def _check_predictions(predictions: RankerPredictions) -> None:
    highest = {"p_click": 1.0, "watch_s": np.finfo(np.float32).max, "p_conv": 1.0}
    for name, most in highest.items():
        values = getattr(predictions, name)
        bad = np.flatnonzero(~((values >= 0) & (values <= most)))
        if len(bad):
            raise EvaluationError(
                f"{name}: {len(bad):,} of {len(values):,} predictions are not from 0 to {most:g}, such as "
                f"{values[bad[0]]:g} in row {bad[0]}",
                fix="find the step of the ranker that makes values NaN or out of range",
            )
