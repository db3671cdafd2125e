"""Views of live streams in the log of events, and the rates of streamers that come of them."""

from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.profiles.profile import VideoMetadata
from vrec.retrieval.live.log import SECOND_US
from vrec.retrieval.live.rates import StreamerRates
from vrec.retrieval.live.views import NamedRates, WatchedView

FindFacts = Callable[[Collection[str]], Mapping[str, VideoMetadata]]
LIVE_KIND = "kind:live"
"""Attribute of videos that are streams, live or over."""
MAX_LEAD_US = 60_000_000
"""A view that is dated more than this after now does not count."""


def watched_views(events: pa.Table, find: FindFacts) -> Iterator[WatchedView]:
    """Yield the views of live streams among EVENTS, in their order.

    A view is an event of kind `watch` with its seconds as `value` and its end as `at`, of a stream that the
    catalog has.
    """
    kinds, values = events.column("kind"), events.column("value")
    watched = events.filter(pc.and_(pc.equal(kinds, "watch"), pc.is_valid(values)))
    names: list[str] = watched.column("video_id").to_pylist()
    facts = find(set(names))
    ends: list[int] = watched.column("at").cast(pa.int64()).to_pylist()
    for name, end, seconds in zip(names, ends, watched.column("value").to_pylist(), strict=True):
        attributes = facts[name].attributes if name in facts else {}
        streamer = _named(attributes, "creator:")
        if LIVE_KIND in attributes and streamer is not None:
            start = end - round(max(seconds, 0.0) * SECOND_US)
            yield WatchedView(name, streamer, _named(attributes, "category:"), start, end)


def category_of(stream_id: str, find: FindFacts) -> str | None:
    """Return the category of a stream; None without one."""
    found = find([stream_id]).get(stream_id)
    return None if found is None else _named(found.attributes, "category:")


def _named(attributes: Mapping[str, float], prefix: str) -> str | None:
    found = (name.removeprefix(prefix) for name in attributes if name.startswith(prefix))
    return next(found, None)


class LiveRates:
    """Rates of all streamers by the log's events so far."""

    def __init__(self, find: FindFacts, early_leave_s: float) -> None:
        """Begin without events.

        Args:
            find: Function that returns metadata of videos.
            early_leave_s: Seconds below which a view was left early.
        """
        self._find, self._row = find, dict[str, int]()
        self._rates = StreamerRates(0, early_leave_s)

    def add(self, events: pa.Table, now: int) -> None:
        """Count EVENTS in the order of the log, each once; `now` is in µs since 1970."""
        views = [view for view in watched_views(events, self._find) if view.end <= now + MAX_LEAD_US]
        if not views:
            return
        rows = [self._row.setdefault(view.streamer_id, len(self._row)) for view in views]
        if len(self._row) > len(self._rates):
            self._rates = self._rates.grown(2 * len(self._row))
        start, end = (np.array([view[n] for view in views], np.int64) for n in (3, 4))
        self._rates.add(np.array(rows, np.int64), start, end)

    def of(self, streamers: Collection[str]) -> NamedRates:
        """Return the rates of some streamers."""
        return NamedRates(self._row, self._rates).of(list(streamers))
