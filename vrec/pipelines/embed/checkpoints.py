"""Parts: the checkpoints of an embedding run, one Arrow file per finished batch.

A part holds everything about its videos (media facts, vectors, failure) in one file that
appears whole or not at all, so a video is either finished or not, whatever is killed when.
Its name follows from the recipe and the ids, so a batch that runs twice leaves one part.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.core.schema import FAILURES, MEDIA
from vrec.core.tables import StorageFolder
from vrec.core.types import MODALITIES, Modality

PARTS = "_parts"
"""The subfolder of parts."""

REFS = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("text_hash", pa.string(), nullable=False),
    ]
)
"""Input of a worker: one row per video to embed."""

_FAILURE = ("stage", "message", "at")

PART = pa.schema(
    [
        *MEDIA.arrow(),
        *(pa.field(name, FAILURES.arrow().field(name).type) for name in _FAILURE),
        *(pa.field(f"vector_{modality}", pa.list_(pa.float32())) for modality in MODALITIES),
    ]
)
"""One row per video: MEDIA, the columns of FAILURES, and a vector (or null) for each modality."""

STATE = pa.schema(
    [
        *(MEDIA.arrow().field(name) for name in ("video_id", "content_hash", "text_hash", "recipe", "error")),
        pa.field("origin", pa.string(), nullable=False),
    ]
)
"""State that earlier runs left: `origin` is the name of a part, or empty for the finished table."""


def part_name(recipe: str, video_ids: Iterable[str]) -> str:
    """Return the name of the part that holds exactly these videos, embedded with this recipe."""
    key = "\0".join([recipe, *sorted(video_ids)])
    return f"{PARTS}/{hashlib.sha256(key.encode()).hexdigest()[:20]}.arrow"


def build_part(
    rows: Sequence[Mapping[str, Any]], vectors: Sequence[Mapping[Modality, np.ndarray | None]]
) -> pa.Table:
    """Build a PART table.

    Args:
        rows: one mapping from column to plain value per video.
        vectors: one mapping from modality to (dim,) float32 vector, or None, per video.
    """
    columns: dict[str, pa.Array] = {}
    for field in PART:
        if field.name.startswith("vector_"):
            columns[field.name] = _vector_column([v.get(_modality(field.name)) for v in vectors])
        else:
            columns[field.name] = pa.array([row.get(field.name) for row in rows], field.type)
    return pa.Table.from_arrays(list(columns.values()), schema=PART)


def _modality(column: str) -> Modality:
    return next(m for m in MODALITIES if column == f"vector_{m}")


def _vector_column(vectors: Sequence[np.ndarray | None]) -> pa.Array:
    lengths = [0 if v is None else len(v) for v in vectors]
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    present = [np.asarray(v, np.float32) for v in vectors if v is not None]
    values = np.concatenate(present) if present else np.empty(0, np.float32)
    mask = pa.array([v is None for v in vectors])
    return pa.ListArray.from_arrays(offsets, pa.array(values), mask=mask)


def previous_state(folder: StorageFolder, finished: Iterable[str]) -> pa.Table:
    """Read STATE rows from a finished table's Parquet files and from parts that a killed run left.

    Of rows with the same id the last one counts, so a part wins over the finished table. A damaged part is
    removed.
    """
    columns = [name for name in STATE.names if name != "origin"]
    tables: list[pa.Table] = []
    for name in finished:
        tables.append(_with_origin(folder.read_parquet(name, columns), ""))
    for file in folder.files(PARTS):
        name = f"{PARTS}/{file}"
        try:
            part = folder.read_arrow(name)
        except (pa.ArrowInvalid, OSError):
            # A part that vrec did not finish writing; its videos are embedded again.
            folder.remove(name)
            continue
        tables.append(_with_origin(part.select(columns), name))
    if not tables:
        return STATE.empty_table()
    return keep_last_per_key(pa.concat_tables(tables), "video_id")


def _with_origin(table: pa.Table, origin: str) -> pa.Table:
    column = pa.repeat(pa.scalar(origin), table.num_rows)
    return pa.Table.from_arrays([*table.columns, column], schema=STATE)


def keep_last_per_key(table: pa.Table, key: str) -> pa.Table:
    """Return only the last row for each value of `key`, in the order in which those rows stand."""
    numbered = table.append_column("_row", pa.array(np.arange(table.num_rows)))
    last = numbered.select([key, "_row"]).group_by(key).aggregate([("_row", "max")])
    return table.take(np.sort(last["_row_max"].to_numpy()))


def remove_parts(folder: StorageFolder) -> None:
    """Remove all parts of a folder."""
    for file in folder.files(PARTS):
        folder.remove(f"{PARTS}/{file}")
