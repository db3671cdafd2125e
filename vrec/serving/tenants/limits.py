"""Limits of a tenant's requests, so that no tenant takes the share of another."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from vrec.config.serve import TenantLimits
from vrec.serving.http.errors import HttpProblem
from vrec.serving.http.rates import OPEN_PATHS, RateLimiter

MEDIA_PREFIX = "/media/"
"""Start of the paths of files, whose responses last as long as a video plays."""
HELD_S = 1.0
"""Seconds for which a refusal is held back."""
MOST_HELD = 200
"""Maximum number of refusals that a process holds back: a fifth of the requests that Serve lets it have."""


class HeldRefusals:
    """Refusals of all tenants, held back for a while.

    A refusal costs a proxy and an HTTP replica nearly as much as an answer, and who sends the request again
    at once would take the share of other tenants by refusals alone.
    """

    def __init__(self, seconds: float = HELD_S, most: int = MOST_HELD) -> None:
        """Take the seconds of each, and the maximum number at a time; further ones are not held."""
        self._seconds, self._most, self._held = seconds, most, 0

    async def hold(self) -> None:
        """Return when a refusal may be sent."""
        if self._held >= self._most:
            return
        self._held += 1
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self._held -= 1


_HELD = HeldRefusals()


class TenantLimitsMiddleware:
    """ASGI middleware that refuses requests beyond a tenant's rate, or beyond those that may run at a time.

    SecurityMiddleware, which comes before it, turns its errors into responses.
    """

    def __init__(self, app: ASGIApp, limits: TenantLimits, held: HeldRefusals = _HELD) -> None:
        self._app, self._concurrent, self._running, self._held = app, limits.concurrent, 0, held
        self._rates = RateLimiter(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI connection; raises HttpProblem for one that is refused."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            self._rates.count("tenant")
        except HttpProblem:
            await self._held.hold()
            raise
        if scope["path"].startswith(MEDIA_PREFIX):
            await self._app(scope, receive, send)
            return
        if self._running >= self._concurrent:
            await self._held.hold()
            detail = f"more than {self._concurrent} requests of this shop at a time: send it again in 1 s"
            raise HttpProblem(429, "too-many-requests", detail, headers={"Retry-After": "1"})
        self._running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running -= 1
