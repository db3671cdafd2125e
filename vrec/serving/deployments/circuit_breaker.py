"""Circuit breaker: calls of a deployment that does not answer are not waited for."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from vrec.serving.deployments.protocol import BackendUnavailable

T = TypeVar("T")

FAILURES = 2
"""Consecutive calls without an answer after which calls no longer wait."""
COOLDOWN_S = 1.0
"""Seconds after which one call at a time tries again."""


class CircuitBreaker:
    """State of the calls of one deployment: open after FAILURES, closed again by a call that succeeds."""

    def __init__(self, name: str) -> None:
        """Build a closed one; `name` is that of the deployment in messages."""
        self._name, self._failures, self._open_until, self._is_probing = name, 0, 0.0, False

    async def call(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call. While the deployment does not answer, only one call at a time waits for it.

        Raises:
            BackendUnavailable: It did not answer now, or has not answered lately.
        """
        is_open = self._failures >= FAILURES
        if is_open and (self._is_probing or time.monotonic() < self._open_until):
            raise BackendUnavailable(f"{self._name} has not answered lately")
        self._is_probing = is_open
        try:
            answer = await call()
        except BackendUnavailable:
            self._failures, self._open_until = self._failures + 1, time.monotonic() + COOLDOWN_S
            raise
        finally:
            self._is_probing = self._is_probing and not is_open
        self._failures = 0
        return answer
