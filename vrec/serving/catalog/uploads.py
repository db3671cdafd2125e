"""Storage of uploaded videos, and checks of the URIs that videos may be read from."""

import contextlib
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.fs as pafs

from vrec.core.errors import (
    EmptyVideo,
    OutputError,
    SourceError,
    TooLarge,
    UnreachableVideo,
    WrongContainer,
    os_error_reason,
)
from vrec.core.tables import StorageFolder
from vrec.core.uris import SplitUri, join_uri, local_path, resolve, uri_name
from vrec.media.decoders.signature import HEAD_BYTES, non_video_kind

UPLOADS = "uploads"
_UPLOAD_NAME = re.compile(r"[0-9a-f]{32}\.[a-z0-9]{2,5}")
_FORBIDDEN_SCHEMES = frozenset({"http", "https", "ftp", "ftps", "data", "jar"})
"""Schemes that no root allows: a service that fetches URLs for strangers reaches hosts that they cannot."""


@dataclass(frozen=True, slots=True)
class VideoContainer:
    """Container format of a video file."""

    suffix: str
    media_type: str


_EBML = b"\x1aE\xdf\xa3"
_CONTAINERS: tuple[tuple[int, bytes, VideoContainer], ...] = (
    (4, b"ftypqt", VideoContainer(".mov", "video/quicktime")),
    (4, b"ftyp", VideoContainer(".mp4", "video/mp4")),
    (8, b"AVI ", VideoContainer(".avi", "video/x-msvideo")),
    (0, b"FLV", VideoContainer(".flv", "video/x-flv")),
    (0, b"OggS", VideoContainer(".ogv", "video/ogg")),
    (0, b"\x00\x00\x01\xba", VideoContainer(".mpg", "video/mpeg")),
    (0, b"\x47", VideoContainer(".ts", "video/mp2t")),
)
_WEBM, _MATROSKA = VideoContainer(".webm", "video/webm"), VideoContainer(".mkv", "video/x-matroska")
_UNKNOWN = VideoContainer(".bin", "application/octet-stream")
MEDIA_TYPES = tuple(one.media_type for one in (*(row[2] for row in _CONTAINERS), _WEBM, _MATROSKA, _UNKNOWN))
"""Media types that `detect_container` can return."""


def detect_container(head: bytes) -> VideoContainer:
    """Return the container format by a file's first bytes; `.bin`, application/octet-stream if unknown."""
    if head.startswith(_EBML):
        return _WEBM if b"webm" in head[:64] else _MATROSKA
    for at, mark, container in _CONTAINERS:
        if head[at : at + len(mark)] == mark:
            return container
    return _UNKNOWN


class IncomingUpload:
    """Upload in progress, under a temporary name in the data folder."""

    def __init__(self, folder: StorageFolder, max_bytes: int) -> None:
        """Open the file; raises OutputError if the folder cannot be written."""
        self._folder, self._max_bytes = folder, max_bytes
        self._name = uuid.uuid4().hex
        self._temporary = folder.path_of(f".{self._name}")
        self._head, self._size = b"", 0
        with _writing():
            folder.filesystem.create_dir(folder.path, recursive=True)
            self._stream = folder.filesystem.open_output_stream(self._temporary, compression=None)

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            WrongContainer: The first bytes are not a video's; raised once HEAD_BYTES have arrived.
            TooLarge: The file exceeds the limit.
            OutputError: The bytes cannot be written.
        """
        self._head += data[: HEAD_BYTES - len(self._head)] if len(self._head) < HEAD_BYTES else b""
        self._size += len(data)
        if self._size > self._max_bytes:
            raise TooLarge(
                f"the file has more than {self._max_bytes:,} bytes",
                fix="make it smaller, or raise serve.security.most_upload_bytes",
            )
        if len(self._head) == HEAD_BYTES:
            check_head(self._head)
        with _writing():
            self._stream.write(data)

    def commit(self) -> str:
        """Store the complete file and return its URI; raises EmptyVideo, WrongContainer or OutputError."""
        check_head(self._head)
        name = self._name + detect_container(self._head).suffix
        with _writing():
            self._stream.close()
            self._folder.filesystem.move(self._temporary, self._folder.path_of(name))
        return join_uri(self._folder.uri, name)

    def discard(self) -> None:
        """Remove the temporary file; no effect after `commit`."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._stream.close()
        with contextlib.suppress(OSError, pa.ArrowException):
            self._folder.filesystem.delete_file(self._temporary)


class UploadStore:
    """Uploads below a data folder. The service makes up the file names; the sender's are never used."""

    def __init__(self, data: str, max_bytes: int) -> None:
        self._data, self._max_bytes = data, max_bytes

    def begin(self) -> IncomingUpload:
        """Open a new upload; raises OutputError."""
        return IncomingUpload(self._folder, self._max_bytes)

    def delete(self, uri: str) -> None:
        """Delete the file of a removed video if it is an upload; other URIs are ignored."""
        folder = self._folder
        name = uri_name(uri)
        if _UPLOAD_NAME.fullmatch(name) and uri == join_uri(folder.uri, name):
            with contextlib.suppress(OSError, pa.ArrowException):
                folder.filesystem.delete_file(folder.path_of(name))

    @property
    def _folder(self) -> StorageFolder:
        return StorageFolder(join_uri(self._data, UPLOADS))


def check_head(head: bytes) -> None:
    """Raise EmptyVideo or WrongContainer if these first bytes cannot be a video's."""
    if not head:
        raise EmptyVideo("the file has no bytes")
    if kind := non_video_kind(head):
        raise WrongContainer(f"the file is {kind}")


def readable_uri(uri: str, roots: Sequence[str], max_bytes: int) -> str:
    """Check a video's URI against the allowed roots and return it with links resolved.

    Raises:
        SourceError: The URI is not below a root; the message does not reveal whether a file exists there.
        UnreachableVideo: There is no such regular file, or it cannot be read.
        EmptyVideo: The file is empty.
        WrongContainer: The file is not a video.
        TooLarge: The file has more than `max_bytes`.
    """
    resolved = _below_roots(uri, roots)
    filesystem, path = resolve(resolved)
    try:
        info = filesystem.get_file_info(path)
        # Reading a pipe or a device may never end.
        if info.type != pafs.FileType.File:
            raise UnreachableVideo(f"{uri}: no such file")
        if info.size is not None and info.size > max_bytes:
            raise TooLarge(f"{uri} has {info.size:,} bytes, and {max_bytes:,} are allowed")
        with filesystem.open_input_stream(path, compression=None) as stream:
            head = stream.read(HEAD_BYTES)
    except (OSError, pa.ArrowException) as error:
        reason = os_error_reason(error) if isinstance(error, OSError) else "it cannot be read"
        raise UnreachableVideo(f"{uri}: {reason}") from None
    check_head(head)
    return resolved


def _below_roots(uri: str, roots: Sequence[str]) -> str:
    refused = SourceError(
        f"{uri[:200]} is not below a folder that videos may be read from",
        fix="upload the file, or ask the operator to add its folder to serve.security.media_roots",
    )
    parts, local = SplitUri.parse(uri), local_path(uri)
    if parts is not None and parts.scheme in _FORBIDDEN_SCHEMES:
        raise refused
    if "\\" in uri or "\0" in uri or "\0" in (local or ""):
        raise refused
    for root in roots:
        base, root_path = SplitUri.parse(root), local_path(root)
        if local is not None and root_path is not None:
            real, real_root = os.path.realpath(local), os.path.realpath(root_path)
            if os.path.isabs(local) and os.path.commonpath([real, real_root]) == real_root:
                return real
        elif parts is not None and base is not None and _is_below_remote(parts, base):
            # Endpoint and credentials are the operator's.
            found = replace(parts, authority=base.authority, query=base.query)
            return uri if found == parts else str(found)
    raise refused


def _is_below_remote(uri: SplitUri, root: SplitUri) -> bool:
    """Return whether a URI is below another of its scheme and bucket, without a `..` step, even encoded.

    It has the root's user and query, or none.
    """
    bucket = root.authority.rpartition("@")[2]
    same = uri.scheme == root.scheme != "file" and uri.authority in (bucket, root.authority)
    plain = "%" not in uri.path and "#" not in uri.path and uri.query in ("", root.query)
    steps = uri.path.split("/")[1:]
    inside = uri.path.startswith(root.path.rstrip("/") + "/")
    return same and plain and inside and all(step not in ("", ".", "..") for step in steps)


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = os_error_reason(error) if isinstance(error, OSError) else str(error)
        raise OutputError(f"the data folder: {reason}") from None
