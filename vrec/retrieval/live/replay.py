"""Replay of a log in time: what is live, watched and known at one instant after the other."""

import numpy as np

from vrec.retrieval.live.features import LiveNow, ShopperViews
from vrec.retrieval.live.log import DAY_US, SECOND_US, Indices, LiveLog

PRIOR_VIEWS = 10.0
"""Views with the mean of all streamers that a streamer's own rates are smoothed with."""
POPULAR_DAYS = (1.0, 7.0)


class LiveReplay:
    """State of a log that moves forward in time; `now` and `views` know nothing that came later.

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
        size = len(log.streamers)
        self._popular = np.zeros((2, size))
        self._popular_at = np.zeros(size, np.int64)
        self._views, self._stays, self._log_minutes = np.zeros(size), np.zeros(size), np.zeros(size)
        self._middle = self._middle_rows()

    def advance(self, at: int) -> None:
        """Move to a time, not before the last one: what began or ended before it is known."""
        log = self.log
        last = int(np.searchsorted(log.view_start, at, side="left"))
        begun = log.view_stream[self._started : last]
        if len(begun):
            np.add.at(self.viewers, begun, 1)
            self._add_popularity(log.streamer[begun], log.view_start[self._started : last])
            self._started = last
        last = int(np.searchsorted(self._sorted_ends, at, side="right"))
        over = self._ends[self._ended : last]
        if len(over):
            np.add.at(self.viewers, log.view_stream[over], -1)
            streamer = log.streamer[log.view_stream[over]]
            seconds = (log.view_end[over] - log.view_start[over]) / SECOND_US
            np.add.at(self._views, streamer, 1)
            np.add.at(self._stays, streamer, seconds >= self.early_leave_s)
            np.add.at(self._log_minutes, streamer, np.log1p(seconds / 60))
            self._ended = last
        self.at = at

    def now(self, streams: Indices | None = None) -> LiveNow:
        """Return the streams that are live now, or those of them that are given."""
        log = self.log
        streams = log.live_at(self.at) if streams is None else streams
        streamer = log.streamer[streams]
        total, stays, minutes = self._views.sum(), self._stays.sum(), self._log_minutes.sum()
        prior = PRIOR_VIEWS / (total + PRIOR_VIEWS)
        views = self._views[streamer] + PRIOR_VIEWS
        days = (self.at - self._popular_at[streamer]) / DAY_US
        popular = [
            self._popular[n, streamer] * 0.5 ** (days / half_life) for n, half_life in enumerate(POPULAR_DAYS)
        ]
        return LiveNow(
            at=self.at,
            stream=streams,
            streamer=streamer,
            category=log.category[streams],
            started=log.started[streams],
            viewers=self.viewers[streams],
            views_1d=popular[0],
            views_7d=popular[1],
            stay_rate=(self._stays[streamer] + prior * (stays + 0.5 * PRIOR_VIEWS)) / views,
            log_minutes=(self._log_minutes[streamer] + prior * (minutes + PRIOR_VIEWS)) / views,
            vectors=None if log.content is None else log.content.take(self._content_rows(streams)),
        )

    def views(self, user: int, most: int) -> ShopperViews:
        """Return what a shopper watched before now, the newest `most` views."""
        log = self.log
        rows = log.views_of(user, self.at)[-most:]
        stream = log.view_stream[rows]
        ended = log.view_end[rows] <= self.at
        vectors = None
        if log.content is not None and self._middle is not None:
            middle = self._middle[rows]
            # The middle of a view that goes on is not known yet.
            begun = np.where(ended, middle, self._start_rows(rows)) if not ended.all() else middle
            vectors = log.content.take(begun)
        return ShopperViews(
            streamer=log.streamer[stream],
            stream=stream,
            category=log.category[stream],
            start=log.view_start[rows],
            seconds=(np.minimum(log.view_end[rows], self.at) - log.view_start[rows]) / SECOND_US,
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

    def _start_rows(self, views: Indices) -> Indices:
        log = self.log
        assert log.content is not None
        if not self.drifting:
            return log.content.first_rows(log.view_stream[views])
        return log.content.rows_at(log.view_stream[views], log.view_start[views])

    def _add_popularity(self, streamers: Indices, at: Indices) -> None:
        for streamer, time in zip(streamers.tolist(), at.tolist(), strict=True):
            days = (time - self._popular_at[streamer]) / DAY_US
            for n, half_life in enumerate(POPULAR_DAYS):
                self._popular[n, streamer] = 1 + self._popular[n, streamer] * 0.5 ** (days / half_life)
            self._popular_at[streamer] = time
