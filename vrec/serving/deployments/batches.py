"""Batches, as one HTTP replica starts, reads and cancels them, and the Ray actor that runs one."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa
import ray

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ExperimentConfig, ServeConfig
from vrec.serving.batches.folder import BatchFolder, BatchState, TooManyBatches
from vrec.serving.batches.run import BatchSpec, run_batch
from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.deployments.ranking.deployment import RankingDeployment
from vrec.serving.deployments.replies import await_reply
from vrec.serving.experiments import assign_arm
from vrec.serving.messages import ReadPosition, RecommendQuery

EXPORT_TIMEOUT_S = 60.0
"""Seconds that reading events to find the shoppers may take."""
HOUR_US = 3_600_000_000


class BatchContext(NamedTuple):
    """State of the service when a batch starts."""

    bundle: BundleCatalog | None
    """Bundle in service, if there is one."""
    position: ReadPosition
    """Changes that answers have."""
    experiment: ExperimentConfig
    """A/B test."""


class BatchOperations:
    """Batches below the data folder, each run by a ranking process of its own."""

    def __init__(
        self, config: ServeConfig, profiles: ProfilesHandle, context: Callable[[], BatchContext]
    ) -> None:
        """Build it over the settings, the handle of the profiles, and a function that returns the context."""
        self._config, self._profiles, self._context = config, profiles, context
        self._folder = BatchFolder(config.data)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, query: RecommendQuery, user_ids: Sequence[str] | None) -> BatchState:
        """Start a batch; see BatchesBackend."""
        now, settings, context = time.time_ns() // 1000, self._config.batches, self._context()
        if context.bundle is None:
            raise BackendUnavailable("no bundle is loaded yet")
        await asyncio.to_thread(self._folder.remove_older, now - round(settings.keep_hours * HOUR_US))
        if await asyncio.to_thread(self._folder.unfinished) >= settings.most_unfinished:
            raise TooManyBatches(f"{settings.most_unfinished} batches are queued or running already")
        state = await asyncio.to_thread(self._folder.create, now)
        # Whoever reads the lists does so later, when streams of now are over.
        filters = replace(query.filters, streams="none")
        request = RecommendQuery(
            state.batch_id, "", query.surface, query.k, now, filters=filters, age=query.age
        )
        users = None if user_ids is None else tuple(dict.fromkeys(user_ids))
        self._launch(
            BatchSpec(state, request, users, context.position), context.bundle.uri, context.experiment
        )
        return state

    async def state(self, batch_id: str) -> BatchState:
        """Return the state of a batch; raises UnknownBatch."""
        return await asyncio.to_thread(self._folder.state, batch_id)

    async def cancel(self, batch_id: str) -> None:
        """Cancel a batch, or remove its result; raises UnknownBatch."""
        before = await asyncio.to_thread(self._folder.cancel, batch_id)
        if before.state == "queued" and ray.is_initialized():
            # One that waits for a CPU does not look; one that runs does, and tidies up.
            with suppress(ValueError):
                ray.kill(await asyncio.to_thread(ray.get_actor, _actor_name(batch_id)))

    async def result(self, batch_id: str) -> tuple[pa.NativeFile, int]:
        """Return the result's stream and size; raises UnknownBatch or BatchNotDone."""
        return await asyncio.to_thread(self._folder.open_result, batch_id)

    def _launch(self, spec: BatchSpec, bundle: str, experiment: ExperimentConfig) -> None:
        config = self._config.model_copy(update={"arms": experiment})
        if not ray.is_initialized():
            # Without Ray, as where all deployments are in one process, it runs beside the requests.
            task = asyncio.get_running_loop().create_task(work_off(spec, config, self._profiles, bundle))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        options = {
            "name": _actor_name(spec.state.batch_id),
            # It outlives this replica, which may move to another node meanwhile.
            "lifetime": "detached",
            "num_cpus": self._config.batches.cpus,
        }
        actor: Any = ray.remote(BatchWorker).options(**options).remote()
        actor.run.remote(spec, config, self._profiles, bundle)


class BatchWorker:
    """Ray actor that runs one batch, and ends."""

    async def run(self, spec: BatchSpec, config: ServeConfig, profiles: ProfilesHandle, bundle: str) -> None:
        """Run the batch to its end."""
        try:
            await work_off(spec, config, profiles, bundle)
        finally:
            # An actor that leaves by itself would wait for the threads of Serve's handles, which do not end.
            ray.kill(ray.get_runtime_context().current_actor)


async def work_off(spec: BatchSpec, config: ServeConfig, profiles: ProfilesHandle, bundle: str) -> None:
    """Run a batch with a ranking of its own, so that shoppers do not wait for it.

    It has the deployment's own code: profiles, rules and catalog changes are the present ones.
    """
    ranking = RankingDeployment(config, profiles, None, stays=False, remembers=False)
    started = False

    async def recommend(query: RecommendQuery, after: ReadPosition | None) -> Any:
        nonlocal started
        if not started:
            # Here, so that a bundle that cannot be loaded is a failure of the batch.
            await ranking.reconfigure({"bundle": bundle})
            started = True
        return await ranking.recommend(query, after)

    async def export(cursor: int, limit: int) -> tuple[pa.Table, int]:
        return await await_reply(profiles.export.remote(cursor, limit), EXPORT_TIMEOUT_S)

    try:
        await run_batch(
            spec,
            BatchFolder(config.data),
            recommend,
            export,
            lambda user_id: assign_arm(user_id, config.arms).order,
        )
    finally:
        await ranking.close()


def _actor_name(batch_id: str) -> str:
    return f"vrec-batch-{batch_id}"
