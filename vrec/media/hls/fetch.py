"""Bounded reading of a stream's files, from disk or over HTTP."""

import asyncio
import errno
import os
import stat
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from vrec.core.errors import TooLarge, UnreachableVideo, VanishedVideo, VideoError, os_error_reason
from vrec.core.masking import mask_credentials
from vrec.media.hls.config import HlsLimits
from vrec.media.hls.playlist import ByteSpan
from vrec.media.hls.scope import HlsScope

if TYPE_CHECKING:
    import aiohttp

_CHUNK_BYTES = 64 << 10
_REDIRECTS = (301, 302, 303, 307, 308)
_GONE = (404, 410)
_HEADERS = {
    "User-Agent": f"vrec/{version('vrec')}",
    # What is compressed has no bound before it is unpacked.
    "Accept-Encoding": "identity",
}


class HlsFetcher:
    """Reader of the files of many streams. Use it in one event loop, and close it there.

    It keeps no cookies. Proxies and passwords of hosts come from the environment. Callers bound the time.
    """

    def __init__(self, limits: HlsLimits) -> None:
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None

    async def read(
        self, scope: HlsScope, uri: str, most: int, span: ByteSpan | None = None
    ) -> tuple[bytes, str]:
        """Return the bytes of a file or of a part of it, and where they were after redirects.

        Args:
            scope: Where the stream's files may be; `uri` must be one that it returned.
            uri: Path or URI.
            most: Maximum number of bytes.
            span: Part of the file; None for all of it.

        Raises:
            VanishedVideo: There is no such file.
            TooLarge: It has more than `most` bytes.
            SourceRefused: A redirect leaves the scope.
            UnreachableVideo: It cannot be read.
        """
        if span is not None and span.length > most:
            raise TooLarge(f"{_shown(uri)}: a part of {span.length:,} bytes; at most {most:,} are allowed")
        if scope.is_web:
            return await self._read_web(scope, uri, most, span)
        return await asyncio.to_thread(_read_local, uri, most, span), uri

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _read_web(
        self, scope: HlsScope, uri: str, most: int, span: ByteSpan | None
    ) -> tuple[bytes, str]:
        import aiohttp

        for _ in range(self._limits.redirects + 1):
            headers = {} if span is None else {"Range": f"bytes={span.start}-{span.start + span.length - 1}"}
            try:
                async with self._opened().get(uri, headers=headers, allow_redirects=False) as response:
                    if response.status in _REDIRECTS:
                        uri = scope.join(uri, response.headers.get("Location", ""))
                        continue
                    return await _body(response, uri, most, span), uri
            except (aiohttp.ClientError, OSError, ValueError) as error:
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                raise UnreachableVideo(f"{_shown(uri)}: {reason}") from None
        raise UnreachableVideo(f"{_shown(uri)}: more than {self._limits.redirects} redirects")

    def _opened(self) -> "aiohttp.ClientSession":
        # Imported here: what reads files from disk alone does without.
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=_HEADERS,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._limits.fetch_s),
                trust_env=True,
            )
        return self._session


async def _body(response: Any, uri: str, most: int, span: ByteSpan | None) -> bytes:
    if response.status in _GONE:
        raise VanishedVideo(f"{_shown(uri)}: HTTP {response.status}: there is no such file")
    if response.status not in (200, 206) or (response.status == 206) > (span is not None):
        raise UnreachableVideo(f"{_shown(uri)}: HTTP {response.status} {response.reason or ''}".rstrip())
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnreachableVideo(f"{_shown(uri)}: it is compressed, which was not asked for")
    # A server without ranges sends the whole file, of which what lies before the part counts too.
    skipped = span.start if span is not None and response.status == 200 else 0
    end = most if span is None else skipped + span.length
    data = bytearray()
    if end <= most:
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            data += chunk
            if len(data) > end:
                break
    if end > most or (span is None and len(data) > most):
        raise TooLarge(f"{_shown(uri)} has more than {most:,} bytes")
    return bytes(data) if span is None else _whole_part(bytes(data[skipped:end]), span, uri)


def _read_local(path: str, most: int, span: ByteSpan | None) -> bytes:
    try:
        # A FIFO would block: open without waiting, and read regular files alone.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise UnreachableVideo(f"{path} is not a regular file")
            if span is not None:
                file.seek(span.start)
                return _whole_part(file.read(span.length), span, path)
            data = file.read(most + 1)
    except VideoError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise VanishedVideo(f"{path} is not there") from None
        raise UnreachableVideo(f"{path}: {os_error_reason(error)}") from None
    if len(data) > most:
        raise TooLarge(f"{path} has more than {most:,} bytes")
    return data


def _whole_part(data: bytes, span: ByteSpan, uri: str) -> bytes:
    if len(data) < span.length:
        raise UnreachableVideo(
            f"{_shown(uri)} ends before byte {span.start + span.length:,} of the playlist's byte range"
        )
    return data


def _shown(uri: str) -> str:
    return mask_credentials(uri[:200])
