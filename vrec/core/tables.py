"""Tables on disk: Parquet files listed by a manifest, on any filesystem of pyarrow or fsspec.

The manifest is the commit point. A file that the manifest does not list is not part of the table,
so a writer killed at any time leaves the last complete state readable.
"""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from vrec.core.errors import OutputError, SourceError, os_error_reason
from vrec.core.types import Modality
from vrec.core.uris import absolute_uri, join_uri, resolve

MANIFEST = "manifest.json"
TABLE_FORMAT = 1
"""Version of an embedding folder's layout; `read_manifest` accepts no other."""


class StorageFolder:
    """Folder on any filesystem with atomic writes: a file appears whole or not at all.

    Methods that write raise OutputError on failure; those that read on other machines raise SourceError where
    a file cannot be reached, which is not the same as that there is none.
    """

    def __init__(self, uri: str) -> None:
        self.uri = absolute_uri(uri)
        self.filesystem, path = resolve(self.uri)
        self.path = path.rstrip("/") or path
        self.local = isinstance(self.filesystem, pafs.LocalFileSystem)

    def path_of(self, name: str) -> str:
        """Return the path of a name in this folder, on this folder's filesystem."""
        return f"{self.path}/{name}"

    def files(self, name: str = "") -> list[str]:
        """Return the sorted names of the files directly in a subfolder; none where it does not exist."""
        base = self.path_of(name) if name else self.path
        with self._reading(name):
            infos = self.filesystem.get_file_info(pafs.FileSelector(base, allow_not_found=True))
        return sorted(info.base_name for info in infos if info.type == pafs.FileType.File)

    def folders(self) -> list[str]:
        """Return the sorted names of the subfolders; none where the folder does not exist."""
        with self._reading(""):
            infos = self.filesystem.get_file_info(pafs.FileSelector(self.path, allow_not_found=True))
        return sorted(info.base_name for info in infos if info.type == pafs.FileType.Directory)

    @property
    def is_missing(self) -> bool:
        """True where there is neither a folder nor a file; in a bucket, an empty folder is none."""
        with self._reading(""):
            return self.filesystem.get_file_info(self.path).type == pafs.FileType.NotFound

    def exists(self, name: str) -> bool:
        """Return whether a file of that name exists."""
        with self._reading(name):
            return self.filesystem.get_file_info(self.path_of(name)).type == pafs.FileType.File

    @property
    def is_file(self) -> bool:
        """True where a file is in the folder's place."""
        with self._reading(""):
            return self.filesystem.get_file_info(self.path).is_file

    def write(self, name: str, data: bytes | memoryview | pa.Buffer) -> None:
        """Write a file atomically: to a temporary name, flushed to disk, then renamed over the old one."""
        try:
            self._write(name, data)
        except OSError as error:
            raise OutputError(f"{self.uri}: cannot write {name}: {os_error_reason(error)}") from error

    def _write(self, name: str, data: bytes | memoryview | pa.Buffer) -> None:
        if self.local:
            self._write_local(Path(self.path_of(name)), data)
            return
        # An object store shows an object only when its upload is complete.
        self.filesystem.create_dir(os.path.dirname(self.path_of(name)), recursive=True)
        with self.filesystem.open_output_stream(self.path_of(name)) as stream:
            stream.write(data)

    def _write_local(self, path: Path, data: bytes | memoryview | pa.Buffer) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def check_writable(self, below: str = "") -> None:
        """Raise OutputError where no file can be written; call it before long work. Leaves nothing."""
        name = f"{below}/.writable" if below else ".writable"
        absent = []
        if self.local:
            folders = [Path(self.path_of(name)).parent, *Path(self.path_of(name)).parent.parents]
            self._refuse_file_as_folder(folders)
            absent = [folder for folder in folders if not folder.exists()]
        try:
            self._write(name, b"")
        except OSError as error:
            # The name is the check's own: its reader has named the folder alone.
            raise OutputError(f"{self.uri}: cannot write there: {os_error_reason(error)}") from error
        self.remove(name)
        for folder in absent:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _refuse_file_as_folder(self, folders: Iterable[Path]) -> None:
        """Raise OutputError where the deepest of `folders` that exists is no folder."""
        found = next((folder for folder in folders if folder.exists()), None)
        if found is None or found.is_dir():
            return
        if found == Path(self.path):
            raise OutputError(f"{self.uri}: is a file, not a folder")
        raise OutputError(f"{self.uri}: cannot be made, since {found} is not a folder")

    def read(self, name: str) -> bytes:
        """Return the bytes of a file; raise FileNotFoundError where there is none."""
        # No decompression by the name's ending.
        with (
            self._reading(name),
            self.filesystem.open_input_stream(self.path_of(name), compression=None) as stream,
        ):
            return stream.read()

    def remove(self, name: str) -> None:
        """Remove a file; do nothing where there is none."""
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_file(self.path_of(name))

    def remove_folder(self, name: str) -> None:
        """Remove a subfolder and all that is in it; do nothing where there is none."""
        with contextlib.suppress(FileNotFoundError):
            self.filesystem.delete_dir(self.path_of(name))

    def total_bytes(self) -> int:
        """Return the size of all files of the folder and its subfolders."""
        with self._reading(""):
            infos = self.filesystem.get_file_info(
                pafs.FileSelector(self.path, allow_not_found=True, recursive=True)
            )
        return sum(info.size or 0 for info in infos if info.type == pafs.FileType.File)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a mapping as indented JSON."""
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        self.write(name, (text + "\n").encode())

    def write_parquet(self, name: str, table: pa.Table) -> None:
        """Write a table as one Parquet file."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self.write(name, sink.getvalue())

    def read_parquet(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Return a Parquet file as a table, or only some of its columns."""
        with self._reading(name):
            return pq.ParquetFile(self.path_of(name), filesystem=self.filesystem).read(columns=columns)

    def parquet_schema(self, name: str) -> pa.Schema:
        """Return a Parquet file's schema without reading its rows."""
        with self._reading(name):
            return pq.ParquetFile(self.path_of(name), filesystem=self.filesystem).schema_arrow

    def write_arrow(self, name: str, table: pa.Table) -> None:
        """Write a table as one Arrow IPC file."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        self.write(name, sink.getvalue())

    def read_arrow(self, name: str) -> pa.Table:
        """Return an Arrow IPC file as a table."""
        with self._reading(name), self.filesystem.open_input_file(self.path_of(name)) as file:
            return pa.ipc.open_file(file).read_all()

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            if self.local:
                raise
            raise SourceError(
                f"{join_uri(self.uri, name) if name else self.uri}: {os_error_reason(error)}",
                fix="check the URI, the network and the credentials",
            ) from None


def read_manifest(out: str) -> dict[str, Any] | None:
    """Return the manifest of an embedding folder, or None where no run has completed.

    Raises:
        OutputError: The manifest was not written by vrec or is of another format.
    """
    folder = StorageFolder(out)
    if not folder.exists(MANIFEST):
        return None
    try:
        manifest = json.loads(folder.read(MANIFEST))
        kind, version = manifest["kind"], manifest["format"]
    except (ValueError, KeyError, TypeError):
        raise OutputError(
            f"{join_uri(out, MANIFEST)} is not one of vrec's", fix="give another --out"
        ) from None
    if (kind, version) != ("embeddings", TABLE_FORMAT):
        raise OutputError(
            f"{join_uri(out, MANIFEST)} is of kind {kind}, format {version}; "
            f"this vrec reads embeddings, {TABLE_FORMAT}",
            fix="give another --out, or embed again",
        )
    return manifest


def _table_files(out: str, table: str) -> Iterator[pa.Table]:
    manifest = read_manifest(out)
    if manifest is None:
        raise SourceError(f"{out}: no {MANIFEST} there", fix="run `vrec embed --out` with it first")
    folder = StorageFolder(out)
    for name in manifest["files"].get(table, []):
        yield folder.read_parquet(name)


def read_embeddings(out: str, modality: Modality) -> pa.Table | None:
    """Return the EMBEDDINGS rows of one modality of an embedding folder, sorted by entity_id; None for none.

    Raises:
        SourceError: No run has completed in the folder.
    """
    tables = list(_table_files(out, f"embeddings/{modality}"))
    return pa.concat_tables(tables).sort_by("entity_id") if tables else None


def read_moments(out: str, modality: Modality) -> pa.Table | None:
    """Return the MOMENTS rows of one modality of an embedding folder, by video and time; None for none.

    Raises:
        SourceError: No run has completed in the folder.
    """
    tables = list(_table_files(out, f"moments/{modality}"))
    order = [("video_id", "ascending"), ("start_s", "ascending"), ("end_s", "ascending")]
    return pa.concat_tables(tables).sort_by(order) if tables else None


def read_failures(out: str) -> pa.Table:
    """Return the sorted FAILURES rows of an embedding folder; raise SourceError if no run has completed."""
    return pa.concat_tables(_table_files(out, "failures")).sort_by(
        [("video_id", "ascending"), ("uri", "ascending")]
    )


def read_media(out: str) -> pa.Table:
    """Return the sorted MEDIA rows of an embedding folder; raise SourceError where no run has completed."""
    return pa.concat_tables(_table_files(out, "media")).sort_by("video_id")


def tables_digest(*tables: pa.Table | None) -> str:
    """Return 12 hexadecimal digits that identify the tables' rows, in their order; None counts as nothing."""
    state = hashlib.sha256()
    for table in tables:
        if table is not None:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table.combine_chunks())
            state.update(sink.getvalue())
    return state.hexdigest()[:12]
