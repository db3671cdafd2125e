"""Bodies that are on their way, with a time limit and a number per caller."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from starlette.types import Message, Receive

from vrec.config.budgets import BudgetsConfig
from vrec.serving.http.errors import HttpProblem


class BodyLimits:
    """Number of bodies on their way by caller, and the time that each may take."""

    def __init__(self, config: BudgetsConfig, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the limits, and a clock in seconds."""
        self._config, self._clock, self._coming = config, clock, Counter[str]()

    def of(self, receive: Receive, caller: str) -> "TimedReceive":
        """Return the receiver of a request's body."""
        return TimedReceive(receive, caller, self._config, self._coming, self._clock)


class TimedReceive:
    """Receiver of a body that refuses one which comes too slowly, or beyond its caller's number.

    A body that came whole with its head is never counted as on its way.
    """

    def __init__(
        self,
        receive: Receive,
        caller: str,
        config: BudgetsConfig,
        coming: Counter[str],
        clock: Callable[[], float],
    ) -> None:
        self._receive, self._caller, self._config = receive, caller, config
        self._coming, self._clock = coming, clock
        self._waited, self._received = 0.0, 0
        self._is_coming, self._is_complete = False, False

    async def __call__(self) -> Message:
        """Return the next message; raises HttpProblem."""
        if self._is_complete:  # what comes now is the end of the connection, whenever that is
            return await self._receive()
        seconds = self._config.body_s + self._received / self._config.slowest_bytes_per_second
        begun = self._clock()
        try:
            # Only waiting counts: a large body may wait for the service, too.
            async with asyncio.timeout(seconds - self._waited):
                message = await self._receive()
        except TimeoutError:
            detail = f"the body did not come within {seconds:.0f} s: send it again, over a faster connection"
            raise HttpProblem(408, "slow-body", detail, headers={"Connection": "close"}) from None
        self._waited += self._clock() - begun
        self._received += len(message.get("body", b""))
        self._is_complete = message["type"] != "http.request" or not message.get("more_body", False)
        if self._is_complete:
            self.close()
        elif not self._is_coming:
            self._count()
        return message

    def close(self) -> None:
        """Count the body as no longer on its way."""
        if self._is_coming:
            self._is_coming = False
            self._coming[self._caller] -= 1
            if not self._coming[self._caller]:
                del self._coming[self._caller]

    def _count(self) -> None:
        if self._coming[self._caller] >= self._config.bodies_at_once:
            detail = f"more than {self._config.bodies_at_once} bodies of this caller are on their way: wait"
            headers = {"Connection": "close", "Retry-After": "5"}
            raise HttpProblem(429, "too-many-bodies", detail, headers=headers)
        self._is_coming = True
        self._coming[self._caller] += 1
