"""How well a ranker predicts logged impressions, overall and of cold videos, and whether one is better.

What the rows cannot say is left out with its reason.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import EvaluationError
from vrec.evaluation.intervals import paired_differences, percentile_interval, resampled_means
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
    """How rankers' predictions are judged."""

    bins: int = Field(default=20, ge=2)
    """Bins of equally many impressions in which calibration is looked at; more see finer errors and noise."""
    duration_buckets: int = Field(default=20, ge=1)
    """Buckets of durations, equal in impressions, within which watches are compared; unknown is one more."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """How often an interval shall cover the truth."""
    resamples: int = Field(default=1000, ge=100)
    """Bootstrap resamples of the users."""
    seed: int = Field(default=0, ge=0)
    """Decides the bootstrap's draws."""


@dataclass(frozen=True, slots=True)
class RankerMetrics:
    """What some impressions say of a ranker.

    click_auc, click_gauc, click_log_loss, click_ece, click_bias; conv_ the same of a click that ends in a
    conversion, over all mature impressions and without gauc; cvr_auc of p_conv / p_click over mature clicks;
    watch_mae and watch_bias in seconds; watch_xauc, and watch_xauc_duration among videos about as long.
    """

    metrics: dict[str, float]
    """By name; what could not be said is absent."""
    constant: dict[str, float]
    """The same of the constant that is right on average on these very rows: what knowing nothing scores."""
    left_out: dict[str, str]
    """Why a metric is absent."""
    counts: dict[str, int]
    """rows, users, clicks, watched, mature, mature_clicks, conversions; of click_gauc its users and rows."""


@dataclass(frozen=True, slots=True)
class RankerEvaluation:
    """A ranker judged on all impressions, and on those of videos that had none in training."""

    overall: RankerMetrics
    cold: RankerMetrics | None = None
    """None where nobody said which videos are cold."""


@dataclass(frozen=True, slots=True)
class RankerDifference:
    """How much higher one ranker scores than another, with the interval over users."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RankerComparison:
    """Two rankers on the same impressions."""

    auc: RankerDifference
    gauc: RankerDifference


def evaluate_ranker(
    predictions: RankerPredictions,
    labels: ImpressionLabels,
    cold: npt.NDArray[np.bool_] | None,
    config: RankerMetricsConfig,
) -> RankerEvaluation:
    """A ranker's metrics over N logged impressions, and over those marked `cold` (N,).

    Raises EvaluationError where lengths differ, or numbers are not finite, chances or times.
    """
    lengths = {"predictions": len(predictions.p_click), "labels": len(labels)}
    if cold is not None:
        lengths["cold"] = len(cold)
    if len(set(lengths.values())) > 1:
        raise EvaluationError(f"{lengths}: want one row of each for an impression")
    _check_predictions(predictions)
    overall = _evaluate(predictions, labels, config)
    if cold is None:
        return RankerEvaluation(overall)
    rows = np.flatnonzero(cold)
    return RankerEvaluation(overall, _evaluate(predictions.take(rows), labels.take(rows), config))


def compare_rankers(
    predictions: Numbers, baseline: Numbers, outcome: Numbers, user: Numbers, config: RankerMetricsConfig
) -> RankerComparison:
    """How much higher our AUC and gAUC are than theirs, of predictions (N,) of the same impressions.

    Intervals are percentiles over users drawn with replacement, who bring all their impressions to both
    rankers: impressions of one user are no independent evidence. Raises TooLittle where there is one outcome
    only, or no user has both.
    """
    pair = (predictions, baseline)
    aucs = [auc(outcome, predicted) for predicted in pair]
    gaucs = [grouped_auc(outcome, predicted, user).value for predicted in pair]
    return RankerComparison(
        _difference(aucs, _auc_replicates(pair, outcome, user, config), config.level),
        _difference(gaucs, _gauc_replicates(pair, outcome, user, config), config.level),
    )


def _auc_replicates(
    pair: tuple[Numbers, Numbers], outcome: Numbers, user: Numbers, config: RankerMetricsConfig
) -> Floats:
    curves = [WeightedAucCurve(outcome, predicted) for predicted in pair]
    users, of_row = np.unique(user, return_inverse=True)
    rng = np.random.default_rng(config.seed)
    found = np.empty((config.resamples, 2))
    for replicate in found:
        drawn = np.bincount(rng.integers(0, len(users), len(users)), minlength=len(users))
        replicate[:] = [curve.auc(drawn[of_row]) for curve in curves]
    return found


def _gauc_replicates(
    pair: tuple[Numbers, Numbers], outcome: Numbers, user: Numbers, config: RankerMetricsConfig
) -> Floats:
    first, rows = user_aucs(outcome, pair[0], user)
    second, _ = user_aucs(outcome, pair[1], user)
    counted = np.where(np.isnan(first), 0, rows)
    columns = np.stack([np.nan_to_num(first) * counted, np.nan_to_num(second) * counted, counted], axis=1)
    means = resampled_means(columns, config.resamples, config.seed)
    with np.errstate(invalid="ignore"):
        return means[:, :2] / means[:, 2:]


def _difference(values: list[float], replicates: Floats, level: float) -> RankerDifference:
    low, high = percentile_interval(paired_differences(replicates[:, :1], replicates[:, 1:]), level)
    return RankerDifference(values[0] - values[1], float(low[0]), float(high[0]))


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
            found = measure()
        except InsufficientDataError as reason:
            left_out[name] = f"of {rows}: {reason}"
            continue
        metrics[name] = _value(found)
        if isinstance(found, GroupedAuc):
            counts |= {f"{name}_users": found.users, f"{name}_rows": found.rows}
    guesses = _measures(_constant(labels), labels, config)
    return RankerMetrics(metrics, {name: _value(guesses[name][1]()) for name in metrics}, left_out, counts)


def _value(found: float | GroupedAuc) -> float:
    return found.value if isinstance(found, GroupedAuc) else found


def _measures(
    predictions: RankerPredictions, labels: ImpressionLabels, config: RankerMetricsConfig
) -> dict[str, tuple[str, Callable[[], float | GroupedAuc]]]:
    """Of each metric the rows it is about, in words, and how to find it."""
    click, p_click = labels.click, predictions.p_click
    watch, seconds = labels.watch_s, predictions.watch_s
    mature = np.flatnonzero(labels.mature)
    conv, p_conv = labels.conversion[mature], predictions.p_conv[mature]
    tried = click[mature] > 0
    # A click that was held impossible leaves the CVR open: any small number keeps the order of the others.
    cvr = p_conv / np.maximum(p_click[mature], np.finfo(np.float32).tiny)
    shown, ripe = "the impressions", "the mature impressions"
    return {
        "click_auc": (shown, lambda: auc(click, p_click)),
        "click_gauc": (shown, lambda: grouped_auc(click, p_click, labels.user)),
        "click_log_loss": (shown, lambda: log_loss(click, p_click)),
        "click_ece": (shown, lambda: ece(click, p_click, config.bins)),
        "click_bias": (shown, lambda: bias(click, p_click)),
        "watch_mae": (shown, lambda: mae(watch, seconds)),
        "watch_bias": (shown, lambda: bias(watch, seconds)),
        "watch_xauc": (shown, lambda: xauc(watch, seconds)),
        "watch_xauc_duration": (
            shown,
            lambda: grouped_xauc(
                watch, seconds, equal_count_bins(labels.duration_s, config.duration_buckets)
            ),
        ),
        "cvr_auc": ("the mature clicks", lambda: auc(conv[tried], cvr[tried])),
        "conv_auc": (ripe, lambda: auc(conv, p_conv)),
        "conv_log_loss": (ripe, lambda: log_loss(conv, p_conv)),
        "conv_ece": (ripe, lambda: ece(conv, p_conv, config.bins)),
        "conv_bias": (ripe, lambda: bias(conv, p_conv)),
    }


def _constant(labels: ImpressionLabels) -> RankerPredictions:
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
                fix="find out where the ranker loses its numbers",
            )
