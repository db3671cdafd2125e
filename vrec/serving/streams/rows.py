"""Streams over a snapshot of the catalog: the rows of those that are live at a moment."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS, Doubles
from vrec.ranking.reranking.catalog import RowIndices
from vrec.serving.catalog.columns import Mask
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.streams.states import StreamBook, StreamState

PRIOR_IMPRESSIONS = 50.0
"""Impressions as which a streamer's counts weigh at most in those of a new stream."""
_IMPRESSIONS = VIDEO_COUNT_KEYS.index("event:impression")


@dataclass(frozen=True, eq=False, slots=True)
class LiveStreams:
    """Streams that are live at a moment."""

    rows: RowIndices
    """(R,) their rows, ascending."""
    states: Sequence[StreamState]
    """Their states, in the order of the rows."""
    over: Mask | None = None
    """(N,) mask of the streams that are over; None if the catalog has no stream."""


NO_LIVE = LiveStreams(np.zeros(0, np.int64), ())
"""No streams at all, live or over."""


class StreamRows:
    """Streams of a book over one snapshot."""

    def __init__(self, book: StreamBook, snapshot: CatalogSnapshot) -> None:
        """Look up the streams of a snapshot."""
        self.book, self.snapshot = book, snapshot
        ids = snapshot.catalog.video_ids
        rows: list[int] = snapshot.streams.tolist()
        known = ((row, book.states.get(ids[row])) for row in rows)
        found = [(row, one) for row, one in known if one is not None and one.ended_at is None]
        self._rows: RowIndices = np.array([row for row, _ in found], np.int64)
        self._states = [state for _, state in found]
        self._ends = np.array([state.ends_at for _, state in found], np.int64)
        self._priors: dict[int, Doubles] = {}
        self._last: tuple[int, int, LiveStreams] | None = None
        """The last answer, and the times from which and before which it holds."""

    def live(self, at: int) -> LiveStreams:
        """Return the streams that are live at a time, µs since 1970."""
        if not len(self.snapshot.streams):
            return NO_LIVE
        last = self._last
        if last is None or not last[0] <= at < last[1]:
            alive = self._ends > at
            over = np.zeros(self.snapshot.count, np.bool_)
            over[self.snapshot.streams] = True
            over[self._rows[alive]] = False
            states = [state for state, is_alive in zip(self._states, alive.tolist(), strict=True) if is_alive]
            first = int(self._ends[~alive].max(initial=0))
            until = int(self._ends[alive].min(initial=np.iinfo(np.int64).max))
            self._last = last = (first, until, LiveStreams(self._rows[alive], states, over))
        return last[2]

    def with_priors(self, rows: RowIndices, counts: Doubles) -> Doubles:
        """Return the (N, len(VIDEO_COUNT_KEYS)) counts of rows, with those of the streamer for new streams.

        A stream's rates are its streamer's at first. The streamer's counts fade as its own impressions come.
        """
        at = np.searchsorted(self._rows, rows)
        at[at == len(self._rows)] = 0
        streams = np.flatnonzero(self._rows[at] == rows) if len(self._rows) else at[:0]
        if not len(streams):
            return counts
        counts = counts.copy()
        own = counts[streams, _IMPRESSIONS]
        share = np.clip(1 - own / PRIOR_IMPRESSIONS, 0, 1)
        priors = np.stack([self._prior(row) for row in self._rows[at[streams]].tolist()])
        counts[streams] += priors * share[:, None]
        return counts

    def _prior(self, row: int) -> Doubles:
        """Return (len(VIDEO_COUNT_KEYS),) counts of a streamer's other videos, PRIOR_IMPRESSIONS at most."""
        found = self._priors.get(row)
        if found is None:
            snapshot = self.snapshot
            others = snapshot.rows_of_creator(int(snapshot.catalog.creator[row]))
            total = snapshot.video_counts[others[others != row]].sum(axis=0)
            found = self._priors[row] = total * min(1, PRIOR_IMPRESSIONS / max(total[_IMPRESSIONS], 1))
        return found


class StreamCompiler:
    """Rows of the streams of the last book and snapshot."""

    def __init__(self) -> None:
        self._last: StreamRows | None = None

    def compiled(self, book: StreamBook, snapshot: CatalogSnapshot) -> StreamRows:
        """Return the streams of a book over a snapshot."""
        last = self._last
        if last is None or last.book is not book or last.snapshot is not snapshot:
            self._last = last = StreamRows(book, snapshot)
        return last
