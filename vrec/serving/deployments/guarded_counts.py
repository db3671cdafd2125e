"""Trends and counts of videos in the profiles deployment, guarded against suspicious shoppers."""

from collections.abc import Callable, Mapping
from dataclasses import asdict

import pyarrow as pa

from vrec.config.serve import ServeConfig
from vrec.core.compute import pc
from vrec.profiles.stores.fold import VideoLookup
from vrec.profiles.update import ProfilesConfig
from vrec.serving.observability import metrics
from vrec.serving.trends.choice_guard import ChoiceGuard, GuardTables
from vrec.serving.trends.follower import FollowedStore, TrendFollower
from vrec.serving.trends.trending import TrendingCounts

NOTHING: Mapping[str, float] = {}


class GuardedCounts:
    """Trends of the log, and what of the counts of videos does not count.

    The guard's state is that of the log so far: it is counted with the trends, in each process that has
    them, and again whenever they are.
    """

    def __init__(
        self, config: ServeConfig, find: VideoLookup, recorder: Callable[[], metrics.MetricsRecorder]
    ) -> None:
        """Build it for a store that is opened later.

        Args:
            config: The settings of the service.
            find: Lookup of the catalog's data of videos.
            recorder: Recorder of metrics.
        """
        self._config, self._find, self._recorder = config, find, recorder
        self._tables = GuardTables(config.guard)
        self._is_on = config.guard.on or config.guard.quarantine is not None
        self._recorded: dict[str, int] = {}
        self.trends: TrendFollower | None = None
        """Trends; None before the store is open."""

    def open(self, store: FollowedStore, profiles: ProfilesConfig) -> None:
        """Begin to follow a store's log."""

        def make() -> TrendingCounts:
            guard = None
            if self._is_on:
                tables = self._tables
                guard = ChoiceGuard(self._config.guard, profiles.video, tables.user_ids, tables.announced)
            return TrendingCounts(self._config.trending, profiles.user.interest, self._find, guard=guard)

        self.trends = TrendFollower(store, make)

    async def follow_tables(self) -> bool:
        """Look at the guard's tables, and return whether they have changed; trends are counted again then."""
        if not await self._tables.follow():
            return False
        if self.trends is not None:
            await self.trends.count_again()
        return True

    def without_quarantined(self, events: pa.Table) -> pa.Table:
        """Return EVENTS without those of shoppers in quarantine."""
        held = self._tables.user_ids
        if not held:
            return events
        return events.filter(pc.invert(pc.is_in(events["user_id"], value_set=pa.array(sorted(held)))))

    def discount(self, video_id: str) -> Mapping[str, float]:
        """Return the part of a video's counts that does not count, by key."""
        guard = None if self.trends is None else self.trends.counts.guard
        return NOTHING if guard is None else guard.stream.discount(video_id)

    def reach(self) -> int | None:
        """Return the cursor up to which discounts are known; None without a guard."""
        return self.trends.cursor if self._is_on and self.trends is not None else None

    def record(self) -> None:
        """Record what has become of events since the last call."""
        guard = None if self.trends is None else self.trends.counts.guard
        if guard is None:
            return
        recorder = self._recorder()
        recorder.record(metrics.GUARD_HELD, guard.stream.held)
        for outcome, count in asdict(guard.stream.figures).items():
            # Counted again from the beginning, a figure is what it was before, or a little other.
            more = count - self._recorded.get(outcome, 0)
            if more > 0:
                recorder.record(metrics.GUARD_EVENTS, more, outcome=outcome)
            self._recorded[outcome] = max(count, self._recorded.get(outcome, 0))
