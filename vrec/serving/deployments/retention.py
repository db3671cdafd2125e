"""Removal of events that are older than their kind is kept."""

import asyncio
import logging
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from vrec.core.types import ExpiredEvents
from vrec.privacy.retention import RetentionConfig
from vrec.profiles.stores.redis.store import RedisStore
from vrec.profiles.stores.sqlite.store import SqliteStore
from vrec.serving.catalog.clock import wall_clock_us

logger = logging.getLogger("ray.serve")


class EventCleaner:
    """Removes events of a store that are too old: a bounded number at a time, pass by pass through the log.

    Whoever removes may stop in between, and several may remove at once: the next pass begins anew.
    """

    def __init__(
        self,
        store: Callable[[], SqliteStore | RedisStore],
        config: RetentionConfig,
        *,
        now: Callable[[], int] = wall_clock_us,
    ) -> None:
        """Build it.

        Args:
            store: Function that returns the store.
            config: How long events are kept.
            now: Function that returns this machine's time, µs since 1970.
        """
        self._store, self._config, self._now = store, config, now
        self._cursor, self._next_at, self._removed = 0, 0, 0

    async def clean(self) -> int:
        """Look at the next events; return how many were removed."""
        if not self._config.days or self._now() < self._next_at:
            return 0
        expired = await asyncio.to_thread(self._expire)
        self._cursor, self._removed = expired.cursor, self._removed + expired.removed
        if not expired.cursor:
            if self._removed:
                logger.info("events of before their retention are removed", extra={"events": self._removed})
            self._next_at, self._removed = self._now() + round(self._config.pause_s * 1e6), 0
        return expired.removed

    def _expire(self) -> ExpiredEvents:
        cutoffs = self._config.cutoffs(self._now())
        return self._store().expire(cutoffs, self._cursor, self._config.events_per_look)

    def keep(self, events: pa.Table) -> pa.Table:
        """Return the EVENTS that are not too old, whether they have been removed yet or not."""
        if not self._config.days:
            return events
        at, kinds = np.asarray(events.column("at").cast(pa.int64())), events.column("kind").to_pylist()
        cutoffs = self._config.cutoffs(self._now())
        earliest = np.asarray([cutoffs.get(kind, np.iinfo(np.int64).min) for kind in kinds], np.int64)
        return events.filter(pa.array(at >= earliest))
