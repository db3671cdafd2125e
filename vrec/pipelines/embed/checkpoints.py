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
from vrec.encoders.moments.encode import MOMENT_MODALITIES
from vrec.encoders.moments.vectors import MomentVectors, quantize_rows

PARTS = "_parts"
"""The subfolder of parts."""

REFS = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("text_hash", pa.string(), nullable=False),
        pa.field("subtitles", pa.string()),
    ]
)
"""Input of a worker: one row per video to embed.

`subtitles` is the URI of a file beside the video, where moments are wanted; `text_hash` covers its content.
"""

_FAILURE = ("stage", "message", "at")

PART_MOMENT = pa.struct(
    [
        pa.field("start_s", pa.float32()),
        pa.field("end_s", pa.float32()),
        pa.field("text", pa.string()),
        pa.field("scale", pa.float32()),
        pa.field("vector", pa.binary()),
    ]
)
"""Moment of a video in one modality; `vector` has a signed byte per dimension."""

PART = pa.schema(
    [
        *MEDIA.arrow(),
        *(pa.field(name, FAILURES.arrow().field(name).type) for name in _FAILURE),
        *(pa.field(f"vector_{modality}", pa.list_(pa.float32())) for modality in MODALITIES),
        *(pa.field(f"moments_{modality}", pa.list_(PART_MOMENT)) for modality in MOMENT_MODALITIES),
    ]
)
"""One row per video: MEDIA, the columns of FAILURES, a vector (or null) per modality, and moments."""

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
    rows: Sequence[Mapping[str, Any]],
    vectors: Sequence[Mapping[Modality, np.ndarray | None]],
    moments: Sequence[Mapping[Modality, MomentVectors]] | None = None,
) -> pa.Table:
    """Build a PART table.

    Args:
        rows: one mapping from column to plain value per video.
        vectors: one mapping from modality to (dim,) float32 vector, or None, per video.
        moments: one mapping from modality to moments per video; None where there are none at all.
    """
    pieces = [{}] * len(rows) if moments is None else moments
    columns: dict[str, pa.Array] = {}
    for field in PART:
        if field.name.startswith("vector_"):
            columns[field.name] = _vector_column([v.get(_modality(field.name)) for v in vectors])
        elif field.name.startswith("moments_"):
            found = [_moment_rows(piece.get(_modality(field.name))) for piece in pieces]
            columns[field.name] = pa.array(found, field.type)
        else:
            columns[field.name] = pa.array([row.get(field.name) for row in rows], field.type)
    return pa.Table.from_arrays(list(columns.values()), schema=PART)


def _modality(column: str) -> Modality:
    return next(m for m in MODALITIES if column.partition("_")[2] == m)


def _moment_rows(moments: MomentVectors | None) -> list[dict[str, Any]] | None:
    if moments is None:
        return None
    codes, scales = quantize_rows(moments.rows)
    return [
        {"start_s": start_s, "end_s": end_s, "text": text, "scale": scale, "vector": code.tobytes()}
        for (start_s, end_s), text, scale, code in zip(
            moments.spans.tolist(), moments.texts, scales.tolist(), codes, strict=True
        )
    ]


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
