"""Tables of any size, read and written in batches: Parquet, CSV, TSV and JSON lines."""

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.fs as pafs
import pyarrow.json as pajson
import pyarrow.parquet as pq

from vrec.core.errors import ConfigError, OutputError, SourceError, os_error_reason
from vrec.core.sharded_table import shard_paths
from vrec.core.table_format import Compression, detect_format
from vrec.core.uris import absolute_uri, resolve

BATCH_ROWS = 1 << 16
"""Rows of a Parquet file that are held at once."""
BLOCK_BYTES = 8 << 20
"""Bytes of a text file that are parsed at once; no row may be longer."""
_READ_FIX = "give the table as Parquet, or as CSV or TSV with the names of columns"


@dataclass(frozen=True, slots=True)
class TableBatches:
    """Table that is read in batches, as often as asked."""

    uri: str
    schema: pa.Schema
    """Columns; those of CSV and TSV are text."""
    _read: Callable[[], Iterator[pa.RecordBatch]]

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in their order, in batches of `schema`; raises SourceError for damaged ones."""
        with _reading(self.uri):
            yield from self._read()


def open_table(uri: str) -> TableBatches:
    """Return a table to be read in batches; its format is that of its content.

    Args:
        uri: Path or URI of a Parquet file, a folder of them, or CSV, TSV or JSON lines, also compressed.

    Raises:
        SourceError: There is no such file, it is none of these, or two columns have one name.
    """
    filesystem, path = resolve(uri)
    with _reading(uri):
        form, compression = detect_format(filesystem, path)
        if form == "Parquet":
            table = _parquet_batches(uri, filesystem, path, compression)
        elif form == "json":
            table = _json_batches(uri, filesystem, path, compression)
        else:
            table = _text_batches(uri, filesystem, path, compression, form)
    names = table.schema.names
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise SourceError(
            f"{uri}: more than one column is named {repeated[0]}", fix="give every column a name of its own"
        )
    return table


def _parquet_batches(
    uri: str, filesystem: pafs.FileSystem, path: str, compression: Compression | None
) -> TableBatches:
    if compression:
        raise SourceError(f"{uri}: a Parquet file inside {compression}", fix="decompress it first")
    files = shard_paths(filesystem, path) or path
    # No partitioning: a folder's name is not a column.
    dataset = pq.ParquetDataset(files, filesystem=filesystem, partitioning=None)  # type: ignore[arg-type]
    schema = dataset.schema

    def read() -> Iterator[pa.RecordBatch]:
        for fragment in dataset.fragments:
            yield from fragment.to_batches(schema=schema, batch_size=BATCH_ROWS, use_threads=False)

    return TableBatches(uri, schema, read)


def _text_batches(
    uri: str, filesystem: pafs.FileSystem, path: str, compression: Compression | None, separator: str
) -> TableBatches:
    parse = pacsv.ParseOptions(newlines_in_values=True, delimiter=separator)
    blocks = pacsv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False)
    with filesystem.open_input_stream(path, compression=compression) as stream:
        names = pacsv.open_csv(stream, parse_options=parse, read_options=blocks).schema.names
    # Everything is read as text: an inferred type would turn the id 007 into 7.
    options = pacsv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
    )

    def read() -> Iterator[pa.RecordBatch]:
        with filesystem.open_input_stream(path, compression=compression) as stream:
            yield from pacsv.open_csv(
                stream, parse_options=parse, read_options=blocks, convert_options=options
            )

    return TableBatches(uri, pa.schema([(name, pa.string()) for name in names]), read)


def _json_batches(
    uri: str, filesystem: pafs.FileSystem, path: str, compression: Compression | None
) -> TableBatches:
    blocks = pajson.ReadOptions(block_size=BLOCK_BYTES, use_threads=False)
    with filesystem.open_input_stream(path, compression=compression) as stream:
        schema = pajson.open_json(stream, read_options=blocks).schema
    # A field that the first block lacks is an error, since it would otherwise be lost without a word.
    typed = pajson.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")

    def read() -> Iterator[pa.RecordBatch]:
        with filesystem.open_input_stream(path, compression=compression) as stream:
            yield from pajson.open_json(stream, parse_options=typed, read_options=blocks)

    return TableBatches(uri, schema, read)


@contextlib.contextmanager
def _reading(uri: str) -> Iterator[None]:
    """Raise SourceError for what reading a table raises."""
    try:
        yield
    except FileNotFoundError:
        raise SourceError(f"{uri}: no such file", fix="check the path of the table") from None
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        why = " ".join(str(error).split())[:300]
        raise SourceError(f"{uri}: not a table that can be read ({why})", fix=_READ_FIX) from None
    except OSError as error:
        raise SourceError(f"{uri}: {os_error_reason(error)}", fix="check the path of the table") from None


def write_table(out: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch], *, source: str) -> int:
    """Write batches to one file, which appears whole or not at all; return the number of rows.

    Args:
        out: Path or URI; `.csv` and `.tsv` are written as text, `.parquet` as Parquet.
        schema: Columns of the batches.
        batches: Rows.
        source: The table they were made from, which is never written over.

    Raises:
        ConfigError: The ending of `out` is another, or it is the source.
        OutputError: The file cannot be written, or text cannot hold a column.
    """
    check_out(out, schema, source=source)
    filesystem, path = resolve(absolute_uri(out))
    local = isinstance(filesystem, pafs.LocalFileSystem)
    # An object store shows an object only when its upload is complete.
    target = str(Path(path).with_name(f".{Path(path).name}.{uuid.uuid4().hex[:8]}")) if local else path
    try:
        rows = _write(filesystem, target, out, schema, batches)
        if local:
            os.replace(target, path)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {os_error_reason(error)}") from error
    finally:
        if local:
            # Where a file is in a folder's place, this fails too, and would hide why.
            with contextlib.suppress(OSError):
                Path(target).unlink(missing_ok=True)
    return rows


def check_out(out: str, schema: pa.Schema, *, source: str) -> None:
    """Check, before long work, that a table can be written to `out`; raises as `write_table`."""
    if not out.lower().endswith((".parquet", ".csv", ".tsv")):
        raise ConfigError(f"{out}: no ending of a table", fix="end the name in .parquet, .csv or .tsv")
    if os.path.realpath(absolute_uri(out)) == os.path.realpath(absolute_uri(source)):
        raise ConfigError(f"{out}: is the table that is read", fix="give another name for the new table")
    nested = [field.name for field in schema if pa.types.is_nested(field.type)]
    if nested and not out.lower().endswith(".parquet"):
        raise OutputError(f"{out}: text cannot hold the lists of {nested[0]}", fix="write .parquet instead")


def _write(
    filesystem: pafs.FileSystem,
    path: str,
    out: str,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
) -> int:
    filesystem.create_dir(os.path.dirname(path), recursive=True)
    rows = 0
    with filesystem.open_output_stream(path, compression=None) as stream, _writer(stream, out, schema) as to:
        for batch in batches:
            rows += batch.num_rows
            to.write_batch(batch)
    return rows


def _writer(stream: pa.NativeFile, out: str, schema: pa.Schema) -> pq.ParquetWriter | pacsv.CSVWriter:
    if out.lower().endswith(".parquet"):
        return pq.ParquetWriter(stream, schema)
    separator = "\t" if out.lower().endswith(".tsv") else ","
    return pacsv.CSVWriter(stream, schema, write_options=pacsv.WriteOptions(delimiter=separator))
