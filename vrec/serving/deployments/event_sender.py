"""Events on their way from an HTTP replica to the store."""

import asyncio
import time
from collections.abc import Sequence

from vrec.core.errors import VrecError
from vrec.core.types import ApplyResult
from vrec.profiles.stores.codec import EventRow, table_from_rows
from vrec.serving.deployments.protocol import ProfilesHandle
from vrec.serving.deployments.replies import await_reply
from vrec.serving.observability import metrics

MAX_BATCHED_CALLS = 256
"""Maximum number of requests whose events go to the store in one call."""


class EventSender:
    """Sender of events. Those that come during a call to the store go together in the next call."""

    def __init__(self, profiles: ProfilesHandle, recorder: metrics.MetricsRecorder, timeout_s: float) -> None:
        """Build it over the store's deployment, the metrics, and the seconds that a call may take."""
        self._profiles, self._recorder, self._timeout_s = profiles, recorder, timeout_s
        self._waiting: list[tuple[Sequence[EventRow], asyncio.Future[ApplyResult]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def apply(self, rows: Sequence[EventRow]) -> ApplyResult:
        """Apply rows of EVENTS, and return when they are durable; raises the store's error."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[ApplyResult] = loop.create_future()
        self._waiting.append((rows, done))
        if self._sending is None or self._sending.done():
            self._sending = loop.create_task(self._flush())
        return await done

    def close(self) -> None:
        """Stop sending."""
        if self._sending is not None:
            self._sending.cancel()

    async def _flush(self) -> None:
        """Send waiting events until none are left."""
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCHED_CALLS], self._waiting[MAX_BATCHED_CALLS:]
            sizes, begun = [len(rows) for rows, _ in batch], time.perf_counter()
            try:
                merged = table_from_rows([row for rows, _ in batch for row in rows])
                results = await await_reply(self._profiles.apply.remote(merged, sizes), self._timeout_s)
            except Exception as error:  # whatever it is, the waiting requests get it
                self._recorder.record(metrics.EVENTS, max(1, sum(sizes)), outcome="failed")
                for _, done in batch:
                    if not done.done():
                        done.set_exception(error)
                continue
            for (_, done), result in zip(batch, results, strict=True):
                if not done.done():
                    done.set_exception(result) if isinstance(result, VrecError) else done.set_result(result)
            metrics.record_events(self._recorder, merged, results, sizes, time.perf_counter() - begun)
