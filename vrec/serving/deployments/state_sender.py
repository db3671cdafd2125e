"""States on their way to a table of the store, in calls that requests share."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.replies import await_reply

MAX_BATCHED_STATES = 1_000
"""Maximum number of states that go to the store in one call."""
SHARED_FOR_S = 1.0
"""Seconds after a call in which the next patient states wait for others; later ones find nobody to share
with."""

StatePut = tuple[str, bytes, int | None]
"""Key, state, and the version that the key's state must have (0 for none; None for any)."""


class StateSender:
    """Sender of states to a table of the store.

    A call between deployments costs as much as hundreds of states. So states that may wait go together with
    those of the next `gather_s`; one that may not takes all that wait along at once.
    """

    def __init__(self, profiles: ProfilesHandle, table: str, timeout_s: float, gather_s: float) -> None:
        """Build it.

        Args:
            profiles: Handle of the deployment of the store.
            table: The table.
            timeout_s: Seconds that a call may take.
            gather_s: Seconds that a patient state waits for others.
        """
        self._profiles, self._table, self._timeout_s, self._gather_s = profiles, table, timeout_s, gather_s
        self._waiting: list[tuple[StatePut, asyncio.Future[int | None]]] = []
        self._sending: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._shared_until = 0.0

    async def put(self, key: str, state: bytes, expected: int | None, *, patient: bool) -> int | None:
        """Put a state as `StateTable.put_state` does; raises what the store raises."""
        done: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(((key, state, expected), done))
        if not patient:
            self._hurry.set()
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send_all())
        return await done

    async def _send_all(self) -> None:
        """Send waiting states until none are left."""
        while self._waiting:
            if time.monotonic() < self._shared_until:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._gather_s):
                        await self._hurry.wait()
            batch, self._waiting = self._waiting[:MAX_BATCHED_STATES], self._waiting[MAX_BATCHED_STATES:]
            if not self._waiting:
                self._hurry.clear()
            await self._send(batch)
            self._shared_until = time.monotonic() + SHARED_FOR_S

    async def _send(self, batch: Sequence[tuple[StatePut, asyncio.Future[int | None]]]) -> None:
        """Send states in one call, and give each sender its version or error."""
        try:
            call = self._profiles.put_states.remote(self._table, [put for put, _ in batch])
            versions = await await_reply(call, self._timeout_s)
        except Exception as error:  # whatever it is, the waiting requests get it
            for _, done in batch:
                if not done.done():
                    done.set_exception(error)
            return
        for (_, done), version in zip(batch, versions, strict=True):
            if not done.done():
                done.set_result(version)
