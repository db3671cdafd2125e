"""Metrics of HTTP requests by route and status. Serve itself sees a single route, the whole application's."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vrec.serving.observability.metrics import HTTP, MetricsRecorder

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})


class RequestMetricsMiddleware:
    """ASGI middleware that records the time of every request."""

    def __init__(self, app: ASGIApp, recorder: MetricsRecorder) -> None:
        self._app, self._recorder = app, recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), "none"

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_and_note_status)
        finally:
            seconds = time.perf_counter() - begun
            self._recorder.record(HTTP, seconds, route=route_name(scope), status=status)


def route_name(scope: Scope) -> str:
    """Return method and path pattern of the route, or "other": callers must not be able to create series."""
    path = getattr(scope.get("route"), "path", None)
    if path is None:
        return "other"
    method = scope["method"]
    return f"{method if method in METHODS else 'other'} {path}"
