"""Calls of declared HTTP addresses with JSON: bounded in time and size, and never redirected."""

import asyncio
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from vrec.core.errors import VrecError

if TYPE_CHECKING:
    import aiohttp

_CHUNK_BYTES = 16 << 10
_AGAIN = (502, 503, 504)
_OF_THE_QUESTION = (400, 404, 410, 422)
"""Statuses that say something of what was asked for, and nothing of the address."""
_HEADERS = {
    "User-Agent": f"vrec/{version('vrec')}",
    "Accept": "application/json",
    # What is compressed has no bound before it is unpacked.
    "Accept-Encoding": "identity",
}


class CallFailed(VrecError):
    """Call of another system that has no usable answer. Its message has neither keys nor what was sent."""

    fix = "see whether the address in serve.assistant is right and its service runs"


class WrongAnswer(CallFailed):
    """Answer that came in time and cannot be used. The other system runs, so the next call may go well."""


class JsonCaller:
    """Caller of one address. Close it in the event loop in which it was used last.

    It keeps no cookies and follows no redirects, so that a key goes nowhere but to the declared address.
    Proxies come from the environment.
    """

    def __init__(self, url: str, timeout_s: float, most_bytes: int, key: str = "") -> None:
        """Build it without connecting.

        Args:
            url: The address.
            timeout_s: Seconds that a call may take, repetitions and the body included.
            most_bytes: Maximum size of an answer's body.
            key: Bearer token; "" sends none.
        """
        self._url, self._timeout_s, self._most_bytes, self._key = url, timeout_s, most_bytes, key
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def get(self, parameters: Mapping[str, str]) -> Any:
        """Return the JSON at the address with query parameters.

        A connection that fails and the statuses 502, 503 and 504 are tried once more.

        Raises:
            CallFailed: There is no answer in time, or it is no JSON of status 200.
        """
        return await self._bounded(self._get(parameters))

    async def post(self, body: bytes, headers: Mapping[str, str], *, read: bool = True) -> Any:
        """Post JSON once.

        Args:
            body: The JSON.
            headers: Further headers.
            read: Whether the answer is JSON that is wanted; otherwise a status of 200 to 299 is enough.

        Raises:
            CallFailed: There is no answer in time, or another one.
        """
        return await self._bounded(self._send("POST", {}, body, headers, read=read))

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _bounded(self, call: Any) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await call
        except TimeoutError:
            raise CallFailed(f"no answer in {self._timeout_s:g} s") from None

    async def _get(self, parameters: Mapping[str, str]) -> Any:
        try:
            return await self._send("GET", parameters, None, {}, read=True)
        except _PassingFailure:
            return await self._send("GET", parameters, None, {}, read=True)

    async def _send(
        self,
        method: str,
        parameters: Mapping[str, str],
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        read: bool,
    ) -> Any:
        import aiohttp
        from yarl import URL

        sent = {**headers, **({"Authorization": f"Bearer {self._key}"} if self._key else {})}
        if body is not None:
            sent["Content-Type"] = "application/json"
        url = URL(self._url).update_query(parameters)
        try:
            async with self._opened().request(
                method, url, data=body, headers=sent, allow_redirects=False
            ) as response:
                return await self._answer(response, read=read)
        except (aiohttp.ClientConnectionError, OSError) as error:
            raise _PassingFailure(f"no connection ({type(error).__name__})") from None
        except (aiohttp.ClientError, ValueError) as error:
            # The text of these may repeat what was sent.
            raise CallFailed(f"no HTTP answer ({type(error).__name__})") from None

    async def _answer(self, response: Any, *, read: bool) -> Any:
        if 200 <= response.status < 300 and not read:
            return None
        if response.status != 200:
            kind = WrongAnswer if response.status in _OF_THE_QUESTION else CallFailed
            raise (_PassingFailure if response.status in _AGAIN else kind)(f"HTTP {response.status}")
        if response.content_type != "application/json" and not response.content_type.endswith("+json"):
            raise WrongAnswer(f"the answer is {response.content_type[:60]}, not application/json")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise WrongAnswer("the answer is compressed, which was not asked for")
        data = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            data += chunk
            if len(data) > self._most_bytes:
                raise WrongAnswer(f"the answer has more than {self._most_bytes:,} bytes")
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise WrongAnswer("the answer is not JSON") from None

    def _opened(self) -> "aiohttp.ClientSession":
        # Imported here: an assistant without connectors does without.
        import aiohttp

        # A session belongs to the event loop that it was made in.
        if self._session is None or self._loop is not asyncio.get_running_loop():
            self._loop = asyncio.get_running_loop()
            self._session = aiohttp.ClientSession(
                headers=_HEADERS,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                trust_env=True,
            )
        return self._session


class _PassingFailure(CallFailed):
    """Failure that may be gone a moment later."""
