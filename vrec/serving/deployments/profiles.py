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
from vrec.profiles.profile import VideoMetadata
from vrec.profiles.stores.sqlite.store import SqliteConfig
from vrec.ranking.features.video_counts import Doubles
from vrec.retrieval.live.views import NamedRates
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
from vrec.serving.deployments.following import check_running
from vrec.serving.deployments.guarded_counts import GuardedCounts
from vrec.serving.deployments.model_health import ModelHealthFollower
from vrec.serving.deployments.own_store import open_own_store
from vrec.serving.deployments.rekeying import rekey_shopper
from vrec.serving.deployments.store_ends import ReadEnds, StoreEnds, read_ends
from vrec.serving.deployments.store_owner import write_owner
from vrec.serving.deployments.stored_shoppers import StoredShoppers, with_refused
from vrec.serving.deployments.video_counts import MAX_FOLLOWED_EVENTS, VideoCounts
from vrec.serving.experiments import ArmStatistics
from vrec.serving.health.hours import ModelHealth
from vrec.serving.observability.metrics import metrics_recorder
from vrec.serving.observability.store_watch import StoreWatch
from vrec.serving.streams.views import LiveRates
from vrec.serving.tenants.context import DEFAULT_TENANT
from vrec.serving.trends.follower import CountFollower
from vrec.serving.trends.trending import TrendingVideo
from vrec.serving.trends.windows import TrendWindow

logger = logging.getLogger("ray.serve")

COUNTED_AT_ONCE = 1_000
"""Events counted for the A/B test before other calls get their turn; a few milliseconds."""


class ProfilesDeployment(StoredShoppers):
    """Deployment of the profile store: one process with the embedded store, any number with Redis."""

    def __init__(
        self,
        config: ServeConfig,
        check: BundleCheck | None = None,
        ends: ReadEnds | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> None:
        """Build the deployment.

        Args:
            config: The settings of the service.
            check: Function that raises for bundles that it must not accept.
            ends: Function that returns the ends of the store's logs; by default they are read for this shop.
            tenant: Tenant whose store it is.
        """
        super().__init__(config)
        self._ends, self._tenant = ends or self._read_ends, tenant
        self._followed: tuple[tuple[int, ...], ExperimentConfig, str] | None = None
        self._live: LiveCatalog[CurrentVideoFacts] = LiveCatalog(config.data, self._load, check=check)
        self._guarded = GuardedCounts(config, self._find, metrics_recorder)
        self._video_counts = VideoCounts(lambda: self._store, self._guarded.discount, self._guarded.reach)
        self._settings = self._experiment = config.arms
        self._arms = ExperimentRuns(config.arms, ExperimentStart("", 0, 0), self._find)
        self._cursor, self._has_counted_all, self._recounted_to = 0, False, 0
        self._rates: CountFollower[LiveRates] | None = None
        self._early_leave_s: float | None = None
        self._health = ModelHealthFollower(lambda: self._store, self._videos, config.health)
        self._owner = uuid.uuid4().hex
        self._watch = StoreWatch(lambda: self._store, metrics_recorder)
        self._task: asyncio.Task[None] | None = None

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
        self._opened = await asyncio.to_thread(
            open_own_store, self._config, self._tenant, self._find, profiles
        )
        await self._guarded.follow_tables()
        self._guarded.open(self._opened, profiles)
        await self._begin_counting()
        if isinstance(self._config.store, SqliteConfig):
            await asyncio.to_thread(write_owner, self._config.store, self._owner)
        self._task = asyncio.get_running_loop().create_task(self._refresh_loop())
        self._begin_posts()

    @property
    def served(self) -> ServedBundle[Any]:
        """Bundle in service, and why another one was refused."""
        return self._live.served

    async def close(self) -> None:
        """Close the store; calls fail from now on."""
        if self._task is not None:
            self._task.cancel()
        await self._end_posts()
        await self._health.close()
        if self._opened is not None:
            await asyncio.to_thread(self._opened.close)

    async def apply(self, events: pa.Table, sizes: Sequence[int]) -> list[ApplyResult | VrecError]:
        """Apply the EVENTS of several calls, and return when they are durable.

        Events of shoppers who do not consent to `personalise` are not kept, and counted as refused.

        Args:
            events: EVENTS of all calls, one call after the other.
            sizes: Number of events of each call.

        Returns:
            The result of each call, or its StoreError, EventsError or SchemaError.
        """
        try:
            events, sizes, refused = await self._without_refused(events, sizes)
        except VrecError as error:
            return [error] * len(sizes)
        return with_refused(await self._apply(events, sizes), refused)

    async def _apply(self, events: pa.Table, sizes: Sequence[int]) -> Sequence[ApplyResult | VrecError]:
        try:
            return await asyncio.wrap_future(self._store.submit_all(events, sizes))
        except (EventsError, SchemaError):  # of one call or some: the others are none the worse
            starts = np.cumsum([0, *sizes]).tolist()
            parts = [events.slice(start, size) for start, size in zip(starts, sizes, strict=False)]
            return await asyncio.gather(*(self._submit(part) for part in parts))
        except VrecError as error:
            return [error] * len(sizes)

    async def sums(self, video_ids: Sequence[str], keys: Sequence[str]) -> dict[str, float]:
        """Return the sums of counts of some videos by key, with every event acknowledged before."""
        found = await asyncio.to_thread(self._store.get, "video", video_ids)
        return {key: sum(one.counts.get(key, 0.0) for one in found.values()) for key in keys}

    async def video_counts(self, video_ids: Sequence[str]) -> tuple[int, Doubles]:
        """Return a cursor, and (N, len(VIDEO_COUNT_KEYS)) counts that include all events before it."""
        return await self._video_counts.of(video_ids)

    async def video_counts_since(self, cursor: int) -> tuple[int, list[str], Doubles]:
        """Return the next cursor, and the ids and counts of the videos with events since `cursor`."""
        return await self._video_counts.since(cursor)

    async def rekey(self, pairs: Sequence[tuple[str, str]]) -> int:
        """Move shoppers to other ids, and return how many there were.

        Args:
            pairs: Present and new id of each.
        """
        moved = 0
        for user_id, new_id in pairs:
            moved += await asyncio.to_thread(
                rekey_shopper, self._store, self._conversations, self._hand_overs, user_id, new_id
            )
        return moved

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
        trends = self._guarded.trends
        return ((), False) if trends is None else (trends.videos(window), trends.is_complete)

    async def model_health(self) -> ModelHealth:
        """Return the health of the model as of the last hour that was compared."""
        return await self._health.health()

    async def live_rates(self, streamers: Sequence[str]) -> NamedRates | None:
        """Return rates of streamers for the model of live streams; None if the bundle has none."""
        return None if self._rates is None else self._rates.counts.of(streamers)

    async def check_health(self) -> None:
        """Raise if changes are not followed any more."""
        check_running(self._task)

    async def ready(self) -> str:
        """Return the version in service; raises StoreError if the store cannot be written now."""
        await asyncio.to_thread(self._store.check)
        return self._live.served.version

    async def refused(self) -> str | None:
        """Return why the bundle requested last was refused; None if it is in service."""
        return self._live.served.refused

    async def _submit(self, events: pa.Table) -> ApplyResult | VrecError:
        try:
            return await asyncio.wrap_future(self._store.submit(events))
        except VrecError as error:
            return error

    @property
    def _bundle(self) -> BundleCatalog | None:
        return self._live.served.bundle

    def _videos(self) -> int:
        return 0 if self._bundle is None else self._bundle.videos.num_rows

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
            await self._watch.look()
            try:
                await self._live.follow()
                has_more = await self._follow_logs()
                await self._clean()
                await self._retention.clean()
                self._health.look(self._cursor)
            except VrecError as error:  # the next round tries again
                logger.warning("cannot keep up", extra={"why": str(error)[:300]})
            if not has_more:
                await asyncio.sleep(self._config.refresh_s)

    async def _follow_logs(self) -> bool:
        """Count what is new in the logs, and return whether there is more; one short read if nothing is."""
        if await self._guarded.follow_tables():
            self._count_again(self._arms.start)
            self._followed = None
        ends = await self._ends()
        followed = None if ends is None else (ends.logs, self._settings, self._live.served.version)
        if followed is not None and followed == self._followed:
            return False
        await self._follow_experiment()
        has_more = await self._follow_events()
        for counts in self._followers():
            has_more |= await counts.follow(self._cursor)
        self._guarded.record()
        self._followed = None if has_more else followed
        return has_more

    def _followers(self) -> list[CountFollower[Any]]:
        """Return what counts the log's events; rates of streamers if the bundle has a model of them."""
        bundle = self._live.served.bundle
        wanted = None if bundle is None else bundle.early_leave_s
        if wanted != self._early_leave_s:
            self._early_leave_s, self._rates, store = wanted, None, self._store
            if wanted is not None:
                self._rates = CountFollower(store, lambda: LiveRates(self._find, wanted))
        return [counts for counts in (self._guarded.trends, self._rates) if counts is not None]

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
            part = changes.events.slice(start, COUNTED_AT_ONCE)
            self._arms.add(self._guarded.without_quarantined(part))
            await asyncio.sleep(0)
        for counts in self._followers():
            await counts.take(self._cursor, changes)
        self._cursor = changes.cursor
        self._has_counted_all |= changes.complete
        return not changes.complete

    def _load(self, uri: str) -> tuple[BundleCatalog, CurrentVideoFacts]:
        bundle = BundleCatalog.load(uri)
        return bundle, CurrentVideoFacts(bundle)
