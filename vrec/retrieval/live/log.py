"""Streams, views and changing content of a log as arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import EventsError
from vrec.core.schema import EVENTS, STREAM_VECTORS, STREAMS, conform
from vrec.retrieval.interaction_matrix import IdVocabulary

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SECOND_US = 1_000_000
HOUR_US = 3_600_000_000
DAY_US = 86_400_000_000
ALWAYS = np.iinfo(np.int64).max
"""End of a stream that is still live."""


@dataclass(frozen=True)
class ContentTimeline:
    """Content vectors of streams by time."""

    indptr: Indices
    """(N + 1,) first row of each stream; rows of a stream ascend by time."""
    at: Indices
    """(M,) time from which a vector holds, in µs since 1970."""
    vectors: npt.NDArray[np.float32]
    """(M, D) unit vectors."""

    @classmethod
    def from_table(cls, table: pa.Table, streams: IdVocabulary) -> "ContentTimeline":
        """Build the timeline of STREAM_VECTORS; those of streams that are not in `streams` are left out."""
        table = conform(table, STREAM_VECTORS, stage="live")
        row, at = streams.find(table.column("stream_id")), _micros(table.column("at"))
        column = table.column("vector").combine_chunks()
        vectors = np.asarray(column.flatten(), np.float32).reshape(len(column), -1)
        order = np.lexsort((at, row))
        order = order[row[order] >= 0]
        counts = np.bincount(row[order], minlength=len(streams))
        return cls(np.concatenate([[0], np.cumsum(counts)]), at[order], vectors[order])

    def rows_at(self, streams: Indices, at: Indices | int) -> Indices:
        """Return the (C,) rows that hold for streams at times; −1 before a stream's first vector."""
        found = np.searchsorted(self._keys, self._key(streams, np.asarray(at, np.int64)), side="right") - 1
        return np.where(found >= self.indptr[streams], found, -1)

    def first_rows(self, streams: Indices) -> Indices:
        """Return the (C,) rows of streams' first vectors; −1 for a stream without any."""
        return np.where(self.indptr[streams] < self.indptr[streams + 1], self.indptr[streams], -1)

    def take(self, rows: Indices) -> npt.NDArray[np.float32]:
        """Return (C, D) vectors of rows; zeros for −1."""
        out = np.zeros((len(rows), self.vectors.shape[1]), np.float32)
        out[rows >= 0] = self.vectors[rows[rows >= 0]]
        return out

    @cached_property
    def _keys(self) -> Indices:
        return self._key(np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr)), self.at)

    @cached_property
    def _bounds(self) -> tuple[int, int]:
        return (int(self.at.min()), int(self.at.max()) + 2) if len(self.at) else (0, 1)

    def _key(self, streams: Indices, at: Indices) -> Indices:
        # One ascending key for stream and time; milliseconds, so that it fits into 64 bits.
        low, high = self._bounds
        span = (high - low) // 1000 + 3
        return streams * span + (np.clip(at, low - 1000, high) - low) // 1000 + 1


@dataclass(frozen=True)
class LiveLog:
    """Streams and views of a log, with rows for ids; times in µs since 1970."""

    users: IdVocabulary
    streamers: IdVocabulary
    streams: IdVocabulary
    categories: IdVocabulary
    streamer: Indices
    """(N,) streamer of each stream."""
    category: Indices
    """(N,) category of each stream, −1 for none."""
    started: Indices
    ended: Indices
    """(N,) first moment at which a stream is over; ALWAYS where it is live."""
    view_user: Indices
    """(V,) shopper of each view; views ascend by start."""
    view_stream: Indices
    view_start: Indices
    view_end: Indices
    content: ContentTimeline | None

    @classmethod
    def from_tables(cls, events: pa.Table, streams: pa.Table, vectors: pa.Table | None = None) -> "LiveLog":
        """Build the log of EVENTS, STREAMS and STREAM_VECTORS.

        A view is an event of kind `watch` with a value; other events are ignored.

        Raises:
            SchemaError: A table is of another schema.
            EventsError: A stream id is not unique, or a stream ends before it starts.
        """
        events = conform(events, EVENTS, stage="live", extra=True)
        streams = conform(streams, STREAMS, stage="live", extra=True)
        ids = IdVocabulary.from_columns(streams.column("stream_id"))
        if len(ids) != streams.num_rows:
            raise EventsError("live: a stream_id of STREAMS is not unique", fix="leave one row per stream")
        streams = streams.take(pc.sort_indices(streams.column("stream_id")))
        started = _micros(streams.column("started_at"))
        ended = _micros(streams.column("ended_at"), ALWAYS)
        if (backwards := int((ended < started).sum())) > 0:
            raise EventsError(f"live: {backwards:,} streams end before they start")
        users, views = _views(events, ids)
        streamers = IdVocabulary.from_columns(streams.column("streamer_id"))
        named = pc.drop_null(streams.column("category"))
        categories = IdVocabulary.from_columns(named)
        return cls(
            users=users,
            streamers=streamers,
            streams=ids,
            categories=categories,
            streamer=streamers.find(streams.column("streamer_id")),
            category=np.where(
                np.asarray(pc.is_valid(streams.column("category"))),
                categories.find(pc.fill_null(streams.column("category"), "")),
                -1,
            ),
            started=started,
            ended=ended,
            **views,
            content=None if vectors is None else ContentTimeline.from_table(vectors, ids),
        )

    @property
    def view_seconds(self) -> Floats:
        """(V,) length of each view."""
        return (self.view_end - self.view_start) / SECOND_US

    def live_at(self, at: int) -> Indices:
        """Return the (C,) rows of the streams that are live at a time, ascending."""
        near = self._by_hour.get(at // HOUR_US)
        if near is None:
            return np.flatnonzero((self.started <= at) & (at < self.ended))
        return near[(self.started[near] <= at) & (at < self.ended[near])]

    def views_of(self, user: int, before: int) -> Indices:
        """Return the (H,) views of a shopper that began before a time, ascending by start."""
        own = self._by_user[0][self._by_user[1][user] : self._by_user[1][user + 1]]
        return own[: np.searchsorted(self.view_start[own], before, side="left")]

    def until(self, at: int) -> "LiveLog":
        """Return the log with the views that had ended by a time; ids keep their rows."""
        kept = self.view_end <= at
        return LiveLog(
            **{
                name: getattr(self, name)
                for name in self.__dataclass_fields__
                if not name.startswith("view_")
            },
            view_user=self.view_user[kept],
            view_stream=self.view_stream[kept],
            view_start=self.view_start[kept],
            view_end=self.view_end[kept],
        )

    @cached_property
    def _by_user(self) -> tuple[Indices, Indices]:
        order = np.argsort(self.view_user, kind="stable")
        counts = np.bincount(self.view_user, minlength=len(self.users))
        return order, np.concatenate([[0], np.cumsum(counts)])

    @cached_property
    def _by_hour(self) -> Mapping[int, Indices]:
        """Streams that are live at some time of each hour since 1970 of the log, ascending."""
        if not len(self.started):
            return {}
        last = self.view_end.max(initial=self.started.max()) // HOUR_US
        ends = np.minimum(np.maximum(self.ended - 1, self.started) // HOUR_US, last)
        begins = np.minimum(self.started // HOUR_US, last)
        counts = ends - begins + 1
        stream = np.repeat(np.arange(len(counts)), counts)
        hour = (
            np.repeat(begins, counts) + np.arange(len(stream)) - np.repeat(np.cumsum(counts) - counts, counts)
        )
        order = np.lexsort((stream, hour))
        hours, starts = np.unique(hour[order], return_index=True)
        return dict(zip(hours.tolist(), np.split(stream[order], starts[1:]), strict=True))


def _views(events: pa.Table, streams: IdVocabulary) -> tuple[IdVocabulary, dict[str, Indices]]:
    """Return the shoppers, and the columns of the views, by start."""
    watched = events.filter(
        pc.and_(pc.equal(events.column("kind"), "watch"), pc.is_valid(events.column("value")))
    )
    stream = streams.find(watched.column("video_id"))
    watched, stream = watched.filter(pa.array(stream >= 0)), stream[stream >= 0]
    users = IdVocabulary.from_columns(watched.column("user_id"))
    user, end = users.find(watched.column("user_id")), _micros(watched.column("at"))
    seconds = np.asarray(watched.column("value").cast(pa.float64()))
    start = end - np.round(np.maximum(seconds, 0) * SECOND_US).astype(np.int64)
    order = np.lexsort((stream, user, start))
    columns = {"view_user": user, "view_stream": stream, "view_start": start, "view_end": end}
    return users, {name: values[order] for name, values in columns.items()}


def _micros(times: pa.ChunkedArray, missing: int = 0) -> Indices:
    return np.asarray(pc.fill_null(times.cast(pa.int64()), missing))
