"""Trending videos: those that more shoppers choose than before."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vrec.config.trends import TrendingConfig
from vrec.core.compute import pc
from vrec.core.schema import CREATOR_PREFIX, EVENTS, HIDING_KINDS, REVERSED_BY, conform
from vrec.events.config import InterestConfig
from vrec.events.links import without_accounts
from vrec.profiles.profile import EventRecord, VideoMetadata
from vrec.profiles.stores.fold import VideoLookup
from vrec.profiles.update import event_rows
from vrec.profiles.user import event_interest
from vrec.serving.trends.choice_guard import ChoiceGuard
from vrec.serving.trends.windows import (
    REMEMBERED,
    TREND_WINDOWS,
    WINDOW_US,
    PairEvent,
    TrendWindow,
    WindowCounts,
)

MAX_LEAD_US = 5 * 60 * 1_000_000
"""Maximum lead of an event's time over the clock, as for `POST /v1/events`."""
ANYTHING = ""
"""Stands for a video where shoppers are counted who chose any."""
_UNDOING = frozenset((*REVERSED_BY, *HIDING_KINDS))


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
        guard: ChoiceGuard | None = None,
    ) -> None:
        """Build the counts without events.

        Args:
            config: Settings.
            interest: Weights of events: those above 0 tell which ones choose a video.
            facts: Lookup of the catalog's data of videos, for the lengths of watched ones.
            remembered: Pairs of a shopper and a video to remember at most.
            guard: Decision of which events count; all without one.
        """
        self.guard = guard
        """Decision of which events count; None if all do."""
        self._config, self._interest, self._facts = config, interest, facts
        self._counts = WindowCounts([WINDOW_US[name] for name in TREND_WINDOWS], remembered)
        choosing = [kind for kind, weight in interest.signed_weights().items() if weight > 0]
        self._kinds = pa.array(sorted({*choosing, *_UNDOING}), pa.string())

    def add(self, events: pa.Table, now: int) -> None:
        """Count EVENTS in the order of the log, each once; those of accounts in other domains are left out.

        Args:
            events: EVENTS.
            now: µs since 1970. Events that are dated more than MAX_LEAD_US later do not count.
        """
        table = without_accounts(conform(events, EVENTS, stage="TrendingCounts.add"))
        self._counts.advance(now)
        rows = [
            event
            for event in event_rows(table.filter(pc.is_in(table.column("kind"), value_set=self._kinds)))
            if event.at <= now + MAX_LEAD_US and not event.video_id.startswith(CREATOR_PREFIX)
        ]
        facts = self._facts({event.video_id for event in rows if event.kind == "watch"})
        self._counts.record(self._choices(rows, facts))

    def videos(self, window: TrendWindow, now: int) -> tuple[TrendingVideo, ...]:
        """Return the trending videos of a window up to a time (µs since 1970), the highest score first."""
        self._counts.advance(now)
        recent, before = self._counts.sums(TREND_WINDOWS.index(window))
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

    def _choices(
        self, rows: Sequence[EventRecord], facts: Mapping[str, VideoMetadata]
    ) -> Iterator[PairEvent]:
        """Yield what counts of events: that of the shopper and the video, then that of the shopper alone."""
        interests: dict[str, float] = {}
        guard = self.guard
        for event in rows:
            if event.kind == "watch":
                interest = event_interest(event, facts.get(event.video_id), self._interest)
            elif (interest := interests.get(event.kind)) is None:
                interest = interests[event.kind] = event_interest(event, None, self._interest)
            key = _pair(event.user_id, event.video_id)
            if interest > 0:
                if guard is None or guard.admits(key, event, facts.get(event.video_id)):
                    yield key, event.video_id, event.kind, event.at
                    yield _pair(event.user_id, ANYTHING), ANYTHING, "click", event.at
            elif event.kind in _UNDOING:
                yield key, event.video_id, event.kind, event.at
            if guard is not None and interest <= 0:
                guard.take_note(key, event, facts.get(event.video_id))
        if guard is not None:
            for event in guard.released():
                yield _pair(event.user_id, event.video_id), event.video_id, event.kind, event.at
                yield _pair(event.user_id, ANYTHING), ANYTHING, "click", event.at


def _pair(user_id: str, video_id: str) -> int:
    """Return the hash of a shopper and a video: 64 bits, keyed by a secret of the process (PEP 456)."""
    return hash((user_id, video_id))
