"""Polars frames as vrec's tables, and what both say of rows that are wrong."""

import polars as pl
import pyarrow as pa

from vrec.core.schema import TableSchema, conform


def to_polars(table: pa.Table) -> pl.DataFrame:
    """The same rows as a polars frame."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def from_polars(frame: pl.DataFrame, schema: TableSchema, stage: str) -> pa.Table:
    """The frame's rows as a table of this schema; columns that may be null and are absent become nulls.

    Only the width of types is changed, as polars has one kind of text. Raises SchemaError for nulls.
    """
    arrow = schema.arrow()
    fields = [arrow.field(name).with_nullable(True) for name in arrow.names if name in frame.columns]
    table = frame.select(field.name for field in fields).to_arrow().cast(pa.schema(fields))
    return conform(table, schema, stage=stage).combine_chunks()


def describe_invalid(frame: pl.DataFrame, column: str, bad: pl.Series, reason: str) -> str | None:
    """What is wrong in a column, as `at has 2 that read as no time of 9, such as 'noon' in row 3`.

    None where nothing is. `bad` is (N,) bool; rows count from 1.
    """
    count = int(bad.sum())
    if not count:
        return None
    row = bad.arg_max() or 0
    example = frame.get_column(column)[row]
    shown = "null" if example is None else repr(example) if isinstance(example, str) else str(example)
    return f"{column} has {count:,} {reason} of {frame.height:,}, such as {shown} in row {row + 1:,}"
