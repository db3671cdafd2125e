"""`vrec embed`: a catalogue of videos to EMBEDDINGS, MEDIA and FAILURES, on Ray Data.

plan (what changed) → embed (one part a batch, wherever a worker is) → compact (files, then the manifest).
"""

import contextlib
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy
from ray.data.read_api import from_blocks

from vrec.core.compute import pc
from vrec.core.errors import OutputError
from vrec.core.tables import MANIFEST, TABLE_FORMAT, StorageFolder, read_manifest
from vrec.encoders.build import encoder_names
from vrec.encoders.config import EmbedConfig
from vrec.media.source import FolderSource, TableSource, open_source
from vrec.pipelines.cluster import ClusterResources, connect_cluster, unwrap_ray_errors
from vrec.pipelines.embed.checkpoints import previous_state
from vrec.pipelines.embed.compact import Files, TableCompaction, remove_unlisted_files, select_parts
from vrec.pipelines.embed.manifest import EmbedTotals, PhaseTimer, describe_run, describe_table, timings
from vrec.pipelines.embed.plan import EmbedPlan, VideoHasher, deduplicate_refs, make_plan, recipe_digest
from vrec.pipelines.embed.stages import DecodeStage, EmbedJob, EncodeStage, FusedEmbedder
from vrec.pipelines.progress import JobProgress

ConnectCluster = Callable[[], ClusterResources]
"""Connects to the cluster the first time that it is called."""

BatchListener = Callable[[Mapping[str, Any]], None]
"""Told of each batch that ends, by its SUMMARY row."""

_HASH_HERE_S = 5.0


def embed(
    videos: str,
    out: str,
    config: EmbedConfig | None = None,
    *,
    address: str | None = None,
    log: TextIO | None = None,
    on_batch: BatchListener | None = None,
) -> dict[str, Any]:
    """The manifest of the embedding folder `out`, after embedding the catalogue `videos` into it.

    `videos` is a folder or a VIDEOS table; both may be URIs. What an earlier or a killed run
    left in `out` and is unchanged is kept. Progress goes to `log` (standard error by default), and
    `watch` is called with the SUMMARY row of each batch as it ends. Raises SourceError,
    SchemaError, OutputError or ClusterError where the job cannot run; a bad video costs a
    FAILURES row only.
    """
    source, folder = open_source(videos), open_output(out)
    with lock_folder(folder), contextlib.ExitStack() as stack:
        # Ray takes seconds to reach; a run that finds nothing new never needs it.
        reach = functools.cache(lambda: stack.enter_context(connect_cluster(address)))
        return _embed(source, folder, config or EmbedConfig(), reach, log=log, watch=on_batch)


def _embed(
    source: FolderSource | TableSource,
    folder: StorageFolder,
    config: EmbedConfig,
    reach: ConnectCluster,
    *,
    log: TextIO | None,
    watch: BatchListener | None,
) -> dict[str, Any]:
    clock = PhaseTimer()
    refs, duplicates = deduplicate_refs(source.refs(), source.uri)
    names = encoder_names(config.encoders)
    job = EmbedJob(folder.uri, config, recipe_digest(config, names))
    old = read_manifest(folder.uri)
    clock.lap("start_s")
    state = previous_state(folder, old["files"]["media"] if old else ())
    plan = make_plan(refs, duplicates, state, job.recipe, lambda rows: hash_contents(rows, job, reach))
    clock.lap("plan_s")
    totals = run_plan(plan, job, reach, log, watch)
    clock.lap("embed_s")
    plan.parts.update(dict.fromkeys(totals.parts))
    work = TableCompaction(
        folder, refs.select(["video_id", "uri"]), names, config.rows_per_file, _next_generation(old)
    )
    files = _compact(work, plan, old)
    outcome = describe_table(folder, files, plan, totals, near=config.near_duplicates)
    clock.lap("compact_s")
    manifest = {
        "kind": "embeddings",
        "format": TABLE_FORMAT,
        "generation": _next_generation(old),
        "videos": source.uri,
        "ignored": source.ignored,
        "encoders": names,
        "recipe": job.recipe,
        "config": config.model_dump(mode="json"),
        **outcome,
        **timings(clock, totals),
        **describe_run(reach() if totals.videos else None),
        "files": files,
    }
    folder.write_json(MANIFEST, manifest)
    remove_unlisted_files(folder, files)
    return manifest


def open_output(out: str) -> StorageFolder:
    """The folder, which can be written; raises OutputError."""
    folder = StorageFolder(out)
    info = folder.filesystem.get_file_info(folder.path)
    if info.is_file:
        raise OutputError(f"{out}: is a file, not a folder")
    folder.check_writable("_parts")
    return folder


@contextlib.contextmanager
def lock_folder(folder: StorageFolder) -> Iterator[None]:
    """Holds the folder for one run; the lock goes with the process, however that ends. Local disks only."""
    if not folder.local:
        yield
        return
    import fcntl

    with open(folder.path_of(".lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputError(
                f"{folder.uri}: another run is writing there",
                fix="wait for it to end, or give another --out",
            ) from None
        yield


def _next_generation(old: dict[str, Any] | None) -> int:
    return (old["generation"] if old else 0) + 1


def hash_contents(refs: pa.Table, job: EmbedJob, connect: ConnectCluster) -> pa.Table:
    """`video_id` and `now_hash` of REFS rows, hashed here, and on the cluster once that takes long."""
    rows, stage = refs.select(["video_id", "uri"]), VideoHasher(job.config.decode.max_bytes)
    done: list[pa.Table] = []
    begun, at, size = time.monotonic(), 0, 64
    # Some thousand files are hashed here before a cluster has even started its tasks.
    while at < rows.num_rows and time.monotonic() - begun < _HASH_HERE_S:
        done.append(stage(rows.slice(at, size)))
        at += size
    if (rest := rows.slice(at)).num_rows:
        size = max(size, math.ceil(rest.num_rows / (connect().cpus * 4)))
        dataset = from_blocks([rest.slice(i, size) for i in range(0, rest.num_rows, size)])
        hashed: Any = dataset.map_batches(stage, batch_size=None, batch_format="pyarrow", num_cpus=0.5)
        done.extend(ray.get(hashed.to_arrow_refs()))
    return pa.concat_tables(done)


def run_plan(
    plan: EmbedPlan,
    job: EmbedJob,
    connect: ConnectCluster,
    log: TextIO | None,
    on_batch: BatchListener | None = None,
    *,
    verb: str = "embed",
) -> EmbedTotals:
    """What the workers did: a part in the job's folder for each batch of the plan's videos.

    Progress goes to `log` as that of `verb`, and `watch` hears of each batch that ends.
    """
    totals = EmbedTotals()
    if not plan.pending.num_rows:
        return totals
    dataset: Any = _dataset(plan.pending, job, connect())
    with JobProgress(verb, plan.pending.num_rows, log) as progress, unwrap_ray_errors():
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in batch.to_pylist():
                totals.add(row)
                progress.advance(row["videos"], row["failed"])
                if on_batch:
                    on_batch(row)
    return totals


def _dataset(pending: pa.Table, job: EmbedJob, cluster: ClusterResources) -> "ray.data.Dataset":
    config = job.config
    split = config.layout == "split" or (config.layout == "auto" and cluster.gpus > 0)
    lanes = config.workers or max(1, int(cluster.cpus // config.cpus_per_worker))
    sizes = batch_sizes(pending.num_rows, lanes, config.batch_size)
    starts = itertools.accumulate(sizes, initial=0)
    # A block is a batch is a part: whatever Ray repeats, it repeats a whole part, which has one name.
    # Others than from_blocks may cut blocks anew, and start two workers only to look at them.
    blocks = from_blocks([pending.slice(start, size) for start, size in zip(starts, sizes, strict=False)])
    lanes = min(lanes, len(sizes))
    arguments: dict[str, Any] = {"fn_constructor_args": (job,), "batch_format": "pyarrow", "batch_size": None}
    if not split:
        pool = ActorPoolStrategy(size=lanes, max_tasks_in_flight_per_actor=2)
        return blocks.map_batches(FusedEmbedder, compute=pool, num_cpus=config.cpus_per_worker, **arguments)
    on_gpu = cluster.gpus > 0
    encoders = max(1, int(cluster.gpus / config.gpus_per_worker)) if on_gpu else 1
    # Without a GPU an encoder needs CPUs that the decoders must not have reserved.
    decoders = lanes if on_gpu else max(1, lanes - 1)
    return blocks.map_batches(
        DecodeStage,
        compute=ActorPoolStrategy(size=decoders, max_tasks_in_flight_per_actor=2),
        num_cpus=config.cpus_per_worker,
        **arguments,
    ).map_batches(
        EncodeStage,
        compute=ActorPoolStrategy(size=encoders, max_tasks_in_flight_per_actor=2),
        num_cpus=0.01 if on_gpu else config.cpus_per_worker,
        num_gpus=config.gpus_per_worker if on_gpu else 0,
        **arguments,
    )


def batch_sizes(videos: int, lanes: int, most: int) -> list[int]:
    """How many videos each batch takes: at most `most`, and ever fewer towards the end, down to two.

    A batch is a quarter of a worker's share of what is left (guided self-scheduling,
    Polychronopoulos and Kuck 1987), so that no worker sits idle while another finishes a long one.
    """
    sizes: list[int] = []
    while videos:
        sizes.append(min(videos, most, max(2, videos // (lanes * 4))))
        videos -= sizes[-1]
    return sizes


def _compact(work: TableCompaction, plan: EmbedPlan, old: dict[str, Any] | None) -> Files:
    if old:
        work.add_existing(old["files"], plan.reused["video_id"].filter(pc.equal(plan.reused["origin"], "")))
    work.add(select_parts(work.folder, plan.parts))
    work.add_failures(plan.duplicates)
    return work.finish()
