"""Files of events before they are sharded: their list, fingerprints, and the parts that workers read."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from vrec.core.errors import EventsError, os_error_reason
from vrec.core.masking import mask_credentials
from vrec.core.sharded_table import shard_manifest
from vrec.core.table_format import detect_format
from vrec.core.uris import absolute_uri, join_uri, resolve
from vrec.events.read import choose_columns

PART_ROWS = 500_000
"""Rows that one worker reads at once of a Parquet file of several row groups."""
TEXT_ROW_BYTES = 60
"""Least bytes of a row of text, by which the rows of a text file are estimated."""
CHUNK_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class InputFile:
    """File of events, and what tells without reading it whether it has changed."""

    uri: str
    size: int
    modified: str

    @property
    def name(self) -> str:
        """The URI without credentials."""
        return mask_credentials(self.uri)


@dataclass(frozen=True, slots=True)
class EventPart:
    """Rows of a file that one worker reads."""

    uri: str
    rows: int
    """Estimated for files of text."""
    groups: tuple[int, ...] | None = None
    """Row groups of a Parquet file; None for a whole file."""


def list_inputs(uris: Iterable[str]) -> list[InputFile]:
    """Return the files at paths or URIs, and in folders of these, sorted and each once.

    Files whose names begin with a dot or an underscore are left out.

    Raises:
        EventsError: There is no file at a URI, or it holds shards.
    """
    found: dict[str, InputFile] = {}
    for given in uris:
        uri = absolute_uri(given)
        filesystem, path = resolve(uri)
        try:
            for file in _files(filesystem, path, uri):
                found.setdefault(file.uri, file)
        except OSError as error:
            raise EventsError(f"{uri}: {os_error_reason(error)}") from None
    return [found[uri] for uri in sorted(found)]


def _files(filesystem: pafs.FileSystem, path: str, uri: str) -> Iterable[InputFile]:
    info = filesystem.get_file_info(path)
    if info.type == pafs.FileType.NotFound:
        raise EventsError(f"{uri}: no such file or folder")
    if info.is_file:
        return [_input(uri, info)]
    if shard_manifest(filesystem, path) is not None:
        raise EventsError(
            f"{uri}: holds shards already", fix="give --events the files that they were made from, or others"
        )
    base = path.rstrip("/") + "/"
    infos = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
    names = {one.path.removeprefix(base): one for one in infos if one.is_file}
    shown = {n: one for n, one in names.items() if not any(p[0] in "._" for p in n.split("/"))}
    if not shown:
        raise EventsError(f"{uri}: the folder holds no files of events")
    return [_input(join_uri(uri, name), one) for name, one in shown.items()]


def _input(uri: str, info: pafs.FileInfo) -> InputFile:
    return InputFile(uri, info.size or 0, "" if info.mtime is None else info.mtime.isoformat())


def content_digest(uri: str) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal digits; raises EventsError."""
    filesystem, path = resolve(uri)
    state = hashlib.sha256()
    try:
        with filesystem.open_input_stream(path, compression=None) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                state.update(chunk)
    except OSError as error:
        raise EventsError(f"{uri}: {os_error_reason(error)}") from None
    return state.hexdigest()


def plan_parts(file: InputFile, mapping: Mapping[str, str]) -> list[EventPart]:
    """Return the parts of a file.

    A Parquet file whose times are of a type of times is read in parts of whole row groups. Any other is read
    whole, since its greatest time decides the unit of all.

    Raises:
        EventsError, SchemaError: The file cannot be read, or lacks a column.
    """
    filesystem, path = resolve(file.uri)
    try:
        form, compression = detect_format(filesystem, path)
        if form != "Parquet" or compression:
            return [EventPart(file.uri, max(1, file.size // TEXT_ROW_BYTES))]
        with pq.ParquetFile(path, filesystem=filesystem) as parquet:
            columns = choose_columns(file.uri, parquet.schema_arrow.names, mapping)
            kind = parquet.schema_arrow.field(columns["at"]).type
            sizes = [parquet.metadata.row_group(n).num_rows for n in range(parquet.num_row_groups)]
    except pa.ArrowInvalid as error:
        raise EventsError(f"{file.uri}: not a Parquet table ({error})") from None
    except OSError as error:
        raise EventsError(f"{file.uri}: {os_error_reason(error)}") from None
    if len(sizes) < 2 or sum(sizes) <= PART_ROWS or not pa.types.is_temporal(kind):
        return [EventPart(file.uri, sum(sizes))]
    parts: list[list[int]] = [[]]
    for number, rows in enumerate(sizes):
        if parts[-1] and sum(sizes[n] for n in parts[-1]) + rows > PART_ROWS:
            parts.append([])
        parts[-1].append(number)
    return [EventPart(file.uri, sum(sizes[n] for n in part), tuple(part)) for part in parts]
