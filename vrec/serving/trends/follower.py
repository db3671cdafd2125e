"""Counts of one process, such as trends, which follow the logs of the store."""

import asyncio
import logging
import time
from collections.abc import Callable
from secrets import token_bytes
from typing import Generic, Protocol, TypeVar

import pyarrow as pa

from vrec.core.types import LogChanges
from vrec.serving.trends.trending import TrendingCounts, TrendingVideo
from vrec.serving.trends.windows import TrendWindow

logger = logging.getLogger("ray.serve")

ERASURES_LOG = "erasures"
"""Log of the store to which each erasure adds a record, which says nothing but that there was one."""
EVENTS_PER_CALL = 20_000
"""Maximum number of events read at a time."""
COUNTED_AT_ONCE = 500
"""Events counted before other calls get their turn; a few milliseconds."""
MARKER_BYTES = 12
"""Length of a record of an erasure, which is random."""


class FollowedStore(Protocol):
    """The part of a ProfileStore and RecordLog that trends need."""

    def follow(self, after: int, limit: int) -> LogChanges: ...
    def latest_cursor(self) -> int: ...
    def records_after(self, log: str, after: int, limit: int) -> list[tuple[int, bytes]]: ...
    def append_record(
        self, log: str, record: bytes, *, expected: int | None = None, most: int | None = None
    ) -> int | None: ...


def announce_erasure(store: FollowedStore) -> None:
    """Tell all processes that a shopper's events are gone; raises StoreError."""
    store.append_record(ERASURES_LOG, token_bytes(MARKER_BYTES), most=1)


class EventCounts(Protocol):
    """Counts of events."""

    def add(self, events: pa.Table, now: int) -> None:
        """Count EVENTS in the order of the log, each once; `now` is in µs since 1970."""
        ...


C = TypeVar("C", bound=EventCounts)


class CountFollower(Generic[C]):
    """Counts of the log's events so far.

    After the removal of an event or the erasure of a shopper the log is counted anew, so that what is shown
    is what the log has; until that is done, the figures of before stay.
    """

    def __init__(self, store: FollowedStore, make: Callable[[], C]) -> None:
        """Follow a store; `make` returns counts without events."""
        self._store, self._make = store, make
        self._shown = self._counts = make()
        self.cursor, self.is_complete = 0, False
        """Cursor behind the last event counted, and whether that has been the end of the log."""
        self._counted_to: int | None = None
        """Cursor up to which removals are in the present count; None before the first look."""
        self._erasures: int | None = None

    @property
    def counts(self) -> C:
        """Counts as of the last time that the whole log was counted, or of what there is so far."""
        return self._shown

    async def take(self, after: int, changes: LogChanges) -> None:
        """Count changes that the process has read for other ends, if they are the next ones."""
        if self.cursor == after and self._counted_to is not None:
            await self._add(changes)

    async def follow(self, end: int) -> bool:
        """Count the next events that `take` has not, and return whether there are more.

        Args:
            end: Cursor up to which the process has read the log for other ends.

        Raises:
            StoreError: The store cannot be read.
        """
        await self._look_for_erasures()
        if self._counted_to is None:
            self._counted_to = await asyncio.to_thread(self._store.latest_cursor)
        if self.is_complete and self.cursor >= end:
            return False
        changes = await asyncio.to_thread(self._store.follow, self.cursor, EVENTS_PER_CALL)
        await self._add(changes)
        return not self.is_complete

    async def count_again(self) -> None:
        """Count the whole log again, since something else than the log has changed; raises StoreError."""
        await self._count_again()

    async def _look_for_erasures(self) -> None:
        records = await asyncio.to_thread(self._store.records_after, ERASURES_LOG, self._erasures or 0, 10)
        if records:
            if self._erasures is not None:
                await self._count_again()
            self._erasures = records[-1][0]
        elif self._erasures is None:
            self._erasures = 0

    async def _add(self, changes: LogChanges) -> None:
        if changes.removed_at > (self._counted_to or 0):
            await self._count_again()
            return
        await _count(self._counts, changes.events)
        self.cursor = changes.cursor
        self.is_complete = changes.complete
        if changes.complete:
            self._shown = self._counts

    async def _count_again(self) -> None:
        # Whatever was removed before that is no part of the new count.
        self._counted_to = await asyncio.to_thread(self._store.latest_cursor)
        self._counts, self.cursor, self.is_complete = self._make(), 0, False


class TrendFollower(CountFollower[TrendingCounts]):
    """Trends of the log's events so far."""

    def videos(self, window: TrendWindow) -> tuple[TrendingVideo, ...]:
        """Return the trending videos of a window up to now, the highest score first."""
        return self.counts.videos(window, _now_us())


async def _count(counts: EventCounts, events: pa.Table) -> None:
    for start in range(0, events.num_rows, COUNTED_AT_ONCE):
        counts.add(events.slice(start, COUNTED_AT_ONCE), _now_us())
        await asyncio.sleep(0)


def _now_us() -> int:
    return time.time_ns() // 1000
