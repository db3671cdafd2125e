"""Heads of watch time: what a network learns of it, and how seconds come out of that again.

Seconds are skewed, often 0, and grow with the video's length whatever the interest: who regresses on them
learns durations. A head says what is learned instead.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, assert_never

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from scipy.special import expit
from torch import Tensor
from torch.nn import functional

from vrec.core.artifact import Arrays
from vrec.core.config import BaseConfig
from vrec.core.errors import ModelError, RankError
from vrec.ranking.features.arrays import Floats

Doubles = npt.NDArray[np.float64]


class CreadConfig(BaseConfig):
    """Ordinal buckets of seconds, each threshold a yes or no, and seconds restored from all of them."""

    kind: Literal["cread"] = "cread"
    """Names this head."""
    thresholds: int = Field(default=16, ge=1)
    """The most thresholds, 0 s among them: more are finer, but each is learned from fewer rows."""
    tail: float = Field(default=1.0, ge=0)
    """Where thresholds lie: 0 puts as many watches into each bucket; the more, the finer the long watches,
    of which a bucket would else span minutes, and the coarser the short ones."""
    restore_weight: float = Field(default=0.03, ge=0)
    """Weight of the restored seconds' Huber loss beside the thresholds' cross-entropy, which has weight 1."""
    huber: float = Field(default=5.0, gt=0)
    """Errors up to this many mean watches count squared, larger ones only linearly, which biases the mean."""
    order_weight: float = Field(default=0.1, ge=0)
    """Weight of the penalty for finding a longer watch more likely than a shorter one."""


class D2qConfig(BaseConfig):
    """Quantiles of watch time among videos of about the same duration."""

    kind: Literal["d2q"] = "d2q"
    """Names this head."""
    groups: int = Field(default=20, ge=1)
    """The most groups of durations, equal in impressions; videos of unknown duration are one more."""
    min_rows: int = Field(default=100, ge=2)
    """Fewest impressions of a group; if fewer have no known duration, they share everybody's quantiles."""
    knots: int = Field(default=1000, ge=2)
    """Points kept of a group's distribution, or one more, with straight lines between them."""


class RawWatchConfig(BaseConfig):
    """Seconds themselves, by least squares."""

    kind: Literal["raw"] = "raw"
    """Names this head."""


WatchConfig = Annotated[CreadConfig | D2qConfig | RawWatchConfig, Field(discriminator="kind")]
"""Watch head and its settings."""


class WatchHead(ABC):
    """What is learned of watch time, fitted on training impressions: immutable, and free of weights."""

    @property
    @abstractmethod
    def width(self) -> int:
        """How many outputs the network must give it."""

    @abstractmethod
    def targets(self, watch_s: Floats, duration_s: Floats) -> Floats:
        """What to learn (N, T) float32 from seconds (N,), 0 where not watched, and durations, NaN unknown.

        Raises RankError for seconds or durations that are below 0 or infinite, or seconds that are NaN.
        """

    @abstractmethod
    def loss(self, out: Tensor, targets: Tensor) -> Tensor:
        """The loss, a scalar and mean over rows, of raw outputs (N, width) against targets (N, T)."""

    @abstractmethod
    def seconds(self, out: Floats, duration_s: Floats) -> Floats:
        """Seconds (N,) float32 ≥ 0 of raw outputs (N, width) and durations (N,), NaN unknown."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """What `restore_watch_head` needs besides the config."""


@dataclass(frozen=True, eq=False, slots=True)
class CreadWatchHead(WatchHead):
    """CREAD (Sun et al. 2024, arXiv:2401.07521): logits of P(watch > threshold), the first threshold 0 s.

    Thresholds are quantiles of the watches above 0 s, at levels that a truncated exponential distribution
    spaces out, as the paper's error-adaptive discretisation has it. Seconds are Σ p_m (v_m+1 − v_m) with
    v_m the mean watch of bucket m and v_0 = 0. The paper takes the thresholds for v, which rounds every watch
    up to its bucket's end; with means the restored expectation has no bias if the p_m have none.
    """

    config: CreadConfig
    thresholds: Floats
    """(M,) seconds, strictly rising from 0."""
    values: Floats
    """(M + 1,) the mean watch in seconds of each bucket: 0 s, up to threshold 1, …, beyond the last."""
    scale: Floats
    """() the mean watch above 0 s: the Huber loss's unit."""

    @classmethod
    def fit(cls, config: CreadConfig, watch_s: Doubles) -> "CreadWatchHead":
        """The head for these seconds (N,)."""
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
        wrong = functional.huber_loss(restored, targets[:, 0] / unit, delta=self.config.huber)
        disorder = torch.relu(chance[:, 1:] - chance[:, :-1]).sum(dim=1).mean()
        return (
            functional.binary_cross_entropy_with_logits(out, beyond)
            + self.config.restore_weight * wrong
            + self.config.order_weight * disorder
        )

    def seconds(self, out: Floats, duration_s: Floats) -> Floats:
        # Not a matrix product, whose last bit can depend on how many rows there are.
        steps = np.diff(self.values.astype(np.float64))
        return _as_float32((expit(out.astype(np.float64)) * steps).sum(axis=1))

    def arrays(self) -> Arrays:
        return {"thresholds": self.thresholds, "values": self.values, "scale": self.scale}


@dataclass(frozen=True, eq=False, slots=True)
class D2qWatchHead(WatchHead):
    """D2Q (Zhan et al. 2022, arXiv:2206.06003): the logit of the watch's quantile within its duration group.

    Equal watches share the middle of their ranks: of a group with half its impressions unwatched all those
    are at quantile 1/4, and what is predicted there or lower is 0 s. The loss is the cross-entropy to the
    quantile, which is least at the expected quantile, as squares are, but has no flat tails. The watch of
    the expected quantile is not the expected watch but less, as watches are skewed; one calibration curve
    mends that over all and not within durations. It is the head for order, not for sums.
    """

    config: D2qConfig
    edges: Doubles
    """(G − 1,) the longest duration in seconds of each group of known durations but the last."""
    starts: npt.NDArray[np.int64]
    """(G + 2,) where each group's knots begin, the last group being unknown durations; then their number."""
    values: Doubles
    """(K,) seconds, strictly rising within a group."""
    quantiles: Doubles
    """(K,) their quantiles in (0, 1), strictly rising within a group."""

    @classmethod
    def fit(cls, config: D2qConfig, watch_s: Doubles, duration_s: Doubles) -> "D2qWatchHead":
        """The head for these seconds (N,) and durations (N,), NaN unknown."""
        known = ~np.isnan(duration_s)
        edges = _edges(np.sort(duration_s[known]), config)
        group = _group(duration_s, edges)
        members = [watch_s[group == place] for place in range(len(edges) + 2)]
        # Too few rows, known or unknown, have no distribution of their own.
        parts = [_knots(rows if len(rows) >= config.min_rows else watch_s, config.knots) for rows in members]
        starts = np.cumsum([0, *(len(values) for values, _ in parts)])
        values, quantiles = (np.concatenate(column) for column in zip(*parts, strict=True))
        return cls(config, edges, starts, values, quantiles)

    @property
    def width(self) -> int:
        return 1

    def targets(self, watch_s: Floats, duration_s: Floats) -> Floats:
        watch, duration = check_watch_times(watch_s, duration_s)
        return _as_float32(self._between(watch, duration, self.values, self.quantiles))[:, None]

    def loss(self, out: Tensor, targets: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(out, targets)

    def seconds(self, out: Floats, duration_s: Floats) -> Floats:
        quantile = expit(out[:, 0].astype(np.float64))
        return _as_float32(self._between(quantile, duration_s, self.quantiles, self.values))

    def arrays(self) -> Arrays:
        return {name: getattr(self, name) for name in ("edges", "starts", "values", "quantiles")}

    def _between(self, at: Doubles, duration_s: npt.NDArray[Any], xs: Doubles, ys: Doubles) -> Doubles:
        # Each group's knots are moved to a stretch of their own, so that one call interpolates all groups.
        group = _group(duration_s, self.edges)
        low, high = xs[self.starts[:-1]], xs[self.starts[1:] - 1]
        stretch = xs.max() + 1
        of_knot = np.repeat(np.arange(len(low)), np.diff(self.starts))
        inside = np.clip(at, low[group], high[group])
        return np.interp(group * stretch + inside, of_knot * stretch + xs, ys)


@dataclass(frozen=True, eq=False, slots=True)
class RawWatchHead(WatchHead):
    """Seconds in units of their deviation, by least squares: no bias, but long videos weigh the most."""

    config: RawWatchConfig
    scale: Floats
    """() seconds of one unit."""

    @classmethod
    def fit(cls, config: RawWatchConfig, watch_s: Doubles) -> "RawWatchHead":
        """The head for these seconds (N,)."""
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
    """The head for training impressions: seconds (N,), 0 where not watched, and durations (N,), NaN unknown.

    The rows' order is of no consequence. Raises RankError for seconds or durations that are below 0 or
    infinite, seconds that are NaN, or fewer than two different ones.
    """
    watch, duration = check_watch_times(watch_s, duration_s)
    if len(watch) == 0 or watch.min() == watch.max():
        found = f"all {len(watch):,} impressions have {watch[0]:g} s" if len(watch) else "no impressions"
        raise RankError(
            f"watch_s: {found}: there is nothing to learn", fix="train on a log with watch events"
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
    """The head that had this config and gave these `arrays()`; raises ModelError where one is missing."""
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
        raise ModelError(f"the {config.kind} watch head has no array {missing}") from None


def check_watch_times(watch_s: Floats, duration_s: Floats) -> tuple[Doubles, Doubles]:
    """The same seconds (N,) and durations (N,) as float64; raises RankError for what is no time."""
    watch, duration = np.asarray(watch_s, dtype=np.float64), np.asarray(duration_s, dtype=np.float64)
    if watch.ndim != 1 or duration.shape != watch.shape:
        raise RankError(f"watch_s is {watch.shape}, duration_s {duration.shape}: want one of each for a row")
    for name, values in (("watch_s", watch), ("duration_s", duration)):
        # Only a duration may be unknown.
        good = (values >= 0) & (values < np.inf) | (np.isnan(values) & (name == "duration_s"))
        bad = np.flatnonzero(~good)
        if len(bad):
            raise RankError(
                f"{name}: {len(bad):,} of {len(values):,} values are no time, such as {values[bad[0]]:g} "
                f"in row {bad[0]}",
                fix="give seconds from 0 up" + (", NaN where unknown" if name == "duration_s" else ""),
            )
    return watch, duration


def _edges(ordered: Doubles, config: D2qConfig) -> Doubles:
    groups = min(config.groups, len(ordered) // config.min_rows)
    kept: list[float] = []
    taken = 0
    for level in np.arange(1, groups) / groups:
        edge = ordered[int(level * len(ordered))]
        below = int(np.searchsorted(ordered, edge, side="right"))
        # Many videos of one duration can leave next to nothing between two quantiles.
        if min(below - taken, len(ordered) - below) >= config.min_rows:
            kept.append(float(edge))
            taken = below
    return np.array(kept, dtype=np.float64)


def _group(duration_s: npt.NDArray[Any], edges: Doubles) -> npt.NDArray[np.int64]:
    return np.where(np.isnan(duration_s), len(edges) + 1, np.searchsorted(edges, duration_s, side="left"))


def _knots(watch_s: Doubles, most: int) -> tuple[Doubles, Doubles]:
    values, counts = np.unique(watch_s, return_counts=True)
    quantiles = (np.cumsum(counts) - counts / 2) / len(watch_s)
    even = np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(np.int64)
    # The least watch above 0 s stays: a line to a later one would give seconds to the unwatched.
    kept = np.union1d(even, np.arange(min(2, len(values))))
    return values[kept], quantiles[kept]


def _as_float32(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float32)


def _like(values: npt.NDArray[np.floating], out: Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=out.dtype, device=out.device)
