"""Metrics of the store of profiles: whether it takes writes, its log, and its room."""

import asyncio
import logging
import time
from collections.abc import Callable

from vrec.core.errors import StoreError
from vrec.core.types import StoreSpace
from vrec.profiles.stores.redis.store import RedisStore
from vrec.profiles.stores.sqlite.store import SqliteStore
from vrec.serving.observability.metrics import LOG_ENTRIES, STORE_BYTES, STORE_UP, MetricsRecorder

logger = logging.getLogger("ray.serve")

LOOK_EVERY_S = 30.0
"""Seconds between two looks, each of which writes to the store once."""


class StoreWatch:
    """Records a store's state now and then; a store that is away is recorded, and does not raise."""

    def __init__(
        self,
        store: Callable[[], SqliteStore | RedisStore],
        recorder: Callable[[], MetricsRecorder],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Build it.

        Args:
            store: Function that returns the store.
            recorder: Function that returns where to record.
            now: Clock, in seconds.
        """
        self._store, self._recorder, self._now = store, recorder, now
        self._next_at = 0.0

    async def look(self) -> None:
        """Look at the store if it is time to."""
        if self._now() < self._next_at:
            return
        try:
            entries, space = await asyncio.to_thread(self._read)
        except StoreError as error:
            logger.warning("the store takes no writes", extra={"why": str(error)[:300]})
            entries, space = None, None
        recorder = self._recorder()
        recorder.record(STORE_UP, float(entries is not None))
        if entries is not None:
            recorder.record(LOG_ENTRIES, entries)
        if space is not None:
            recorder.record(STORE_BYTES, space.used, of="used")
            recorder.record(STORE_BYTES, space.free, of="free")
        self._next_at = self._now() + LOOK_EVERY_S

    def _read(self) -> tuple[int, StoreSpace | None]:
        store = self._store()
        store.check()
        entries = store.latest_cursor()
        try:
            return entries, store.space()
        except StoreError:  # a managed server that does not tell
            return entries, None
