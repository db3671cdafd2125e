"""Files of videos on any filesystem: their bytes, hashes and local copies."""

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

from vrec.core.errors import (
    EmptyVideo,
    SourceError,
    TooLarge,
    UnreachableVideo,
    VanishedVideo,
    os_error_reason,
)
from vrec.core.types import VideoRef
from vrec.core.uris import is_web, resolve, uri_name

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class LocalVideo:
    """Local file of a video and the SHA-256 of its bytes."""

    path: str
    content_hash: str
    size_bytes: int


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
    extension = posixpath.splitext(uri_name(ref.uri))[1]
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
        what = f"it is a link to {os.readlink(path)}, which" if os.path.islink(path) else "the file"
        raise VanishedVideo(f"{what} is not there any more") from None
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
        with filesystem.open_input_stream(path, compression=None) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk
    except FileNotFoundError as error:
        raise VanishedVideo(f"{uri}: {error}" if is_web(uri) else f"{uri} is not there any more") from None
    except OSError as error:
        raise UnreachableVideo(f"{uri} cannot be read: {os_error_reason(error)}") from None


def read_video(ref: VideoRef) -> bytes:
    """Return the bytes of a video; raise VanishedVideo or UnreachableVideo."""
    filesystem, path = _resolve_video(ref)
    return b"".join(_stream(filesystem, path, ref.uri))
