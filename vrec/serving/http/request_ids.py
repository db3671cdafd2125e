"""Request ids: an id that a client sends is taken over only if it cannot harm logs and headers."""

import re
import uuid
from collections.abc import Iterable

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID_HEADER = "x-request-id"
_VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


_NAME = REQUEST_ID_HEADER.encode()
RawHeaders = Iterable[tuple[bytes, bytes]]


def request_id_of_headers(headers: RawHeaders) -> str:
    """Return the id in a request's headers if there is exactly one and it is valid, else a new one."""
    sent = [value.decode("latin-1") for name, value in headers if name.lower() == _NAME]
    return sent[0] if len(sent) == 1 and _VALID_ID.fullmatch(sent[0]) else uuid.uuid4().hex


def _with_id(headers: RawHeaders, request_id: str) -> list[tuple[bytes, bytes]]:
    return [*(pair for pair in headers if pair[0].lower() != _NAME), (_NAME, request_id.encode())]


class RequestIdGuard:
    """Middleware in front of Ray Serve's own, which logs and echoes any id.

    The application sees the id of `request_id_of_headers` alone, and a response has it once.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of_headers(scope["headers"])
        scope = {**scope, "headers": _with_id(scope["headers"], request_id)}

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _with_id(message.get("headers", ()), request_id)}
            await send(message)

        await self._app(scope, receive, send_with_id)


def proxy_middlewares() -> list[Middleware]:
    """Return the middlewares of Serve's HTTP proxies, for `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`."""
    return [Middleware(RequestIdGuard)]
