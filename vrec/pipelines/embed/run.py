"""`vrec embed`: from a catalog of videos to EMBEDDINGS, MEDIA and FAILURES, on Ray Data.

`embed` reads in the order in which the stages run: list → plan → decode → encode → checkpoint → compact →
manifest. The stages on workers are the callables of `vrec.pipelines.embed.stages`; `build_dataset` says with
which resources each runs.
"""

import contextlib
import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import pyarrow as pa
import ray.data
from ray.data import ActorPoolStrategy
from ray.data.read_api import from_blocks

from vrec.core.masking import mask_credentials, mask_values
from vrec.core.tables import MANIFEST, TABLE_FORMAT, read_manifest
from vrec.core.types import Modality
from vrec.encoders.build import encoder_names
from vrec.encoders.config import EmbedConfig
from vrec.encoders.moments.encode import moment_encoder_names
from vrec.media.catalog import open_source
from vrec.pipelines.cluster import ClusterResources, ConnectCluster, connect_cluster, unwrap_ray_errors
from vrec.pipelines.embed.checkpoints import PARTS, previous_state
from vrec.pipelines.embed.compact import TableCompaction, remove_unlisted_files
from vrec.pipelines.embed.layout import batch_sizes, worker_count, worker_layout
from vrec.pipelines.embed.manifest import EmbedTotals, PhaseTimer, describe_run, describe_table, timings
from vrec.pipelines.embed.plan import hash_contents, list_catalog, make_plan, recipe_digest
from vrec.pipelines.embed.stages import DecodeStage, EmbedJob, EncodeStage, FusedEmbedder
from vrec.pipelines.output import lock_folder, open_output
from vrec.pipelines.progress import JobProgress
from vrec.pipelines.quiet_data import quiet_ray_data

BatchListener = Callable[[Mapping[str, Any]], None]
"""Callback for each finished batch, called with its SUMMARY row."""


def embed(
    videos: str,
    out: str,
    config: EmbedConfig | None = None,
    *,
    address: str | None = None,
    log: TextIO | None = None,
    on_batch: BatchListener | None = None,
) -> dict[str, Any]:
    """Embed the catalog `videos` into the folder `out` and return its manifest.

    Rows of an earlier or a killed run that are unchanged stay. A bad video costs only a row of FAILURES.

    Args:
        videos: folder or VIDEOS table; like `out`, it may be a URI.
        out: the embedding folder.
        config: `embed` of the settings, the defaults where None.
        address: the Ray cluster, as `connect_cluster` takes it.
        log: stream for progress, standard error by default.
        on_batch: called with the SUMMARY row of each batch when it ends.

    Raises:
        SourceError, SchemaError, OutputError, ClusterError: the job cannot run.
    """
    config, source, folder = config or EmbedConfig(), open_source(videos), open_output(out, PARTS)
    with lock_folder(folder), contextlib.ExitStack() as stack:
        # Ray takes seconds to reach; a run that finds nothing new never needs it.
        connect = functools.cache(lambda: stack.enter_context(connect_cluster(address)))
        timer = PhaseTimer()

        # List the catalog.
        refs, duplicates = list_catalog(source, subtitles=config.wants_subtitles)
        encoders = encoder_names(config.encoders)
        job = EmbedJob(folder.uri, config, recipe_digest(config, encoders))
        previous = read_manifest(folder.uri)
        timer.lap("start_s")

        # Plan: compare with the state that earlier runs left.
        state = previous_state(folder, previous["files"]["media"] if previous else ())
        plan = make_plan(refs, duplicates, state, job.recipe, lambda rows: hash_contents(rows, job, connect))
        timer.lap("plan_s")

        # Decode, encode and checkpoint on the workers, one part per batch.
        totals = embed_pending(plan.pending, job, connect, log, on_batch)
        plan.parts.update(dict.fromkeys(totals.parts))
        timer.lap("embed_s")

        # Compact the parts and the unchanged rows into the finished table's files.
        generation = (previous["generation"] if previous else 0) + 1
        uris = refs.select(["video_id", "uri"])
        compaction = TableCompaction(folder, uris, encoders, config.rows_per_file, generation)
        compaction.moment_encoders = moment_encoder_names(config.moments, encoders)
        files = compaction.run(plan, previous["files"] if previous else {})
        contents = describe_table(folder, files, plan, totals, near=config.near_duplicates)
        timer.lap("compact_s")

        # Write the manifest, with which the new files replace the old ones.
        manifest = {
            "kind": "embeddings",
            "format": TABLE_FORMAT,
            "generation": generation,
            "videos": mask_credentials(source.uri),
            "ignored": source.ignored,
            **_describe_job(job, encoders),
            **contents,
            **timings(timer, totals),
            **describe_run(connect() if totals.videos else None),
            "files": files,
        }
        folder.write_json(MANIFEST, manifest)
        remove_unlisted_files(folder, files)
    return manifest


def _describe_job(job: EmbedJob, encoders: Mapping[Modality, str]) -> dict[str, Any]:
    """Return the encoders, the recipe and the settings of a run, for its manifest."""
    return {
        "encoders": dict(encoders),
        "moment_encoders": moment_encoder_names(job.config.moments, encoders),
        "recipe": job.recipe,
        "config": mask_values(job.config.model_dump(mode="json")),
    }


def embed_pending(
    pending: pa.Table,
    job: EmbedJob,
    connect: ConnectCluster,
    log: TextIO | None,
    on_batch: BatchListener | None = None,
    *,
    label: str = "embed",
) -> EmbedTotals:
    """Decode, encode and checkpoint REFS rows on the cluster and return the workers' totals.

    The job's folder gets one part per batch. Progress goes to `log` under `label`.
    """
    totals = EmbedTotals()
    if not pending.num_rows:
        return totals
    summaries: Any = build_dataset(pending, job, connect())
    with JobProgress(label, pending.num_rows, log) as progress, unwrap_ray_errors():
        for batch in summaries.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for summary in batch.to_pylist():
                totals.add(summary)
                progress.advance(summary["videos"], summary["failed"])
                if on_batch:
                    on_batch(summary)
    return totals


def build_dataset(pending: pa.Table, job: EmbedJob, cluster: ClusterResources) -> "ray.data.Dataset":
    """Return the lazy Ray Data pipeline from REFS rows to SUMMARY rows, one per part."""
    config = job.config
    sizes = batch_sizes(pending.num_rows, worker_count(config, cluster), config.batch_size)
    layout = worker_layout(config, cluster, len(sizes))
    starts = itertools.accumulate(sizes, initial=0)
    # One block is one batch is one part: whatever Ray repeats, it repeats a whole part, which has one name.
    # Sources other than from_blocks may cut blocks differently, and start two workers only to look at them.
    quiet_ray_data()
    batches = from_blocks([pending.slice(start, size) for start, size in zip(starts, sizes, strict=False)])
    common: dict[str, Any] = {"fn_constructor_args": (job,), "batch_format": "pyarrow", "batch_size": None}
    if not layout.split:
        # Each actor decodes, encodes and checkpoints its batches.
        return batches.map_batches(
            FusedEmbedder,
            compute=_actor_pool(layout.decoders),
            num_cpus=config.cpus_per_worker,
            **common,
        )
    return batches.map_batches(
        DecodeStage,
        compute=_actor_pool(layout.decoders),
        num_cpus=config.cpus_per_worker,
        **common,
    ).map_batches(
        # Encodes and checkpoints.
        EncodeStage,
        compute=_actor_pool(layout.encoders),
        num_cpus=0,
        num_gpus=layout.encoder_gpus,
        **common,
    )


def _actor_pool(size: int) -> ActorPoolStrategy:
    return ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=2)
