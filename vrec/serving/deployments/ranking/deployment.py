"""Ranking deployment: candidates, features, predictions and reranking, one request at a time."""

import asyncio
import gc
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
from vrec.core.errors import OutputError
from vrec.profiles.consented import read_consented
from vrec.profiles.profile import Profile, VideoMetadata
from vrec.profiles.stores.factory import open_profile_reader
from vrec.profiles.stores.redis.store import RedisStore
from vrec.profiles.stores.sqlite.reader import SqliteProfileReader
from vrec.profiles.stores.sqlite.store import SqliteConfig
from vrec.serving.budgets.cpu import measures_cpu
from vrec.serving.bundle_swap import BundleCheck, ServedBundle, fixes_in_tracebacks
from vrec.serving.catalog.facts import CurrentVideoFacts
from vrec.serving.catalog.live import LiveCatalog
from vrec.serving.deployments.following import check_running
from vrec.serving.deployments.handles import EncoderHandle, ProfilesHandle
from vrec.serving.deployments.live_scores import LiveScores
from vrec.serving.deployments.loaded_bundle import LoadedBundle
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.deployments.ranking.conversations import RankingConversations
from vrec.serving.deployments.ranking.moments import RankingMoments
from vrec.serving.deployments.store_ends import ReadEnds
from vrec.serving.deployments.store_owner import is_owned_by
from vrec.serving.messages import (
    ListResult,
    ReadPosition,
    RecommendQuery,
    RequestFilters,
)
from vrec.serving.recommend.fallback import PopularFallback
from vrec.serving.rules.book import RULES_LOG, ShopRule
from vrec.serving.rules.follower import RuleFollower
from vrec.serving.streams.follower import StreamFollower
from vrec.serving.streams.overlay import StreamOverlay
from vrec.serving.streams.states import STREAMS_TABLE
from vrec.serving.tenants.context import current_tenant
from vrec.serving.tenants.turns import ranking_turns

if TYPE_CHECKING:
    from vrec.serving.recommend.engine import RecommendEngine

logger = logging.getLogger("ray.serve")

FREEZE_EVERY = 2_000
"""Changed videos after which those in memory are left out of garbage collections, which would take longer and
longer during a feed."""
COUNTS_PER_CALL = 2_000
"""Videos whose counts are fetched in one call."""


class RankingDeployment(RankingMoments, RankingConversations):
    """Deployment that ranks from memory. Only the shopper's profile is read per request, so it is current.

    Counts of videos and catalog changes are followed every `refresh_s`. A part that does not answer is named
    in the answer: without a profile the shopper counts as unknown.
    """

    def __init__(
        self,
        config: ServeConfig,
        profiles: ProfilesHandle,
        encoder: EncoderHandle | None,
        check: BundleCheck | None = None,
        *,
        stays: bool = True,
        remembers: bool = True,
        ends: ReadEnds | None = None,
    ) -> None:
        """Build the deployment.

        Args:
            config: The settings of the service.
            profiles: Handle of the profiles deployment.
            encoder: Handle of the encoder deployment; without one, search is by words alone.
            check: Function that raises for bundles that the deployment must not accept.
            stays: Whether it stays in memory until the process ends.
            remembers: Whether a good bundle is recorded as the service's; see `ServedBundle`.
            ends: Function that returns the ends of the store's logs; None reads the logs in each round.
        """
        self._config, self._profiles, self._encoder, self._stays = config, profiles, encoder, stays
        self._live: LiveCatalog[LoadedBundle] = LiveCatalog(
            config.data, self._load, remembers=remembers, check=check
        )
        self._rules, self._ends = RuleFollower(profiles.records_after.remote), ends
        self._streams = StreamFollower(profiles.states_after.remote, with_vectors=True)
        self._scores = LiveScores(profiles, self._find, config.profile_timeout_s)
        self._cursor: int | None = None
        self._frozen_changes = 0
        self._reader: SqliteProfileReader | RedisStore | None = None
        self._changing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Move to the named bundle if it is sound, while requests go on being answered."""
        with fixes_in_tracebacks():
            await self._reconfigure(user_config["bundle"])

    async def _reconfigure(self, uri: str) -> None:
        async with self._changing:
            if await self._live.move(uri):
                await self._fetch_video_counts()
                with suppress(Exception):  # the refresh loop tries again, and answers say so until then
                    await self._rules.follow()
                with suppress(Exception):  # likewise
                    await self._follow_streams()
                if self._assistant is not None:
                    self._assistant.prepare_soon()
                if self._stays:
                    # Scanning the bundle in every garbage collection would delay requests.
                    gc.collect()
                    gc.freeze()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._refresh_loop())

    @measures_cpu
    async def recommend(self, query: RecommendQuery, after: ReadPosition | None = None) -> ListResult:
        """Recommend videos to a shopper, with all catalog edits up to a position."""
        await self._reach(after)
        begun, missing = time.perf_counter(), self._missing()
        try:
            profile = await self._profile(query.user_id)
        except Exception as error:  # whatever it is, an answer without it is better than none
            logger.warning("no profile", extra={"request_id": query.request_id, "why": _error_text(error)})
            profile, missing = None, [*missing, "profiles"]
        waited = time.perf_counter() - begun
        shopper = profile or Profile("user", query.user_id)
        score = None
        if query.filters.streams == "only" and self._streams.book.states:
            # Without a profile there is nothing to know: no events, or no consent to use them.
            known = None if profile is None else query.user_id
            score = await self._scores.scorer(self._engine.live_model, known, query.at)
        rules, streams = self._rules.book, self._streams.book
        async with ranking_turns().turn(current_tenant()):
            answer = self._engine.recommend(query, shopper, rules, streams=streams, score_streams=score)
        spent = {"profile": waited * 1e3, **answer.spent_ms}
        return replace(answer, degraded=(*missing, *answer.degraded), spent_ms=spent)

    @measures_cpu
    async def similar(
        self,
        video_id: str,
        k: int,
        filters: RequestFilters,
        at: int,
        after: ReadPosition | None = None,
    ) -> ListResult:
        """Return at most `k` videos similar to one, with all catalog edits up to a position.

        Raises UnknownVideo.
        """
        await self._reach(after)
        async with ranking_turns().turn(current_tenant()):
            rules, streams = self._rules.book, self._streams.book
            answer = self._engine.similar(video_id, k, filters, at, rules, streams=streams)
        return replace(answer, degraded=(*self._missing(), *answer.degraded))

    @measures_cpu
    async def search(
        self, text: str, k: int, filters: RequestFilters, at: int, after: ReadPosition | None = None
    ) -> ListResult:
        """Return at most `k` videos for a text; by its words alone if it cannot be embedded.

        All catalog edits up to the position `after` are in it.
        """
        await self._reach(after)
        vector, missing = None, self._missing()
        bundle = self._live.served.bundle
        # Vectors of a shared encoder say nothing in a bundle without one.
        if self._encoder is not None and (bundle is None or bundle.encoder is not None):
            try:
                vector = await asyncio.wait_for(
                    self._encoder.text.remote(text), self._config.ranking_timeout_s / 2
                )
            except Exception as error:  # whatever it is, a search by words is better than none
                logger.warning("no text vector", extra={"why": _error_text(error)})
                missing = [*missing, "encoder"]
        async with ranking_turns().turn(current_tenant()):
            rules, streams = self._rules.book, self._streams.book
            answer = self._engine.search(text, vector, k, filters, at, book=rules, streams=streams)
        return replace(answer, degraded=(*missing, *answer.degraded))

    async def preview(
        self,
        queries: Sequence[RecommendQuery],
        rule_id: str,
        rule: ShopRule | None,
        after: ReadPosition | None = None,
    ) -> list[tuple[ListResult, ListResult]]:
        """Return the lists of requests as they are, and as they would be with a rule put or removed.

        Equal draws make the difference: both lists of a request have the same request id.
        """
        await self._reach(after)
        draft = self._rules.book.with_draft(rule_id, rule)
        lists: list[tuple[ListResult, ListResult]] = []
        for query in queries:
            profile = await self._profile(query.user_id) or Profile("user", query.user_id)
            # Others wait for one pair of lists at most.
            async with ranking_turns().turn(current_tenant()):
                streams = self._streams.book
                before = self._engine.recommend(query, profile, self._rules.book, streams=streams)
                lists.append((before, self._engine.recommend(query, profile, draft, streams=streams)))
            await asyncio.sleep(0)
        return lists

    @property
    def served(self) -> ServedBundle[Any]:
        """Bundle in service, and why another one was refused."""
        return self._live.served

    @property
    def live(self) -> LiveCatalog[Any]:
        """The bundle in service with the catalog's changes, which others in the process may share."""
        return self._live

    async def close(self) -> None:
        """Stop following changes and let go of the bundle and the store, once no call runs."""
        if self._task is not None:
            self._task.cancel()
        self._live.served.loaded = None
        if self._reader is not None:
            await asyncio.to_thread(self._reader.close)
        if self._assistant is not None:
            self._assistant.close()

    async def check_health(self) -> None:
        """Raise if changes are not followed any more."""
        check_running(self._task)

    async def ready(self) -> str:
        """Return the version in service."""
        return self._live.served.version

    async def refused(self) -> str | None:
        """Return why the bundle requested last was refused; None if it is in service."""
        return self._live.served.refused

    async def refusal(self) -> tuple[str, str] | None:
        """Return why the bundle requested last was refused, and the fix; None if it is in service."""
        return self._live.served.refusal

    @property
    def _engine(self) -> "RecommendEngine":
        if self._live.value is None:
            raise RuntimeError("a request came before the first bundle")
        return self._live.value.engine

    def _load(self, uri: str) -> tuple[BundleCatalog, LoadedBundle]:
        # Imported here, so that a process that only names this class to Serve does not load torch.
        import torch

        from vrec.bundle.bundle import ServingBundle
        from vrec.serving.recommend.engine import RecommendEngine

        # Replicas share the cores of the machine.
        torch.set_num_threads(1)
        bundle = ServingBundle.load(uri)
        bundle.check()
        engine, overlay = (
            RecommendEngine(bundle, self._config),
            StreamOverlay(self._config.live, bundle.encoder),
        )
        fallback = PopularFallback(bundle, self._config, engine.bundle_view)
        return bundle, LoadedBundle(engine, CurrentVideoFacts(bundle), fallback, overlay)

    async def _reach(self, position: ReadPosition | None) -> None:
        """Apply the changes up to a position; raises BackendUnavailable if they cannot be read."""
        try:
            await self._live.reach(None if position is None else position.catalog)
        except OutputError as error:
            raise BackendUnavailable(f"ranking cannot read the latest catalog changes: {error}") from None
        try:
            await self._rules.reach(0 if position is None else position.rules)
        except Exception as error:  # whatever it is, a list without the latest rules is none
            raise BackendUnavailable(f"ranking cannot read the latest rules: {_error_text(error)}") from None
        try:
            await self._streams.reach(0 if position is None else position.streams)
        except Exception as error:  # whatever it is, the answer must not have a stream that was ended before
            raise BackendUnavailable(f"ranking cannot read the streams: {_error_text(error)}") from None

    def _missing(self) -> list[str]:
        """Return the parts that this process lacks so far: rules or streams that it could never read."""
        parts = {RULES_LOG: self._rules.is_read, STREAMS_TABLE: self._streams.is_read}
        return [name for name, is_read in parts.items() if not is_read]

    async def _profile(self, user_id: str) -> Profile | None:
        """Return a shopper's profile with those of linked accounts, as far as the shopper consents.

        It comes from the store if that can be read here, else from its deployment.
        """
        bundle = self._live.served.bundle
        if self._reader is not None and bundle is not None:
            half_life = bundle.profiles.user.interest.half_life_days
            args = self._reader, user_id, bundle.history_factors, half_life
            read = partial(read_consented, *args, default=self._config.consent.is_given)
            return read() if isinstance(self._reader, SqliteProfileReader) else await asyncio.to_thread(read)
        async with asyncio.timeout(self._config.profile_timeout_s):
            return await self._profiles.shopper.remote(user_id)

    async def _open_reader(self) -> None:
        """Open the store for reading, once it exists and if this process reaches the same one."""
        store, bundle = self._config.store, self._live.served.bundle
        if self._reader is not None or bundle is None:
            return
        if isinstance(store, SqliteConfig):
            owner = await self._profiles.owner.remote()
            if not is_owned_by(store, owner):
                return
        find = self._find
        self._reader = await asyncio.to_thread(
            open_profile_reader, store, find, bundle.profiles.with_own_kinds(self._config.own_kinds)
        )

    def _find(self, video_ids: Collection[str]) -> Mapping[str, VideoMetadata]:
        return {} if self._live.value is None else self._live.value.facts.find(video_ids)

    async def _fetch_video_counts(self) -> None:
        """Fetch the counts of all videos; if that fails, `_refresh_loop` tries again."""
        self._cursor, cursor = None, None
        video_ids = self._engine.video_ids
        try:
            for start in range(0, len(video_ids), COUNTS_PER_CALL):
                batch = video_ids[start : start + COUNTS_PER_CALL]
                end, counts = await self._profiles.video_counts.remote(batch)
                # The first cursor: later batches may have counted further events, which are fetched again.
                cursor = end if cursor is None else cursor
                self._engine.set_video_counts(batch, counts)
            self._cursor = cursor or 0
        except Exception as error:  # whatever it is, ranking goes on with the counts that it has
            logger.warning("no counts of videos", extra={"why": _error_text(error)})

    async def _refresh_loop(self) -> None:
        while True:
            await asyncio.sleep(self._config.refresh_s)
            try:
                async with self._changing:
                    await self._follow()
            except Exception as error:  # the next round tries again
                logger.warning("cannot keep up", extra={"why": _error_text(error)})

    async def _follow(self) -> None:
        await self._live.follow()
        changes = self._live.journal.changes
        if self._stays and changes - self._frozen_changes >= FREEZE_EVERY:
            self._frozen_changes = changes
            # As for the bundle. What a few requests leave behind in cycles stays too.
            gc.collect(1)
            gc.freeze()
        await self._open_reader()
        ends = None if self._ends is None else await self._ends()
        await self._rules.catch_up(ends and ends.rules)
        await self._follow_streams(ends and (ends.streams, ends.vectors))
        if self._cursor is None:
            await self._fetch_video_counts()
            return
        if ends is not None and ends.events == self._cursor:
            return
        self._cursor, video_ids, counts = await self._profiles.video_counts_since.remote(self._cursor)
        if video_ids:
            self._engine.set_video_counts(video_ids, counts)

    async def _follow_streams(self, last: tuple[int, int] | None = None) -> None:
        await self._streams.catch_up(last)
        book = self._streams.book
        if book.states or (self._live.value is not None and self._live.value.overlay.shown):
            await self._live.update(lambda loaded: loaded.with_streams(book))
        if self._live.value is not None:
            await self._scores.follow(self._engine.live_model, book)


def _error_text(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
