"""Searches that count as interest: events that are written beside the answers of searches."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from secrets import token_bytes

from vrec.config.serve import ServeConfig
from vrec.core.types import ApplyResult
from vrec.profiles.searches import SEARCH_KIND
from vrec.profiles.stores.codec import EventRow
from vrec.serving.deployments.handles import ProfilesHandle, RankingHandle
from vrec.serving.deployments.replies import await_reply
from vrec.serving.trends.searches import PERIODS_LOG

logger = logging.getLogger("ray.serve")

ApplyEvents = Callable[[Sequence[EventRow]], Awaitable[ApplyResult]]
"""Stores events, and returns once they are durable."""
MAX_PENDING = 1_000
"""Maximum number of searches that wait to be written; more are not counted while the store is slow."""
CLOSE_TIMEOUT_S = 1.0
"""Seconds that a replica which stops takes to store what waits."""
KEY_BYTES, ID_BYTES = 32, 16


def search_row(event_id: str, user_key: str, subject: str, request_id: str, at: int) -> EventRow:
    """Return the row in EVENTS of a search.

    Args:
        event_id: Id of the event.
        user_key: The shopper, as in EVENTS.
        subject: What is asked for; see `vrec.profiles.searches`.
        request_id: Request that searched.
        at: µs since 1970.
    """
    return (event_id, user_key, subject, SEARCH_KIND, None, None, request_id, None, "shop", at)


class LearnedSearches:
    """Writer of the events of searches; answers do not wait for it, erasures do.

    A process cannot see what others have still to write. So whoever writes looks afterwards whether any
    shopper was erased meanwhile, and takes the event back then: an erasure begins a new period of popular
    searches before it removes anything.
    """

    def __init__(
        self, profiles: ProfilesHandle, ranking: RankingHandle, config: ServeConfig, *, apply: ApplyEvents
    ) -> None:
        """Build it over handles, the settings, and what stores events."""
        self._profiles, self._ranking, self._apply = profiles, ranking, apply
        self._learns, self._timeout_s = config.learns_searches, config.apply_timeout_s
        self._pending: set[asyncio.Task[None]] = set()
        # Request ids are the client's to choose: without a key one could name an event before it is written.
        self._key = token_bytes(KEY_BYTES)

    def learn(self, text: str, user_key: str, request_id: str) -> None:
        """Begin to write the event of a search.

        Args:
            text: What was searched.
            user_key: The shopper, as in EVENTS.
            request_id: The request; sent again to this process, it counts once.
        """
        if not self._learns or len(self._pending) >= MAX_PENDING:
            return
        task = asyncio.get_running_loop().create_task(self._write(text, user_key, request_id))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def settle(self) -> None:
        """Wait until all searches that have been answered by now are written, or given up."""
        if self._pending:
            await asyncio.wait(set(self._pending))

    async def close(self) -> None:
        """Wait for what is still to be written, if the store answers soon."""
        if self._pending:
            await asyncio.wait(set(self._pending), timeout=CLOSE_TIMEOUT_S)

    async def _write(self, text: str, user_key: str, request_id: str) -> None:
        at = time.time_ns() // 1000
        try:
            before = await self._period()
            subject = await await_reply(self._ranking.search_subject.remote(text), self._timeout_s)
            if subject is None:
                return
            event_id = self._event_id(text, user_key, request_id)
            await self._apply([search_row(event_id, user_key, subject, request_id, at)])
            if await self._period() != before:
                await await_reply(self._profiles.remove_event.remote(event_id), self._timeout_s)
        except Exception as error:  # whatever it is, the shopper has the answer
            logger.warning("a search is not counted", extra={"why": str(error)[:300]})

    async def _period(self) -> int:
        """Return the number of the last period of popular searches; 0 before the first."""
        call = self._profiles.records_before.remote(PERIODS_LOG, None, 1)
        last = await await_reply(call, self._timeout_s)
        return last[0][0] if last else 0

    def _event_id(self, text: str, user_key: str, request_id: str) -> str:
        named = "\0".join((request_id, user_key, text)).encode(errors="surrogatepass")
        digest = hashlib.blake2b(named, key=self._key, digest_size=ID_BYTES).hexdigest()
        return f"search:{digest}"
