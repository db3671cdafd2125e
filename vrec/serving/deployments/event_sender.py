"""Events of many requests on their way to the store, in calls that requests share."""

import asyncio
import time
from collections.abc import Sequence

from vrec.core.errors import VrecError
from vrec.core.types import ApplyResult
from vrec.profiles.stores.codec import EventRow, table_from_rows
from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.replies import await_reply
from vrec.serving.observability import metrics

MAX_BATCHED_CALLS = 256
"""Maximum number of requests whose events go to the store in one call."""
MAX_GATHER_S = 0.05
"""Maximum seconds for which events wait for those of other requests before a call."""


class EventSender:
    """Sender of events to the profiles deployment: those that come during a call go together in the next.

    A call between deployments costs as much as dozens of events, and the fewer go together, the more calls
    compete for the processors and the slower each is. So where requests come at the same time, the next call
    waits for more of them for as long as the call before took; a single sender never waits.
    """

    def __init__(self, profiles: ProfilesHandle, recorder: metrics.MetricsRecorder, timeout_s: float) -> None:
        """Build it over a handle, the recorder of metrics and the seconds that a call may take."""
        self._profiles, self._recorder, self._timeout_s = profiles, recorder, timeout_s
        self._waiting: list[tuple[Sequence[EventRow], asyncio.Future[ApplyResult]]] = []
        self._sending: asyncio.Task[None] | None = None
        # Seconds to wait for more events, and the end of the time in which it is worth it.
        self._gather_s, self._gather_until = 0.0, 0.0

    async def apply(self, rows: Sequence[EventRow]) -> ApplyResult:
        """Store the events of a request, and return once they are durable; raises what the store raises."""
        done: asyncio.Future[ApplyResult] = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, done))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send_all())
        return await done

    def close(self) -> None:
        """Stop sending."""
        if self._sending is not None:
            self._sending.cancel()

    async def _send_all(self) -> None:
        """Send waiting events until none are left."""
        while self._waiting:
            if len(self._waiting) < MAX_BATCHED_CALLS and time.perf_counter() < self._gather_until:
                await asyncio.sleep(self._gather_s)
            batch, self._waiting = self._waiting[:MAX_BATCHED_CALLS], self._waiting[MAX_BATCHED_CALLS:]
            begun = time.perf_counter()
            await self._send(batch)
            ended = time.perf_counter()
            self._gather_s = min(ended - begun, MAX_GATHER_S)
            # Who sends alone, or after a pause, waits for nobody.
            self._gather_until = ended + MAX_GATHER_S if len(batch) > 1 else 0.0

    async def _send(self, batch: Sequence[tuple[Sequence[EventRow], asyncio.Future[ApplyResult]]]) -> None:
        """Send the events of requests in one call, and give each request its result or error."""
        sizes, begun = [len(rows) for rows, _ in batch], time.perf_counter()
        try:
            merged = table_from_rows([row for rows, _ in batch for row in rows])
            results = await await_reply(self._profiles.apply.remote(merged, sizes), self._timeout_s)
        except Exception as error:  # whatever it is, the waiting requests get it
            self._recorder.record(metrics.EVENTS, max(1, sum(sizes)), outcome="failed")
            for _, done in batch:
                if not done.done():
                    done.set_exception(error)
            return
        for (_, done), result in zip(batch, results, strict=True):
            if not done.done():
                done.set_exception(result) if isinstance(result, VrecError) else done.set_result(result)
        metrics.record_events(self._recorder, merged, results, sizes, time.perf_counter() - begun)
