"""HTTP deployment: calls the other deployments, and can answer with popular videos without them."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fastapi import FastAPI
from starlette.middleware import Middleware

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig, experiment_settings
from vrec.core.errors import VrecError
from vrec.core.types import ApplyResult
from vrec.profiles.stores.codec import EventRow
from vrec.serving.arm_days import ArmDay
from vrec.serving.bundle_swap import BundleCheck, ServedBundle, fixes_in_tracebacks
from vrec.serving.catalog.listing import CatalogQuery
from vrec.serving.catalog.live import LiveCatalog
from vrec.serving.catalog.upserts import choose_upserts
from vrec.serving.catalog.versions import card_version
from vrec.serving.deployments.audit import AuditLog
from vrec.serving.deployments.batches import BatchContext, BatchOperations
from vrec.serving.deployments.bundles import BundleOperations
from vrec.serving.deployments.circuit_breaker import CircuitBreaker
from vrec.serving.deployments.consents import ConsentOperations
from vrec.serving.deployments.conversations import ConversationOperations
from vrec.serving.deployments.creators import CreatorOperations
from vrec.serving.deployments.event_sender import EventSender
from vrec.serving.deployments.experiment import ExperimentOperations
from vrec.serving.deployments.following import check_running
from vrec.serving.deployments.handles import DeploymentHandle, EncoderHandle, ProfilesHandle, RankingHandle
from vrec.serving.deployments.learned_searches import LearnedSearches
from vrec.serving.deployments.links import LinkOperations
from vrec.serving.deployments.local_handle import LocalRankingHandle
from vrec.serving.deployments.model_health import ServedLists
from vrec.serving.deployments.moments import MomentOperations
from vrec.serving.deployments.old_streams import StreamCleaner
from vrec.serving.deployments.protocol import (
    BackendUnavailable,
    Card,
    UnknownVideo,
    VideoChanged,
    VideoIdTaken,
)
from vrec.serving.deployments.ranking.deployment import RankingDeployment
from vrec.serving.deployments.records import RecordOperations
from vrec.serving.deployments.replies import await_reply, readiness_error
from vrec.serving.deployments.rules import RuleOperations
from vrec.serving.deployments.searches import SearchOperations
from vrec.serving.deployments.service_state import ServiceReadiness, ServiceState
from vrec.serving.deployments.shopper_calls import ShopperCalls
from vrec.serving.deployments.store_ends import ReadEnds
from vrec.serving.deployments.stream_catalog import ServedStreamCatalog
from vrec.serving.deployments.streams import StreamOperations
from vrec.serving.deployments.trends import TrendOperations
from vrec.serving.experiments import ArmStatistics
from vrec.serving.health.hours import ModelHealth
from vrec.serving.http.app import TenantHttp, create_app
from vrec.serving.http.draining import DrainMiddleware, RequestGate
from vrec.serving.messages import (
    CatalogEdit,
    CatalogEntry,
    CatalogPage,
    EmbeddedVideo,
    ListResult,
    ReadPosition,
    RecommendQuery,
    RequestFilters,
    VideoUpsert,
)
from vrec.serving.observability import metrics
from vrec.serving.observability.exposition import cluster_metrics_text
from vrec.serving.observability.requests import RequestMetricsMiddleware
from vrec.serving.recommend.fallback import PopularFallback
from vrec.serving.rules.book import RULES_LOG
from vrec.serving.rules.follower import RuleFollower
from vrec.serving.service_report import service_state
from vrec.serving.streams.follower import StreamFollower
from vrec.serving.tenants.context import DEFAULT_TENANT
from vrec.serving.tenants.encoders import check_has_encoder

logger = logging.getLogger("ray.serve")

EMBED_TIMEOUT_S = 600.0
"""Seconds that embedding an upload may take; decoding has a shorter limit of its own."""
DRAIN_TIMEOUT_S = 4.0
"""Seconds that running requests have to end when the service stops: less than the 10 between the SIGTERM and
the SIGKILL of `docker stop`."""
READY_TIMEOUT_S = 3.0
"""Seconds that a deployment may take to report that it is ready."""


class ApiDeployment(ShopperCalls):
    """`ServingBackend` over handles of deployments; the errors of their methods are raised as they were."""

    def __init__(
        self,
        config: ServeConfig,
        ranking: RankingHandle | None,
        profiles: ProfilesHandle,
        encoder: EncoderHandle | None,
        recorder: metrics.MetricsRecorder | None = None,
        *,
        check: BundleCheck | None = None,
        ends: ReadEnds | None = None,
        tenant: str = DEFAULT_TENANT,
    ) -> None:
        """Build the deployment.

        Args:
            config: The settings of the service.
            ranking: Handle of the ranking deployment; None ranks in this process.
            profiles: Handle of the profiles deployment.
            encoder: Handle of the encoder deployment; None refuses uploads.
            recorder: Recorder of metrics; None takes that of the process.
            check: Function that raises for bundles that the deployment must not accept.
            ends: Function that returns the ends of the store's logs; None reads the logs in each round.
            tenant: Tenant whose shop it is.
        """
        super().__init__(profiles, config.apply_timeout_s)
        self._local_ranking: RankingDeployment | None = None
        if ranking is None:
            self._local_ranking = RankingDeployment(config, profiles, encoder, check, ends=ends)
            ranking = LocalRankingHandle(self._local_ranking)
        self._recorder, self._surfaces = recorder or metrics.metrics_recorder(), metrics.SurfaceLabels()
        self._config, self._ranking, self._encoder = config, ranking, encoder
        # Ranking in this process follows the same catalog: once for both.
        shared = self._local_ranking and self._local_ranking.live
        self._live: LiveCatalog[Any] = shared or LiveCatalog(config.data, self._load, check=check)
        self._rules, self._ends = RuleFollower(profiles.records_after.remote), ends
        # Parts of the ServingBackend, which describes them.
        self.rules = RuleOperations(profiles, ranking, self._rules, config.apply_timeout_s)
        self.consents = ConsentOperations(profiles, config)
        self.links = LinkOperations(
            profiles,
            lambda: self._live.served.bundle,
            lambda name: self._fallback_state.card(name) is not None,
            config.apply_timeout_s,
        )
        self.audit = AuditLog(profiles, config.apply_timeout_s)
        self.trends = TrendOperations(
            profiles, lambda: self._fallback_state, self._rules, lambda: self._streams.book, config
        )
        self.creators = CreatorOperations(
            profiles, lambda: self._fallback_state, self._rules, config, self._recorder
        )
        self.conversations = ConversationOperations(
            profiles, ranking, lambda: self._position, config, self._recorder, apply=self.apply
        )
        self.moments = MomentOperations(ranking, encoder, lambda: self._position, config)
        self.searches = SearchOperations(profiles, config.searches, config.apply_timeout_s)
        self.learned_searches = LearnedSearches(profiles, ranking, config, apply=self.apply)
        self.records = RecordOperations(profiles, self.learned_searches.settle, config.apply_timeout_s)
        self._streams = StreamFollower(profiles.states_after.remote)
        stream_catalog = ServedStreamCatalog(self._live, encoder, config.ranking_timeout_s / 4)
        self.streams = StreamOperations(
            profiles, self._streams, stream_catalog, config.live, timeout_s=config.apply_timeout_s
        )
        self._stream_cleaner = StreamCleaner(
            profiles, stream_catalog, config.live.keep_streams_s, config.apply_timeout_s
        )
        self.batches = BatchOperations(config, profiles, self._batch_context)
        self.bundles = BundleOperations(config, tenant)
        self.experiment = ExperimentOperations(profiles, config.arms, config.apply_timeout_s)
        self._events = EventSender(profiles, self._recorder, config.apply_timeout_s)
        self._breaker, self._lists = CircuitBreaker("ranking"), ServedLists(profiles, config)
        self._task: asyncio.Task[None] | None = None
        self.gate = RequestGate()
        """Gate that is closed while the service stops."""

    def http_app(self, gate: RequestGate | None = None, tenant: TenantHttp | None = None) -> FastAPI:
        """Return the application for HTTP.

        Args:
            gate: Gate of its requests; None takes this deployment's own.
            tenant: Tenant whose requests it answers; None for the default one.
        """
        app = create_app(self, self._config, metrics=cluster_metrics_text, tenant=tenant)
        app.add_middleware(RequestMetricsMiddleware, recorder=self._recorder)
        app.user_middleware.append(Middleware(DrainMiddleware, gate=gate or self.gate))  # the innermost one
        return app

    @property
    def served(self) -> ServedBundle[Any]:
        """Bundle in service, and why another one was refused."""
        return self._live.served

    async def close(self) -> None:
        """Stop following changes, and write what waits to be written."""
        await self.searches.close()
        await self.learned_searches.close()
        self._events.close()
        self._lists.close()
        await self.conversations.close()
        if self._task is not None:
            self._task.cancel()
        if self._local_ranking is not None:
            await self._local_ranking.close()

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Move to the named bundle if it is sound; with `draining`, refuse new requests and end."""
        if user_config.get("draining"):
            await self.gate.drain(DRAIN_TIMEOUT_S)
            await self.searches.close()
            await self.learned_searches.close()
            return
        with fixes_in_tracebacks():
            if self._local_ranking is None:
                await self._live.move(user_config["bundle"])
            else:
                await self._local_ranking.reconfigure(user_config)
        self.experiment.settings = experiment_settings(user_config, self._config)
        with contextlib.suppress(Exception):  # the refresh loop tries again, and answers say so until then
            for one in (self._rules, self._streams, self.experiment):
                await await_reply(one.follow(), READY_TIMEOUT_S)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._refresh_loop())

    async def recommend(self, query: RecommendQuery) -> ListResult:
        """See ServingBackend. While ranking does not answer, only one request at a time waits for it."""
        timeout_s, begun = self._config.ranking_timeout_s, time.perf_counter()
        answer = await self._breaker.call(
            lambda: await_reply(self._ranking.recommend.remote(query, self._position), timeout_s)
        )
        self._lists.note(query.request_id, query.at, answer)
        return self._record(query, answer, time.perf_counter() - begun)

    def fallback(self, query: RecommendQuery, why: str = "ranking") -> ListResult:
        """See ServingBackend."""
        missing = (why,) if self._rules.is_read else (RULES_LOG, why)
        rules, streams = self._rules.book, self._streams.book
        answer = self._fallback_state.answer(query, missing, rules, streams=streams)
        return self._record(query, answer, None)

    async def similar(self, video_id: str, k: int, filters: RequestFilters, at: int) -> ListResult:
        """See ServingBackend."""
        call = self._ranking.similar.remote(video_id, k, filters, at, self._position)
        return await await_reply(call, self._config.ranking_timeout_s)

    async def search(self, text: str, k: int, filters: RequestFilters, at: int) -> ListResult:
        """See ServingBackend."""
        call = self._ranking.search.remote(text, k, filters, at, self._position)
        return await await_reply(call, self._config.ranking_timeout_s)

    async def cards(self, video_ids: Sequence[str]) -> Mapping[str, Card]:
        """See ServingBackend. They come from this process's memory, since every answer shows some."""
        cards = ((name, self._fallback_state.card(name)) for name in video_ids)
        return {name: card for name, card in cards if card is not None}

    async def videos(self, query: CatalogQuery, at: int) -> CatalogPage:
        """See ServingBackend."""
        rules, streams = self._rules.book, self._streams.book
        return await asyncio.to_thread(self._fallback_state.page, query, at, rules, streams=streams)

    async def video(self, video_id: str, at: int) -> CatalogEntry:
        """See ServingBackend."""
        rules, streams = self._rules.book, self._streams.book
        entry = self._fallback_state.entry(video_id, at, rules, streams=streams)
        if entry is None:
            raise UnknownVideo(f"{video_id} is not in the catalog")
        return entry

    async def apply(self, rows: Sequence[EventRow]) -> ApplyResult:
        """See ServingBackend."""
        return await self._events.apply(rows)

    async def embed(self, path: str, title: str | None, tags: tuple[str, ...]) -> EmbeddedVideo:
        """See ServingBackend."""
        if self._encoder is None:
            raise BackendUnavailable("no encoder is running", fix="set serve.replicas.encoder to 1 or more")
        check_has_encoder(self._live.served.bundle)
        try:
            embedded = await await_reply(self._encoder.video.remote(path, title, tags), EMBED_TIMEOUT_S)
        except Exception as error:
            self._recorder.record(metrics.UPLOADS, outcome=type(error).__name__)
            raise
        self._recorder.record(metrics.UPLOADS, outcome="embedded")
        return embedded

    async def change(self, edit: CatalogEdit, expected: str | None = None) -> Card | None:
        """See ServingBackend. Calls to ranking name the edit from now on, so that its answers have it."""

        def check(state: Any) -> None:
            card = None if state is None else state.fallback.card(edit.video_id)
            if edit.kind == "add" and card is not None:
                raise VideoIdTaken(f"the video id {edit.video_id} is taken")
            if edit.kind != "add" and card is None:
                raise UnknownVideo(f"{edit.video_id} is not in the catalog")
            if card is not None and expected not in (None, card_version(card)):
                raise VideoChanged(f"{edit.video_id} has been changed meanwhile")

        await self._live.edit(edit, check)
        self._recorder.record(metrics.CHANGES, change="removed" if edit.kind == "remove" else "put")
        return self._fallback_state.card(edit.video_id)

    async def upsert(
        self, upserts: Sequence[VideoUpsert], *, more: bool = False
    ) -> list[Literal["add", "update"] | VrecError]:
        """See ServingBackend."""
        results: list[Literal["add", "update"] | VrecError] = []

        def choose(state: Any) -> Sequence[CatalogEdit]:
            known: PopularFallback = self._fallback_state if state is None else state.fallback
            results[:], edits = choose_upserts(upserts, known.has)
            return edits

        await self._live.edit_all(choose, more=more)
        if written := sum(not isinstance(result, VrecError) for result in results):
            self._recorder.record(metrics.CHANGES, written, change="put")
        return results

    async def arms(self) -> ArmStatistics:
        """See ServingBackend."""
        return await await_reply(self._profiles.arms.remote(), self._config.apply_timeout_s)

    async def arm_days(self, days: int) -> Sequence[ArmDay]:
        """See ServingBackend."""
        return await await_reply(self._profiles.arm_days.remote(days), self._config.apply_timeout_s)

    async def model_health(self) -> ModelHealth:
        """See ServingBackend."""
        return await self._lists.health()

    async def service_state(self) -> ServiceState:
        """See ServingBackend."""
        refused = self._live.served.refusal
        with contextlib.suppress(Exception):  # the page of a service without ranking is wanted most
            refused = await self.refusal()
        return await asyncio.to_thread(service_state, self._live.served, refused)

    async def check_health(self) -> None:
        """Raise if changes are not followed any more."""
        check_running(self._task)

    async def ready(self) -> ServiceReadiness:
        """See ServingBackend."""
        parts: dict[str, DeploymentHandle | None] = {
            "profiles": self._profiles,
            "ranking": self._ranking,
            "encoder": self._encoder,
        }
        errors = await asyncio.gather(
            *(readiness_error(handle, READY_TIMEOUT_S) for handle in parts.values())
        )
        refused = self._live.served.refused
        if all(error is None for error in errors):
            with contextlib.suppress(Exception):  # it was there a moment ago
                refused = await self.refused()
        return ServiceReadiness(self._live.served.version, dict(zip(parts, errors, strict=True)), refused)

    async def refused(self) -> str | None:
        """Return why this deployment or ranking refused the bundle requested last; None if neither did."""
        return self._live.served.refused or await await_reply(self._ranking.refused.remote(), READY_TIMEOUT_S)

    async def refusal(self) -> tuple[str, str] | None:
        """Return why this deployment or ranking refused the bundle, and the fix; None if neither did."""
        return self._live.served.refusal or await await_reply(self._ranking.refusal.remote(), READY_TIMEOUT_S)

    def _record(self, query: RecommendQuery, answer: ListResult, call_s: float | None) -> ListResult:
        arm = self.experiment.arm_of(query.user_id).name
        surface = self._surfaces.name(query.surface)
        metrics.record_recommendation(self._recorder, answer, arm, surface, call_s)
        return answer

    @property
    def _fallback_state(self) -> PopularFallback:
        if self._live.value is None:
            raise BackendUnavailable("no bundle is loaded yet")
        return self._live.value.fallback

    @property
    def _position(self) -> ReadPosition:
        """Position behind the last edit acknowledged here and the last rule known here."""
        return ReadPosition(self._live.acknowledged, self._rules.book.number, self.streams.changed)

    def _batch_context(self) -> BatchContext:
        return BatchContext(self._live.served.bundle, self._position, self.experiment.config)

    def _load(self, uri: str) -> tuple[BundleCatalog, PopularFallback]:
        bundle = BundleCatalog.load(uri)
        return bundle, PopularFallback(bundle, self._config)

    async def _refresh_loop(self) -> None:
        while True:
            await asyncio.sleep(self._config.refresh_s)
            try:
                await self._live.follow()
                await self._live.compact()
                ends = None if self._ends is None else await self._ends()
                await await_reply(self._rules.catch_up(ends and ends.rules), self._config.apply_timeout_s)
                last = ends and (ends.streams, ends.vectors)
                await await_reply(self._streams.catch_up(last), self._config.apply_timeout_s)
                await self.experiment.catch_up(ends and ends.experiment)
                if self._live.value is not None:
                    await self._stream_cleaner.clean()
            except Exception as error:  # the next round tries again
                logger.warning("cannot read the latest changes", extra={"why": str(error)[:300]})
