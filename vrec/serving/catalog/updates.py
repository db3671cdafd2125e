"""Conversion of catalog changes to the tables that catalogs and rankers take."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest

import numpy as np
import pyarrow as pa

from vrec.core.errors import ServeError
from vrec.core.schema import EMBEDDINGS, VIDEOS, conform
from vrec.core.types import CatalogContent, Modality, Vectors
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
        ServeError: A change has no row, or a row of another video.
    """
    present = [change for change in changes if change.row is not None]
    videos = changed_videos(present)
    vectors = {change.video_id: change_vector(change, "fused", encoder, dim) for change in present}
    known = {video_id: vector for video_id, vector in vectors.items() if vector is not None}
    return CatalogContent(videos, _embeddings(known, encoder or "", dim) if known else None)


def changed_videos(changes: Sequence[CatalogChange]) -> pa.Table:
    """Return VIDEOS of changes, one row per change in their order, as one piece.

    Args:
        changes: Changes, of which there is at least one and none is a removal.

    Raises:
        SchemaError: A row does not match VIDEOS.
        ServeError: A change has no row, or a row of another video.
    """
    parts: list[pa.Table] = []
    for table, numbers in _rows_by_table(changes):
        is_whole = numbers == list(range(table.num_rows))
        if len(numbers) == 1:
            table_rows = table.slice(numbers[0], 1)
        elif is_whole:
            table_rows = table
        else:
            table_rows = table.take([row for row in numbers if row < table.num_rows])
        parts.append(table_rows)
    if not all(part.schema.equals(parts[0].schema) for part in parts):
        parts = [conform(part, VIDEOS, stage="serving", extra=True) for part in parts]
    # As one piece: every look at a column of thousands would cost more than to copy it.
    videos = conform(pa.concat_tables(parts).combine_chunks(), VIDEOS, stage="serving", extra=True)
    found, wanted = videos.column("video_id").to_pylist(), [change.video_id for change in changes]
    if found != wanted:
        pairs = zip_longest(wanted, found, fillvalue="no video")
        odd = next(pair for pair in pairs if pair[0] != pair[1])
        raise ServeError(
            f"the change of video {odd[0]} has rows of {[odd[1]]}, want its own and no other",
            fix="send one VIDEOS row, of the changed video",
        )
    return videos


def _rows_by_table(changes: Sequence[CatalogChange]) -> list[tuple[pa.Table, list[int]]]:
    """Return the tables of changes, and the numbers of successive rows in each."""
    groups: list[tuple[pa.Table, list[int]]] = []
    for change in changes:
        assert change.row is not None
        if not groups or groups[-1][0] is not change.row:
            groups.append((change.row, []))
        groups[-1][1].append(change.number)
    return groups


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
