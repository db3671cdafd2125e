"""STREAMS from a file."""

import polars as pl
import pyarrow as pa

from vrec.core.errors import EventsError
from vrec.core.schema import STREAMS
from vrec.events.columns import as_text, as_time, is_missing_id
from vrec.events.formats import load_columns
from vrec.events.polars_tables import describe_invalid, from_polars

_NEEDED = ("stream_id", "streamer_id", "started_at")
_READ = (*_NEEDED, "category", "ended_at")
_FIX = "write the columns as docs/tables.md says for STREAMS"


def read_streams(uri: str) -> pa.Table:
    """Read STREAMS from Parquet, CSV, TSV or JSON lines at a path or URI.

    `category` and `ended_at` may be absent or empty; of the other columns none is read.

    Raises:
        EventsError: There is no such file, it is none of these formats, a column is missing, or a value is
            invalid; all problems are named.
    """
    frame = load_columns(uri, lambda names: {name: name for name in _READ if name in names})
    absent = [name for name in _NEEDED if name not in frame.columns]
    if absent:
        raise EventsError(f"{uri}: no column {', '.join(absent)}", fix=_FIX)
    problems: list[str | None] = []
    columns: dict[str, pl.Series] = {}
    for name in frame.columns:
        column, problem = (as_time if name.endswith("_at") else as_text)(frame.get_column(name))
        if problem is None and name in _NEEDED:
            missing = column.is_null() if name.endswith("_at") else is_missing_id(column) | column.is_null()
            problem = describe_invalid(frame, name, missing, "missing")
        columns[name] = column
        problems.append(problem)
    if told := [problem for problem in problems if problem]:
        raise EventsError(f"{uri}: {'; '.join(told)}", fix=_FIX)
    names, times = ("title", "category", "language", "uri"), ("beat_at", "ended_at")
    absent_columns = [pl.lit(None, pl.String).alias(name) for name in names if name not in columns]
    absent_columns += [
        pl.lit(None, columns["started_at"].dtype).alias(name) for name in times if name not in columns
    ]
    absent_columns += [pl.lit([], pl.List(pl.String)).alias(name) for name in ("tags", "product_ids")]
    whole = pl.DataFrame(columns).with_columns(*absent_columns, pl.lit(None, pl.Int64).alias("viewers"))
    return from_polars(whole, STREAMS, f"streams {uri}")
