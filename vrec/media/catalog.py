"""Catalogs of videos: the files of a folder tree, or the rows of a VIDEOS table, on any filesystem."""

import os
import posixpath
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from vrec.core.casts import is_placeholder, printable, text_column
from vrec.core.errors import (
    SchemaError,
    SourceError,
    UnlistedVideo,
    VideoError,
    guard,
    os_error_reason,
)
from vrec.core.types import UnlistedRow, VideoRef
from vrec.core.uris import absolute_uri, is_web, join_uri, resolve, sibling_uri, uri_name
from vrec.media.source import read_video

VIDEO_EXTENSIONS = frozenset(
    f".{name}"
    for name in (
        *(
            "264",
            "265",
            "3g2",
            "3gp",
            "3gp2",
            "3gpp",
            "amv",
            "asf",
            "avi",
            "divx",
            "dv",
            "dvr-ms",
            "f4v",
            "flv",
        ),
        *("h264", "h265", "hevc", "ivf", "m1v", "m2p", "m2t", "m2ts", "m2v", "m4v", "mjpeg", "mjpg", "mk3d"),
        *("mkv", "mov", "mp2v", "mp4", "mpe", "mpeg", "mpg", "mpv", "mts", "mxf", "nut", "obu", "ogm", "ogv"),
        *("ogx", "ps", "qt", "rm", "rmvb", "tod", "trp", "ts", "vc1", "vob", "webm", "wm", "wmv"),
    )
)
"""File name extensions of videos in a folder, in any case."""

TABLE_ROWS = 4096
"""Rows of a table that become Python values at once."""

E = TypeVar("E")


class VideoCatalog(ABC, Generic[E]):
    """Catalog that lists its entries one by one: a bad one is a failure, and the others go on."""

    uri: str

    def __init__(self) -> None:
        self.ignored = 0
        """Number of files that `refs()` skipped for their extension."""
        self.failures: list[UnlistedRow] = []
        """Entries that `refs()` could not list."""

    def refs(self) -> Iterator[VideoRef]:
        """Yield one ref per entry in a stable order; `failures` then holds the entries without one."""
        self.ignored = 0
        self.failures.clear()
        for number, entry in enumerate(self._entries(), start=1):
            ref = guard(UnlistedVideo, partial(self._ref, entry))
            if isinstance(ref, VideoError):
                video_id, uri = self._describe(entry, number)
                self.failures.append(UnlistedRow(printable(video_id), printable(uri), ref))
            else:
                yield ref

    def read(self, ref: VideoRef) -> bytes:
        """Return the bytes of a video, or raise VideoError."""
        return read_video(ref)

    @abstractmethod
    def _entries(self) -> Iterator[E]:
        """Yield the entries in a stable order."""

    @abstractmethod
    def _ref(self, entry: E) -> VideoRef:
        """Return the ref of an entry; whatever this raises becomes its failure."""

    @abstractmethod
    def _describe(self, entry: E, number: int) -> tuple[str, str]:
        """Return an id and a URI for the failure of an entry, the `number`-th from 1."""


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """Video file of a folder, or a part of it that cannot be listed."""

    path: str
    """Relative path, `/` between names; bytes that are no UTF-8 are surrogate escapes."""
    video_id: str = ""
    error: Exception | None = None


class FolderSource(VideoCatalog[FolderEntry]):
    """Source of the videos in a folder tree; `video_id` is the relative path without its extension.

    Files that differ in their extension alone keep it in their ids: `a.mp4` beside `a.webm`.
    """

    def __init__(self, uri: str) -> None:
        super().__init__()
        self.uri = absolute_uri(uri)
        if is_web(self.uri):
            raise SourceError(
                f"{uri}: folders cannot be listed over HTTP",
                fix="give a VIDEOS table (.parquet), which has the uri of each video",
            )
        self._filesystem, self._root = resolve(self.uri)
        try:
            info = self._filesystem.get_file_info(self._root)
        except OSError as error:
            raise SourceError(f"{uri}: {os_error_reason(error)}") from None
        if info.type != pafs.FileType.Directory:
            reason = "no such folder" if info.type == pafs.FileType.NotFound else "not a folder"
            raise SourceError(f"{uri}: {reason}", fix="give --videos a folder or a .parquet table")

    def _entries(self) -> Iterator[FolderEntry]:
        """Yield the videos by path, without hidden files and folders, then the folders that failed."""
        if isinstance(self._filesystem, pafs.LocalFileSystem):
            files, failed = local_files(self._root)
        else:
            files, failed = self._remote_files()
        videos = [file for file in files if _extension(file) in VIDEO_EXTENSIONS]
        self.ignored = len(files) - len(videos)
        ids = folder_ids(videos)
        yield from (FolderEntry(path, ids[path]) for path in videos)
        yield from failed

    def _remote_files(self) -> tuple[list[str], list[FolderEntry]]:
        infos = self._filesystem.get_file_info(pafs.FileSelector(self._root, recursive=True))
        files: list[str] = []
        failed: list[FolderEntry] = []
        for number, info in enumerate(infos):
            path = guard(UnlistedVideo, partial(getattr, info, "path"))
            if isinstance(path, VideoError):
                failed.append(FolderEntry(f"(file {number + 1})", error=path))
            elif info.type != pafs.FileType.Directory:
                files.append(path[len(self._root) :].lstrip("/"))
        return sorted(file for file in files if not _is_hidden(file)), failed

    def _ref(self, entry: FolderEntry) -> VideoRef:
        if entry.error is not None:
            raise entry.error
        try:
            entry.path.encode()
        except UnicodeEncodeError:
            raise UnlistedVideo("its name is not UTF-8", fix="rename the file") from None
        return VideoRef(_checked_id(entry.video_id), join_uri(self.uri, entry.path))

    def _describe(self, entry: FolderEntry, number: int) -> tuple[str, str]:
        path = os.fsencode(entry.path).decode("utf-8", "backslashreplace")
        return path, join_uri(self.uri, path)


class TableSource(VideoCatalog[dict[str, Any]]):
    """Source of the rows of a VIDEOS table in Parquet; a relative `uri` is relative to the table's folder."""

    def __init__(self, uri: str) -> None:
        super().__init__()
        self.uri = absolute_uri(uri)
        filesystem, path = resolve(self.uri)
        try:
            table = pq.ParquetFile(path, filesystem=filesystem).read()
        except FileNotFoundError:
            raise SourceError(f"{uri}: no such file") from None
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"{uri}: not a Parquet table ({error})", fix="write VIDEOS as Parquet, or give a folder"
            ) from None
        except OSError as error:
            raise SourceError(f"{uri}: {os_error_reason(error)}") from None
        self._table = _embed_columns(table, uri)

    def _entries(self) -> Iterator[dict[str, Any]]:
        for batch in self._table.to_batches(max_chunksize=TABLE_ROWS):
            yield from _python_rows(batch)

    def _ref(self, entry: dict[str, Any]) -> VideoRef:
        for value in entry.values():
            if isinstance(value, Exception):
                raise value
        if entry["uri"] is None or not entry["uri"].strip():
            raise UnlistedVideo("it has no uri", fix="give the row the uri of its video, or leave it out")
        uri = sibling_uri(self.uri, entry["uri"])
        tags = tuple(tag for tag in entry["tags"] or () if tag is not None)
        return VideoRef(_checked_id(entry["video_id"]), uri, entry["title"], tags)

    def _describe(self, entry: dict[str, Any], number: int) -> tuple[str, str]:
        texts = [entry[name] if isinstance(entry[name], str) else "" for name in ("video_id", "uri")]
        return texts[0].strip() or f"(row {number})", texts[1]


def open_source(uri: str) -> FolderSource | TableSource:
    """Open the source at a path or URI: a table where its name ends in .parquet, else a folder.

    Raises:
        SourceError: There is no such table or folder.
        SchemaError: The table lacks required columns of VIDEOS.
    """
    return TableSource(uri) if uri_name(uri).endswith(".parquet") else FolderSource(uri)


def local_files(root: str) -> tuple[list[str], list[FolderEntry]]:
    """Return the relative paths of the files below a local folder, and the folders that cannot be listed.

    Links to folders are followed, each folder once: a link to a folder that is listed already adds nothing,
    so that no loop of links has an effect. Hidden files and folders are left out.
    """
    files: list[str] = []
    failed: list[FolderEntry] = []
    seen: set[str] = set()
    folders, links = deque([""]), deque[str]()
    while folders or links:
        # Links last: a folder of the tree has the path without any.
        folder = folders.popleft() if folders else links.popleft()
        place = os.path.join(root, folder)
        if (real := os.path.realpath(place)) in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(place) as entries:
                found = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            failed.append(FolderEntry(folder, error=_unlisted_folder(error)))
            continue
        for entry in found:
            path = posixpath.join(folder, entry.name)
            queue = links if entry.is_symlink() else folders
            (queue if _is_folder(entry) else files).append(path)
    return sorted(files), failed


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads to itself: reading it says so.
        return False


def _unlisted_folder(error: OSError) -> UnlistedVideo:
    reason = os_error_reason(error)
    return UnlistedVideo(f"the folder cannot be listed: {reason}", fix="make the folder readable")


def folder_ids(files: Sequence[str]) -> dict[str, str]:
    """Return the id of each relative path: without its extension, unless another file would have that id.

    What one file is called does not depend on which of two came first: both of `a.mp4` and `a.webm` keep
    their extension.
    """
    stems = {file: posixpath.splitext(file)[0] for file in files}
    counts = Counter(stems.values())
    whole = {file for file in files if counts[stems[file]] > 1}
    while more := {file for file in files if file not in whole and stems[file] in whole}:
        whole |= more
    return {file: file if file in whole else stems[file] for file in files}


def _extension(path: str) -> str:
    return posixpath.splitext(path)[1].lower()


def _is_hidden(path: str) -> bool:
    return any(name.startswith(".") for name in path.split("/"))


def _checked_id(video_id: str | None) -> str:
    """Return an id without spaces around it; raise UnlistedVideo for one that names no video."""
    text = (video_id or "").strip()
    if not text or is_placeholder(text):
        shown = repr(text) if text else "empty"
        raise UnlistedVideo(f"its video_id is {shown}", fix="give the row an id of its own, or leave it out")
    return text


def _embed_columns(table: pa.Table, uri: str) -> pa.Table:
    """Return the columns of VIDEOS that embedding reads, as text; raise SchemaError for another type."""
    columns: dict[str, pa.ChunkedArray] = {}
    problems: list[str] = []
    for name in ("video_id", "uri", "title", "tags"):
        is_list = name == "tags"
        if name not in table.column_names:
            if name in ("video_id", "uri"):
                problems.append(f"missing {name}")
                continue
            column = pa.chunked_array([pa.nulls(table.num_rows)])
        else:
            column = table.column(name)
        texts = column if pa.types.is_null(column.type) else text_column(column)
        if texts is None or (not pa.types.is_null(texts.type) and pa.types.is_list(texts.type) != is_list):
            want = "list<string>" if is_list else "string"
            problems.append(f"{name} is {column.type}, want {want}")
            continue
        columns[name] = texts
    if problems:
        raise SchemaError(
            f"embed --videos {uri}: {'; '.join(problems)}",
            fix="give it the columns of VIDEOS in docs/tables.md",
        )
    return pa.table(columns)


def _python_rows(batch: pa.RecordBatch) -> Iterable[dict[str, Any]]:
    """Return a batch's rows; a value that cannot be read is the UnlistedVideo that says so."""
    rows = guard(UnlistedVideo, batch.to_pylist)
    if not isinstance(rows, VideoError):
        return rows
    return (
        {name: guard(UnlistedVideo, batch.column(name)[row].as_py) for name in batch.schema.names}
        for row in range(batch.num_rows)
    )
