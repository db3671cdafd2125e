"""Figures of the impressions of one hour that the model ranked, by the code of `vrec evaluate`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from vrec.evaluation.offline.metrics import RankedLists, coverage
from vrec.evaluation.ranking.metrics import (
    Floats,
    InsufficientDataError,
    Ints,
    auc,
    bias,
    ece,
    grouped_auc,
    log_loss,
    user_aucs,
)
from vrec.evaluation.sequential import RatioSums, UserLimits, running_sums, sums_at

GAUC, CALIBRATION, COVERAGE = "gauc", "calibration", "coverage"
MEASURES = (GAUC, CALIBRATION, COVERAGE)
"""Measures that alarms are about, each a ratio of sums over shoppers or blocks of lists."""
LISTS_PER_BLOCK = 10
"""Lists, each of another shopper, whose videos are counted together for the coverage."""
MOST_ROWS = 20.0
"""Impressions of a shopper above which they count in part in the alarm about the gAUC."""
MOST_CLICKS = 3.0
"""Clicks, and predicted clicks, above which a shopper counts in part in the alarm about the calibration."""
BINS = 10
"""Calibration bins of an hour."""


@dataclass(frozen=True, eq=False, slots=True)
class ServedImpressions:
    """Impressions of an hour, N rows in the order of their time."""

    shopper: Ints
    """(N,) number of the shopper."""
    list: Ints
    """(N,) number of the list."""
    video: Ints
    """(N,) number of the video, from 0."""
    p_click: Floats
    """(N,) click probability by which it was ranked."""
    click: Floats
    """(N,) 1 for a click, else 0."""

    def __len__(self) -> int:
        return len(self.click)


@dataclass(frozen=True, slots=True)
class HourFigures:
    """Figures of one hour."""

    hour: int
    """Hours since 1970."""
    bundle: str
    """Version of the bundle that made most of the lists."""
    sums: Mapping[str, RatioSums]
    """Sums of each of MEASURES over shoppers or blocks."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """click_auc, click_gauc, click_ece, click_bias, click_log_loss and coverage; those that are undefined for
    the hour's impressions are absent."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """impressions, lists, shoppers, clicks."""


def measure_hour(rows: ServedImpressions, hour: int, bundle: str, videos: int) -> HourFigures:
    """Measure the impressions of an hour; `videos` is the number of videos in the catalog.

    Raises:
        EvaluationError: A prediction is not a probability.
    """
    lists = _ranked_lists(rows, max(videos, int(rows.video.max(initial=-1)) + 1))
    metrics: dict[str, float] = {}
    for name, measure in {
        "click_auc": lambda: auc(rows.click, rows.p_click),
        "click_gauc": lambda: grouped_auc(rows.click, rows.p_click, rows.shopper).value,
        "click_ece": lambda: ece(rows.click, rows.p_click, BINS),
        "click_bias": lambda: bias(rows.click, rows.p_click),
        "click_log_loss": lambda: log_loss(rows.click, rows.p_click),
    }.items():
        try:
            metrics[name] = measure()
        except InsufficientDataError:
            continue
    if len(rows):
        metrics["coverage"] = coverage(lists)
    counts = {
        "impressions": len(rows),
        "lists": len(np.unique(rows.list)),
        "shoppers": len(np.unique(rows.shopper)),
        "clicks": int(rows.click.sum()),
    }
    sums = {GAUC: _gauc_sums(rows), CALIBRATION: _calibration_sums(rows), COVERAGE: _coverage_sums(rows)}
    return HourFigures(hour, bundle, sums, metrics, counts)


def _gauc_sums(rows: ServedImpressions) -> RatioSums:
    if not len(rows):
        return _sums(np.zeros(0), np.zeros(0), 1.0)
    value, count = user_aucs(rows.click, rows.p_click, rows.shopper)
    both = ~np.isnan(value)
    weight = count[both] / MOST_ROWS
    return _sums(value[both] * weight, weight, 1.0)


def _calibration_sums(rows: ServedImpressions) -> RatioSums:
    code = np.unique(rows.shopper, return_inverse=True)[1].reshape(-1)
    clicks, predicted = (
        np.bincount(code, weights=values).astype(np.float64) for values in (rows.click, rows.p_click)
    )
    return _sums(clicks, predicted, MOST_CLICKS)


def _coverage_sums(rows: ServedImpressions) -> RatioSums:
    """Sum over blocks of lists the share of their places that show a video which no other place shows."""
    # The first list of each shopper: later ones resemble it, and blocks are to be independent.
    lists, first = np.unique(rows.list, return_index=True)
    _, earliest = np.unique(rows.shopper[np.sort(first)], return_index=True)
    chosen = rows.list[np.sort(first)][np.sort(earliest)]
    blocks = len(chosen) // LISTS_PER_BLOCK
    shares = np.zeros(blocks)
    block_of = np.full(len(lists), -1)
    block_of[np.searchsorted(lists, chosen[: blocks * LISTS_PER_BLOCK])] = (
        np.arange(blocks * LISTS_PER_BLOCK) // LISTS_PER_BLOCK
    )
    block = block_of[np.searchsorted(lists, rows.list)]
    for number in range(blocks):
        videos = rows.video[block == number]
        shares[number] = len(np.unique(videos)) / len(videos)
    return _sums(shares, np.ones(blocks), 1.0)


def _ranked_lists(rows: ServedImpressions, videos: int) -> RankedLists:
    code = np.unique(rows.list, return_inverse=True)[1].reshape(-1)
    return RankedLists(int(code.max(initial=-1)) + 1, videos, code, rows.video, np.ones(len(rows), np.int64))


def _sums(y: Floats, n: Floats, cap: float) -> RatioSums:
    """Return the sums over shoppers or blocks, of which those above a cap count in part."""
    limits = UserLimits(outcome=cap, trials=cap)
    if not len(y):
        return RatioSums(limits=limits)
    weight = np.minimum(1.0, cap / np.maximum(np.maximum(y, n), cap))
    return sums_at(running_sums(y * weight, n * weight, np.ones(len(y), bool)), len(y), limits)
