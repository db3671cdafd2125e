"""Paths and URIs: the only module that takes one apart, or puts one together.

A plain path is local and taken as it is written. A URI is `scheme://authority/path?query`. Its path is
percent-encoded where a character would mean something else (`%`, `?`, and `#` on the web); other characters
may stand as they are. The query belongs to the filesystem, as in `?endpoint_override=…` or a presigned
signature: it stays at the end when names are joined to the path.
"""

import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.fs as pafs

from vrec.core.errors import SourceError, os_error_reason
from vrec.core.http_files import HttpFiles
from vrec.core.masking import MASK

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://([^/?#]*)(.*)", re.DOTALL)
_LOCAL_URI = re.compile(r"(file):()(/(?!/).*)", re.DOTALL | re.IGNORECASE)
_WEB = ("http", "https")
_PYARROW = ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")
"""Schemes whose filesystem is pyarrow's; of all others fsspec knows some."""
_URI_FIX = "check the URI; in its path write % as %25, ? as %3F and # as %23"


@dataclass(frozen=True, slots=True)
class SplitUri:
    """Parts of a URI."""

    scheme: str
    """In lower case."""
    authority: str
    """Host, bucket or container, perhaps with a user and a port."""
    path: str
    """As written: percent-encoded, from its first `/` on."""
    query: str
    """Without `?`."""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the parts of a URI, None for a plain path."""
        match = _LOCAL_URI.fullmatch(text) or _URI.fullmatch(text)
        if match is None:
            return None
        scheme, authority, rest = match[1].lower(), match[2], match[3]
        if scheme == "file":
            # A local file has no query; its name may hold a question mark.
            return cls(scheme, authority, rest, "")
        if scheme in _WEB:
            # Of no meaning to the server.
            rest = rest.partition("#")[0]
        path, _, query = rest.partition("?")
        return cls(scheme, authority, path, query)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}" + (f"?{self.query}" if self.query else "")

    @property
    def plain_path(self) -> str:
        """Path with its percent-encoding undone."""
        return unquote(self.path, errors="surrogateescape")


def is_uri(text: str) -> bool:
    """Return whether text is a URI, not a plain path."""
    return SplitUri.parse(text) is not None


def is_web(uri: str) -> bool:
    """Return whether a URI is read over HTTP, where files cannot be listed or written."""
    parts = SplitUri.parse(uri)
    return parts is not None and parts.scheme in _WEB


def local_path(uri: str) -> str | None:
    """Return the path of a plain path or of a `file:` URI of this machine; None for any other URI."""
    parts = SplitUri.parse(uri)
    if parts is None:
        return uri
    return parts.plain_path if parts.scheme == "file" and parts.authority in ("", "localhost") else None


def absolute_uri(uri: str) -> str:
    """Return a plain path as an absolute one, valid in processes with other working folders; keep URIs.

    Raises:
        SourceError: The path is relative in a submitted Ray job, and so inside the temporary copy of
            the working folder that Ray makes on one node.
    """
    if is_uri(uri) or os.path.isabs(uri):
        return uri
    if "/runtime_resources/working_dir_files/" in os.getcwd():
        raise SourceError(
            f"{uri}: a relative path in a submitted job lies in Ray's own copy of the working folder",
            fix="give a URI, or an absolute path on a disk that every node mounts",
        )
    return os.path.abspath(uri)


def join_uri(uri: str, *names: str) -> str:
    """Return the path or URI of a name below another one; a URI's query stays at the end.

    Args:
        uri: Path or URI of a folder.
        names: Plain relative names, or several with `/` between them; nothing in them is percent-encoded.
    """
    parts = SplitUri.parse(uri)
    if parts is None:
        return os.path.join(uri, *names)
    path = "/".join([parts.path.rstrip("/"), *(_encode(name) for name in names)])
    return str(replace(parts, path=path))


def _encode(name: str) -> str:
    """Encode what would be read as something else; other characters stay legible."""
    return name.replace("%", "%25").replace("?", "%3F").replace("#", "%23")


def parent_uri(uri: str) -> str:
    """Return the folder of a path or URI, with the same query; the root is its own parent."""
    parts = SplitUri.parse(uri)
    if parts is None:
        return os.path.dirname(uri.rstrip("/")) or ("/" if uri.startswith("/") else "")
    path = parts.path.rstrip("/").rpartition("/")[0]
    return str(replace(parts, path=path or ("/" if parts.scheme == "file" else "")))


def uri_name(uri: str) -> str:
    """Return the last name in a path or URI, without a query."""
    parts = SplitUri.parse(uri)
    path = uri if parts is None else parts.path
    name = path.rstrip("/").rpartition("/")[2]
    return name if parts is None else unquote(name, errors="surrogateescape")


def sibling_uri(uri: str, other: str) -> str:
    """Return a path or URI that a file names, where relative ones are meant from that file's folder.

    Args:
        uri: Path or URI of the file.
        other: What stands in the file: a URI, an absolute path, or a plain relative path.
    """
    return other if is_uri(other) or os.path.isabs(other) else join_uri(parent_uri(uri), other)


def resolve(uri: str) -> tuple[pafs.FileSystem, str]:
    """Return the filesystem of a path or URI, and the path on that filesystem.

    A plain path and `file://` are local. `http://` and `https://` can be read. `s3://`, `gs://`, `abfs://`
    and `hdfs://` use pyarrow, every other scheme fsspec.

    Raises:
        SourceError: No library supports the scheme, or the URI is malformed.
    """
    parts = SplitUri.parse(uri)
    if parts is None:
        return pafs.LocalFileSystem(), os.path.abspath(uri)
    if MASK in parts.authority or MASK in parts.query:
        raise SourceError(
            f"{uri}: the credentials in this URI were masked when it was written",
            fix="give the URI as it was, or put the credentials into the environment",
        )
    if parts.scheme == "file":
        if (path := local_path(uri)) is None:
            raise SourceError(
                f"{uri}: the file is on another host", fix="write file:///path for a local file"
            )
        return pafs.LocalFileSystem(), os.path.abspath(path or "/")
    if not parts.authority and parts.scheme != "memory":
        raise SourceError(f"{uri}: no host or bucket is named", fix=f"write {parts.scheme}://NAME/path")
    if parts.scheme in _WEB:
        return pafs.PyFileSystem(HttpFiles(f"{parts.scheme}://{parts.authority}", parts.query)), parts.path
    try:
        return _resolve_remote(parts)
    except pa.ArrowException as error:
        raise SourceError(f"{uri}: {error}", fix=_URI_FIX) from None
    except (ValueError, ImportError) as error:
        raise SourceError(
            f"{uri}: {error}", fix="give a path or a URI whose fsspec package is installed"
        ) from None
    except OSError as error:
        raise SourceError(
            f"{uri}: {os_error_reason(error)}", fix="check the URI, the network and the credentials"
        ) from None


def _resolve_remote(parts: SplitUri) -> tuple[pafs.FileSystem, str]:
    if parts.scheme in ("abfs", "abfss"):
        # Containers stand in several places; pyarrow knows them all.
        path = quote(unquote(parts.path), safe="/")
        return pafs.FileSystem.from_uri(str(replace(parts, path=path)))
    root = str(replace(parts, path=""))
    if parts.scheme not in _PYARROW:
        filesystem, base = _fsspec_filesystem(root), f"{parts.authority}{parts.plain_path}"
        handler = filesystem.handler
        return filesystem, str(type(handler.fs)._strip_protocol(f"{parts.scheme}://{base}"))
    bucket = "" if parts.scheme in ("hdfs", "viewfs") else parts.authority.rpartition("@")[2]
    return _pyarrow_filesystem(root), (bucket + parts.plain_path).rstrip("/")


@lru_cache(maxsize=64)
def _pyarrow_filesystem(root: str) -> pafs.FileSystem:
    return pafs.FileSystem.from_uri(root)[0]


@lru_cache(maxsize=64)
def _fsspec_filesystem(root: str) -> pafs.PyFileSystem:
    import fsspec

    return pafs.PyFileSystem(pafs.FSSpecHandler(fsspec.core.url_to_fs(root)[0]))


def read_file(uri: str) -> bytes:
    """Return the bytes of a file.

    Raises:
        SourceError: The URI has no filesystem.
        FileNotFoundError: There is no such file.
        OSError: It cannot be read; `os_error_reason` says why.
    """
    filesystem, path = resolve(uri)
    # No decompression by the name's ending.
    with filesystem.open_input_stream(path, compression=None) as stream:
        return stream.read()
