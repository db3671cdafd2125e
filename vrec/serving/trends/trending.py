"""Trending videos: those that more shoppers choose than before."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from vrec.config.trends import TrendingConfig
from vrec.core.compute import pc
from vrec.core.schema import EVENTS, HIDING_KINDS, REVERSED_BY, conform
from vrec.events.config import InterestConfig
from vrec.profiles.profile import EventRecord, VideoMetadata
from vrec.profiles.stores.fold import VideoLookup
from vrec.profiles.update import event_rows
from vrec.profiles.user import event_interest
from vrec.serving.trends.windows import REMEMBERED, TREND_WINDOWS, WINDOW_US, TrendWindow, WindowCounts

MAX_LEAD_US = 5 * 60 * 1_000_000
"""Maximum lead of an event's time over the clock, as for `POST /v1/events`."""
ANYTHING = ""
"""Stands for a video where shoppers are counted who chose any."""


@dataclass(frozen=True, slots=True)
class TrendingVideo:
    """Video that more shoppers chose in a window than was to be expected."""

    video_id: str
    score: float
    """Surplus of shoppers in standard deviations, above 0."""
    shoppers: int
    """Number of shoppers who chose it in the window."""
    expected: float
    """Number that its share of the shoppers in the four windows before leads to expect."""


class TrendingCounts:
    """Running counts of EVENTS, in the order of the log: the same log gives the same lists.

    Of S shoppers in the window n chose a video; in the four windows before b of B did, which leads to expect
    e = S·b / (B + s) in the window. The score is the surplus (n − e) / √(e + s), which for large counts is in
    standard deviations of a Poisson variable. The bias s keeps the score of a few shoppers small, as in the
    significance score of SigniTrend (Schubert, Weiler, Kriegel: SigniTrend, KDD 2014).

    A shopper counts once per video and window, so that no number of events raises a score by more than one
    shopper does. A visit without account is a shopper of its own.
    """

    def __init__(
        self,
        config: TrendingConfig,
        interest: InterestConfig,
        facts: VideoLookup,
        remembered: int = REMEMBERED,
    ) -> None:
        """Build the counts without events.

        Args:
            config: Settings.
            interest: Weights of events: those above 0 tell which ones choose a video.
            facts: Lookup of the catalog's data of videos, for the lengths of watched ones.
            remembered: Pairs of a shopper and a video that each window remembers at most.
        """
        self._config, self._interest, self._facts = config, interest, facts
        self._windows = {name: WindowCounts(WINDOW_US[name], remembered) for name in TREND_WINDOWS}
        choosing = [kind for kind, weight in interest.signed_weights().items() if weight > 0]
        self._kinds = pa.array([*choosing, *REVERSED_BY, *HIDING_KINDS], pa.string())

    def add(self, events: pa.Table, now: int) -> None:
        """Count EVENTS in the order of the log, each once.

        Args:
            events: EVENTS.
            now: µs since 1970. Events that are dated more than MAX_LEAD_US later do not count.
        """
        table = conform(events, EVENTS, stage="TrendingCounts.add")
        self._advance(now)
        rows = list(event_rows(table.filter(pc.is_in(table.column("kind"), value_set=self._kinds))))
        facts = self._facts({event.video_id for event in rows if event.kind == "watch"})
        for event in rows:
            if event.at <= now + MAX_LEAD_US:
                self._add(event, facts)

    def videos(self, window: TrendWindow, now: int) -> tuple[TrendingVideo, ...]:
        """Return the trending videos of a window up to a time (µs since 1970), the highest score first."""
        self._advance(now)
        recent, before = self._windows[window].sums()
        ids = sorted(
            name for name, n in recent.items() if n >= self._config.min_shoppers and name != ANYTHING
        )
        if not ids:
            return ()
        bias = self._config.smoothing
        shoppers = np.array([recent[name] for name in ids], np.float64)
        known = np.array([before.get(name, 0) for name in ids], np.float64)
        expected = known * (recent.get(ANYTHING, 0) / (before.get(ANYTHING, 0) + bias))
        scores = (shoppers - expected) / np.sqrt(expected + bias)
        order: list[int] = np.argsort(-scores, kind="stable").tolist()
        return tuple(
            TrendingVideo(ids[row], float(scores[row]), int(shoppers[row]), float(expected[row]))
            for row in order
            if scores[row] > 0
        )

    def _add(self, event: EventRecord, facts: Mapping[str, VideoMetadata]) -> None:
        chooses = event_interest(event, facts.get(event.video_id), self._interest) > 0
        if not chooses and event.kind not in REVERSED_BY and event.kind not in HIDING_KINDS:
            return
        pair = _key(event.user_id, event.video_id)
        for counts in self._windows.values():
            counts.record(pair, event.video_id, event.kind, event.at)
        if chooses:
            shopper = _key(event.user_id, ANYTHING)
            for counts in self._windows.values():
                counts.record(shopper, ANYTHING, "click", event.at)

    def _advance(self, now: int) -> None:
        for counts in self._windows.values():
            counts.advance(now)


def _key(user_id: str, video_id: str) -> int:
    """Return a hash of a shopper and a video, the same in every process."""
    text = f"{len(user_id)}:{user_id}{video_id}".encode(errors="surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")
