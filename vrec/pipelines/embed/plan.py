"""Plan of an embedding run: the videos that are new or changed, and those that are done already."""

import functools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import ray
from ray.data.read_api import from_blocks

from vrec.core.casts import printable
from vrec.core.compute import pc
from vrec.core.digest import digest
from vrec.core.errors import (
    DuplicateVideoId,
    ReadFailed,
    SourceError,
    UnlistedVideo,
    VideoError,
    guard,
    video_errors,
)
from vrec.core.masking import mask_credentials
from vrec.core.schema import FAILURES
from vrec.core.types import Modality, UnlistedRow, VideoRef
from vrec.encoders.config import EmbedConfig
from vrec.encoders.moments.encode import moment_encoder_names
from vrec.encoders.text import clip_text
from vrec.media.catalog import VideoCatalog
from vrec.media.decode import DECODING_VERSION
from vrec.media.moments.sidecars import find_sidecar
from vrec.media.source import content_hash
from vrec.pipelines.cluster import ConnectCluster
from vrec.pipelines.embed.checkpoints import REFS
from vrec.pipelines.embed.stages import EmbedJob
from vrec.pipelines.quiet_data import quiet_ray_data

_NOT_IN_RECIPE = {"timeout_s", "wall_timeout_s", "max_memory_mb", "threads"}
"""Decode settings that change no vector, so a change of them embeds nothing again."""
_HASH_LOCALLY_S = 5.0
"""Seconds after which the rest of a catalog is hashed on the cluster."""
_HASH_BATCH = 64
_SIDECAR_THREADS = 16

ContentHasher = Callable[[pa.Table], pa.Table]
"""Hashes the current content of REFS rows: a table of `video_id` and `now_hash`."""


@dataclass(slots=True)
class EmbedPlan:
    """Work of an embedding run."""

    total: int
    """Rows of the catalog, including duplicates."""
    pending: pa.Table
    """REFS rows to embed."""
    reused: pa.Table
    """STATE rows of earlier runs whose vectors or failures are still valid."""
    duplicates: pa.Table
    """FAILURES rows of entries that cannot be listed, and of ids that the catalog names twice."""
    dropped: int = 0
    """Videos of earlier runs that are no longer in the catalog."""
    parts: dict[str, list[str] | None] = field(default_factory=dict)
    """Parts by name, each with the ids whose rows are used, or None for all."""


def list_catalog(source: VideoCatalog[Any], *, subtitles: bool = False) -> tuple[pa.Table, pa.Table]:
    """List a catalog with each id once.

    Args:
        source: the catalog.
        subtitles: whether to look for files of subtitles beside the videos.

    Returns:
        REFS, and FAILURES rows for entries that cannot be listed or whose id was taken.

    Raises:
        SourceError: The catalog has no video, or none that can be listed.
    """
    refs, failures = deduplicate_refs(source.refs(), source.uri, source.failures)
    return (with_sidecars(refs) if subtitles else refs), failures


def deduplicate_refs(
    refs: Iterable[VideoRef], uri: str, unlisted: Sequence[UnlistedRow] = ()
) -> tuple[pa.Table, pa.Table]:
    """List a catalog as `list_catalog` does.

    Args:
        refs: the videos; the first one with an id keeps it.
        uri: the catalog, for messages.
        unlisted: entries without a ref; read after `refs`, which may fill it.
    """
    seen: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    for ref in refs:
        row = guard(UnlistedVideo, functools.partial(_ref_row, ref))
        if not isinstance(row, VideoError) and ref.video_id in seen:
            row = DuplicateVideoId(f"video_id {ref.video_id} is taken by {seen[ref.video_id]}")
        if isinstance(row, VideoError):
            failures.append(_failure(ref.video_id, ref.uri, row))
            continue
        seen[ref.video_id] = ref.uri
        rows.append(row)
    failures += [_failure(entry.video_id, entry.uri, entry.error) for entry in unlisted]
    if not rows and failures:
        first = failures[0]
        raise SourceError(
            f"{uri}: none of {len(failures):,} videos can be listed; the first, {first['video_id']}: "
            f"{first['message']}",
            fix="correct the catalog",
        )
    if not rows:
        raise SourceError(f"{uri}: no videos there", fix="give --videos a folder with video files in it")
    table = pa.Table.from_pylist(rows, schema=REFS)
    return table, pa.Table.from_pylist(failures, schema=FAILURES.arrow())


def with_sidecars(refs: pa.Table) -> pa.Table:
    """Return REFS with the files of subtitles beside the videos, whose content their `text_hash` covers."""
    with ThreadPoolExecutor(_SIDECAR_THREADS) as pool:
        found = list(pool.map(find_sidecar, refs["uri"].to_pylist()))
    rows = [
        row
        if one is None
        else row
        | {"subtitles": one.uri, "text_hash": digest({"text": row["text_hash"], "subtitles": one.hash})}
        for row, one in zip(refs.to_pylist(), found, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=REFS)


def _ref_row(ref: VideoRef) -> dict[str, Any]:
    text = clip_text(ref.title, ref.tags)
    text_hash = digest({"text": text}) if text else ""
    row = {"video_id": ref.video_id, "uri": ref.uri, "text": text, "text_hash": text_hash}
    for value in row.values():
        # What no table can hold fails here, and not when the table is made.
        (value or "").encode("utf-8")
    return row


def _failure(video_id: str, uri: str, error: VideoError) -> dict[str, Any]:
    return {
        "video_id": printable(video_id),
        "uri": mask_credentials(printable(uri)),
        "stage": error.stage,
        "error": type(error).__name__,
        "message": printable(str(error)),
        "at": datetime.now(UTC),
    }


def make_plan(
    refs: pa.Table, duplicates: pa.Table, state: pa.Table, recipe: str, hash_contents: ContentHasher
) -> EmbedPlan:
    """Compare a catalog with the state of earlier runs.

    A video is reused when its bytes, its text and the recipe are the same as before, and its failure, if it
    failed, is one that the same bytes always give. Only such candidates are hashed.

    Args:
        refs: REFS, each id once.
        duplicates: FAILURES rows of the listing.
        state: STATE rows of earlier runs.
        recipe: digest of all that changes a video's row.
        hash_contents: hashes the current bytes of candidates.
    """
    matches = pc.index_in(refs["video_id"], value_set=state["video_id"])
    before = state.take(matches.combine_chunks() if isinstance(matches, pa.ChunkedArray) else matches)
    transient = [name for name, kind in video_errors().items() if kind.transient]
    same = pc.and_(pc.equal(before["recipe"], recipe), pc.equal(before["text_hash"], refs["text_hash"]))
    same = pc.and_(same, pc.invert(pc.is_in(before["error"], value_set=pa.array(transient))))
    is_candidate = pc.fill_null(same, False)
    candidates = refs.filter(is_candidate)
    unchanged = _unchanged(candidates, before.filter(is_candidate), hash_contents)
    reused_ids = candidates["video_id"].filter(unchanged)
    reused = state.filter(pc.is_in(state["video_id"], value_set=reused_ids))
    parts: dict[str, list[str]] = {}
    for row in reused.select(["video_id", "origin"]).to_pylist():
        if row["origin"]:
            parts.setdefault(row["origin"], []).append(row["video_id"])
    return EmbedPlan(
        total=refs.num_rows + duplicates.num_rows,
        pending=refs.filter(pc.invert(pc.is_in(refs["video_id"], value_set=reused_ids))),
        reused=reused,
        duplicates=duplicates,
        dropped=pc.sum(pc.invert(pc.is_in(state["video_id"], value_set=refs["video_id"]))).as_py() or 0,
        parts=dict(parts),
    )


def _unchanged(refs: pa.Table, before: pa.Table, hash_contents: ContentHasher) -> pa.Array:
    if not refs.num_rows:
        return pa.array([], pa.bool_())
    hashes = hash_contents(refs)
    matches = pc.index_in(refs["video_id"], value_set=hashes["video_id"])
    current = hashes["now_hash"].take(matches)
    # A failed read has no hash: equal nulls mean that it fails as it did before.
    equal = pc.equal(current, before["content_hash"])
    both_null = pc.and_(pc.is_null(current), pc.is_null(before["content_hash"]))
    return pc.fill_null(pc.or_kleene(equal, both_null), False)


def hash_contents(refs: pa.Table, job: EmbedJob, connect: ConnectCluster) -> pa.Table:
    """Return `video_id` and `now_hash` of REFS rows, hashed here, and on the cluster once that takes long."""
    rows, hasher = refs.select(["video_id", "uri"]), VideoHasher(job.config.decode.max_bytes)
    tables: list[pa.Table] = []
    begun, start, size = time.monotonic(), 0, _HASH_BATCH
    # Some thousand files are hashed here before a cluster has even started its tasks.
    while start < rows.num_rows and time.monotonic() - begun < _HASH_LOCALLY_S:
        tables.append(hasher(rows.slice(start, size)))
        start += size
    if (rest := rows.slice(start)).num_rows:
        size = max(size, math.ceil(rest.num_rows / (connect().cpus * 4)))
        quiet_ray_data()
        dataset = from_blocks([rest.slice(i, size) for i in range(0, rest.num_rows, size)])
        hashed: Any = dataset.map_batches(hasher, batch_size=None, batch_format="pyarrow", num_cpus=0.5)
        tables.extend(ray.get(hashed.to_arrow_refs()))
    return pa.concat_tables(tables)


class VideoHasher:
    """Stage from `video_id` and `uri` to `video_id` and `now_hash`, the hash of the current bytes or null."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Hash a batch; the hash is null for a file that cannot be read."""
        refs = [VideoRef(r["video_id"], r["uri"]) for r in batch.to_pylist()]
        with ThreadPoolExecutor(4) as pool:
            hashes = list(pool.map(self._hash, refs))
        return pa.table({"video_id": batch["video_id"], "now_hash": pa.array(hashes, pa.string())})

    def _hash(self, ref: VideoRef) -> str | None:
        found = guard(ReadFailed, lambda: content_hash(ref, self._max_bytes))
        return None if isinstance(found, VideoError) else found


def recipe_digest(config: EmbedConfig, encoders: Mapping[Modality, str]) -> str:
    """Return a digest of everything that changes a video's row: same recipe and bytes, same row."""
    decode = config.decode.model_dump(mode="json", exclude=_NOT_IN_RECIPE)
    if decode["decoder"] == "auto":
        decode["decoder"] = "pyav"
    media = config.media().model_dump(mode="json") | {"decode": decode}
    recipe: dict[str, Any] = {"media": media, "decoding": DECODING_VERSION, "encoders": dict(encoders)}
    if config.moments is not None:
        media["moments"].pop("timeout_s")
        names = moment_encoder_names(config.moments, encoders)
        recipe["moments"] = {"encoders": dict(names), "kb": config.moments.kb_per_minute}
    if config.checks is not None:
        recipe["checks"] = config.checks.model_dump(mode="json")
    return digest(recipe)
