"""Watch-time heads: transforms of watch time into training targets, and of outputs back into seconds.

Watch times are skewed, often 0, and grow with the duration of the video whatever the interest, so that plain
regression mostly learns durations. A head defines another target and its loss.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit
from torch import Tensor
from torch.nn import functional

from vrec.core.artifact import Arrays
from vrec.core.checks import find_bad_rows
from vrec.core.errors import ModelError, RankError
from vrec.ranking.duration_groups import group_by_duration
from vrec.ranking.features.arrays import Floats
from vrec.ranking.networks.config import CreadConfig, D2qConfig, RawWatchConfig, WatchConfig

Doubles = npt.NDArray[np.float64]


class WatchHead(ABC):
    """Target transform and loss of watch time, fitted on training impressions: immutable, without weights."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of outputs of the network for this head."""

    @abstractmethod
    def targets(self, watch_s: Floats, duration_s: Floats) -> Floats:
        """Transform watch times into training targets.

        Args:
            watch_s: (N,) seconds, 0 where not watched.
            duration_s: (N,) durations of the videos in seconds, NaN unknown.

        Returns:
            (N, T) float32 targets.

        Raises:
            RankError: a time is below 0 or infinite, or a watch time is NaN.
        """

    @abstractmethod
    def loss(self, out: Tensor, targets: Tensor) -> Tensor:
        """Return the scalar loss, a mean over rows, of raw outputs (N, width) against targets (N, T)."""

    @abstractmethod
    def seconds(self, out: Floats, duration_s: Floats) -> Floats:
        """Return (N,) float32 seconds ≥ 0 for raw outputs (N, width) and durations (N,) in s, NaN unknown."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """Return the arrays that `restore_watch_head` reads besides the config."""


@dataclass(frozen=True, eq=False, slots=True)
class CreadWatchHead(WatchHead):
    """CREAD (Sun et al. 2024, arXiv:2401.07521): logits of P(watch > threshold), the first threshold 0 s.

    Thresholds are quantiles of the watches above 0 s, at levels spaced by a truncated exponential
    distribution, which is the error-adaptive discretization of the paper. Seconds are Σ p_m (v_m+1 − v_m)
    with v_m the mean watch of bucket m and v_0 = 0. The paper uses the thresholds as v, which rounds every
    watch up to the end of its bucket; with means the restored expectation is unbiased if the p_m are.
    """

    config: CreadConfig
    thresholds: Floats
    """(M,) seconds, strictly increasing from 0."""
    values: Floats
    """(M + 1,) mean watch in seconds of each bucket: 0 s, up to threshold 1, …, beyond the last."""
    scale: Floats
    """() mean watch above 0 s in seconds: the unit of the Huber loss."""

    @classmethod
    def fit(cls, config: CreadConfig, watch_s: Doubles) -> "CreadWatchHead":
        """Fit the head on seconds (N,)."""
        ordered = np.sort(watch_s)
        watched = ordered[ordered > 0]
        levels = np.arange(1, config.thresholds) / config.thresholds
        if config.tail > 0:
            levels = np.expm1(-config.tail * levels) / np.expm1(-config.tail)
        cuts = np.quantile(watched, levels, method="inverted_cdf")
        # A cut at the longest watch would have nothing beyond it.
        thresholds = np.unique(np.append(0.0, cuts[cuts < watched[-1]]))
        bucket = np.searchsorted(thresholds, ordered, side="left")
        count = np.bincount(bucket, minlength=len(thresholds) + 1)
        values = np.bincount(bucket, weights=ordered, minlength=len(thresholds) + 1) / np.maximum(count, 1)
        return cls(config, _as_float32(thresholds), _as_float32(values), _as_float32(watched.mean()))

    @property
    def width(self) -> int:
        return len(self.thresholds)

    def targets(self, watch_s: Floats, duration_s: Floats) -> Floats:
        watch, _ = check_watch_times(watch_s, duration_s)
        return _as_float32(watch)[:, None]

    def loss(self, out: Tensor, targets: Tensor) -> Tensor:
        beyond = (targets > _like(self.thresholds, out)).to(out.dtype)
        chance = torch.sigmoid(out)
        unit = float(self.scale)
        restored = (chance * _like(np.diff(self.values) / unit, out)).sum(dim=1)
        huber = functional.huber_loss(restored, targets[:, 0] / unit, delta=self.config.huber)
        disorder = torch.relu(chance[:, 1:] - chance[:, :-1]).sum(dim=1).mean()
        return (
            functional.binary_cross_entropy_with_logits(out, beyond)
            + self.config.restore_weight * huber
            + self.config.order_weight * disorder
        )

    def seconds(self, out: Floats, duration_s: Floats) -> Floats:
        # Not a matrix product, whose last bit can depend on the number of rows.
        steps = np.diff(self.values.astype(np.float64))
        return _as_float32((expit(out.astype(np.float64)) * steps).sum(axis=1))

    def arrays(self) -> Arrays:
        return {"thresholds": self.thresholds, "values": self.values, "scale": self.scale}


@dataclass(frozen=True, eq=False, slots=True)
class D2qWatchHead(WatchHead):
    """D2Q (Zhan et al. 2022, arXiv:2206.06003): the logit of the watch's quantile within its duration group.

    Equal watches share their middle rank: in a group with half its impressions unwatched, those are at
    quantile 1/4, and predictions there or lower become 0 s. The loss is the cross-entropy to the quantile,
    which is minimal at the expected quantile, like squared error, but has no flat tails. The watch at the
    expected quantile is below the expected watch, as watches are skewed; the calibration corrects this
    overall, but not within durations. Use this head for ranking, not for sums.
    """

    config: D2qConfig
    edges: Doubles
    """(G − 1,) longest duration in seconds of each group of known durations except the last."""
    starts: npt.NDArray[np.int64]
    """(G + 2,) start of each group's knots, unknown durations last, then the number of all knots."""
    values: Doubles
    """(K,) seconds, strictly increasing within a group."""
    quantiles: Doubles
    """(K,) quantiles in (0, 1) of `values`, strictly increasing within a group."""

    @classmethod
    def fit(cls, config: D2qConfig, watch_s: Doubles, duration_s: Doubles) -> "D2qWatchHead":
        """Fit the head on seconds (N,) and durations (N,) in s, NaN unknown."""
        known = ~np.isnan(duration_s)
        edges = _edges(np.sort(duration_s[known]), config)
        group = group_by_duration(duration_s, edges)
        members = [watch_s[group == place] for place in range(len(edges) + 2)]
        # Groups with too few rows, known or unknown, use the distribution of all rows.
        parts = [_knots(rows if len(rows) >= config.min_rows else watch_s, config.knots) for rows in members]
        starts = np.cumsum([0, *(len(values) for values, _ in parts)])
        values, quantiles = (np.concatenate(column) for column in zip(*parts, strict=True))
        return cls(config, edges, starts, values, quantiles)

    @property
    def width(self) -> int:
        return 1

    def targets(self, watch_s: Floats, duration_s: Floats) -> Floats:
        watch, duration = check_watch_times(watch_s, duration_s)
        return _as_float32(self._interpolate(watch, duration, self.values, self.quantiles))[:, None]

    def loss(self, out: Tensor, targets: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(out, targets)

    def seconds(self, out: Floats, duration_s: Floats) -> Floats:
        quantile = expit(out[:, 0].astype(np.float64))
        return _as_float32(self._interpolate(quantile, duration_s, self.quantiles, self.values))

    def arrays(self) -> Arrays:
        return {name: getattr(self, name) for name in ("edges", "starts", "values", "quantiles")}

    def _interpolate(self, at: Doubles, duration_s: npt.NDArray[Any], xs: Doubles, ys: Doubles) -> Doubles:
        # The knots of each group are shifted to an interval of their own: one call interpolates all groups.
        group = group_by_duration(duration_s, self.edges)
        low, high = xs[self.starts[:-1]], xs[self.starts[1:] - 1]
        interval = xs.max() + 1
        group_of_knot = np.repeat(np.arange(len(low)), np.diff(self.starts))
        inside = np.clip(at, low[group], high[group])
        return np.interp(group * interval + inside, group_of_knot * interval + xs, ys)


@dataclass(frozen=True, eq=False, slots=True)
class RawWatchHead(WatchHead):
    """Seconds in units of their standard deviation, by least squares: unbiased, but long videos dominate."""

    config: RawWatchConfig
    scale: Floats
    """() seconds of one unit."""

    @classmethod
    def fit(cls, config: RawWatchConfig, watch_s: Doubles) -> "RawWatchHead":
        """Fit the head on seconds (N,)."""
        return cls(config, _as_float32(np.sort(watch_s).std()))

    @property
    def width(self) -> int:
        return 1

    def targets(self, watch_s: Floats, duration_s: Floats) -> Floats:
        watch, _ = check_watch_times(watch_s, duration_s)
        return _as_float32(watch / self.scale)[:, None]

    def loss(self, out: Tensor, targets: Tensor) -> Tensor:
        return functional.mse_loss(out, targets)

    def seconds(self, out: Floats, duration_s: Floats) -> Floats:
        return _as_float32(np.maximum(out[:, 0] * self.scale, 0))

    def arrays(self) -> Arrays:
        return {"scale": self.scale}


def fit_watch_head(config: WatchConfig, watch_s: Floats, duration_s: Floats) -> WatchHead:
    """Fit the configured head on training impressions; the order of the rows does not matter.

    Args:
        config: Kind and settings of the head.
        watch_s: (N,) seconds, 0 where not watched.
        duration_s: (N,) durations of the videos in seconds, NaN unknown.

    Raises:
        RankError: a time is below 0 or infinite, a watch time is NaN, or all watch times are equal.
    """
    watch, duration = check_watch_times(watch_s, duration_s)
    if len(watch) == 0 or watch.min() == watch.max():
        summary = f"all {len(watch):,} impressions have {watch[0]:g} s" if len(watch) else "no impressions"
        raise RankError(
            f"watch_s: {summary}, so that there is nothing to learn", fix="train on a log with watch events"
        )
    match config:
        case CreadConfig():
            return CreadWatchHead.fit(config, watch)
        case D2qConfig():
            return D2qWatchHead.fit(config, watch, duration)
        case RawWatchConfig():
            return RawWatchHead.fit(config, watch)
        case _:
            assert_never(config)


def restore_watch_head(config: WatchConfig, arrays: Mapping[str, npt.NDArray[Any]]) -> WatchHead:
    """Rebuild a head from its config and `arrays()`; raise ModelError where an array is missing."""
    try:
        match config:
            case CreadConfig():
                return CreadWatchHead(config, arrays["thresholds"], arrays["values"], arrays["scale"])
            case D2qConfig():
                names = ("edges", "starts", "values", "quantiles")
                return D2qWatchHead(config, *(arrays[name] for name in names))
            case RawWatchConfig():
                return RawWatchHead(config, arrays["scale"])
            case _:
                assert_never(config)
    except KeyError as missing:
        raise ModelError(
            f"the {config.kind} watch head has no array {missing}",
            fix="train the ranker again, or copy its folder again",
        ) from None


def check_watch_times(watch_s: Floats, duration_s: Floats) -> tuple[Doubles, Doubles]:
    """Return seconds (N,) and durations (N,) as float64; raise RankError for invalid times."""
    watch, duration = np.asarray(watch_s, dtype=np.float64), np.asarray(duration_s, dtype=np.float64)
    if watch.ndim != 1 or duration.shape != watch.shape:
        raise RankError(
            f"watch_s is of shape {watch.shape}, duration_s of {duration.shape}, want one of each for a row",
            fix="pass one-dimensional arrays of equal length",
        )
    for name, values in (("watch_s", watch), ("duration_s", duration)):
        # Only a duration may be unknown.
        valid = (values >= 0) & (values < np.inf) | (np.isnan(values) & (name == "duration_s"))
        if bad := find_bad_rows(~valid):
            raise RankError(
                f"{name}: {bad.count:,} of {len(values):,} values are not valid times, such as "
                f"{values[bad.first]:g} in row {bad.first}",
                fix="pass seconds ≥ 0" + (", NaN where unknown" if name == "duration_s" else ""),
            )
    return watch, duration


def _edges(ordered: Doubles, config: D2qConfig) -> Doubles:
    groups = min(config.groups, len(ordered) // config.min_rows)
    edges: list[float] = []
    covered = 0
    for level in np.arange(1, groups) / groups:
        edge = ordered[int(level * len(ordered))]
        below = int(np.searchsorted(ordered, edge, side="right"))
        # Many videos of equal duration can leave too few rows between two quantiles.
        if min(below - covered, len(ordered) - below) >= config.min_rows:
            edges.append(float(edge))
            covered = below
    return np.array(edges, dtype=np.float64)


def _knots(watch_s: Doubles, count: int) -> tuple[Doubles, Doubles]:
    values, counts = np.unique(watch_s, return_counts=True)
    quantiles = (np.cumsum(counts) - counts / 2) / len(watch_s)
    even = np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(np.int64)
    # Always include the least watch above 0 s: a line to a later one would give seconds to unwatched rows.
    knots = np.union1d(even, np.arange(min(2, len(values))))
    return values[knots], quantiles[knots]


def _as_float32(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float32)


def _like(values: npt.NDArray[np.floating], out: Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=out.dtype, device=out.device)
