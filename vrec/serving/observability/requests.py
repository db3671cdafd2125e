"""Requests by route, status and time: Serve sees one route only, the whole application's."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vrec.serving.observability.metrics import HTTP, MetricsRecorder

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class RequestMetricsMiddleware:
    """Tells a meter of every request that an ASGI application answers."""

    def __init__(self, app: ASGIApp, meter: MetricsRecorder) -> None:
        self._app, self._meter = app, meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), "none"

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            spent = time.perf_counter() - begun
            self._meter.record(HTTP, spent, route=_route(scope), status=status)


def _route(scope: Scope) -> str:
    """Method and path as the routes have them: callers could write any number of others."""
    path = getattr(scope.get("route"), "path", None)
    if path is None:
        return "other"
    method = scope["method"]
    return f"{method if method in METHODS else 'other'} {path}"
