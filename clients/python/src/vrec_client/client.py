"""Clients with one method per operation, which send a request again after temporary failures."""

import os
import uuid
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import httpx
from httpx_retries import Retry, RetryTransport

from vrec_client.errors import error_of, result
from vrec_client.generated.api.events import export_events
from vrec_client.generated.client import AuthenticatedClient
from vrec_client.generated.methods import AsyncMethods, Methods
from vrec_client.generated.models import ExportEventsFormat

REPEATABLE_POSTS = ("/v1/recommend", "/v1/search", "/v1/events", "/v1/videos:bulk")
"""POST operations that may be sent twice: a list is the same for the same request id, events count once by
`event_id`, and bulk changes set fields."""
METHODS = ("GET", "HEAD", "PUT", "DELETE", "POST", "PATCH")
NO_KEY = "none"
"""In the place of a key, where the service has none."""
NOT_RECEIVED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Errors after which the service has not seen the request."""


Hooks = dict[str, list[Callable[..., Any]]]


class VrecClient(Methods):
    """Client of a vrec service; every operation is a method, see `/openapi.json`.

    A request that fails in passing (429, 502, 503, 504, a broken connection) is sent again after the time of
    `Retry-After`, or after growing pauses. A request that must not be sent twice, such as an upload, is sent
    again only where the service has not taken it. A response with a status of 400 or above is raised as a
    `VrecError`. One client may be used by several threads.
    """

    def __init__(self, url: str, key: str | None = None, *, timeout_s: float = 10, retries: int = 4) -> None:
        """Configure the client; the first request connects.

        Args:
            url: Address of the service, such as `https://rec.shop.example`.
            key: API key; none for a service without keys.
            timeout_s: Maximum seconds to wait for a connection, and for each part of a response.
            retries: Maximum number of times that a request is sent again.
        """
        self._connect = partial(
            _connect, url, key, timeout_s, retries, read=httpx.Response.read, hooks=_hooks(retries)
        )
        self._client = self._connect()
        # Two processes must not share a connection.
        os.register_at_fork(after_in_child=partial(_connect_in_child, weakref.ref(self)))

    def event_pages(self, after: int = 0, limit: int = 100_000) -> Iterator[tuple[bytes, int]]:
        """Yield the log of events in order of arrival: Parquet files, each with the cursor after it.

        Args:
            after: Cursor of the last file that was read; 0 for the whole log.
            limit: Maximum number of events in a file.
        """
        while True:
            response = export_events.sync_detailed(
                client=self._client, after=after, limit=limit, format_=ExportEventsFormat.PARQUET
            )
            file = result(response)
            if (cursor := int(response.headers["X-Next-Cursor"])) == after:
                return
            yield file.payload.read(), (after := cursor)

    def close(self) -> None:
        """Close the connections."""
        self._client.get_httpx_client().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncVrecClient(AsyncMethods):
    """`VrecClient` for asyncio: the same methods, to be awaited."""

    def __init__(self, url: str, key: str | None = None, *, timeout_s: float = 10, retries: int = 4) -> None:
        """Configure the client; see `VrecClient`."""
        prepare, check = (hooks[0] for hooks in _hooks(retries).values())

        async def prepare_async(request: httpx.Request) -> None:
            prepare(request)

        async def check_async(response: httpx.Response) -> None:
            await response.aread()
            check(response)

        hooks = {"request": [prepare_async], "response": [check_async]}
        self._client = _connect(url, key, timeout_s, retries, read=httpx.Response.aread, hooks=hooks)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.get_async_httpx_client().aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _connect(
    url: str, key: str | None, timeout_s: float, retries: int, *, read: Callable[..., Any], hooks: Hooks
) -> AuthenticatedClient:
    arguments: dict[str, Any] = {"event_hooks": hooks}
    arguments["transport"] = RetryTransport(retry=_retry(retries, validate_response=read))
    return AuthenticatedClient(
        url.rstrip("/"), token=key or NO_KEY, timeout=httpx.Timeout(timeout_s), httpx_args=arguments
    )


def _retry(retries: int, **more: Any) -> Retry:
    # Bodies are read by `validate_response`, so that a connection that breaks within one counts as broken.
    pauses = {"backoff_factor": 0.2, "max_backoff_wait": 10, "total_timeout": 30}
    return Retry(retries, allowed_methods=METHODS, **pauses, **more)


def _hooks(retries: int) -> Hooks:
    once = _retry(retries, status_forcelist=[HTTPStatus.TOO_MANY_REQUESTS], retry_on_exceptions=NOT_RECEIVED)

    def prepare(request: httpx.Request) -> None:
        # The same id in every attempt: the service gives the same list for it.
        request.headers.setdefault("X-Request-ID", uuid.uuid4().hex)
        if request.headers["Authorization"] == f"Bearer {NO_KEY}":
            del request.headers["Authorization"]
        if request.method == "POST" and not request.url.path.endswith(REPEATABLE_POSTS):
            request.extensions["retry"] = once

    def check(response: httpx.Response) -> None:
        # Before the generated code parses the body, which may be a proxy's.
        response.read()
        if (error := error_of(response)) is not None:
            raise error

    return {"request": [prepare], "response": [check]}


def _connect_in_child(client: "weakref.ref[VrecClient]") -> None:
    if (one := client()) is not None:
        one._client = one._connect()
