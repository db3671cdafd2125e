"""Profiles deployment: stores events and profiles."""

import asyncio
import logging
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ExperimentConfig, ServeConfig, experiment_settings
from vrec.core.errors import EventsError, SchemaError, VrecError
from vrec.core.types import ApplyResult
from vrec.profiles.profile import Profile, VideoMetadata
from vrec.profiles.stores.factory import open_store
from vrec.profiles.stores.redis.store import RedisStore
from vrec.profiles.stores.sqlite.store import SqliteConfig, SqliteStore
from vrec.ranking.features.video_counts import Doubles
from vrec.serving.ab_test.log import (
    EXPERIMENT_LOG,
    ExperimentChange,
    assignment_digest,
    pack_experiment,
    present_experiment,
    settings_take_over,
)
from vrec.serving.ab_test.runs import ExperimentRuns
from vrec.serving.ab_test.start import ExperimentStart, begin_experiment
from vrec.serving.arm_days import ArmDay
from vrec.serving.bundle_swap import BundleCheck, ServedBundle, fixes_in_tracebacks
from vrec.serving.catalog.facts import CurrentVideoFacts
from vrec.serving.catalog.live import LiveCatalog
from vrec.serving.deployments.store_ends import ReadEnds, StoreEnds, read_ends
from vrec.serving.deployments.store_owner import write_owner
from vrec.serving.deployments.video_counts import MAX_FOLLOWED_EVENTS, VideoCounts
from vrec.serving.experiments import ArmStatistics
from vrec.serving.trends.follower import TrendFollower, announce_erasure
from vrec.serving.trends.searches import end_search_period
from vrec.serving.trends.trending import TrendingCounts, TrendingVideo
from vrec.serving.trends.windows import TrendWindow

logger = logging.getLogger("ray.serve")

COUNTED_AT_ONCE = 1_000
"""Events counted for the A/B test before other calls get their turn; a few milliseconds."""


class ProfilesDeployment:
    """Deployment of the profile store: one process with the embedded store, any number with Redis."""

    def __init__(
        self, config: ServeConfig, check: BundleCheck | None = None, ends: ReadEnds | None = None
    ) -> None:
        """Build the deployment.

        Args:
            config: The settings of the service.
            check: Function that raises for bundles that it must not accept.
            ends: Function that returns the ends of the store's logs; by default they are read for this shop.
        """
        self._config, self._ends = config, ends or self._read_ends
        self._followed: tuple[tuple[int, ...], ExperimentConfig] | None = None
        self._live: LiveCatalog[CurrentVideoFacts] = LiveCatalog(config.data, self._load, check=check)
        self._opened: SqliteStore | RedisStore | None = None
        self._video_counts = VideoCounts(lambda: self._store)
        self._settings = self._experiment = config.arms
        self._arms = ExperimentRuns(config.arms, ExperimentStart("", 0, 0), self._find)
        self._cursor, self._has_counted_all, self._recounted_to = 0, False, 0
        self._trends: TrendFollower | None = None
        self._owner = uuid.uuid4().hex
        self._task: asyncio.Task[None] | None = None
        # Profiles of SQLite are in memory or a short read away; Redis is read in a thread.
        self._direct = isinstance(config.store, SqliteConfig)

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Move to the named bundle if it is sound, and open the store the first time."""
        self._settings = experiment_settings(user_config, self._config)
        with fixes_in_tracebacks():
            await self._reconfigure(user_config["bundle"])

    async def _reconfigure(self, uri: str) -> None:
        await self._live.move(uri)
        if self._opened is not None or self._live.served.bundle is None:
            return
        profiles = self._live.served.bundle.profiles.with_own_kinds(self._config.own_kinds)
        self._opened = await asyncio.to_thread(open_store, self._config.store, self._find, profiles)
        interest, trending = profiles.user.interest, self._config.trending
        self._trends = TrendFollower(self._opened, lambda: TrendingCounts(trending, interest, self._find))
        await self._begin_counting()
        if isinstance(self._config.store, SqliteConfig):
            await asyncio.to_thread(write_owner, self._config.store, self._owner)
        self._task = asyncio.get_running_loop().create_task(self._refresh_loop())

    @property
    def served(self) -> ServedBundle[Any]:
        """Bundle in service, and why another one was refused."""
        return self._live.served

    async def close(self) -> None:
        """Close the store; calls fail from now on."""
        if self._task is not None:
            self._task.cancel()
        if self._opened is not None:
            await asyncio.to_thread(self._opened.close)

    async def apply(self, events: pa.Table, sizes: Sequence[int]) -> list[ApplyResult | VrecError]:
        """Apply the EVENTS of several calls, and return when they are durable.

        Args:
            events: EVENTS of all calls, one call after the other.
            sizes: Number of events of each call.

        Returns:
            The result of each call, or its StoreError, EventsError or SchemaError.
        """
        try:
            return list(await asyncio.wrap_future(self._store.submit_all(events, sizes)))
        except (EventsError, SchemaError):  # of one call or some: the others are none the worse
            starts = np.cumsum([0, *sizes]).tolist()
            parts = [events.slice(start, size) for start, size in zip(starts, sizes, strict=False)]
            return await asyncio.gather(*(self._submit(part) for part in parts))
        except VrecError as error:
            return [error] * len(sizes)

    async def get(self, user_id: str) -> Profile | None:
        """Return a user's profile with every event acknowledged before; None without events."""
        if self._direct:
            return self._store.get("user", [user_id]).get(user_id)
        return (await asyncio.to_thread(self._store.get, "user", [user_id])).get(user_id)

    async def video_counts(self, video_ids: Sequence[str]) -> tuple[int, Doubles]:
        """Return a cursor, and (N, len(VIDEO_COUNT_KEYS)) counts that include all events before it."""
        return await self._video_counts.of(video_ids)

    async def video_counts_since(self, cursor: int) -> tuple[int, list[str], Doubles]:
        """Return the next cursor, and the ids and counts of the videos with events since `cursor`."""
        return await self._video_counts.since(cursor)

    async def export(self, after: int, limit: int) -> tuple[pa.Table, int]:
        """Return at most `limit` EVENTS of the log after a cursor, and the cursor after them."""
        return await asyncio.to_thread(self._store.export, after, limit)

    async def erase(self, user_id: str) -> int:
        """Delete a user's events and profile, and return the number of events."""
        # First, since the erasure overwrites what was deleted before it.
        await asyncio.to_thread(end_search_period, self._store)
        erased = await asyncio.to_thread(self._store.erase, user_id)
        await asyncio.to_thread(announce_erasure, self._store)
        return erased

    async def append_record(
        self, log: str, record: bytes, expected: int | None, most: int | None
    ) -> int | None:
        """Append a record to a log of the store; see RecordLog."""
        append = self._store.append_record
        return await asyncio.to_thread(append, log, record, expected=expected, most=most)

    async def records_after(self, log: str, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return the next records of a log of the store; see RecordLog."""
        return await asyncio.to_thread(self._store.records_after, log, after, limit)

    async def records_before(self, log: str, before: int | None, limit: int) -> list[tuple[int, bytes]]:
        """Return the records of a log of the store before one, the last first; see RecordLog."""
        return await asyncio.to_thread(self._store.records_before, log, before, limit)

    async def put_state(self, table: str, key: str, state: bytes, expected: int | None) -> int | None:
        """Put a state into a table of the store; see StateTable."""
        return await asyncio.to_thread(self._store.put_state, table, key, state, expected=expected)

    async def drop_state(self, table: str, key: str, expected: int) -> bool:
        """Remove a state from a table of the store; see StateTable."""
        return await asyncio.to_thread(self._store.drop_state, table, key, expected)

    async def states(self, table: str, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """Return versions and states of a table of the store by key; see StateTable."""
        return await asyncio.to_thread(self._store.states, table, keys)

    async def states_after(self, table: str, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        """Return the next states of a table of the store by version; see StateTable."""
        return await asyncio.to_thread(self._store.states_after, table, after, limit)

    async def remove_event(self, event_id: str) -> bool:
        """Remove an event, and return whether it was there; raises UnknownEvent."""
        return await asyncio.to_thread(self._store.remove, event_id)

    async def join(self, session: str, user_id: str) -> int:
        """Make a session's events a user's, and return their number; raises SessionTaken."""
        return await asyncio.to_thread(self._store.join, session, user_id)

    async def events_of(self, user_id: str, before: int | None, limit: int) -> tuple[pa.Table, int | None]:
        """Return a user's last EVENTS before a cursor, the latest first, and the next cursor."""
        return await asyncio.to_thread(self._store.events_of, user_id, before, limit)

    async def owner(self) -> str:
        """Return the id in the file beside the embedded store; see `store_owner`."""
        return self._owner

    async def arms(self) -> ArmStatistics:
        """Return the statistics of each arm since the A/B test began."""
        return self._arms.snapshot(complete=self._has_counted_all)

    async def arm_days(self, days: int) -> Sequence[ArmDay]:
        """Return the figures of each arm on the last days with events."""
        found: list[ArmDay] = []
        for day in self._arms.days(days):
            found += self._arms.figures(day)
            await asyncio.sleep(0)  # intervals take milliseconds each
        return found

    async def trending(self, window: TrendWindow) -> tuple[tuple[TrendingVideo, ...], bool]:
        """Return the trending videos, the highest score first, and whether the whole log is counted."""
        if self._trends is None:
            return (), False
        return self._trends.videos(window), self._trends.is_complete

    async def ready(self) -> str:
        """Return the version in service; raises StoreError if the store cannot be written now."""
        await asyncio.to_thread(self._store.check)
        return self._live.served.version

    async def refused(self) -> str | None:
        """Return why the bundle requested last was refused; None if it is in service."""
        return self._live.served.refused

    @property
    def opened(self) -> SqliteStore | RedisStore | None:
        """The store, once it is open."""
        return self._opened

    @property
    def _store(self) -> SqliteStore | RedisStore:
        if self._opened is None:
            raise RuntimeError("a call came before the first bundle")
        return self._opened

    async def _submit(self, events: pa.Table) -> ApplyResult | VrecError:
        try:
            return await asyncio.wrap_future(self._store.submit(events))
        except VrecError as error:
            return error

    def _find(self, video_ids: Collection[str]) -> Mapping[str, VideoMetadata]:
        return {} if self._live.value is None else self._live.value.find(video_ids)

    async def _begin_counting(self) -> None:
        """Take up the A/B test where it began: its figures are those of the log, whoever counted before."""
        latest = await asyncio.to_thread(self._store.latest_cursor)
        self._experiment = await asyncio.to_thread(self._present_experiment)
        start = await asyncio.to_thread(
            begin_experiment, self._config.data, self._experiment, latest, time.time_ns() // 1000
        )
        self._recounted_to = latest
        self._count_again(start)

    async def _follow_experiment(self) -> None:
        """Begin another A/B test if the settings or the log of its changes have one."""
        present = await asyncio.to_thread(self._present_experiment)
        if present == self._experiment:
            return
        latest = await asyncio.to_thread(self._store.latest_cursor)
        now = time.time_ns() // 1000
        start = await asyncio.to_thread(begin_experiment, self._config.data, present, latest, now)
        self._experiment = present
        self._count_again(start)

    def _present_experiment(self) -> ExperimentConfig:
        """Return the A/B test in force, and record that of the settings if it has come into force."""
        last = self._store.records_before(EXPERIMENT_LOG, None, 1)
        if settings_take_over(self._settings, last):
            now, digest = time.time_ns() // 1000, assignment_digest(self._settings)
            taken = pack_experiment(ExperimentChange(digest, None, None, None, now, None))
            # Another process may have recorded it already, or somebody has changed it again.
            self._store.append_record(EXPERIMENT_LOG, taken, expected=last[-1][0])
            last = self._store.records_before(EXPERIMENT_LOG, None, 1)
        return present_experiment(self._settings, last).config

    def _count_again(self, start: ExperimentStart) -> None:
        """Count the A/B test, and those before it, from where they began."""
        self._arms = ExperimentRuns(self._experiment, start, self._find)
        self._cursor, self._has_counted_all = self._arms.first_cursor, False

    async def _refresh_loop(self) -> None:
        while True:
            has_more = False
            try:
                await self._live.follow()
                has_more = await self._follow_logs()
            except VrecError as error:  # the next round tries again
                logger.warning("cannot keep up", extra={"why": str(error)[:300]})
            if not has_more:
                await asyncio.sleep(self._config.refresh_s)

    async def _follow_logs(self) -> bool:
        """Count what is new in the logs, and return whether there is more; one short read if nothing is."""
        ends = await self._ends()
        followed = None if ends is None else (ends.logs, self._settings)
        if followed is not None and followed == self._followed:
            return False
        await self._follow_experiment()
        has_more = await self._follow_events()
        if self._trends is not None:
            has_more |= await self._trends.follow(self._cursor)
        self._followed = None if has_more else followed
        return has_more

    async def _read_ends(self) -> StoreEnds | None:
        return (await asyncio.to_thread(read_ends, {"": self._store})).get("")

    async def _follow_events(self) -> bool:
        """Count the next events for the A/B test, and return whether there are more.

        After the removal of an event all are counted again, which is how the figures are those without it.
        """
        changes = await asyncio.to_thread(self._store.follow, self._cursor, MAX_FOLLOWED_EVENTS)
        if changes.removed_at > self._recounted_to:
            # Whatever was removed before that is no part of the new count.
            self._recounted_to = await asyncio.to_thread(self._store.latest_cursor)
            self._count_again(self._arms.start)
            return True
        for start in range(0, changes.events.num_rows, COUNTED_AT_ONCE):
            self._arms.add(changes.events.slice(start, COUNTED_AT_ONCE))
            await asyncio.sleep(0)
        if self._trends is not None:
            await self._trends.take(self._cursor, changes)
        self._cursor = changes.cursor
        self._has_counted_all |= changes.complete
        return not changes.complete

    def _load(self, uri: str) -> tuple[BundleCatalog, CurrentVideoFacts]:
        bundle = BundleCatalog.load(uri)
        return bundle, CurrentVideoFacts(bundle)
