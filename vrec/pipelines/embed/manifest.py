"""Contents of manifest.json for an embedding run."""

import math
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

import vrec
from vrec.core.compute import pc
from vrec.core.tables import StorageFolder
from vrec.encoders.view_check import SUSPICIOUS
from vrec.media.decode import FALLBACK
from vrec.media.duplicates.groups import FingerprintRow, near_duplicates
from vrec.pipelines.cluster import ClusterResources
from vrec.pipelines.embed.compact import Files
from vrec.pipelines.embed.plan import EmbedPlan

_STAGE_TIMES = ("read_s", "decode_s", "encode_s", "write_s")


@dataclass(slots=True)
class PhaseTimer:
    """Stopwatch for the phases of a run, in seconds of wall time."""

    laps: dict[str, float] = field(default_factory=dict)
    _started: float = field(default_factory=time.perf_counter)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        """End a phase and record its seconds under a name."""
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now

    def wall_s(self) -> float:
        """Return the seconds since the run began."""
        return time.perf_counter() - self._started


@dataclass(slots=True)
class EmbedTotals:
    """Totals over all batches of a run."""

    videos: int = 0
    failed: int = 0
    video_s: float = 0.0
    """Playing time of the embedded videos, in seconds."""
    began_at: float = math.inf
    """Start of the first batch, in seconds of Unix time."""
    ended_at: float = -math.inf
    """End of the last batch, in seconds of Unix time."""
    workers: set[str] = field(default_factory=set)
    """Host and process id of each worker."""
    stage_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_STAGE_TIMES, 0.0))
    """Seconds per stage, summed over the workers."""
    parts: list[str] = field(default_factory=list)
    """Names of the parts that were written."""

    def add(self, row: dict[str, Any]) -> None:
        """Add one SUMMARY row."""
        self.parts.append(row["part"])
        self.videos += row["videos"]
        self.failed += row["failed"]
        self.video_s += row["video_s"]
        self.began_at = min(self.began_at, row["began_at"])
        self.ended_at = max(self.ended_at, row["ended_at"])
        self.workers.add(row["worker"])
        for name in _STAGE_TIMES:
            self.stage_s[name] += row[name]


def describe_table(
    folder: StorageFolder, files: Files, plan: EmbedPlan, totals: EmbedTotals, *, near: bool
) -> dict[str, Any]:
    """Describe the finished table: counts, dimensions, decoders and, with `near`, near-duplicates."""
    columns = ["video_id", "error", "decoder", "note"]
    media = pa.concat_tables(folder.read_parquet(name, columns) for name in files["media"])
    embedded = media["error"].null_count
    counts = {
        "videos": plan.total,
        "embedded": embedded,
        "failed": media.num_rows - embedded + plan.duplicates.num_rows,
        "kept": plan.reused.num_rows,
        "new": totals.videos,
        "dropped": plan.dropped,
    }
    groups = near_duplicates(_fingerprints(folder, files["media"])) if near else []
    return {
        "counts": counts,
        "dims": _dims(folder, files),
        "moments": _moments(folder, files),
        **_describe_media(media),
        "near_duplicates": groups,
    }


def _fingerprints(folder: StorageFolder, names: Sequence[str]) -> Iterator[FingerprintRow]:
    """Yield the fingerprint of each embedded video; one file at a time is in memory."""
    columns = [*FingerprintRow._fields, "error"]
    for name in names:
        rows = folder.read_parquet(name, columns)
        good = rows.filter(pc.is_null(rows["error"])).select(list(FingerprintRow._fields))
        yield from map(
            FingerprintRow._make, zip(*(column.to_pylist() for column in good.columns), strict=True)
        )


def timings(timer: PhaseTimer, totals: EmbedTotals) -> dict[str, Any]:
    """Return wall seconds per phase, seconds per stage over all workers, and the rate since the first batch.

    The rate excludes the workers' start-up, which does not grow with the catalog.
    """
    seconds = {**timer.laps, "wall_s": timer.wall_s(), **totals.stage_s}
    rate = None
    if totals.videos:
        work_s = totals.ended_at - totals.began_at
        rate = {
            "videos_per_s": round(totals.videos / work_s, 3),
            "video_seconds_per_s": round(totals.video_s / work_s, 2),
            "over_s": round(work_s, 3),
            "workers": len(totals.workers),
        }
    return {"timings": {name: round(s, 4) for name, s in seconds.items()}, "throughput": rate}


def _dims(folder: StorageFolder, files: Files) -> dict[str, int]:
    """Return the length of the vectors of each modality that has any."""
    dims = {}
    for table, names in files.items():
        if table.startswith("embeddings/"):
            vector = folder.parquet_schema(names[0]).field("vector").type
            dims[table.partition("/")[2]] = vector.list_size
    return dims


def _moments(folder: StorageFolder, files: Files) -> dict[str, int]:
    """Return the number of moments of each modality that has any."""
    tables = {table: names for table, names in files.items() if table.startswith("moments/")}
    return {
        table.partition("/")[2]: sum(folder.read_parquet(name, ["start_s"]).num_rows for name in names)
        for table, names in tables.items()
    }


def _describe_media(media: pa.Table) -> dict[str, Any]:
    """Return the videos by decoder, those that another one read than the chosen one, and those in doubt."""
    good = media.filter(pc.is_null(media["error"])).sort_by("video_id")
    decoders = {str(c["values"]): c["counts"] for c in good["decoder"].value_counts().to_pylist()}
    doubtful = pc.fill_null(pc.match_substring(good["note"], SUSPICIOUS), False)
    fallbacks = good.filter(pc.fill_null(pc.starts_with(good["note"], FALLBACK), False))
    return {
        "decoders": decoders,
        "fallbacks": {row["video_id"]: row["note"] for row in fallbacks.to_pylist()},
        "suspicious": {
            row["video_id"]: row["note"].partition(SUSPICIOUS)[2]
            for row in good.filter(doubtful).select(["video_id", "note"]).to_pylist()
        },
    }


def describe_run(cluster: ClusterResources | None) -> dict[str, Any]:
    """Describe the version, time and cluster of a run; `machine` is None without a cluster."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    machine = None
    if cluster:
        machine = {
            "ray": cluster.ray_version,
            "nodes": cluster.nodes,
            "cpus": cluster.cpus,
            "gpus": cluster.gpus,
            "python": platform.python_version(),
            "platform": platform.platform(),
        }
    return {"vrec": vrec.__version__, "created_at": now, "machine": machine}
