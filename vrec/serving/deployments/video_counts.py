"""Counts of videos for ranking replicas, each read from the store once for all of them."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vrec.core.protocols import ProfileStore
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS, Doubles, profile_counts

MAX_FOLLOWED_EVENTS = 20_000
"""Maximum number of events whose videos are in one answer."""
REMEMBERED_READS = 16
"""Reads of changed videos that are remembered: several replicas' worth of one or two seconds."""


class VideoCounts:
    """Counts of videos with the reads of late, in which a replica finds what another one has asked for."""

    def __init__(
        self,
        store: Callable[[], ProfileStore],
        discount: Callable[[str], Mapping[str, float]] = lambda _: {},
        reach: Callable[[], int | None] = lambda: None,
    ) -> None:
        """Build it.

        Args:
            store: Function that returns the open store.
            discount: Function that returns the part of a video's counts that does not count, by key.
            reach: Function that returns the cursor up to which discounts are known; None for no limit.
        """
        self._store, self._lock = store, asyncio.Lock()
        self._discount, self._reach = discount, reach
        self._start = 0
        """Cursor from which on the remembered reads have all changes."""
        self._reads: deque[tuple[int, dict[str, Doubles]]] = deque()
        """Cursor behind each read, and the counts of the videos that had changed."""

    async def of(self, video_ids: Sequence[str]) -> tuple[int, Doubles]:
        """Return a cursor, and (N, len(VIDEO_COUNT_KEYS)) counts that include all events before it."""
        cursor = await asyncio.to_thread(self._store().latest_cursor)
        if (reach := self._reach()) is not None:
            cursor = min(cursor, reach)
        return cursor, await asyncio.to_thread(self._read, video_ids)

    async def since(self, cursor: int) -> tuple[int, list[str], Doubles]:
        """Return the next cursor, and the ids and counts of the videos with events since `cursor`."""
        async with self._lock:
            if not self._reads or not self._start <= cursor <= self._reads[-1][0]:
                self._reads.clear()
                self._start = cursor
            end = self._reads[-1][0] if self._reads else cursor
            limit = MAX_FOLLOWED_EVENTS
            if (reach := self._reach()) is not None:
                limit = min(limit, reach - end)
            reached, ids = end, list[str]()
            if limit > 0:
                changes = await asyncio.to_thread(self._store().follow, end, limit)
                reached, ids = changes.cursor, list(changes.video_ids)
            if reached > end:
                counts = await asyncio.to_thread(self._read, ids)
                self._reads.append((reached, dict(zip(ids, counts, strict=True))))
            found: dict[str, Doubles] = {}
            for behind, read in self._reads:
                if behind > cursor:
                    found |= read
            if len(self._reads) > REMEMBERED_READS:  # only now, as this caller may need the first one
                self._start = self._reads.popleft()[0]
        names = sorted(found)
        rows = np.array([found[name] for name in names]).reshape(len(names), len(VIDEO_COUNT_KEYS))
        return reached, names, rows

    def _read(self, video_ids: Sequence[str]) -> Doubles:
        profiles = self._store().get("video", video_ids)
        counts = np.zeros((len(video_ids), len(VIDEO_COUNT_KEYS)))
        # Most videos of a large catalog may have no events: their counts stay zero at no cost.
        for row, video_id in enumerate(video_ids):
            if (profile := profiles.get(video_id)) is not None:
                counts[row] = profile_counts(profile)
                if less := self._discount(video_id):
                    held = [less.get(key, 0.0) for key in VIDEO_COUNT_KEYS]
                    counts[row] = np.maximum(counts[row] - held, 0)
        return counts
