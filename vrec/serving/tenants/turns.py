"""Turns of tenants at work that a process does one call at a time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

SETTLED_AFTER = 8
"""Rounds of the event loop between two turns. A call that has arrived takes a few until it waits for its
turn; without them, calls would go in the order of their arrival."""


class FairTurns:
    """Turns at work without a pause, such as ranking a list.

    Of the tenants that wait, the one whose last turn is longest ago is next. So a tenant waits for one call
    of each other tenant at most, however many they send. Nobody waits in a process that has had calls of one
    tenant only.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._last: dict[str, int] = {}
        """Number of the last turn by tenant."""
        self._number, self._busy = 0, False
        self._last_before = 0
        """Number of the turn before of the tenant whose turn it is."""

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """Wait for a tenant's turn, which lasts as long as the `with`."""
        self._last.setdefault(tenant, 0)
        if len(self._last) == 1:
            yield
            return
        await self._wait(tenant)
        try:
            yield
        finally:
            self._settle(SETTLED_AFTER)

    async def _wait(self, tenant: str) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(mine)
        if not self._busy:
            self._busy = True
            self._settle(SETTLED_AFTER)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():  # its turn had come already, and counts as none
                self._last[tenant] = self._last_before
                self._settle(0)
            raise

    def _settle(self, rounds: int) -> None:
        if rounds:
            asyncio.get_running_loop().call_soon(self._settle, rounds - 1)
        else:
            self._next()

    def _next(self) -> None:
        while self._waiting:
            tenant = min(self._waiting, key=self._last.__getitem__)
            calls = self._waiting[tenant]
            mine = calls.popleft()
            if not calls:
                del self._waiting[tenant]
            if not mine.done():  # done if it was given up
                self._number += 1
                self._last_before, self._last[tenant] = self._last[tenant], self._number
                mine.set_result(None)
                return
        self._busy = False


_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, FairTurns] = WeakKeyDictionary()


def ranking_turns() -> FairTurns:
    """Return the turns at ranking of all tenants whose calls run in this event loop."""
    return _TURNS.setdefault(asyncio.get_running_loop(), FairTurns())
