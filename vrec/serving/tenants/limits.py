"""Limits of a tenant's requests, so that no tenant takes the share of another."""

from starlette.types import ASGIApp, Receive, Scope, Send

from vrec.config.serve import TenantLimits
from vrec.serving.http.errors import HttpProblem
from vrec.serving.http.rates import OPEN_PATHS, RateLimiter

MEDIA_PREFIX = "/media/"
"""Start of the paths of files, whose responses last as long as a video plays."""


class TenantLimitsMiddleware:
    """ASGI middleware that refuses requests beyond a tenant's rate, or beyond those that may run at a time.

    SecurityMiddleware, which comes before it, turns its errors into responses.
    """

    def __init__(self, app: ASGIApp, limits: TenantLimits) -> None:
        self._app, self._concurrent, self._running = app, limits.concurrent, 0
        self._rates = RateLimiter(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI connection; raises HttpProblem for one that is refused."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        self._rates.count("tenant")
        if scope["path"].startswith(MEDIA_PREFIX):
            await self._app(scope, receive, send)
            return
        if self._running >= self._concurrent:
            detail = f"more than {self._concurrent} requests of this shop at a time: send it again in 1 s"
            raise HttpProblem(429, "too-many-requests", detail, headers={"Retry-After": "1"})
        self._running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running -= 1
