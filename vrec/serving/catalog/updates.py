"""Conversion of catalog changes to the tables that catalogs and rankers take."""

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from vrec.core.errors import ServeError
from vrec.core.schema import EMBEDDINGS, conform
from vrec.core.types import CatalogContent, Modality, Vectors
from vrec.serving.catalog.columns import concat_videos
from vrec.serving.messages import CatalogChange


def change_vector(change: CatalogChange, modality: Modality, encoder: str | None, dim: int) -> Vectors | None:
    """Return the change's (dim,) float32 vector of a modality, or None without one of that encoder and
    length."""
    vector = change.vectors.get(modality)
    if vector is None or not dim or change.encoders.get(modality) != encoder:
        return None
    row = np.asarray(vector, np.float32).reshape(-1)
    return row if len(row) == dim and np.isfinite(row).all() else None


def changes_to_content(changes: Iterable[CatalogChange], encoder: str | None, dim: int) -> CatalogContent:
    """Return VIDEOS of the changes other than removals, and EMBEDDINGS of their fused vectors.

    Args:
        changes: Changes, of which at least one is no removal.
        encoder: Name of the encoder; vectors of other encoders are left out.
        dim: Length of the vectors; vectors of other lengths, or with a value that is not finite, are left
            out.

    Raises:
        SchemaError: A row does not match VIDEOS.
        ServeError: A change has not exactly one row, or a row of another video.
    """
    changed = [(change, change.row) for change in changes if change.row is not None]
    for change, row in changed:
        ids = row.column("video_id").to_pylist()
        if ids != [change.video_id]:
            raise ServeError(
                f"the change of video {change.video_id} has rows of {ids}, want its own and no other",
                fix="send one VIDEOS row, of the changed video",
            )
    videos = concat_videos([row for _, row in changed])
    vectors = {change.video_id: change_vector(change, "fused", encoder, dim) for change, _ in changed}
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
