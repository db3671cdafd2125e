"""Creators, as one HTTP replica answers about them."""

import asyncio
from collections.abc import Callable, Mapping

from vrec.config.serve import ServeConfig
from vrec.core.schema import CREATOR_PREFIX
from vrec.profiles.linked import own_profile
from vrec.profiles.profile import Profile
from vrec.serving.creators.entries import CreatorEntry, CreatorList, CreatorPage, UnknownCreator
from vrec.serving.creators.exposure import ExposureCounts
from vrec.serving.creators.lists import CreatorKind, RankedCreator, creators_for
from vrec.serving.creators.table import CreatorTable
from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.deployments.replies import await_reply
from vrec.serving.messages import RecommendQuery
from vrec.serving.observability import metrics
from vrec.serving.recommend.fallback import PopularFallback
from vrec.serving.rules.book import RULES_LOG
from vrec.serving.rules.follower import RuleFollower

MOST_COUNTED_VIDEOS = 500
"""Maximum number of a creator's videos whose counts are added up, those that came last."""
ACTIVITY = ("event:follow", "event:gift", "gifted")
"""Counts of videos, and of creators, that are added up."""


class CreatorOperations:
    """Lists of creators and their figures; see CreatorsBackend."""

    def __init__(
        self,
        profiles: ProfilesHandle,
        catalog: Callable[[], PopularFallback],
        rules: RuleFollower,
        config: ServeConfig,
        recorder: metrics.MetricsRecorder,
    ) -> None:
        """Build it over a handle, the present catalog and rules, the settings and a recorder of metrics."""
        self._profiles, self._catalog, self._rules, self._config = profiles, catalog, rules, config
        self._exposure = ExposureCounts(recorder)

    async def recommend(self, query: RecommendQuery, kind: CreatorKind) -> CreatorList:
        """Return at most `query.k` creators for a shopper; see CreatorsBackend."""
        missing = () if self._rules.is_read else (RULES_LOG,)
        user, catalog = Profile("user", query.user_id), self._catalog()
        try:
            call = self._profiles.shopper.remote(query.user_id)
            user = own_profile(await await_reply(call, self._config.ranking_timeout_s) or user)
        except (BackendUnavailable, TimeoutError):
            missing = (*missing, "profiles")
        creators, table = await asyncio.to_thread(self._ranked, query, kind, user, catalog)
        self._exposure.add(creators, len(table.names))
        code = {name: code for code, name in enumerate(table.names)}
        entries = tuple(self._entry(table, code[one.creator_id]) for one in creators)
        return CreatorList(creators, entries, catalog.version, missing)

    async def get(self, creator_id: str) -> tuple[CreatorEntry, Mapping[str, float]]:
        """Return a creator, and counts of what shoppers did so far; raises UnknownCreator."""
        table = await asyncio.to_thread(self._table)
        if creator_id not in table.names:
            raise UnknownCreator(f"no video is of the creator {creator_id}")
        code = table.names.index(creator_id)
        if not table.videos[code]:
            raise UnknownCreator(f"no video is of the creator {creator_id}")
        rows = table.snapshot.rows_of_creator(code)[-MOST_COUNTED_VIDEOS:].tolist()
        ids = [f"{CREATOR_PREFIX}{creator_id}", *(table.snapshot.catalog.video_ids[row] for row in rows)]
        call = self._profiles.sums.remote(ids, ACTIVITY)
        return self._entry(table, code), await await_reply(call, self._config.apply_timeout_s)

    async def page(self, after: str, limit: int, kind: CreatorKind) -> CreatorPage:
        """Return the creators after an id; see CreatorsBackend."""
        table = await asyncio.to_thread(self._table)
        counts = table.streams if kind == "streamer" else table.videos
        codes = sorted((code for code, n in enumerate(counts) if n), key=lambda code: table.names[code])
        rest = [code for code in codes if table.names[code] > after]
        entries = tuple(self._entry(table, code) for code in rest[:limit])
        return CreatorPage(entries, len(codes), len(rest) > limit)

    def _table(self) -> CreatorTable:
        return self._catalog().creators

    def _ranked(
        self, query: RecommendQuery, kind: CreatorKind, user: Profile, catalog: PopularFallback
    ) -> tuple[tuple[RankedCreator, ...], CreatorTable]:
        table, rules = catalog.creators, self._config.rerank.for_surface(query.surface).rules
        bans = catalog.bans(query.surface, query.filters, query.at, self._rules.book)
        config = self._config.creators
        return creators_for(query, kind, user, table, config, rules=rules, bans=bans), table

    def _entry(self, table: CreatorTable, code: int) -> CreatorEntry:
        name, few = table.names[code], self._config.creators.new_impressions
        figures = table.figures.rows.get(name)
        is_new = bool(table.impressions[code] < few)
        return CreatorEntry(name, int(table.videos[code]), int(table.streams[code]), figures, is_new)
