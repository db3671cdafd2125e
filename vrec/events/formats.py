"""Formats of event tables: Parquet, CSV, TSV and JSON lines, also compressed, told by their content."""

import io
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from vrec.core.errors import EventsError, os_error_reason
from vrec.core.sharded_table import shard_paths
from vrec.core.table_format import Compression, detect_format
from vrec.core.uris import resolve
from vrec.events.polars_tables import to_polars

ColumnChooser = Callable[[list[str]], Mapping[str, str]]
"""Function from the names of a table's columns to its columns by the names that they get."""

_FORMS = {"Parquet": "Parquet", ",": "CSV", "\t": "TSV", ";": "CSV", "|": "CSV", "json": "JSON lines"}
FORMATS_FIX = "give events as Parquet, or as .csv, .tsv or .jsonl with the names of columns, also as .gz"


def load_columns(uri: str, choose: ColumnChooser, *, lists: bool = False) -> pl.DataFrame:
    """Read the chosen columns of a table; those of text files are text.

    The format is that of the content, whatever the name: Parquet, JSON lines, or text with a header whose
    columns are separated by commas, tabs, semicolons or bars.

    Args:
        uri: Path or URI.
        choose: Chooses the columns.
        lists: Whether JSON lines may hold lists, which are returned as JSON; otherwise they are refused.

    Raises:
        EventsError: There is no such file, it is none of these, or it has no rows.
    """
    filesystem, path = resolve(uri)
    form = "Parquet"
    try:
        form, compression = detect_format(filesystem, path)
        if form == "Parquet":
            table, columns = _read_parquet(filesystem, path, compression, choose)
        else:
            opened = partial(filesystem.open_input_stream, path, compression=compression)
            read = partial(_read_json_lines, lists=lists) if form == "json" else _read_delimited
            table, columns = read(opened, form, choose)
    except FileNotFoundError:
        raise EventsError(f"{uri}: no such file") from None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError, _InvalidLineError) as error:
        raise EventsError(f"{uri}: not a {_FORMS[form]} table ({error})", fix=_fix_of(str(error))) from None
    except OSError as error:
        raise EventsError(f"{uri}: {os_error_reason(error)}") from None
    if not table.num_rows:
        raise EventsError(f"{uri}: the table has no rows", fix="give a table with events in it")
    return to_polars(table).select(pl.col(source).alias(name) for name, source in columns.items())


def _fix_of(problem: str) -> str:
    """Return how to mend a file that cannot be read, by the reader's words."""
    if "UTF8" in problem or "utf-8" in problem or "\0" in problem:
        return "save the file as UTF-8, such as with `iconv -f LATIN1 -t UTF-8`, or -f UTF-16"
    if "columns, got" in problem:
        return "give every row the columns of the header; quote a field that contains the separator"
    return FORMATS_FIX


class _InvalidLineError(ValueError):
    """Line that is not a JSON object of plain values."""


def _read_parquet(
    filesystem: pafs.FileSystem,
    path: str,
    compression: Compression | None,
    choose: ColumnChooser,
) -> tuple[pa.Table, Mapping[str, str]]:
    if compression:
        with filesystem.open_input_stream(path, compression=compression) as stream:
            file = pq.ParquetFile(pa.BufferReader(stream.read()))
        columns = choose(file.schema_arrow.names)
        # Without threads: one that still holds the bytes while the interpreter ends aborts the process.
        return file.read(columns=sorted(set(columns.values())), use_threads=False), columns
    files = shard_paths(filesystem, path) or path
    # No partitioning: a folder's name is not a column.
    dataset = pq.ParquetDataset(files, filesystem=filesystem, partitioning=None)  # type: ignore[arg-type]
    columns = choose(dataset.schema.names)
    return dataset.read(columns=sorted(set(columns.values()))), columns


def _read_delimited(
    opened: Callable[[], pa.NativeFile], separator: str, choose: ColumnChooser
) -> tuple[pa.Table, Mapping[str, str]]:
    parse = pacsv.ParseOptions(newlines_in_values=True, delimiter=separator)
    with opened() as stream:
        columns = choose(pacsv.open_csv(stream, parse_options=parse).schema.names)
    # Everything is read as text: an inferred type would turn the id 007 into 7.
    options = pacsv.ConvertOptions(
        include_columns=sorted(set(columns.values())),
        column_types={name: pa.string() for name in columns.values()},
        null_values=[""],
        strings_can_be_null=True,
    )
    with opened() as stream:
        return pacsv.read_csv(stream, parse_options=parse, convert_options=options), columns


def _read_json_lines(
    opened: Callable[[], pa.NativeFile], form: str, choose: ColumnChooser, *, lists: bool
) -> tuple[pa.Table, Mapping[str, str]]:
    names: dict[str, None] = {}
    rows: list[dict[str, Any]] = []
    with opened() as stream, io.TextIOWrapper(stream, encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                rows.append(_parse_line(line, number))
                names.update(dict.fromkeys(rows[-1]))
    if not rows:
        return pa.table({}), {}
    columns = choose(list(names))
    sources = set(columns.values())
    texts = {
        name: pa.array([_plain_text(row.get(name), name, lists=lists) for row in rows], pa.string())
        for name in sources
    }
    return pa.table(texts), columns


def _parse_line(line: str, number: int) -> dict[str, Any]:
    try:
        # Numbers stay as they are written.
        row = json.loads(line, parse_int=str, parse_float=str)
    except ValueError as error:
        raise _InvalidLineError(f"line {number:,}: {error}") from None
    if not isinstance(row, dict):
        raise _InvalidLineError(f"line {number:,} is no object")
    return row


def _plain_text(value: Any, name: str, *, lists: bool) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if lists and isinstance(value, list):
        return json.dumps(value)
    if isinstance(value, dict | list):
        raise _InvalidLineError(f"{name} holds {json.dumps(value)[:60]}, want text or a number")
    return str(value)
