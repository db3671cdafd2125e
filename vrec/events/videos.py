"""VIDEOS as other programs write them: lossless casts, and defaults for optional columns."""

import ast
from typing import Any

import polars as pl
import pyarrow as pa

from vrec.core.casts import is_placeholder, text_column
from vrec.core.compute import pc
from vrec.core.errors import SchemaError
from vrec.core.schema import STRING, VIDEOS, TableColumn, conform
from vrec.events.columns import as_time
from vrec.events.polars_tables import describe_invalid

VIDEO_DEFAULTS: dict[str, Any] = {
    "uri": "",
    "kind": "product",
    "product_ids": [],
    "creator_id": "",
    "domain": "shop",
    "tags": [],
    "available": True,
}
"""Values for nulls of columns that must have one, and for columns that are absent."""


def complete_videos(table: pa.Table, stage: str) -> pa.Table:
    """Return a table as VIDEOS: columns are cast without loss, nulls and absent columns get their defaults.

    Args:
        table: Table with a column `video_id`.
        stage: Name of the table, the start of error messages.

    Raises:
        SchemaError: `video_id` is absent or empty, or a column cannot be cast without loss; the message names
            all problems.
    """
    columns: dict[str, pa.ChunkedArray | pa.Array] = {}
    problems: list[str] = []
    for column in VIDEOS.columns:
        if column.name not in table.column_names:
            if column.name == "video_id":
                problems.append("missing video_id")
            columns[column.name] = _default(column, table.num_rows)
            continue
        given = table.column(column.name)
        cast = _default(column, len(given)) if pa.types.is_null(given.type) else _cast(given, column)
        if cast is None:
            problems.append(f"{column.name} is {given.type}, want {column.type}")
        else:
            columns[column.name] = _without_nulls(cast, column)
    if "video_id" in table.column_names and "video_id" in columns:
        columns["video_id"], bad = _trimmed_ids(columns["video_id"])
        problems += [bad] if bad else []
    if "creator_id" in columns:
        columns["creator_id"] = pc.utf8_trim_whitespace(columns["creator_id"])
    if problems:
        raise SchemaError(
            f"{stage}: {'; '.join(problems)}", fix="give it the columns of VIDEOS in docs/tables.md"
        )
    return conform(pa.table(columns), VIDEOS, stage=stage)


def parse_text_columns(table: pa.Table, stage: str) -> pa.Table:
    """Parse the columns of VIDEOS in a table of text, as a CSV file has them.

    Numbers are in decimal, times as `as_time` reads them, flags are 0, 1, true, false, yes or no, and lists
    are written as JSON, as Python does, or with `|`, `;` or `,` between their texts, the first of the three
    that a text has.

    Raises:
        SchemaError: A text cannot be read; the message names all such columns.
    """
    types = {column.name: column.type for column in VIDEOS.columns}
    columns, problems = {}, []
    for name in table.column_names:
        want = types.get(name)
        column = pl.Series(name, table.column(name).to_pylist(), pl.String)
        problem = None
        if want == pa.list_(STRING):
            column = pl.Series(name, [_parse_list(text) for text in column], pl.List(pl.String))
        elif want in (pa.float32(), pa.float64()):
            numbers = column.str.strip_chars().cast(pl.Float64, strict=False)
            bad = numbers.is_null() & column.is_not_null()
            column, problem = numbers, describe_invalid(column.to_frame(), name, bad, "not a number")
        elif want == pa.bool_():
            flags = column.str.strip_chars().str.to_lowercase().replace_strict(_FLAGS, default=None)
            bad = flags.is_null() & column.is_not_null()
            problem = describe_invalid(column.to_frame(), name, bad, "neither true nor false")
            column = flags.cast(pl.Boolean)
        elif want is not None and pa.types.is_timestamp(want):
            column, problem = as_time(column)
        columns[name] = column.to_arrow()
        problems += [problem] if problem else []
    if problems:
        raise SchemaError(
            f"{stage}: {'; '.join(problems)}", fix="write the columns as docs/tables.md says for VIDEOS"
        )
    return pa.table(columns)


_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def _parse_list(text: str | None) -> list[str]:
    text = (text or "").strip()
    if text.startswith("[") and text.endswith("]"):
        try:
            return [str(part) for part in ast.literal_eval(text)]
        except (ValueError, SyntaxError):
            text = text[1:-1]
    separator = next((mark for mark in "|;," if mark in text), "|")
    return [part.strip() for part in text.split(separator) if part.strip()]


def _default(column: TableColumn, rows: int) -> pa.Array:
    assert isinstance(column.type, pa.DataType)
    return pa.array([VIDEO_DEFAULTS.get(column.name)] * rows, column.type)


def _without_nulls(values: pa.ChunkedArray, column: TableColumn) -> pa.ChunkedArray:
    """Replace nulls by the column's default, and drop those within lists."""
    if column.type == pa.list_(STRING):
        within = sum(chunk.flatten().null_count for chunk in values.chunks)
        if not within and not values.null_count:
            return values
        lists = [[text for text in row or () if text is not None] for row in values.to_pylist()]
        return pa.chunked_array([pa.array(lists, column.type)])
    if not values.null_count or column.name not in VIDEO_DEFAULTS:
        return values
    return pc.fill_null(values, pa.scalar(VIDEO_DEFAULTS[column.name], column.type))


def _cast(values: pa.ChunkedArray, column: TableColumn) -> pa.ChunkedArray | None:
    want = column.type
    if want in (STRING, pa.list_(STRING)):
        texts = text_column(values)
        return texts if texts is not None and texts.type == want else None
    if want in (pa.float32(), pa.float64()):
        return _cast_number(values, want)
    if want == pa.bool_():
        return _cast_flag(values)
    if values.type == want:
        return values
    series = pl.from_arrow(values)
    assert isinstance(series, pl.Series)
    times, problem = as_time(series.alias(column.name))
    return None if problem else pa.chunked_array([times.to_arrow()]).cast(want)


def _cast_number(values: pa.ChunkedArray, want: pa.DataType) -> pa.ChunkedArray | None:
    kind = values.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        return None
    # The shortest decimal of a narrow float is the number that was meant: 12.34, not 12.34000015. Arrow's own
    # cast of a decimal may miss the nearest float.
    narrow = pa.types.is_floating(kind) and kind != pa.float64()
    exact = pc.cast(values, STRING) if narrow or pa.types.is_decimal(kind) else values
    wide = pc.cast(exact, pa.float64(), safe=False)
    # A NaN is how pandas writes a null; rounding to 24 bits is what a float32 is.
    return pc.cast(pc.if_else(pc.is_nan(wide), None, wide), want, safe=False)


def _cast_flag(values: pa.ChunkedArray) -> pa.ChunkedArray | None:
    if pa.types.is_boolean(values.type):
        return values
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        return None
    is_flag = pc.is_in(values, value_set=pa.array([0, 1], values.type))
    return pc.equal(values, 1) if pc.all(pc.or_(is_flag, pc.is_null(values)), min_count=0).as_py() else None


def _trimmed_ids(ids: pa.ChunkedArray | pa.Array) -> tuple[pa.ChunkedArray, str | None]:
    trimmed = pc.utf8_trim_whitespace(ids)
    texts = trimmed.to_pylist()
    bad = [row for row, text in enumerate(texts) if not text or is_placeholder(text)]
    if not bad:
        return trimmed, None
    shown = "null" if texts[bad[0]] is None else repr(texts[bad[0]])
    return trimmed, (
        f"video_id has {len(bad):,} of {len(texts):,} naming no video, such as {shown} in row {bad[0] + 1:,}"
    )
