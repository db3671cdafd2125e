"""Popular searches, as one HTTP replica counts and shows them."""

import asyncio
import logging
import math
import time

import msgpack

from vrec.config.trends import PopularSearchesConfig
from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.replies import await_reply
from vrec.serving.trends.searches import (
    PERIODS_LOG,
    SEARCHES_LOG,
    PopularSearch,
    SearchCounts,
    SearchSent,
    hash_shopper,
    new_period,
    normalize_search,
    pack_searches,
    unpack_searches,
    utc_day,
)
from vrec.serving.trends.windows import TrendWindow

logger = logging.getLogger("ray.serve")

MAX_WAITING = 10_000
"""Maximum number of searches that wait; more are not counted while the store is away."""
SHOWN_FOR_S = 5.0
"""Seconds that popular searches are kept between two looks at the store."""
CLOSE_TIMEOUT_S = 1.0
"""Seconds that a replica which stops takes to store what waits."""
RECORDS_PER_CALL = 1_000
MAX_RECORDS = 50_000
"""Records that the store keeps, the last ones: more than a week of two replicas that write every 30 s."""


class SearchOperations:
    """Popular searches over the logs of the store."""

    def __init__(self, profiles: ProfilesHandle, config: PopularSearchesConfig, timeout_s: float) -> None:
        """Build it over the deployment of the store, the settings and the seconds that a call may take."""
        self._profiles, self._config, self._timeout_s = profiles, config, timeout_s
        self._waiting: list[tuple[str, str, int]] = []
        self._writing: asyncio.Task[None] | None = None
        self._counts, self._number = SearchCounts(config.most), 0
        self._read_at = -math.inf
        self._lock = asyncio.Lock()

    def count(self, text: str, user_key: str, at: int) -> None:
        """Count a search of a shopper at a time in µs since 1970; it is written a little later."""
        words = normalize_search(text)
        if words is None or len(self._waiting) >= MAX_WAITING:
            return
        self._waiting.append((words, user_key, at))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write_later())

    async def popular(self, window: TrendWindow, k: int, at: int) -> list[PopularSearch]:
        """Return at most `k` popular searches of a window up to `at`, of most shoppers first.

        Raises:
            StoreError: The store cannot be read.
            BackendUnavailable: It does not answer.
        """
        async with self._lock:
            if time.monotonic() - self._read_at > SHOWN_FOR_S:
                await self._read()
                self._read_at = time.monotonic()
            found = await asyncio.to_thread(self._counts.popular, window, at, self._config.min_shoppers)
        return found[:k]

    async def write(self) -> None:
        """Write what waits; raises StoreError or BackendUnavailable."""
        while self._waiting:
            waiting = self._waiting[:]
            period, key = await self._period(waiting[-1][2])
            asking = self._profiles.without_consent.remote([who for _, who, _ in waiting], "personalise")
            refused = await await_reply(asking, self._timeout_s)
            sent = [
                SearchSent(text, hash_shopper(key, who), period, at)
                for text, who, at in waiting
                if who not in refused
            ]
            if sent:
                record = pack_searches(sent)
                call = self._profiles.append_record.remote(SEARCHES_LOG, record, None, MAX_RECORDS)
                await await_reply(call, self._timeout_s)
            del self._waiting[: len(waiting)]

    async def close(self) -> None:
        """Write what waits, if the store answers."""
        if self._writing is not None:
            self._writing.cancel()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.write()
        except Exception as error:
            logger.warning("searches are not counted", extra={"why": str(error)[:300]})

    async def _write_later(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._config.write_after_s)
            try:
                await self.write()
            except Exception as error:  # the next round tries again
                logger.warning("cannot count searches", extra={"why": str(error)[:300]})

    async def _read(self) -> None:
        while True:
            call = self._profiles.records_after.remote(SEARCHES_LOG, self._number, RECORDS_PER_CALL)
            records = await await_reply(call, self._timeout_s)
            for number, record in records:
                self._counts.add(unpack_searches(record))
                self._number = number
            if len(records) < RECORDS_PER_CALL:
                return

    async def _period(self, at: int) -> tuple[int, bytes]:
        """Return the number and the key of the period of a time; a new one on a new day."""
        while True:
            call = self._profiles.records_before.remote(PERIODS_LOG, None, 1)
            last = await await_reply(call, self._timeout_s)
            number, record = last[0] if last else (0, b"")
            day, key = msgpack.unpackb(record) if record else (0, b"")
            # A clock that is behind may not bring back a day: its key is gone.
            if day >= utc_day(at):
                return number, key
            packed = new_period(utc_day(at))
            # Only the last record is kept. If another replica was first, its period counts.
            call = self._profiles.append_record.remote(PERIODS_LOG, packed, number, 1)
            await await_reply(call, self._timeout_s)
