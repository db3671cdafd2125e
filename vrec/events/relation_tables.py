"""Reading of tables of relations with ids and times, such as LINKS and FOLLOWS."""

from collections.abc import Mapping, Sequence

import polars as pl
import pyarrow as pa

from vrec.core.errors import EventsError
from vrec.core.schema import TableSchema
from vrec.events.columns import as_text, as_time, is_missing_id
from vrec.events.formats import load_columns
from vrec.events.polars_tables import describe_invalid, from_polars


def read_relations(
    uri: str, schema: TableSchema, begun: str, ended: str, allowed: Mapping[str, Sequence[str]] | None = None
) -> pa.Table:
    """Read a table of ids and two times from Parquet, CSV, TSV or JSON lines at a path or URI.

    Args:
        uri: The table.
        schema: Its schema; all columns but the two times are ids or names.
        begun: Column of the time at which a relation began, which may not be missing.
        ended: Column of the time at which it ended, which may be missing or absent.
        allowed: Values of columns that may have no others.

    Raises:
        EventsError: There is no such file, it is none of these formats, a column is missing, or a value is
            invalid; all problems are named.
    """
    fix = f"write the columns as docs/tables.md says for {schema.name}"
    expected = tuple(column.name for column in schema.columns)
    frame = load_columns(uri, lambda names: {name: name for name in expected if name in names})
    absent = [name for name in expected if name not in frame.columns and name != ended]
    if absent:
        raise EventsError(f"{uri}: no column {', '.join(absent)}", fix=fix)
    problems: list[str | None] = []
    columns: list[pl.Series] = []
    for name in frame.columns:
        if name in (begun, ended):
            column, problem = as_time(frame.get_column(name))
            if problem is None and name == begun:
                problem = describe_invalid(frame, name, column.is_null(), "missing")
        else:
            column, problem = as_text(frame.get_column(name))
            problem = problem or describe_invalid(
                frame, name, is_missing_id(column) | column.is_null(), "missing"
            )
            if problem is None and (values := (allowed or {}).get(name)):
                unknown = ~column.is_in(values)
                problem = describe_invalid(frame, name, unknown, f"that are none of {', '.join(values)}")
        columns.append(column)
        problems.append(problem)
    if told := [problem for problem in problems if problem]:
        raise EventsError(f"{uri}: {'; '.join(told)}", fix=fix)
    return from_polars(pl.DataFrame(columns), schema, f"{schema.name.lower()} {uri}")
