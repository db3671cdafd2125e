"""Replay of a log in time: what is live, watched and known at one instant after the other."""

import numpy as np

from vrec.retrieval.live.features import LiveNow, ShopperViews
from vrec.retrieval.live.log import SECOND_US, Indices, LiveLog
from vrec.retrieval.live.rates import StreamerRates


class LiveReplay:
    """State of a log that moves forward in time; `now` and `views` know nothing that came later.

    A view is known once it has ended, as a service learns of it; only the number of viewers includes those
    who are watching.

    Args:
        log: The log.
        early_leave_s: Seconds below which a view was left early.
        drifting: Whether a stream's content is its latest vector; otherwise it stays the first one.
    """

    def __init__(self, log: LiveLog, early_leave_s: float, *, drifting: bool = True) -> None:
        self.log, self.early_leave_s, self.drifting = log, early_leave_s, drifting
        self.at = 0
        self._ends = np.argsort(log.view_end, kind="stable")
        self._sorted_ends = log.view_end[self._ends]
        self._started = self._ended = 0
        self.viewers = np.zeros(len(log.streams))
        self._rates = StreamerRates(len(log.streamers), early_leave_s)
        self._middle = self._middle_rows()

    def advance(self, at: int) -> None:
        """Move to a time, not before the last one: what began or ended before it is known."""
        log = self.log
        last = int(np.searchsorted(log.view_start, at, side="left"))
        begun = log.view_stream[self._started : last]
        if len(begun):
            np.add.at(self.viewers, begun, 1)
            self._started = last
        last = int(np.searchsorted(self._sorted_ends, at, side="right"))
        over = self._ends[self._ended : last]
        if len(over):
            np.add.at(self.viewers, log.view_stream[over], -1)
            self._rates.add(log.streamer[log.view_stream[over]], log.view_start[over], log.view_end[over])
            self._ended = last
        self.at = at

    def now(self, streams: Indices | None = None) -> LiveNow:
        """Return the streams that are live now, or those of them that are given."""
        log = self.log
        streams = log.live_at(self.at) if streams is None else streams
        streamer = log.streamer[streams]
        return LiveNow(
            at=self.at,
            stream=streams,
            streamer=streamer,
            category=log.category[streams],
            started=log.started[streams],
            viewers=self.viewers[streams],
            vectors=None if log.content is None else log.content.take(self._content_rows(streams)),
            **self._rates.at(streamer, self.at),
        )

    def views(self, user: int, most: int) -> ShopperViews:
        """Return what a shopper watched before now, the newest `most` views that have ended."""
        log = self.log
        rows = log.views_of(user, self.at)
        rows = rows[log.view_end[rows] <= self.at][-most:]
        stream = log.view_stream[rows]
        vectors = None
        if log.content is not None and self._middle is not None:
            vectors = log.content.take(self._middle[rows])
        return ShopperViews(
            streamer=log.streamer[stream],
            stream=stream,
            category=log.category[stream],
            start=log.view_start[rows],
            seconds=(log.view_end[rows] - log.view_start[rows]) / SECOND_US,
            vectors=vectors,
        )

    def _content_rows(self, streams: Indices) -> Indices:
        assert self.log.content is not None
        if self.drifting:
            return self.log.content.rows_at(streams, self.at)
        return self.log.content.first_rows(streams)

    def _middle_rows(self) -> Indices | None:
        log = self.log
        if log.content is None:
            return None
        if not self.drifting:
            return log.content.first_rows(log.view_stream)
        middle = log.view_start + (log.view_end - log.view_start) // 2
        return log.content.rows_at(log.view_stream, middle)
