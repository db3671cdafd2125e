"""Health of the model: the lists that HTTP replicas sample, and the hours that the profiles compare."""

import asyncio
import logging
import time
from collections.abc import Callable

from vrec.config.serve import ServeConfig
from vrec.core.types import LogChanges
from vrec.evaluation.health.alarms import HealthAlarms
from vrec.evaluation.health.config import ModelHealthConfig
from vrec.profiles.stores.redis.store import RedisStore
from vrec.profiles.stores.sqlite.store import SqliteStore
from vrec.serving.catalog.clock import wall_clock_us
from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.replies import await_reply
from vrec.serving.health.hours import (
    HOUR_US,
    HOURS_LOG,
    MAX_HOURS_RECORDS,
    ModelHealth,
    alarms_of,
    compare_hour,
    events_of_lists,
    health_of,
    pack_hour,
)
from vrec.serving.health.lists import (
    LISTS_LOG,
    MAX_LISTS_RECORDS,
    ListSample,
    ServedList,
    pack_lists,
    served_list,
    unpack_lists,
)
from vrec.serving.messages import ListResult
from vrec.serving.observability import metrics

logger = logging.getLogger("ray.serve")

WRITE_EVERY_S = 60.0
"""Seconds for which an HTTP replica samples lists before it writes them."""
EVENTS_PER_READ = 5_000
RECORDS_PER_READ = 100
PAUSE_S = 0.01
"""Seconds between two reads of an hour's events, in which other threads of the process get their turn."""
LATE_US = 120_000_000
"""Time after the beginning of an hour at which its first event must have been looked for at the latest."""


class ServedLists:
    """Sample of the lists that one HTTP replica serves, on its way to the store."""

    def __init__(self, profiles: ProfilesHandle, config: ServeConfig) -> None:
        """Build it over a handle and the settings of the service."""
        self._profiles, self._timeout_s = profiles, config.apply_timeout_s
        self._sample = ListSample(config.health.lists_per_minute)
        self._writing: asyncio.Task[None] | None = None

    def note(self, request_id: str, at: int, result: ListResult) -> None:
        """Take a list into account; it is written within a minute if it is drawn."""
        if not self._sample.wants(request_id):
            return
        if (one := served_list(request_id, at, result)) is None:
            return
        self._sample.add(one)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write_later())

    async def health(self) -> ModelHealth:
        """Return the health of the model as of the last hour that was compared."""
        return await await_reply(self._profiles.model_health.remote(), self._timeout_s)

    async def write(self) -> None:
        """Write the sample; raises StoreError or BackendUnavailable."""
        if lists := self._sample.take():
            call = self._profiles.append_record.remote(LISTS_LOG, pack_lists(lists), None, MAX_LISTS_RECORDS)
            await await_reply(call, self._timeout_s)

    def close(self) -> None:
        """Stop; what is not written is lost, a minute's sample at most."""
        if self._writing is not None:
            self._writing.cancel()

    async def _write_later(self) -> None:
        await asyncio.sleep(WRITE_EVERY_S)
        try:
            await self.write()
        except Exception as error:  # a minute without a sample is no loss
            logger.warning("lists are not sampled", extra={"why": str(error)[:300]})


class ModelHealthFollower:
    """Comparison of each hour's sampled lists with the log, in a thread, once its clicks have come.

    Of several processes on one store each compares, and the first one writes. An hour in which the process
    began is left out, and so is one without impressions of sampled lists.
    """

    def __init__(
        self,
        store: Callable[[], SqliteStore | RedisStore],
        videos: Callable[[], int],
        config: ModelHealthConfig,
        *,
        now: Callable[[], int] = wall_clock_us,
    ) -> None:
        """Build it.

        Args:
            store: Function that returns the store.
            videos: Function that returns the number of videos in the catalog.
            config: Settings.
            now: Function that returns this machine's time, µs since 1970.
        """
        self._store, self._videos, self._config, self._now = store, videos, config, now
        self._alarms: HealthAlarms | None = None
        self._starts: dict[int, int] = {}
        """Cursor of the log at the beginning of each hour that is to be compared."""
        self._looked_at, self._looked_cursor = 0, 0
        self._lists_number = 0
        self._comparing: asyncio.Task[None] | None = None

    def look(self, cursor: int) -> None:
        """Begin to compare the last hour if it is time; `cursor` is behind all events that are followed."""
        if not self._config.lists_per_minute:
            return
        now = self._now()
        hour = now // HOUR_US
        was_there = self._looked_at // HOUR_US == hour - 1 and now - self._looked_at <= LATE_US
        if was_there:
            self._starts[hour] = self._looked_cursor
        self._looked_at, self._looked_cursor = now, cursor
        end = hour * HOUR_US + round(self._config.click_minutes * 60e6)
        if self._comparing is None:
            self._begin(self._show)
        elif now >= end and hour - 1 in self._starts and self._comparing.done():
            self._begin(self.compare, hour - 1, self._starts.pop(hour - 1), end)

    async def health(self) -> ModelHealth:
        """Return the health as of the last hour."""
        return health_of(self._alarms or await asyncio.to_thread(self._read))

    async def close(self) -> None:
        """Wait for the end of a comparison."""
        if self._comparing is not None:
            await asyncio.gather(self._comparing, return_exceptions=True)

    def compare(self, hour: int, start: int, end: int) -> None:
        """Compare an hour and write its record; blocks, so call it in a thread.

        Args:
            hour: Hours since 1970.
            start: Cursor of the log before the hour.
            end: Time in µs up to which clicks count.
        """
        lists = self._lists_of(hour)
        figures = None
        if lists:
            events = events_of_lists(self._follow, start, lists, EVENTS_PER_READ)
            figures = compare_hour(hour, lists, events, self._videos(), end)
        last = self._store().records_before(HOURS_LOG, None, 1)
        alarms = self._read()
        if figures is not None and (not alarms.hours or alarms.hours[-1].hour < hour):
            alarms.add(figures)
            record, number = pack_hour(figures, alarms.memory), last[0][0] if last else 0
            written = self._store().append_record(HOURS_LOG, record, expected=number, most=MAX_HOURS_RECORDS)
            if written is None:
                alarms = self._read()
        self._show(alarms)

    def _lists_of(self, hour: int) -> dict[str, ServedList]:
        """Return the sampled lists of an hour by request id."""
        found, number, passed = dict[str, ServedList](), self._lists_number, True
        while records := self._store().records_after(LISTS_LOG, number, RECORDS_PER_READ):
            for number, record in records:
                lists = unpack_lists(record)
                found |= {one.request_id: one for one in lists if one.at // HOUR_US == hour}
                # Later hours begin behind the records that have nothing of them.
                passed &= all(one.at // HOUR_US <= hour for one in lists)
                self._lists_number = number if passed else self._lists_number
        return found

    def _show(self, alarms: HealthAlarms | None = None) -> None:
        self._alarms = alarms or self._read()
        metrics.record_model_health(metrics.metrics_recorder(), health_of(self._alarms))

    def _follow(self, cursor: int, limit: int) -> LogChanges:
        time.sleep(PAUSE_S)
        return self._store().follow(cursor, limit)

    def _read(self) -> HealthAlarms:
        records = self._store().records_before(HOURS_LOG, None, self._config.reference_hours)
        return alarms_of([record for _, record in reversed(records)], self._config)

    def _begin(self, work: Callable[..., None], *args: int) -> None:
        async def logged() -> None:
            try:
                await asyncio.to_thread(work, *args)
            except Exception as error:  # an hour is left out, and the next one is compared
                logger.warning("the model is not compared", extra={"why": str(error)[:300]})

        self._comparing = asyncio.get_running_loop().create_task(logged())
