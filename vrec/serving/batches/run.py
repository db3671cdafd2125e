"""Work of a batch: the lists of many shoppers, exactly as requests one by one would get them."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from vrec.core.errors import ServeError, VrecError
from vrec.core.schema import DOMAIN_PREFIX, RANKED, SESSION_PREFIX
from vrec.serving.batches.folder import BatchFolder, BatchState
from vrec.serving.messages import ListResult, ReadPosition, RecommendQuery

ROWS_PER_GROUP = 50_000
"""Rows of a row group of the result."""
REPORT_S = 1.0
"""Seconds between two reports of the progress, and two looks whether the batch is cancelled."""
ATTEMPTS = 20
"""Attempts at a list that comes out degraded, such as while the store restarts."""
RETRY_S = 0.5
"""Seconds between two of them."""
EXPORTED_ROWS = 100_000
"""Events read at a time to find the shoppers."""

Recommend = Callable[[RecommendQuery, ReadPosition | None], Awaitable[ListResult]]
ExportEvents = Callable[[int, int], Awaitable[tuple[pa.Table, int]]]

_SCHEMA = RANKED.arrow().append(pa.field("propensity", pa.float64(), nullable=False))


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """Batch to run."""

    state: BatchState
    query: RecommendQuery
    """Request of the lists, whose shopper, time and order are set for each."""
    user_ids: tuple[str, ...] | None
    """Shoppers; None for all with an account and events."""
    after: ReadPosition | None = None
    """Changes of the catalog and rules that the lists have."""


class BatchCancelled(VrecError):
    """End of a batch that was cancelled."""


async def run_batch(
    spec: BatchSpec,
    folder: BatchFolder,
    recommend: Recommend,
    export: ExportEvents,
    order_of: Callable[[str], str],
) -> None:
    """Make the lists of a batch, and write its result when all are made.

    Args:
        spec: The batch.
        folder: Files of the batch.
        recommend: Function that returns the list of a request.
        export: Function that returns the next EVENTS of the log after a cursor.
        order_of: Function that returns the order of candidates in a shopper's arm.
    """
    run = _BatchRun(spec, folder)
    reporting = asyncio.create_task(run.keep_reporting())
    try:
        with tempfile.TemporaryDirectory(prefix="vrec-batch-") as place:
            path = Path(place) / "result.parquet"
            await run.write(path, recommend, export, order_of)
            buffer = await asyncio.to_thread(lambda: pa.memory_map(str(path)).read_buffer())
            if await asyncio.to_thread(folder.publish, spec.state.batch_id, buffer):
                run.state = replace(run.state, state="done")
    except BatchCancelled:
        pass
    except Exception as error:  # whatever it is, the state of the batch says so
        run.state = replace(run.state, state="failed", why=f"{type(error).__name__}: {error}"[:500])
    finally:
        # Awaited and not cancelled: a report that is being written would come after the last one.
        run.has_ended.set()
        await reporting
        await run.report()


class _BatchRun:
    """Progress of one batch."""

    def __init__(self, spec: BatchSpec, folder: BatchFolder) -> None:
        self._spec, self._folder = spec, folder
        self.state = replace(spec.state, state="running")
        self._is_cancelled = False
        self.has_ended = asyncio.Event()

    async def keep_reporting(self) -> None:
        while not self.has_ended.is_set():
            with suppress(VrecError):  # the next report tries again
                await self.report()
                name = self._spec.state.batch_id
                self._is_cancelled |= await asyncio.to_thread(self._folder.is_cancelled, name)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.has_ended.wait(), REPORT_S)

    async def report(self) -> None:
        self.state = replace(self.state, at=time.time_ns() // 1000)
        await asyncio.to_thread(self._folder.report, self.state)

    async def write(
        self, path: Path, recommend: Recommend, export: ExportEvents, order_of: Callable[[str], str]
    ) -> None:
        """Write the lists to a local file; raises BatchCancelled."""
        users = self._spec.user_ids
        if users is None:
            users = [name async for name in _accounts(export)]
        self.state = replace(self.state, users=len(users))
        rows: list[dict[str, object]] = []
        with pq.ParquetWriter(path, _SCHEMA, compression="zstd") as writer:
            for user_id in users:
                if self._is_cancelled:
                    raise BatchCancelled("the batch was cancelled")
                rows += _rows(user_id, await self._list(user_id, recommend, order_of))
                if len(rows) >= ROWS_PER_GROUP:
                    writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
                    rows = []
                self.state = replace(self.state, done=self.state.done + 1)
                await asyncio.sleep(0)
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))

    async def _list(self, user_id: str, recommend: Recommend, order_of: Callable[[str], str]) -> ListResult:
        """Return a shopper's list; raises ServeError if a part of the service stays away."""
        missing: Sequence[str] = ()
        for _ in range(ATTEMPTS):
            order = "popular" if order_of(user_id) == "popular" else "ranked"
            query = replace(self._spec.query, user_id=user_id, order=order, at=time.time_ns() // 1000)
            result = await recommend(query, self._spec.after)
            if not result.degraded:
                return result
            missing = result.degraded
            await asyncio.sleep(RETRY_S)
        raise ServeError(
            f"parts of the service are away: {', '.join(missing)}",
            fix="send the batch again when it is ready",
        )


async def _accounts(export: ExportEvents) -> AsyncIterator[str]:
    """Yield the shoppers with an account and events, each once, by their first event."""
    seen: set[str] = set()
    cursor = 0
    while True:
        events, cursor = await export(cursor, EXPORTED_ROWS)
        if not events.num_rows:
            return
        for name in events.column("user_id").unique().to_pylist():
            if name not in seen and not name.startswith((SESSION_PREFIX, DOMAIN_PREFIX)):
                seen.add(name)
                yield name


def _rows(user_id: str, result: ListResult) -> list[dict[str, object]]:
    return [
        {
            "user_id": user_id, "video_id": item.video_id, "score": item.score, "rank": rank,
            "source": item.source, "p_click": item.p_click, "watch_s": item.watch_s, "p_conv": item.p_conv,
            "utility": item.utility, "reasons": list(item.reasons), "propensity": item.propensity,
        }
        for rank, item in enumerate(result.items, start=1)
    ]  # fmt: skip
