"""Conversion between polars frames and vrec's tables, and messages about invalid rows."""

import polars as pl
import pyarrow as pa

from vrec.core.schema import TableSchema, conform


def to_polars(table: pa.Table) -> pl.DataFrame:
    """Convert a table to a polars frame with the same rows."""
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def from_polars(frame: pl.DataFrame, schema: TableSchema, stage: str) -> pa.Table:
    """Convert a frame to a table of this schema; absent nullable columns become nulls.

    Only the width of types is changed, as polars has one kind of text.

    Raises:
        SchemaError: A column is missing, or holds nulls that the schema does not allow.
    """
    arrow = schema.arrow()
    fields = [arrow.field(name).with_nullable(True) for name in arrow.names if name in frame.columns]
    table = frame.select(field.name for field in fields).to_arrow().cast(pa.schema(fields))
    return conform(table, schema, stage=stage).combine_chunks()


def describe_invalid(frame: pl.DataFrame, column: str, bad: pl.Series, reason: str) -> str | None:
    """Describe a column's invalid values, as `at has 2 below 0 of 9, such as -5 in row 3`.

    Args:
        frame: The rows.
        column: Name of the column.
        bad: (N,) bool, whether a row is invalid.
        reason: The text after the count, such as `below 0`.

    Returns:
        The message, with rows counted from 1; None where no row is invalid.
    """
    count = int(bad.sum())
    if not count:
        return None
    row = bad.arg_max() or 0
    example = frame.get_column(column)[row]
    shown = "null" if example is None else repr(example) if isinstance(example, str) else str(example)
    return f"{column} has {count:,} {reason} of {frame.height:,}, such as {shown} in row {row + 1:,}"
