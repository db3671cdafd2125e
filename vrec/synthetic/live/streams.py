"""Ground truth of simulated live streams: streamers, their rhythm, and what each stream shows when."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.schema import STREAM_VECTORS, STREAMS, TIMESTAMP, conform
from vrec.synthetic.live.config import LiveSimulationConfig

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

DAY_S = 86_400.0
STYLE_DIM = 6
"""Length of the latent vectors of styles."""
PAUSE_S = 1800.0
"""Least seconds between two streams of a streamer."""


@dataclass(frozen=True)
class SimulatedStreamers:
    """Streamers, S rows each."""

    home: Indices
    """(S,) main category."""
    other: Indices
    """(S,) category to which streams turn."""
    popularity: Floats
    """(S,) log-odds of being seen and chosen that are equal for all shoppers."""
    style: Floats
    """(S, STYLE_DIM) latent style."""
    look: Floats
    """(S, dim) part of the content vectors that is the streamer's own."""
    hour: Floats
    """(S,) usual hour of the day at which streams begin."""
    rate: Floats
    """(S,) probability of a stream on a day."""
    length_s: Floats
    """(S,) typical length of a stream."""
    joined: Indices
    """(S,) first day, from 0."""


@dataclass(frozen=True)
class SimulatedStreams:
    """Streams, N rows each by start; times in seconds from the log's start."""

    config: LiveSimulationConfig
    streamers: SimulatedStreamers
    centers: Floats
    """(K, dim) content vector of each category."""
    streamer: Indices
    """(N,) row of the streamer."""
    started: Floats
    ended: Floats
    turn: Floats
    """(N,) time at which the stream begins to turn to the other category; inf for never."""

    def other_share(self, streams: Indices, at: Floats | float) -> Floats:
        """Return the (M,) share of the other category in what streams show at a time."""
        return np.clip((at - self.turn[streams]) / self.config.drift_s, 0, 1)

    def live_at(self, at: float) -> Indices:
        """Return the rows of the streams that are live at a time, ascending."""
        hour = int(np.clip(at // 3600, 0, len(self._by_hour) - 1))
        near = self._by_hour[hour]
        return near[(self.started[near] <= at) & (at < self.ended[near])]

    @cached_property
    def _by_hour(self) -> list[Indices]:
        hours = int(np.ceil(self.ended.max(initial=0) / 3600)) + 1
        starts = np.arange(hours) * 3600.0
        return [np.flatnonzero((self.started < s + 3600) & (self.ended > s)) for s in starts]

    @cached_property
    def stream_ids(self) -> pa.Array:
        """(N,) ids of the streams."""
        width = len(str(max(len(self.started) - 1, 0)))
        return pa.array([f"stream-{n:0{width}}" for n in range(len(self.started))], pa.string())

    def table(self) -> pa.Table:
        """Return STREAMS; `category` is the one that the stream begins with."""
        home = self.streamers.home[self.streamer]
        width = len(str(len(self.streamers.home) - 1))
        categories = [f"category-{n}" for n in home]
        n = len(home)
        table = pa.table(
            {
                "stream_id": self.stream_ids,
                "streamer_id": [f"streamer-{s:0{width}}" for s in self.streamer],
                "title": pa.nulls(n, pa.string()),
                "tags": pa.array([[name] for name in categories], pa.list_(pa.string())),
                "category": pa.array(categories, pa.string()),
                "product_ids": pa.array(
                    [[f"product-{k}-{s % 7}"] for k, s in zip(home, self.streamer, strict=True)],
                    pa.list_(pa.string()),
                ),
                "started_at": to_times(self.started, self.config),
                "ended_at": to_times(self.ended, self.config),
            }
        )
        return conform(table, STREAMS, stage="simulate_live")

    def vectors(self) -> pa.Table:
        """Return STREAM_VECTORS: one at the start of each stream, and one after each window."""
        rng = np.random.default_rng([self.config.seed, 12])
        counts = np.maximum(np.ceil((self.ended - self.started) / self.config.window_s), 1).astype(np.int64)
        stream = np.repeat(np.arange(len(counts)), counts)
        number = np.arange(len(stream)) - np.repeat(np.cumsum(counts) - counts, counts)
        at = self.started[stream] + number * self.config.window_s
        share = self.other_share(stream, at)[:, None]
        who = self.streamer[stream]
        home, other = self.centers[self.streamers.home[who]], self.centers[self.streamers.other[who]]
        noise = rng.normal(size=home.shape) * self.config.vector_noise / home.shape[1] ** 0.5
        vectors = unit((1 - share) * home + share * other + self.streamers.look[who] + noise)
        flat = pa.array(vectors.astype(np.float32).ravel())
        table = pa.table(
            {
                "stream_id": self.stream_ids.take(pa.array(stream)),
                "encoder": pa.repeat("simulated", len(stream)),
                "at": to_times(at, self.config),
                "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
            }
        )
        return conform(table, STREAM_VECTORS, stage="simulate_live")


def draw_streams(config: LiveSimulationConfig) -> SimulatedStreams:
    """Draw the streamers and all their streams; equal settings give equal ones."""
    rng = np.random.default_rng([config.seed, 10])
    streamers = _draw_streamers(config, rng)
    streamer, started, ended = _draw_intervals(config, streamers, rng)
    length = ended - started
    turns = rng.random(len(started)) < config.drift_share
    turn = np.where(turns, started + rng.uniform(0.25, 0.6, len(started)) * length, np.inf)
    order = np.lexsort((streamer, started))
    centers = unit(rng.normal(size=(config.categories, config.dim)))
    return SimulatedStreams(
        config, streamers, centers, streamer[order], started[order], ended[order], turn[order]
    )


def _draw_streamers(config: LiveSimulationConfig, rng: np.random.Generator) -> SimulatedStreamers:
    n = config.streamers
    home = rng.integers(config.categories, size=n)
    other = (home + 1 + rng.integers(config.categories - 1, size=n)) % config.categories
    joined = np.where(rng.random(n) < config.newcomer_share, rng.integers(config.days, size=n), 0)
    return SimulatedStreamers(
        home=home,
        other=other,
        popularity=config.popularity_spread * rng.normal(size=n),
        style=rng.normal(size=(n, STYLE_DIM)) / STYLE_DIM**0.5,
        look=0.4 * unit(rng.normal(size=(n, config.dim))),
        hour=(19.0 + 5.0 * rng.normal(size=n)) % 24,
        rate=rng.beta(3.0, 2.0, size=n),
        length_s=np.exp(rng.normal(np.log(9000.0), 0.4, size=n)),
        joined=joined,
    )


def _draw_intervals(
    config: LiveSimulationConfig, streamers: SimulatedStreamers, rng: np.random.Generator
) -> tuple[Indices, Floats, Floats]:
    """Return streamer, start and end of each stream; a streamer has one stream at a time."""
    days = np.arange(config.days)
    shape = (config.streamers, config.days)
    held = (rng.random(shape) < streamers.rate[:, None]) & (days >= streamers.joined[:, None])
    start = days * DAY_S + streamers.hour[:, None] * 3600 + 1200 * rng.normal(size=shape)
    length = streamers.length_s[:, None] * np.exp(0.3 * rng.normal(size=shape))
    end = np.minimum(start + length.clip(1800, 28_800), config.days * DAY_S)
    free = np.full(config.streamers, 0.0)
    kept: list[tuple[Indices, Floats, Floats]] = []
    for day in days:
        fits = held[:, day] & (start[:, day] >= free) & (end[:, day] - start[:, day] >= 900)
        rows = np.flatnonzero(fits)
        free[rows] = end[rows, day] + PAUSE_S
        kept.append((rows, start[rows, day], end[rows, day]))
    streamer, started, ended = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    return streamer, started, ended


def unit(vectors: Floats) -> Floats:
    """Return (N, D) vectors of unit length."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def to_times(seconds: Floats, config: LiveSimulationConfig) -> pa.Array:
    """Return TIMESTAMPs of (N,) seconds from the log's start."""
    start = round(config.start.timestamp() * 1e6)
    return pa.array(start + np.round(seconds * 1e6).astype(np.int64)).cast(TIMESTAMP)
