"""HTTP deployment: calls the other deployments, and can answer with popular videos without them."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa
from fastapi import FastAPI
from starlette.middleware import Middleware

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig, experiment_settings
from vrec.core.errors import VrecError
from vrec.core.types import ApplyResult
from vrec.profiles.profile import Profile
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
from vrec.serving.deployments.event_sender import EventSender
from vrec.serving.deployments.experiment import ExperimentOperations
from vrec.serving.deployments.local_handle import LocalRankingHandle
from vrec.serving.deployments.protocol import (
    BackendUnavailable,
    Card,
    DeploymentHandle,
    EncoderHandle,
    ProfilesHandle,
    RankingHandle,
    UnknownVideo,
    VideoChanged,
    VideoIdTaken,
)
from vrec.serving.deployments.ranking import RankingDeployment
from vrec.serving.deployments.replies import await_reply, readiness_error
from vrec.serving.deployments.rules import RuleOperations
from vrec.serving.deployments.searches import SearchOperations
from vrec.serving.deployments.service_state import ServiceReadiness, ServiceState
from vrec.serving.deployments.store_ends import ReadEnds
from vrec.serving.deployments.stream_catalog import ServedStreamCatalog
from vrec.serving.deployments.streams import StreamOperations
from vrec.serving.deployments.trends import TrendOperations
from vrec.serving.experiments import ArmStatistics, assign_arm
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

ERASE_TIMEOUT_S = 60.0
"""Seconds that an erasure or an export may take."""
EMBED_TIMEOUT_S = 600.0
"""Seconds that embedding an upload may take; decoding has a shorter limit of its own."""
BREAKER_FAILURES = 2
"""Consecutive requests without an answer of ranking after which requests no longer wait for it."""
BREAKER_COOLDOWN_S = 1.0
"""Seconds after which one request at a time tries ranking again."""
DRAIN_TIMEOUT_S = 4.0
"""Seconds that running requests have to end when the service stops: less than the 10 between the SIGTERM and
the SIGKILL of `docker stop`."""
READY_TIMEOUT_S = 3.0
"""Seconds that a deployment may take to report that it is ready."""


class ApiDeployment:
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
        self._local_ranking: RankingDeployment | None = None
        if ranking is None:
            self._local_ranking = RankingDeployment(config, profiles, encoder, check, ends=ends)
            ranking = LocalRankingHandle(self._local_ranking)
        self._recorder, self._surfaces = recorder or metrics.metrics_recorder(), metrics.SurfaceLabels()
        self._config, self._ranking, self._profiles, self._encoder = config, ranking, profiles, encoder
        self._live: LiveCatalog[PopularFallback] = LiveCatalog(config.data, self._load, check=check)
        self._rules, self._ends = RuleFollower(profiles.records_after.remote), ends
        # Parts of the ServingBackend, which describes them.
        self.rules = RuleOperations(profiles, ranking, self._rules, config.apply_timeout_s)
        self.audit = AuditLog(profiles, config.apply_timeout_s)
        self.trends = TrendOperations(
            profiles, lambda: self._fallback_state, self._rules, lambda: self._streams.book, config
        )
        self.searches = SearchOperations(profiles, config.searches, config.apply_timeout_s)
        self._streams = StreamFollower(profiles.states_after.remote)
        stream_catalog = ServedStreamCatalog(self._live, encoder, config.ranking_timeout_s / 4)
        self.streams = StreamOperations(
            profiles, self._streams, stream_catalog, config.live, timeout_s=config.apply_timeout_s
        )
        self.batches = BatchOperations(config, profiles, self._batch_context)
        self.bundles = BundleOperations(config, tenant)
        self.experiment = ExperimentOperations(profiles, config.arms, config.apply_timeout_s)
        self._events = EventSender(profiles, self._recorder, config.apply_timeout_s)
        # Circuit breaker of ranking: open after BREAKER_FAILURES, closed again by a probe that succeeds.
        self._failures, self._open_until, self._probing = 0, 0.0, False
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
        self._events.close()
        if self._task is not None:
            self._task.cancel()
        if self._local_ranking is not None:
            await self._local_ranking.close()

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Move to the named bundle if it is sound; with `draining`, refuse new requests and end."""
        if user_config.get("draining"):
            await self.gate.drain(DRAIN_TIMEOUT_S)
            await self.searches.close()
            return
        if self._local_ranking is not None:
            await self._local_ranking.reconfigure(user_config)
        with fixes_in_tracebacks():
            await self._live.move(user_config["bundle"])
        self.experiment.settings = experiment_settings(user_config, self._config)
        with contextlib.suppress(Exception):  # the refresh loop tries again, and answers say so until then
            await await_reply(self._rules.follow(), READY_TIMEOUT_S)
            await await_reply(self._streams.follow(), READY_TIMEOUT_S)
            await await_reply(self.experiment.follow(), READY_TIMEOUT_S)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._refresh_loop())

    async def recommend(self, query: RecommendQuery) -> ListResult:
        """See ServingBackend. While ranking does not answer, only one request at a time waits for it."""
        is_open = self._failures >= BREAKER_FAILURES
        if is_open and (self._probing or time.monotonic() < self._open_until):
            raise BackendUnavailable("ranking has not answered lately")
        self._probing, begun = is_open, time.perf_counter()
        try:
            answer = await await_reply(
                self._ranking.recommend.remote(query, self._position), self._config.ranking_timeout_s
            )
        except BackendUnavailable:
            self._failures, self._open_until = self._failures + 1, time.monotonic() + BREAKER_COOLDOWN_S
            raise
        finally:
            self._probing = self._probing and not is_open
        self._failures = 0
        return self._record(query, answer, time.perf_counter() - begun)

    def fallback(self, query: RecommendQuery) -> ListResult:
        """See ServingBackend."""
        missing = ("ranking",) if self._rules.is_read else (RULES_LOG, "ranking")
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

    async def profile(self, user_id: str) -> Profile | None:
        """See ServingBackend."""
        return await await_reply(self._profiles.get.remote(user_id), self._config.apply_timeout_s)

    async def erase(self, user_id: str) -> int:
        """See ServingBackend."""
        return await await_reply(self._profiles.erase.remote(user_id), ERASE_TIMEOUT_S)

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

        def check(state: PopularFallback | None) -> None:
            card = None if state is None else state.card(edit.video_id)
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

        def choose(state: PopularFallback | None) -> Sequence[CatalogEdit]:
            known = self._fallback_state if state is None else state
            results[:], edits = choose_upserts(upserts, lambda name: known.card(name) is not None)
            return edits

        await self._live.edit_all(choose, more=more)
        if written := sum(not isinstance(result, VrecError) for result in results):
            self._recorder.record(metrics.CHANGES, written, change="put")
        return results

    async def export(self, after: int, limit: int) -> tuple[pa.Table, int]:
        """See ServingBackend."""
        return await await_reply(self._profiles.export.remote(after, limit), ERASE_TIMEOUT_S)

    async def remove_event(self, event_id: str) -> bool:
        """See ServingBackend."""
        return await await_reply(self._profiles.remove_event.remote(event_id), ERASE_TIMEOUT_S)

    async def join(self, session: str, user_id: str) -> int:
        """See ServingBackend."""
        return await await_reply(self._profiles.join.remote(session, user_id), ERASE_TIMEOUT_S)

    async def events_of(self, user_id: str, before: int | None, limit: int) -> tuple[pa.Table, int | None]:
        """See ServingBackend."""
        call = self._profiles.events_of.remote(user_id, before, limit)
        return await await_reply(call, self._config.apply_timeout_s)

    async def arms(self) -> ArmStatistics:
        """See ServingBackend."""
        return await await_reply(self._profiles.arms.remote(), self._config.apply_timeout_s)

    async def arm_days(self, days: int) -> Sequence[ArmDay]:
        """See ServingBackend."""
        return await await_reply(self._profiles.arm_days.remote(days), self._config.apply_timeout_s)

    async def service_state(self) -> ServiceState:
        """See ServingBackend."""
        refused = self._live.served.refusal
        with contextlib.suppress(Exception):  # the page of a service without ranking is wanted most
            refused = await self.refusal()
        return await asyncio.to_thread(service_state, self._live.served, refused)

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
        arm, surface = (
            assign_arm(query.user_id, self.experiment.config).name,
            self._surfaces.name(query.surface),
        )
        metrics.record_recommendation(self._recorder, answer, arm, surface, call_s)
        return answer

    @property
    def _fallback_state(self) -> PopularFallback:
        if self._live.value is None:
            raise BackendUnavailable("no bundle is loaded yet")
        return self._live.value

    @property
    def _position(self) -> ReadPosition:
        """Position behind the last edit acknowledged here and the last rule known here."""
        return ReadPosition(self._live.acknowledged, self._rules.book.number, self.streams.changed)

    def _batch_context(self) -> BatchContext:
        return BatchContext(self._live.served.bundle, self._position, self.experiment.config)

    def _load(self, uri: str) -> tuple[BundleCatalog, PopularFallback]:
        shared = None if self._local_ranking is None else self._local_ranking.bundle_view(uri)
        bundle, view = shared or (BundleCatalog.load(uri), None)
        return bundle, PopularFallback(bundle, self._config, view)

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
            except Exception as error:  # the next round tries again
                logger.warning("cannot read the latest changes", extra={"why": str(error)[:300]})
