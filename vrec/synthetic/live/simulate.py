"""Simulation of shoppers who watch live streams: regulars, newcomers, early leavers."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from scipy.special import expit

from vrec.core.schema import EVENTS, conform
from vrec.synthetic.live.config import LiveSimulationConfig
from vrec.synthetic.live.streams import (
    DAY_S,
    STYLE_DIM,
    Floats,
    Indices,
    SimulatedStreams,
    draw_streams,
    to_times,
)

MOST_TRIES = 4
"""Streams that a visit tries at most, when each is left early."""
LOYAL = 1.0
"""Loyalty from which a shopper may come for a streamer."""
FOLLOW = 3.0
"""Loyalty at which a shopper follows the streamer."""
LOYALTY_S = 1800.0
"""Seconds of watching that raise loyalty by 1."""


@dataclass(frozen=True)
class LiveSimulation:
    """Simulated log of live streams, and their ground truth."""

    truth: SimulatedStreams
    tastes: Floats
    """(U, K) taste of each shopper for each category, of which the favorite has 1."""
    events: pa.Table
    """EVENTS by time: of each view a click at its start and a watch at its end; and follows."""

    @property
    def streams(self) -> pa.Table:
        """STREAMS, by start."""
        return self.truth.table()

    @property
    def vectors(self) -> pa.Table:
        """STREAM_VECTORS, by stream and time."""
        return self.truth.vectors()


def simulate_live(config: LiveSimulationConfig) -> LiveSimulation:
    """Simulate live streams and their viewers; equal settings give equal logs."""
    truth = draw_streams(config)
    rng = np.random.default_rng([config.seed, 11])
    shares = np.nan_to_num(rng.dirichlet(np.full(config.categories, config.interests), config.shoppers))
    tastes = shares / np.maximum(shares.max(axis=1, keepdims=True), np.finfo(float).tiny)
    styles = rng.normal(size=(config.shoppers, STYLE_DIM))
    visits = config.visits_per_day * np.exp(
        config.activity_spread * rng.normal(size=config.shoppers) - config.activity_spread**2 / 2
    )
    hours = (19.5 + 3.5 * rng.normal(size=config.shoppers)) % 24
    is_new = rng.random(config.shoppers) < config.newcomer_share
    joined = np.where(is_new, rng.integers(config.days, size=config.shoppers), 0)
    log = _Log()
    for shopper in range(config.shoppers):
        viewer = _Viewer(
            truth,
            shopper,
            tastes[shopper],
            styles[shopper],
            np.random.default_rng([config.seed, 13, shopper]),
        )
        viewer.live(float(visits[shopper]), float(hours[shopper]), int(joined[shopper]), log)
    return LiveSimulation(truth, tastes, _events(truth, log))


@dataclass
class _Log:
    """Views and follows, a row each."""

    shopper: list[int] = field(default_factory=list)
    stream: list[int] = field(default_factory=list)
    start: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)
    follows: list[tuple[int, int, float]] = field(default_factory=list)

    def add(self, shopper: int, stream: int, start: float, end: float) -> None:
        """Add a view."""
        self.shopper.append(shopper)
        self.stream.append(stream)
        self.start.append(start)
        self.end.append(end)


class _Viewer:
    """One shopper, with loyalties that grow by watching and fade with time."""

    def __init__(
        self, truth: SimulatedStreams, shopper: int, taste: Floats, style: Floats, rng: np.random.Generator
    ) -> None:
        self.truth, self.config, self.rng = truth, truth.config, rng
        self.shopper, self.taste = shopper, taste
        streamers = truth.streamers
        self.liking = self.config.style_weight * (streamers.style @ style)
        self.loyalty = np.zeros(len(streamers.home))
        self.since = np.zeros(len(streamers.home))
        self.following: set[int] = set()

    def live(self, visits: float, hour: float, joined: int, log: _Log) -> None:
        """Go through the days of the log."""
        free = 0.0
        for day in range(joined, self.config.days):
            random_visits = (
                day + ((hour + 2.5 * self.rng.normal(size=self.rng.poisson(visits))) % 24) / 24
            ) * DAY_S
            plans = [(float(at), -1) for at in random_visits] + self._comebacks(day)
            for at, stream in sorted(plans):
                if at >= free:
                    free = self._visit(at, stream, log)

    def _comebacks(self, day: int) -> list[tuple[float, int]]:
        """Return times and streams of today for which the shopper comes."""
        truth, plans = self.truth, []
        low, high = np.searchsorted(truth.started, [day * DAY_S, (day + 1) * DAY_S])
        for stream in low + np.flatnonzero(self.loyalty[truth.streamer[low:high]] >= LOYAL):
            loyalty = self._loyalty_at(truth.streamer[[stream]], float(truth.started[stream]))[0]
            if self.rng.random() < self.config.return_rate * loyalty / (loyalty + 3):
                plans.append((float(truth.started[stream] + self.rng.exponential(900.0)), int(stream)))
        return plans

    def _loyalty_at(self, streamers: Indices, at: float) -> Floats:
        age_days = (at - self.since[streamers]) / DAY_S
        return self.loyalty[streamers] * 0.5 ** (age_days / self.config.loyalty_days)

    def affinity(self, streams: Indices, at: float) -> Floats:
        """Return the (M,) liking of what streams show at a time, without loyalty and popularity."""
        truth = self.truth
        who = truth.streamer[streams]
        share = truth.other_share(streams, at)
        taste = (1 - share) * self.taste[truth.streamers.home[who]] + share * self.taste[
            truth.streamers.other[who]
        ]
        return self.config.category_weight * taste + self.liking[who]

    def _visit(self, at: float, stream: int, log: _Log) -> float:
        """Watch one stream, or more while they are left early; return the end of the last."""
        for _ in range(MOST_TRIES):
            if stream < 0 or at >= self.truth.ended[stream]:
                stream = self._choose(at)
            if stream < 0:
                return at
            end, is_early = self._watch(stream, at)
            log.add(self.shopper, stream, at, end)
            self._remember(stream, at, end, log)
            at, stream = end + 2.0 + self.rng.exponential(5.0), -1
            if not is_early:
                return at
        return at

    def _choose(self, at: float) -> int:
        live = self.truth.live_at(at)
        if not len(live):
            return -1
        who = self.truth.streamer[live]
        popularity = self.truth.streamers.popularity[who]
        loyalty = self._loyalty_at(who, at)
        noticed = popularity + self.rng.gumbel(size=len(live))
        seen = noticed >= np.sort(noticed)[-min(len(live), self.config.considered)]
        utility = (
            self.affinity(live, at)
            + 0.3 * popularity
            + self.config.loyalty_weight * np.log1p(loyalty)
            + self.rng.gumbel(size=len(live))
        )
        return int(live[np.where(seen | (loyalty >= LOYAL), utility, -np.inf).argmax()])

    def _watch(self, stream: int, at: float) -> tuple[float, bool]:
        """Return the end of a view, and whether it was left early."""
        truth, one = self.truth, np.array([stream])
        liking = self.affinity(one, at)[0] + np.log1p(self._loyalty_at(truth.streamer[one], at)[0])
        if self.rng.random() > expit(liking - 1.0):
            length, is_early = 3.0 + self.rng.exponential(self.config.early_leave_s), True
        else:
            length, is_early = 600.0 * np.exp(0.35 * liking + 0.8 * self.rng.normal()), False
        end = at + length
        turned = truth.turn[stream] + self.config.drift_s
        if at < turned < end:
            # Who does not like what the stream turns to leaves soon after.
            after = self.affinity(one, turned)[0]
            if self.rng.random() > expit(after + 1.0 - max(0.0, self.affinity(one, at)[0] - after)):
                end = turned + self.rng.exponential(120.0)
        return float(min(end, truth.ended[stream])), is_early

    def _remember(self, stream: int, at: float, end: float, log: _Log) -> None:
        who = self.truth.streamer[[stream]]
        gained = self._loyalty_at(who, end)[0] + min((end - at) / LOYALTY_S, 2.0)
        if end - at < 2 * self.config.early_leave_s:
            gained *= 0.8
        self.loyalty[who], self.since[who] = gained, end
        if gained >= FOLLOW and int(who[0]) not in self.following:
            self.following.add(int(who[0]))
            log.follows.append((self.shopper, stream, end))


def _events(truth: SimulatedStreams, log: _Log) -> pa.Table:
    config = truth.config
    start, end = np.array(log.start), np.array(log.end)
    follow = np.array(log.follows, np.float64).reshape(-1, 3)
    whole = end <= config.days * DAY_S
    shopper, stream = np.array(log.shopper, np.int64), np.array(log.stream, np.int64)
    number = np.arange(len(start))
    fan, followed = follow[:, 0].astype(np.int64), follow[:, 1].astype(np.int64)
    rows = [
        (number, shopper, stream, start, np.full(len(start), np.nan), "click"),
        (number[whole], shopper[whole], stream[whole], end[whole], (end - start)[whole], "watch"),
        (np.arange(len(fan)), fan, followed, follow[:, 2], np.full(len(fan), np.nan), "follow"),
    ]
    width = len(str(config.shoppers - 1))
    parts = [
        pa.table(
            {
                "event_id": [f"{kind}-{config.seed}-{n}" for n in numbers],
                "user_id": [f"shopper-{who:0{width}}" for who in shoppers],
                "video_id": truth.stream_ids.take(pa.array(streams)),
                "kind": pa.repeat(kind, len(numbers)),
                "value": pa.array(values, pa.float32(), mask=np.isnan(values)),
                "domain": pa.repeat("live", len(numbers)),
                "at": to_times(at, config),
            }
        )
        for numbers, shoppers, streams, at, values, kind in rows
    ]
    table = pa.concat_tables(parts)
    order = np.argsort(np.asarray(table.column("at").cast(pa.int64())), kind="stable")
    return conform(table.take(pa.array(order)).combine_chunks(), EVENTS, stage="simulate_live")
