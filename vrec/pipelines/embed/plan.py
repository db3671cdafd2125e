"""What an embedding run has to do: which videos are new or changed, and which are done already."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.digest import digest
from vrec.core.errors import DuplicateVideoId, SourceError, VideoError, video_errors
from vrec.core.schema import FAILURES
from vrec.core.types import Modality, VideoRef
from vrec.encoders.config import EmbedConfig
from vrec.encoders.text import clip_text
from vrec.media.source import content_hash
from vrec.pipelines.embed.checkpoints import REFS

_UNSEEN = {"timeout_s", "max_memory_mb", "threads"}
"""Decode settings that change no vector, so changing them embeds nothing anew."""

ContentHasher = Callable[[pa.Table], pa.Table]
"""From REFS rows to (video_id, now_hash)."""


@dataclass(slots=True)
class EmbedPlan:
    """A run's work: REFS still to embed, and what of earlier runs stays."""

    total: int
    """Rows of the catalogue, duplicates among them."""
    pending: pa.Table
    reused: pa.Table
    """STATE rows whose vectors or failures are still good."""
    duplicates: pa.Table
    """FAILURES rows for ids that the catalogue names twice."""
    dropped: int = 0
    """Videos of earlier runs that the catalogue does not name any more."""
    parts: dict[str, list[str] | None] = field(default_factory=dict)
    """Parts whose rows stay, with the ids that do (all where None)."""


def deduplicate_refs(refs: Iterable[VideoRef], uri: str) -> tuple[pa.Table, pa.Table]:
    """REFS with every id once, and FAILURES rows for further claims to an id.

    Raises SourceError for a catalogue without a video.
    """
    seen: dict[str, str] = {}
    columns: dict[str, list[Any]] = {name: [] for name in REFS.names}
    failures: list[dict[str, Any]] = []
    for ref in refs:
        if ref.video_id in seen:
            failures.append(_duplicate(ref, seen[ref.video_id]))
            continue
        seen[ref.video_id] = ref.uri
        text = clip_text(ref.title, ref.tags)
        columns["video_id"].append(ref.video_id)
        columns["uri"].append(ref.uri)
        columns["text"].append(text)
        columns["text_hash"].append(digest({"text": text}) if text else "")
    if not seen:
        raise SourceError(f"{uri}: no videos there", fix="give --videos a folder with video files in it")
    table = pa.Table.from_pydict(columns, schema=REFS)
    return table, pa.Table.from_pylist(failures, schema=FAILURES.arrow())


def _duplicate(ref: VideoRef, first: str) -> dict[str, Any]:
    return {
        "video_id": ref.video_id,
        "uri": ref.uri,
        "stage": DuplicateVideoId.stage,
        "error": DuplicateVideoId.__name__,
        "message": f"video_id {ref.video_id} is taken by {first}",
        "at": datetime.now(UTC),
    }


def make_plan(
    refs: pa.Table, duplicates: pa.Table, state: pa.Table, recipe: str, hash_contents: ContentHasher
) -> EmbedPlan:
    """What to embed of `refs` (REFS), given what earlier runs left (STATE).

    A video stays when its bytes, its text and the recipe are what they were, and its failure,
    if it failed, is one that the same bytes always give.
    """
    place = pc.index_in(refs["video_id"], value_set=state["video_id"])
    before = state.take(place.combine_chunks() if isinstance(place, pa.ChunkedArray) else place)
    retry = [name for name, kind in video_errors().items() if kind.transient]
    same = pc.and_(pc.equal(before["recipe"], recipe), pc.equal(before["text_hash"], refs["text_hash"]))
    same = pc.and_(same, pc.invert(pc.is_in(before["error"], value_set=pa.array(retry))))
    candidate = pc.fill_null(same, False)
    checked = refs.filter(candidate)
    stays = _unchanged(checked, before.filter(candidate), hash_contents)
    kept_ids = checked["video_id"].filter(stays)
    kept = state.filter(pc.is_in(state["video_id"], value_set=kept_ids))
    parts: dict[str, list[str]] = {}
    for row in kept.select(["video_id", "origin"]).to_pylist():
        if row["origin"]:
            parts.setdefault(row["origin"], []).append(row["video_id"])
    return EmbedPlan(
        total=refs.num_rows + duplicates.num_rows,
        pending=refs.filter(pc.invert(pc.is_in(refs["video_id"], value_set=kept_ids))),
        reused=kept,
        duplicates=duplicates,
        dropped=pc.sum(pc.invert(pc.is_in(state["video_id"], value_set=refs["video_id"]))).as_py() or 0,
        parts=dict(parts),
    )


def _unchanged(refs: pa.Table, before: pa.Table, hash_now: ContentHasher) -> pa.Array:
    if not refs.num_rows:
        return pa.array([], pa.bool_())
    now = hash_now(refs)
    place = pc.index_in(refs["video_id"], value_set=now["video_id"])
    current = now["now_hash"].take(place)
    # A failed read has no hash: equal nulls mean that it fails as it did before.
    equal = pc.equal(current, before["content_hash"])
    both_null = pc.and_(pc.is_null(current), pc.is_null(before["content_hash"]))
    return pc.fill_null(pc.or_kleene(equal, both_null), False)


class VideoHasher:
    """From `video_id` and `uri` to `video_id` and `now_hash`: what the bytes are now, or null."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The batch's ids with their hashes; a file that cannot be read has null."""
        refs = [VideoRef(r["video_id"], r["uri"]) for r in batch.to_pylist()]
        with ThreadPoolExecutor(4) as pool:
            hashes = list(pool.map(self._hash, refs))
        return pa.table({"video_id": batch["video_id"], "now_hash": pa.array(hashes, pa.string())})

    def _hash(self, ref: VideoRef) -> str | None:
        try:
            return content_hash(ref, self._max_bytes)
        except VideoError:
            return None


def recipe_digest(config: EmbedConfig, encoders: Mapping[Modality, str]) -> str:
    """The digest of everything that changes a video's row: same recipe and bytes, same row."""
    decode = config.decode.model_dump(mode="json", exclude=_UNSEEN)
    media = config.media().model_dump(mode="json") | {"decode": decode}
    return digest({"media": media, "encoders": dict(encoders)})
