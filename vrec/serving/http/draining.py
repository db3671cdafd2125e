"""Refusal of new requests while the service stops, and the count of those that still run."""

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from vrec.serving.http.errors import HttpProblem, problem_response

ALIVE_PATH = "/healthz"
"""Path that answers to the end: the process lives."""


class RequestGate:
    """Count of running requests, and whether new ones are refused."""

    def __init__(self) -> None:
        self.is_closed = False
        self.running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self) -> None:
        """Count a request that begins."""
        self.running += 1
        self._idle.clear()

    def leave(self) -> None:
        """Count a request that has ended."""
        self.running -= 1
        if not self.running:
            self._idle.set()

    async def drain(self, timeout_s: float) -> bool:
        """Refuse new requests, and return whether all that run ended within `timeout_s`."""
        self.is_closed = True
        if not self.running:  # with a timeout of 0, `wait_for` would give up without a look
            return True
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True


class DrainMiddleware:
    """ASGI middleware that answers 503 and closes the connection once the gate is closed.

    It comes after SecurityMiddleware, which sets the request's id and the headers of the response.
    """

    def __init__(self, app: ASGIApp, gate: RequestGate) -> None:
        self._app, self._gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI connection."""
        if scope["type"] != "http" or scope["path"] == ALIVE_PATH:
            await self._app(scope, receive, send)
        elif self._gate.is_closed:
            headers = {"connection": "close", "retry-after": "1"}
            problem = HttpProblem(503, "stopping", "the service stops: send it again", headers=headers)
            await problem_response(problem, scope["state"]["request_id"])(scope, receive, send)
        else:
            self._gate.enter()
            try:
                await self._app(scope, receive, send)
            finally:
                self._gate.leave()
