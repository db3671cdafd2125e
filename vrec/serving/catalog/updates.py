"""Changes of a catalogue as the tables that shelves and rankers take."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from vrec.core.errors import ServeError
from vrec.core.schema import EMBEDDINGS, conform
from vrec.core.types import CatalogContent, Modality, Vectors
from vrec.serving.catalog.columns import concat_videos
from vrec.serving.messages import CatalogChange


def latest_changes(
    known: Mapping[str, CatalogChange], changes: Iterable[CatalogChange]
) -> dict[str, CatalogChange]:
    """Of each video in `changes` the last one by time, where it is later than the one that is known.

    Of two at one time the first counts. A row that comes without vectors has those of the change before it.
    """
    found: dict[str, CatalogChange] = {}
    for change in sorted(changes, key=lambda change: change.at):
        before = found.get(change.video_id, known.get(change.video_id))
        if before is None:
            found[change.video_id] = change
        elif change.at > before.at:
            bare = change.row is not None and not change.vectors
            found[change.video_id] = (
                replace(change, vectors=before.vectors, encoders=before.encoders) if bare else change
            )
    return found


def change_vector(change: CatalogChange, modality: Modality, encoder: str | None, dim: int) -> Vectors | None:
    """(dim,) the change's vector of one modality, or None where it has none of that encoder and length."""
    vector = change.vectors.get(modality)
    if vector is None or not dim or change.encoders.get(modality) != encoder:
        return None
    row = np.asarray(vector, np.float32).reshape(-1)
    return row if len(row) == dim and np.isfinite(row).all() else None


def changes_to_content(changes: Iterable[CatalogChange], encoder: str | None, dim: int) -> CatalogContent:
    """VIDEOS of changes that are no removals, and EMBEDDINGS of those with a fused vector of the encoder.

    Raises SchemaError, and ServeError for a change whose row is not one, or of another video.
    """
    kept = [change for change in changes if change.row is not None]
    for change in kept:
        ids = [] if change.row is None else change.row.column("video_id").to_pylist()
        if ids != [change.video_id]:
            raise ServeError(
                f"the change of video {change.video_id} has rows of {ids}, want its own and no other"
            )
    videos = concat_videos([change.row for change in kept if change.row is not None])
    vectors = {change.video_id: change_vector(change, "fused", encoder, dim) for change in kept}
    known = {video_id: vector for video_id, vector in vectors.items() if vector is not None}
    return CatalogContent(videos, _embeddings(known, encoder or "", dim) if known else None)


def _embeddings(vectors: Mapping[str, Vectors], encoder: str, dim: int) -> pa.Table:
    ids, flat = pa.array(vectors, pa.string()), np.concatenate(list(vectors.values()))
    columns = {
        "entity_id": ids,
        "modality": pa.repeat("fused", len(ids)),
        "encoder": pa.repeat(encoder, len(ids)),
        "content_hash": ids,
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), dim),
    }
    return conform(pa.table(columns), EMBEDDINGS, stage="serving")
