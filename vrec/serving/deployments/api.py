"""The node that speaks HTTP: it asks the others, and knows enough to answer without them."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

import pyarrow as pa
from fastapi import FastAPI
from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
from vrec.core.errors import VrecError
from vrec.core.types import ApplyResult
from vrec.profiles.profile import Profile
from vrec.serving.bundle_swap import ServedBundle
from vrec.serving.catalog.journal import CatalogJournal
from vrec.serving.deployments.local_handle import LocalHandle
from vrec.serving.deployments.protocol import BackendUnavailable, Card, ServiceReadiness
from vrec.serving.deployments.ranking import RankingDeployment
from vrec.serving.experiments import ArmStatistics, assign_arm
from vrec.serving.http.app import create_app
from vrec.serving.messages import CatalogChange, EmbeddedVideo, ListResult, RecommendQuery, RequestFilters
from vrec.serving.observability import metrics
from vrec.serving.observability.exposition import cluster_metrics_text
from vrec.serving.observability.requests import RequestMetricsMiddleware
from vrec.serving.recommend.fallback import PopularFallback

logger = logging.getLogger("ray.serve")

T = TypeVar("T")
ERASE_TIMEOUT_S = 60.0
"""Seconds that an erasure or an export may take."""
EMBED_TIMEOUT_S = 600.0
"""Seconds that embedding an upload may take; decoding has a shorter limit of its own."""
BREAKER_FAILURES = 2
"""Requests in turn that ranking may leave unanswered before others no longer wait for it."""
BREAKER_COOLDOWN_S = 1.0
"""Seconds until it is asked again."""
MAX_BATCHED_CALLS = 256
"""Requests whose events go to the store in one call at most."""
READY_TIMEOUT_S = 3.0
"""Seconds that a part may take to say that it is ready."""


class ApiDeployment:
    """The Nodes behind HTTP as Ray Serve handles, with the errors of the other side as they were raised."""

    def __init__(
        self,
        config: ServeConfig,
        ranking: Any,
        profiles: Any,
        encoder: Any,
        meter: metrics.MetricsRecorder | None = None,
    ) -> None:
        """`ranking`, `profiles` and `encoder` are handles of those nodes.

        `encoder` may be None, and without `ranking` this node ranks itself.
        """
        self._within = RankingDeployment(config, profiles, encoder) if ranking is None else None
        ranking = ranking or LocalHandle(self._within)
        self._meter, self._surfaces = meter or metrics.metrics_recorder(), metrics.SurfaceLabels()
        self._config, self._ranking, self._profiles, self._encoder = config, ranking, profiles, encoder
        self._served: ServedBundle[PopularFallback] = ServedBundle(config.data, self._load)
        self._journal, self._changes = CatalogJournal(config.data), list[CatalogChange]()
        self._changing = asyncio.Lock()
        self._waiting: list[tuple[pa.Table, asyncio.Future[ApplyResult]]] = []
        self._sending: asyncio.Task[None] | None = None
        self._unanswered, self._resting_until, self._probing = 0, 0.0, False
        self._task: asyncio.Task[None] | None = None

    def __serve_build_asgi_app__(self) -> FastAPI:
        app = create_app(self, self._config, metrics=cluster_metrics_text)
        app.add_middleware(RequestMetricsMiddleware, meter=self._meter)
        return app

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Moves to the bundle that is named, where it is sound."""
        if self._within is not None:
            await self._within.reconfigure(user_config)
        async with self._changing:
            await self._read_journal()
            await self._served.swap_to(user_config["bundle"])
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._refresh_loop())

    async def recommend(self, ask: RecommendQuery) -> ListResult:
        """See Nodes. Where ranking has not answered lately, one request at a time finds out if it does."""
        resting = self._unanswered >= BREAKER_FAILURES
        if resting and (self._probing or time.monotonic() < self._resting_until):
            raise BackendUnavailable("ranking has not answered lately")
        self._probing, begun = resting, time.perf_counter()
        try:
            answer = await _await_reply(self._ranking.recommend.remote(ask), self._config.ranking_timeout_s)
        except BackendUnavailable:
            self._unanswered, self._resting_until = (
                self._unanswered + 1,
                time.monotonic() + BREAKER_COOLDOWN_S,
            )
            raise
        finally:
            self._probing = self._probing and not resting
        self._unanswered = 0
        return self._record(ask, answer, time.perf_counter() - begun)

    def fallback(self, ask: RecommendQuery) -> ListResult:
        """See Nodes."""
        return self._record(ask, self._fallback_state.answer(ask, ("ranking",)), None)

    async def similar(self, video_id: str, k: int, filters: RequestFilters, at: int) -> ListResult:
        """See Nodes."""
        call = self._ranking.similar.remote(video_id, k, filters, at)
        return await _await_reply(call, self._config.ranking_timeout_s)

    async def search(self, text: str, k: int, filters: RequestFilters, at: int) -> ListResult:
        """See Nodes."""
        call = self._ranking.search.remote(text, k, filters, at)
        return await _await_reply(call, self._config.ranking_timeout_s)

    async def cards(self, video_ids: Sequence[str]) -> Mapping[str, Card]:
        """See Nodes. From this process's own memory: every answer shows some."""
        found = ((name, self._fallback_state.card(name)) for name in video_ids)
        return {name: card for name, card in found if card is not None}

    async def apply(self, events: pa.Table) -> ApplyResult:
        """See Nodes. What comes while a call is under way waits and goes with the next one, all together."""
        done: asyncio.Future[ApplyResult] = asyncio.get_running_loop().create_future()
        self._waiting.append((events, done))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._flush_events())
        return await done

    async def profile(self, user_id: str) -> Profile | None:
        """See Nodes."""
        return await _await_reply(self._profiles.get.remote(user_id), self._config.apply_timeout_s)

    async def erase(self, user_id: str) -> int:
        """See Nodes."""
        return await _await_reply(self._profiles.erase.remote(user_id), ERASE_TIMEOUT_S)

    async def embed(self, path: str, title: str | None, tags: tuple[str, ...]) -> EmbeddedVideo:
        """See Nodes."""
        if self._encoder is None:
            raise BackendUnavailable("no encoder is running", fix="set serve.replicas.encoder to 1 or more")
        try:
            found = await _await_reply(self._encoder.video.remote(path, title, tags), EMBED_TIMEOUT_S)
        except Exception as error:
            self._meter.record(metrics.UPLOADS, outcome=type(error).__name__)
            raise
        self._meter.record(metrics.UPLOADS, outcome="embedded")
        return found

    async def change(self, change: CatalogChange) -> None:
        """See Nodes."""
        async with self._changing:
            await asyncio.to_thread(self._journal.write, change)
            self._meter.record(metrics.CHANGES, change="removed" if change.row is None else "put")
            await self._read_journal()

    async def export(self, after: int, limit: int) -> tuple[pa.Table, int]:
        """See Nodes."""
        return await _await_reply(self._profiles.export.remote(after, limit), ERASE_TIMEOUT_S)

    async def arms(self) -> ArmStatistics:
        """See Nodes."""
        return await _await_reply(self._profiles.arms.remote(), self._config.apply_timeout_s)

    async def ready(self) -> ServiceReadiness:
        """See Nodes."""
        parts = {"profiles": self._profiles, "ranking": self._ranking, "encoder": self._encoder}
        states = await asyncio.gather(*(_readiness_error(node) for node in parts.values()))
        refused = self._served.refused
        if all(state is None for state in states):
            with contextlib.suppress(Exception):  # it was there a moment ago
                refused = await self.refused()
        return ServiceReadiness(self._served.version, dict(zip(parts, states, strict=True)), refused)

    async def refused(self) -> str | None:
        """Why the bundle that was asked for last is not served; ranking knows what it answered."""
        return self._served.refused or await _await_reply(self._ranking.refused.remote(), READY_TIMEOUT_S)

    def _record(self, ask: RecommendQuery, answer: ListResult, call_s: float | None) -> ListResult:
        arm, surface = assign_arm(ask.user_id, self._config.arms).name, self._surfaces.name(ask.surface)
        metrics.record_recommendation(self._meter, answer, arm, surface, call_s)
        return answer

    @property
    def _fallback_state(self) -> PopularFallback:
        if self._served.now is None:
            raise BackendUnavailable("no bundle is loaded yet")
        return self._served.now

    def _load(self, uri: str) -> tuple[BundleCatalog, PopularFallback]:
        shared = None if self._within is None else self._within.bundle_view(uri)
        bundle, stocked = shared or (BundleCatalog.load(uri), None)
        return bundle, PopularFallback(bundle, self._config, stocked).with_changes(self._changes)

    async def _flush_events(self) -> None:
        """Sends what waits until nothing does."""
        while self._waiting:
            some, self._waiting = self._waiting[:MAX_BATCHED_CALLS], self._waiting[MAX_BATCHED_CALLS:]
            tables = [events for events, _ in some]
            sizes, begun = [table.num_rows for table in tables], time.perf_counter()
            try:
                together = pa.concat_tables(tables).combine_chunks()
                call = self._profiles.apply.remote(together, sizes)
                results = await _await_reply(call, self._config.apply_timeout_s)
            except Exception as error:  # whatever it is, those who wait are told
                self._meter.record(metrics.EVENTS, max(1, sum(sizes)), outcome="failed")
                for _, done in some:
                    if not done.done():
                        done.set_exception(error)
                continue
            for (_, done), result in zip(some, results, strict=True):
                if not done.done():
                    done.set_exception(result) if isinstance(result, VrecError) else done.set_result(result)
            metrics.record_events(self._meter, together, results, sizes, time.perf_counter() - begun)

    async def _refresh_loop(self) -> None:
        while True:
            await asyncio.sleep(self._config.refresh_s)
            try:
                async with self._changing:
                    await self._read_journal()
            except Exception as error:  # the next round tries again
                logger.warning("cannot read the catalogue's changes", extra={"why": str(error)[:300]})

    async def _read_journal(self) -> None:
        changes = await asyncio.to_thread(self._journal.read_new)
        if changes:
            self._changes += changes
            if self._served.now is not None:
                self._served.now = await asyncio.to_thread(self._served.now.with_changes, changes)


async def _await_reply(call: Awaitable[T], timeout_s: float) -> T:
    """What another node answers; its error as it was raised there, and NodeAway where it cannot answer."""
    try:
        return await asyncio.wait_for(call, timeout_s)
    except RayTaskError as error:
        raise error.cause from None
    except TimeoutError:
        raise BackendUnavailable(f"no answer in {timeout_s:g} s") from None
    except (RayError, RayServeException) as error:
        raise BackendUnavailable(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from None


async def _readiness_error(node: Any) -> str | None:
    """None where a node is ready, else why it is not."""
    if node is None:
        return None
    try:
        await _await_reply(node.ready.remote(), READY_TIMEOUT_S)
    except Exception as error:  # whatever it is, that part is not ready
        return str(error)
    return None
