"""What stands before every request: its id, its key, how often and how much may be sent, and the headers of
every answer. Pure ASGI: nothing is buffered."""

import ipaddress
import math
import re
import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vrec.config.serve import SecurityConfig
from vrec.serving.http.errors import HttpProblem, log_error, problem_response, to_problem
from vrec.serving.http.keys import ApiKeyring, request_secret
from vrec.serving.http.multipart import FIELD_BYTES, FORM

REQUEST_ID_HEADER = "x-request-id"
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
FORM_OVERHEAD_BYTES = 2 * FIELD_BYTES
"""What an upload's form may have besides the file: its fields, and the boundaries between them."""
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""Not counted against anyone's rate: they are what a load balancer asks."""
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
    """The outermost layer of the app, which `create_app` puts around it."""

    def __init__(self, app: ASGIApp, keys: ApiKeyring | None, config: SecurityConfig) -> None:
        self._app, self._keys, self._config = app, keys, config
        self._rates = RateLimiter(config)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get(REQUEST_ID_HEADER, "")
        request_id = given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
        answer = _ResponseSender(send, request_id)
        try:
            self._admit(scope, headers, request_id)
            await self._app(
                scope, _LimitedReceive(receive, headers, self._max_body_bytes(scope, headers)), answer.send
            )
        except ClientDisconnect:
            return
        except Exception as error:
            problem = to_problem(error)
            if problem.status_code >= 500:
                log_error(request_id, error)
            # Half an answer cannot become another one: the server closes the connection.
            if answer.begun:
                raise
            await problem_response(problem, request_id)(scope, receive, answer.send)

    def _admit(self, scope: Scope, headers: dict[str, str], request_id: str) -> None:
        """Notes who asks; raises the problem of those who may not ask now."""
        secret = request_secret(headers)
        key = self._keys.find(secret) if self._keys and secret else None
        scope["state"] = {**scope.get("state", {}), "request_id": request_id, "key": key}
        if scope["path"] not in OPEN_PATHS:
            self._rates.count(f"key {key.name}" if key else _client_key(scope))
        _check_origin(scope, headers)

    def _max_body_bytes(self, scope: Scope, headers: dict[str, str]) -> int:
        kind = headers.get("content-type", "")
        if scope["path"] == "/v1/videos" and kind.lower().startswith(FORM):
            return self._config.most_upload_bytes + FORM_OVERHEAD_BYTES
        return self._config.most_body_bytes


class RateLimitStorage(MemoryStorage):
    """limits' own storage, which clears what is over once a second: its own starts a thread for nearly every
    request to do so. Who may ask does not depend on it."""

    def _MemoryStorage__schedule_expiry(self) -> None:  # noqa: N802  the name that limits calls
        if not self.timer.is_alive():
            self.timer = threading.Timer(1.0, self.timer.function)
            self.timer.daemon = True
            self.timer.start()


class RateLimiter:
    """How often each caller may ask: a moving window whose length is what a burst takes at the average."""

    def __init__(self, config: SecurityConfig) -> None:
        seconds = max(1, math.ceil(config.burst / config.requests_per_second))
        amount = max(1, math.floor(config.requests_per_second * seconds))
        self._limit = RateLimitItemPerSecond(amount, seconds)
        self._window = MovingWindowRateLimiter(RateLimitStorage())
        self._said = f"{amount} requests in {seconds} s"

    def count(self, caller: str) -> None:
        """Counts a request; raises the problem of one too many, which is not counted."""
        if self._window.hit(self._limit, caller):
            return
        stats = self._window.get_window_stats(self._limit, caller)
        wait = max(1, math.ceil(stats.reset_time - time.time()))
        detail = f"more than {self._said}: send the request again in {wait} s, and events in batches"
        raise HttpProblem(429, "too-many-requests", detail, headers={"Retry-After": str(wait)})


@dataclass(slots=True)
class _ResponseSender:
    """An answer on its way out, which gets the headers of every answer unless the route gave its own."""

    out: Send
    request_id: str
    begun: bool = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            given = list(message.get("headers", []))
            names = {name.lower() for name, _ in given}
            given += [pair for pair in _ENCODED if pair[0] not in names]
            given.append((REQUEST_ID_HEADER.encode(), self.request_id.encode()))
            message = {**message, "headers": given}
        await self.out(message)


class _LimitedReceive:
    """A body on its way in, refused once it is longer than it may be, whether or not it said so before."""

    def __init__(self, receive: Receive, headers: dict[str, str], most: int) -> None:
        self._receive, self._most, self._read = receive, most, 0
        said = headers.get("content-length", "")
        self._said = int(said[:20]) if said.isdecimal() else 0

    async def __call__(self) -> Message:
        message: Any = None
        if self._said <= self._most:
            message = await self._receive()
            if message["type"] == "http.request":
                self._read += len(message.get("body", b""))
        if max(self._said, self._read) > self._most:
            detail = f"the body is larger than {self._most:,} bytes: send less at once"
            raise HttpProblem(413, "too-large", detail, headers={"Connection": "close"})
        return message


def _check_origin(scope: Scope, headers: dict[str, str]) -> None:
    """Refuses what changes something on behalf of a page of another site; such a page needs no key of a
    service without keys, only a visitor who can reach it."""
    origin = headers.get("origin")
    if origin is None or scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return
    try:
        same = urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    except ValueError:
        same = False
    if not same:
        detail = "pages of other sites may not send this: let the shop's server send it"
        raise HttpProblem(403, "other-origin", detail)


def _client_key(scope: Scope) -> str:
    """Who asks where there is no key: the address, and for IPv6 the network, of which one host has all."""
    host = (scope.get("client") or ("unknown",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
