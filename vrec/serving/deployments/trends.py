"""Trends, as one HTTP replica answers with them."""

import time
from collections.abc import Callable
from dataclasses import replace

from vrec.config.serve import ServeConfig
from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.deployments.replies import await_reply
from vrec.serving.messages import ListResult, RequestFilters
from vrec.serving.recommend.fallback import PopularFallback
from vrec.serving.rules.book import RULES_LOG
from vrec.serving.rules.follower import RuleFollower
from vrec.serving.streams.states import StreamBook
from vrec.serving.trends.trending import TrendingVideo
from vrec.serving.trends.windows import TrendWindow

Trending = tuple[tuple[TrendingVideo, ...], bool]
"""Trending videos, and whether the whole log is counted."""


class TrendOperations:
    """Trending videos of the profiles deployment, which this replica keeps for `refresh_s`."""

    def __init__(
        self,
        profiles: ProfilesHandle,
        catalog: Callable[[], PopularFallback],
        rules: RuleFollower,
        streams: Callable[[], StreamBook],
        config: ServeConfig,
    ) -> None:
        """Build it over a handle, the present catalog, rules and streams, and the settings."""
        self._profiles, self._catalog, self._rules, self._config = profiles, catalog, rules, config
        self._streams = streams
        self._trending: dict[TrendWindow, tuple[float, Trending]] = {}

    async def videos(
        self, window: TrendWindow, k: int, filters: RequestFilters, at: int
    ) -> tuple[ListResult, bool]:
        """Return at most `k` trending videos, and whether all events are counted; see TrendsBackend.

        If the profiles do not answer, the list has popular videos and is marked as degraded.
        """
        missing = () if self._rules.is_read else (RULES_LOG,)
        try:
            videos, complete = await self._current(window)
        except (BackendUnavailable, TimeoutError):
            videos, complete, missing = None, False, (*missing, "profiles")
        rules, streams = self._rules.book, self._streams()
        answer = self._catalog().trending(videos, k, filters, at, rules, streams=streams)
        return replace(answer, degraded=missing), complete

    async def _current(self, window: TrendWindow) -> Trending:
        now, (read_at, trending) = time.monotonic(), self._trending.get(window, (0.0, ((), False)))
        if window not in self._trending or now - read_at > self._config.refresh_s:
            call = self._profiles.trending.remote(window)
            trending = await await_reply(call, self._config.ranking_timeout_s)
            self._trending[window] = now, trending
        return trending
