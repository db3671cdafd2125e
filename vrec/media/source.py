"""Sources of videos: a folder or a VIDEOS table on any filesystem, and local copies of their files."""

import contextlib
import hashlib
import os
import posixpath
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from vrec.core.compute import pc
from vrec.core.errors import (
    EmptyVideo,
    SourceError,
    TooLarge,
    UnreachableVideo,
    VanishedVideo,
    os_error_reason,
)
from vrec.core.schema import VIDEOS, TableColumn, TableSchema, conform
from vrec.core.tables import absolute_uri, join_uri, resolve
from vrec.core.types import VideoRef

VIDEO_EXTENSIONS = frozenset(
    f".{name}"
    for name in (
        *("3gp", "avi", "flv", "h264", "m2ts", "m4v", "mjpeg", "mkv", "mov", "mp4", "mpeg", "mpg", "mts"),
        *("mxf", "ogv", "ts", "webm", "wmv"),
    )
)
"""File name extensions of videos in a folder, in any case."""

_CHUNK_BYTES = 1 << 20

EMBED_INPUT_SCHEMA = TableSchema(
    "VIDEOS",
    tuple(
        TableColumn(column.name, column.type, column.name in ("title", "tags"))
        for column in VIDEOS.columns
        if column.name in ("video_id", "uri", "title", "tags")
    ),
)
"""Columns of VIDEOS that embedding reads; all others are optional."""


@dataclass(frozen=True, slots=True)
class LocalVideo:
    """Local file of a video and the SHA-256 of its bytes."""

    path: str
    content_hash: str
    size_bytes: int


class FolderSource:
    """Source of the videos in a folder tree; `video_id` is the relative path without its extension."""

    def __init__(self, uri: str) -> None:
        self.uri = absolute_uri(uri)
        self._filesystem, self._root = resolve(self.uri)
        info = self._filesystem.get_file_info(self._root)
        if info.type != pafs.FileType.Directory:
            reason = "no such folder" if info.type == pafs.FileType.NotFound else "not a folder"
            raise SourceError(f"{uri}: {reason}", fix="give --videos a folder or a .parquet table")
        self.ignored = 0
        """Number of files that `refs()` skipped for their extension."""

    def refs(self) -> Iterator[VideoRef]:
        """Yield one ref per video file in the order of their paths, without hidden files and folders."""
        infos = self._filesystem.get_file_info(pafs.FileSelector(self._root, recursive=True))
        self.ignored = 0
        for path in sorted(i.path for i in infos if i.type != pafs.FileType.Directory):
            relative = path[len(self._root) :].lstrip("/")
            if any(name.startswith(".") for name in relative.split("/")):
                continue
            stem, extension = posixpath.splitext(relative)
            if extension.lower() not in VIDEO_EXTENSIONS:
                self.ignored += 1
                continue
            yield VideoRef(stem, join_uri(self.uri, relative))

    def read(self, ref: VideoRef) -> bytes:
        """Return the bytes of a video, or raise VideoError."""
        return _read(ref)


class TableSource:
    """Source of the rows of a VIDEOS table in Parquet; a relative `uri` is relative to the table's folder."""

    ignored = 0

    def __init__(self, uri: str) -> None:
        self.uri = absolute_uri(uri)
        filesystem, path = resolve(self.uri)
        try:
            table = pq.ParquetFile(path, filesystem=filesystem).read()
        except FileNotFoundError:
            raise SourceError(f"{uri}: no such file") from None
        except (pa.ArrowInvalid, OSError) as error:
            raise SourceError(
                f"{uri}: not a Parquet table ({error})", fix="write VIDEOS as Parquet, or give a folder"
            ) from None
        self._table = conform(
            _plain_strings(table), EMBED_INPUT_SCHEMA, stage=f"embed --videos {uri}", extra=True
        )
        self._base = posixpath.dirname(self.uri)

    def refs(self) -> Iterator[VideoRef]:
        """Yield one ref per row, in the table's order."""
        for batch in self._table.to_batches(max_chunksize=4096):
            for row in batch.to_pylist():
                uri = row["uri"]
                if "://" not in uri and not os.path.isabs(uri):
                    uri = join_uri(self._base, uri)
                yield VideoRef(row["video_id"], uri, row["title"], tuple(row["tags"] or ()))

    def read(self, ref: VideoRef) -> bytes:
        """Return the bytes of a video, or raise VideoError."""
        return _read(ref)


def open_source(uri: str) -> FolderSource | TableSource:
    """Open the source at a path or URI: a table where its name ends in .parquet, else a folder.

    Raises:
        SourceError: There is no such table or folder.
        SchemaError: The table lacks required columns of VIDEOS.
    """
    is_table = uri.split("?", maxsplit=1)[0].endswith(".parquet")
    return TableSource(uri) if is_table else FolderSource(uri)


def _plain_strings(table: pa.Table) -> pa.Table:
    # Other writers store text as large_string, string_view or a dictionary, which hold the same values.
    for index, field in enumerate(table.schema):
        plain = _plain(field.type)
        if plain != field.type:
            column = pc.cast(table.column(index), plain)
            table = table.set_column(index, pa.field(field.name, plain, field.nullable), column)
    return table


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    return kind


@contextlib.contextmanager
def local_copy(ref: VideoRef, max_bytes: int) -> Iterator[LocalVideo]:
    """Provide the video as a local file with its hash; the copy of a remote one is removed at exit.

    Raises:
        VanishedVideo: The file does not exist.
        UnreachableVideo: The file cannot be read.
        EmptyVideo: The file has no bytes.
        TooLarge: The file has more than `max_bytes`.
    """
    filesystem, path = _resolve_video(ref)
    if isinstance(filesystem, pafs.LocalFileSystem):
        yield _hash_local(path, max_bytes)
        return
    extension = posixpath.splitext(path)[1]
    with tempfile.NamedTemporaryFile(prefix="vrec-", suffix=extension) as copy:
        digest, size = _hash_remote(filesystem, path, ref.uri, max_bytes, copy.write)
        copy.flush()
        yield LocalVideo(copy.name, digest, size)


def content_hash(ref: VideoRef, max_bytes: int) -> str:
    """Return the SHA-256 of a video's bytes in hex without storing them; raise as `local_copy` does."""
    filesystem, path = _resolve_video(ref)
    if isinstance(filesystem, pafs.LocalFileSystem):
        return _hash_local(path, max_bytes).content_hash
    return _hash_remote(filesystem, path, ref.uri, max_bytes, len)[0]


def _resolve_video(ref: VideoRef) -> tuple[pafs.FileSystem, str]:
    try:
        return resolve(ref.uri)
    except (SourceError, pa.ArrowException, OSError) as error:
        raise UnreachableVideo(f"{ref.uri}: {error}") from None


def _hash_local(path: str, max_bytes: int) -> LocalVideo:
    try:
        info = os.stat(path)
        # A FIFO or device would hang the read that follows.
        if not stat.S_ISREG(info.st_mode):
            raise UnreachableVideo("not a regular file", fix="give a file, not a pipe, device or folder")
        if info.st_size == 0:
            raise EmptyVideo("the file has no bytes")
        _check_size(info.st_size, max_bytes)
        with Path(path).open("rb", buffering=0) as file:
            digest = hashlib.file_digest(file, "sha256")
    except FileNotFoundError:
        raise VanishedVideo("the file is not there any more") from None
    except OSError as error:
        raise UnreachableVideo(f"the file cannot be read: {os_error_reason(error)}") from None
    return LocalVideo(path, digest.hexdigest(), info.st_size)


def _hash_remote(
    filesystem: pafs.FileSystem, path: str, uri: str, max_bytes: int, write: Callable[[bytes], object]
) -> tuple[str, int]:
    """Return the SHA-256 and size of a remote file, passing each chunk to `write`."""
    digest, size = hashlib.sha256(), 0
    for chunk in _stream(filesystem, path, uri):
        digest.update(chunk)
        size += len(chunk)
        _check_size(size, max_bytes)
        write(chunk)
    if size == 0:
        raise EmptyVideo("the file has no bytes")
    return digest.hexdigest(), size


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise TooLarge(f"the file has more than {max_bytes / 1e6:,.0f} MB")


def _stream(filesystem: pafs.FileSystem, path: str, uri: str) -> Iterator[bytes]:
    try:
        with filesystem.open_input_stream(path) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk
    except FileNotFoundError:
        raise VanishedVideo(f"{uri} is not there any more") from None
    except OSError as error:
        raise UnreachableVideo(f"{uri} cannot be read: {error}") from None


def _read(ref: VideoRef) -> bytes:
    filesystem, path = _resolve_video(ref)
    return b"".join(_stream(filesystem, path, ref.uri))
