"""Middleware: request ids, API keys, rate and size limits, origin checks and security headers.

Pure ASGI: nothing is buffered."""

import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vrec.config.serve import SecurityConfig
from vrec.serving.http.cors import is_for_pages
from vrec.serving.http.errors import HttpProblem, log_error, problem_response, to_problem
from vrec.serving.http.keys import ApiKeyring, request_secret
from vrec.serving.http.multipart import (
    ASSISTANT_FILE_PATH,
    EXAMPLE_PATH,
    FIELD_BYTES,
    FORM,
    UPLOAD_PATH,
)
from vrec.serving.http.rates import OPEN_PATHS, RateLimiter
from vrec.serving.http.request_ids import REQUEST_ID_HEADER, request_id_of_headers
from vrec.serving.http.routes.bulk import BULK_PATH

FORM_OVERHEAD_BYTES = 2 * FIELD_BYTES
"""Bytes that an upload's form may have besides the file: its fields and the boundaries between them."""
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
_ENCODED = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]


class SecurityMiddleware:
    """Outermost layer of the application."""

    def __init__(self, app: ASGIApp, keys: ApiKeyring | None, config: SecurityConfig) -> None:
        self._app, self._keys, self._config = app, keys, config
        self._rates = RateLimiter(config)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request_id = request_id_of_headers(scope["headers"])
        response = _ResponseSender(send, request_id)
        try:
            self._admit(scope, headers, request_id)
            await self._app(
                scope, _LimitedReceive(receive, headers, self._max_body_bytes(scope, headers)), response.send
            )
        except ClientDisconnect:
            return
        except Exception as error:
            problem = to_problem(error)
            if problem.status_code >= 500:
                log_error(request_id, error)
            # A response that has started cannot be replaced: the server closes the connection.
            if response.started:
                raise
            await problem_response(problem, request_id)(scope, receive, response.send)

    def _admit(self, scope: Scope, headers: dict[str, str], request_id: str) -> None:
        """Set the request's id and key; raise HttpProblem for too many requests or a foreign origin."""
        secret = request_secret(headers)
        found = self._keys.find_any(secret) if self._keys and secret else None
        key, expired_key = found, None
        if found is not None and found.has_expired():
            key, expired_key = None, found.name
        # All shoppers share the key of a page, so that each address has limits of its own.
        caller = _client_key(scope) if key is None or key.is_browser else f"key {key.name}"
        is_page = self._keys is not None and (key is None or key.is_browser)
        state = {"request_id": request_id, "key": key, "expired_key": expired_key}
        scope["state"] = {**scope.get("state", {}), **state, "caller": caller, "is_page": is_page}
        if scope["path"] not in OPEN_PATHS:
            self._rates.count(caller)
        if not is_for_pages(scope["path"]) or headers.get("origin") not in self._config.cors_origins:
            _check_origin(scope, headers)

    def _max_body_bytes(self, scope: Scope, headers: dict[str, str]) -> int:
        if scope["path"] == BULK_PATH:
            return self._config.most_upload_bytes
        content_type = headers.get("content-type", "")
        if scope["path"] == UPLOAD_PATH and content_type.lower().startswith(FORM):
            return self._config.most_upload_bytes + FORM_OVERHEAD_BYTES
        if scope["path"] in (EXAMPLE_PATH, ASSISTANT_FILE_PATH) and content_type.lower().startswith(FORM):
            return self._config.most_example_bytes + FORM_OVERHEAD_BYTES
        return self._config.most_body_bytes


@dataclass(slots=True)
class _ResponseSender:
    """Sender of a response that adds the common headers which the route did not set itself."""

    out: Send
    request_id: str
    started: bool = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = list(message.get("headers", []))
            names = {name.lower() for name, _ in headers}
            headers += [pair for pair in _ENCODED if pair[0] not in names]
            headers.append((REQUEST_ID_HEADER.encode(), self.request_id.encode()))
            message = {**message, "headers": headers}
        await self.out(message)


class _LimitedReceive:
    """Receiver of a body that refuses one above the limit, by its Content-Length or once it has come."""

    def __init__(self, receive: Receive, headers: dict[str, str], max_bytes: int) -> None:
        self._receive, self._max_bytes, self._received = receive, max_bytes, 0
        length = headers.get("content-length", "")
        self._announced = int(length[:20]) if length.isdecimal() else 0

    async def __call__(self) -> Message:
        message: Message = {}
        if self._announced <= self._max_bytes:
            message = await self._receive()
            if message["type"] == "http.request":
                self._received += len(message.get("body", b""))
        if max(self._announced, self._received) > self._max_bytes:
            detail = f"the body is larger than {self._max_bytes:,} bytes: send less per request"
            raise HttpProblem(413, "too-large", detail, headers={"Connection": "close"})
        return message


def _check_origin(scope: Scope, headers: dict[str, str]) -> None:
    """Raise HttpProblem if a page of another site sends a request that changes something.

    A service without keys would obey such a page as soon as somebody who can reach the service visits it.
    """
    origin = headers.get("origin")
    if origin is None or scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return
    try:
        same = urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    except ValueError:
        same = False
    if not same:
        detail = "pages of other sites may not send this request: send it from the shop's server"
        raise HttpProblem(403, "other-origin", detail)


def _client_key(scope: Scope) -> str:
    """Return the caller of a request without key: its address; for IPv6 its /64, which one host owns."""
    return _network((scope.get("client") or ("unknown",))[0])


@lru_cache(maxsize=10_000)
def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
