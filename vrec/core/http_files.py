"""Files on the web (`http://`, `https://`) as a read-only filesystem of pyarrow, with bounded retries.

A request is repeated after a refused or reset connection, a time without data, and the statuses 408, 429 and
5xx; `Retry-After` is honored. A body that breaks off is continued where it ended. Proxies, certificates and
passwords of hosts are taken from the environment as `requests` documents it.
"""

import contextlib
import hashlib
import io
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.fs as pafs

_CHUNK_BYTES = 1 << 20
_RETRIED = (408, 429, 500, 502, 503, 504)
_MISSING = (404, 410)
_REFUSED = (401, 403, 407)


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of time and attempts for one file."""

    attempts: int = 5
    """Requests until a status of `_RETRIED`, a reset or a time without data is an error."""
    connect_attempts: int = 3
    """Attempts to reach the host: a wrong name or port is seldom better the fifth time."""
    connect_s: float = 10.0
    """Seconds until a connection stands."""
    read_s: float = 30.0
    """Seconds without a byte until a request has failed."""
    backoff_s: float = 0.5
    """Seconds before the first repetition; doubled with each one."""
    wait_s: float = 60.0
    """Longest wait before a repetition, whatever `Retry-After` says."""
    bytes_per_s: float = 1000.0
    """Least speed; a file that comes more slowly than this for `slow_s` is given up."""
    slow_s: float = 60.0
    """Seconds over which the speed is measured."""


_SESSIONS = threading.local()


def _session(limits: HttpLimits) -> Any:
    """Return this thread's session: sessions of `requests` are not safe between threads."""
    sessions: dict[HttpLimits, Any] = _SESSIONS.__dict__.setdefault("by_limits", {})
    if limits not in sessions:
        # Commands on local files do without these imports.
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util import Retry

        retries = Retry(
            total=limits.attempts - 1,
            connect=limits.connect_attempts - 1,
            backoff_factor=limits.backoff_s,
            backoff_max=limits.wait_s,
            retry_after_max=int(limits.wait_s),
            status_forcelist=_RETRIED,
            # The status of the last answer becomes the error.
            raise_on_status=False,
        )
        session = requests.Session()
        # Compressed in transit, a file would have no length to check, and could not be continued.
        session.headers.update({"User-Agent": f"vrec/{version('vrec')}", "Accept-Encoding": "identity"})
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retries))
        sessions[limits] = session
    return sessions[limits]


def _get(url: str, limits: HttpLimits, headers: dict[str, str] | None = None) -> Any:
    """Send a GET request and return the response, its body still unread.

    Raises:
        FileNotFoundError: Status 404 or 410.
        PermissionError: Status 401, 403 or 407.
        OSError: Another status, no connection, or no answer in time.
    """
    import requests

    timeout = (limits.connect_s, limits.read_s)
    try:
        response = _session(limits).get(url, headers=headers, stream=True, timeout=timeout)
    except requests.RequestException as error:
        raise _unreachable(error, url, limits) from None
    # An empty file has no first byte.
    is_empty = response.status_code == 416 and response.headers.get("Content-Range") == "bytes */0"
    if not response.ok and not is_empty:
        response.close()
        raise _status_error(response.status_code, response.reason or "", limits)
    return response


def _status_error(status: int, reason: str, limits: HttpLimits) -> OSError:
    answer = f"HTTP {status} {reason}".strip()
    if status in _MISSING:
        return FileNotFoundError(f"{answer}: there is no such file")
    if status in _REFUSED:
        return PermissionError(f"{answer}: access is refused; a presigned URL may have expired")
    if status in _RETRIED:
        what = "too many requests" if status == 429 else "the server fails"
        return OSError(f"{answer}: {what}, after {limits.attempts} attempts")
    return OSError(f"{answer}: the server refuses the request")


def _unreachable(error: Exception, url: str, limits: HttpLimits) -> OSError:
    """Return the error for a request without an answer, in words for people."""
    import requests
    import urllib3.exceptions as low

    # After a redirect it is another host than that of the URL given.
    asked = getattr(error.request, "url", None) if isinstance(error, requests.RequestException) else None
    host = (asked or url).partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]
    if isinstance(error, requests.TooManyRedirects):
        return OSError(f"more than {_session(limits).max_redirects} redirects")
    if isinstance(error, ValueError):
        return OSError(f"no valid web address: {' '.join(str(error).split())}")
    cause: Any = error.args[0] if error.args else error
    if isinstance(cause, low.MaxRetryError):
        cause = cause.reason
    match cause:
        # A subclass of the connection's own error, and before it.
        case low.NameResolutionError():
            reason = f"cannot connect to {host}: the name of the host is not known"
        case low.ConnectTimeoutError() if not isinstance(cause, low.NewConnectionError):
            reason = f"cannot connect to {host}: no answer within {limits.connect_s:g} s"
        case low.NewConnectionError() | low.ProxyError() | low.SSLError():
            reason = f"cannot connect to {host}: {_root_message(cause)}"
        case low.ReadTimeoutError():
            reason = f"{host} sends nothing for {limits.read_s:g} s, also after {limits.attempts} attempts"
        case _:
            reason = f"the connection to {host} broke off: {_root_message(cause)}"
    return ConnectionError(reason)


def _root_message(error: BaseException) -> str:
    """Return the innermost reason of an error of `urllib3`, such as "connection refused"."""
    while True:
        inner = [arg for arg in error.args if isinstance(arg, BaseException)]
        following = error.__cause__ or (inner[0] if inner else None)
        if following is None:
            break
        error = following
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(reason).split())[:200].lower()


class HttpBody(io.RawIOBase):
    """Body of a file on the web, read from front to end; a connection that breaks off is opened again.

    Bytes are not delivered twice: what a new connection repeats must equal what was delivered.
    """

    def __init__(self, url: str, limits: HttpLimits) -> None:
        """Send the request; raise as `_get` does."""
        super().__init__()
        self._url, self._limits = url, limits
        self._response = _get(url, limits)
        self._position, self._digest = 0, hashlib.sha256()
        self._resumptions = 0
        self._slow_s, self._slow_bytes = 0.0, 0

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._response.close()
        super().close()

    def read(self, size: int | None = -1) -> bytes:
        """Return exactly `size` bytes, fewer only at the end; all of them for a negative size.

        Raises:
            OSError: The connection broke off too often, is too slow, or the file changed.
        """
        wanted = -1 if size is None else size
        parts: list[bytes] = []
        while wanted and (data := self._read_some(_CHUNK_BYTES if wanted < 0 else wanted)):
            parts.append(data)
            wanted -= len(data) if wanted > 0 else 0
        return b"".join(parts)

    def readall(self) -> bytes:
        return self.read(-1)

    def _read_some(self, wanted: int) -> bytes:
        while True:
            try:
                # urllib3 raises where fewer bytes came than the server said.
                data = self._receive(wanted)
                break
            except _SlowError:
                raise
            except Exception as error:
                reason = self._reason(error)
            self._resume(reason)
        self._position += len(data)
        self._digest.update(data)
        return data

    def _receive(self, wanted: int) -> bytes:
        begun = time.monotonic()
        # What has arrived, instead of a wait for all of it: only so is a slow server noticed.
        data: bytes = self._response.raw.read1(wanted, decode_content=True) or b""
        self._slow_s += time.monotonic() - begun
        self._slow_bytes += len(data)
        limits = self._limits
        if self._slow_s >= limits.slow_s:
            if self._slow_bytes < limits.bytes_per_s * self._slow_s:
                raise _SlowError(
                    f"the server is too slow: {self._slow_bytes:,} bytes in {self._slow_s:.0f} s, after "
                    f"{self._position:,} bytes"
                )
            self._slow_s, self._slow_bytes = 0.0, 0
        return data

    def _reason(self, error: Exception) -> str:
        import urllib3.exceptions as low

        if isinstance(error, low.ReadTimeoutError | TimeoutError):
            return f"nothing came for {self._limits.read_s:g} s"
        if not isinstance(error, low.HTTPError | OSError):
            raise error
        return _root_message(error)

    def _resume(self, reason: str) -> None:
        """Open the file again at the position reached; raise ConnectionError after too many times."""
        self._resumptions += 1
        limits = self._limits
        if self._resumptions >= limits.attempts:
            raise ConnectionError(
                f"the connection broke off {limits.attempts} times, last after {self._position:,} bytes: "
                f"{reason}"
            )
        time.sleep(min(limits.wait_s, limits.backoff_s * 2 ** (self._resumptions - 1)))
        etag = self._response.headers.get("ETag", "")
        self._response.close()
        # Only a strong validator says that the rest belongs to the same bytes.
        ranged = bool(self._position and etag and not etag.startswith("W/"))
        headers = {"Range": f"bytes={self._position}-", "If-Range": etag} if ranged else None
        self._response = _get(self._url, limits, headers)
        if self._response.status_code == 206:
            start = self._response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
            if start != str(self._position):
                raise OSError("the server continues the file at another place than asked for")
            return
        self._skip_delivered()

    def _skip_delivered(self) -> None:
        again, left = hashlib.sha256(), self._position
        while left:
            try:
                data = self._receive(min(left, _CHUNK_BYTES))
            except _SlowError:
                raise
            except Exception as error:
                return self._resume(self._reason(error))
            if not data:
                break
            again.update(data)
            left -= len(data)
        if left or again.digest() != self._digest.digest():
            raise OSError("the file changed while it was read")
        return None


class _SlowError(TimeoutError):
    """File that comes too slowly; another attempt would be as slow."""


class HttpFiles(pafs.FileSystemHandler):
    """Files below one host, for `pyarrow.fs.PyFileSystem`: paths are those of URLs, encoded as there."""

    def __init__(self, root: str, query: str = "", limits: HttpLimits | None = None) -> None:
        """Remember where the files are; nothing is requested.

        Args:
            root: Scheme and host, such as `https://host:8443`.
            query: Query of every file, such as a signature; without `?`.
            limits: Bounds of time and attempts.
        """
        self._root, self._query, self._limits = root, query, limits or HttpLimits()

    def _url(self, path: str) -> str:
        return f"{self._root}/{path.lstrip('/')}" + (f"?{self._query}" if self._query else "")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HttpFiles):
            return NotImplemented
        return (self._root, self._query, self._limits) == (other._root, other._query, other._limits)

    def __hash__(self) -> int:
        return hash((self._root, self._query, self._limits))

    def get_type_name(self) -> str:
        return "http"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        return [self._info(path) for path in paths]

    def _info(self, path: str) -> pafs.FileInfo:
        # Not HEAD: a presigned URL is signed for GET alone.
        try:
            with contextlib.closing(_get(self._url(path), self._limits, {"Range": "bytes=0-0"})) as response:
                total = response.headers.get("Content-Range", "").rpartition("/")[2]
                if response.status_code == 200:
                    total = response.headers.get("Content-Length", "")
        except FileNotFoundError:
            return pafs.FileInfo(path, pafs.FileType.NotFound)
        return pafs.FileInfo(path, pafs.FileType.File, size=int(total) if total.isdigit() else None)

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        raise OSError("folders cannot be listed over HTTP")

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(HttpBody(self._url(path), self._limits), mode="r")

    def open_input_file(self, path: str) -> pa.NativeFile:
        # Readers of Parquet jump about in a file. A copy works with every server, also without ranges.
        with tempfile.NamedTemporaryFile(prefix="vrec-") as copy:
            for chunk in self._chunks(path):
                copy.write(chunk)
            copy.flush()
            return pa.OSFile(copy.name, "r")

    def _chunks(self, path: str) -> Iterator[bytes]:
        with HttpBody(self._url(path), self._limits) as body:
            while chunk := body.read(_CHUNK_BYTES):
                yield chunk

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise OSError("files cannot be written over HTTP")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = delete_file = _refuse
    move = copy_file = open_output_stream = open_append_stream = _refuse
