"""Calls to the logs, tables, conversations and hand-overs of a store, which its deployment passes on."""

import asyncio
import logging
import time
from collections.abc import Sequence

from vrec.assistant.config import AssistantConfig
from vrec.core.errors import ServeError
from vrec.profiles.stores.redis.store import RedisStore
from vrec.profiles.stores.sqlite.store import SqliteStore
from vrec.serving.conversation.hand_over_posts import HandOverPosts, hand_over_secret
from vrec.serving.conversation.hand_overs import HandOver, HandOverTable
from vrec.serving.conversation.table import ConversationTable

logger = logging.getLogger("ray.serve")

CLEAN_EVERY_S = 60.0
"""Seconds between two looks for conversations and hand-overs that are too old."""
DAY_US = 86_400_000_000


class TableCalls:
    """Part of the profiles deployment."""

    def __init__(self, config: AssistantConfig) -> None:
        """Build it for a store that is opened later."""
        self._opened: SqliteStore | RedisStore | None = None
        self._keep_us = round(config.days * DAY_US)
        self._handover = config.handover
        self._posts: HandOverPosts | None = None
        self._posting: asyncio.Task[None] | None = None
        self._next_cleaning = 0.0

    async def append_record(
        self, log: str, record: bytes, expected: int | None, most: int | None
    ) -> int | None:
        """Append a record to a log of the store; see RecordLog."""
        append = self._store.append_record
        return await asyncio.to_thread(append, log, record, expected=expected, most=most)

    async def records_after(self, log: str, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return the next records of a log of the store; see RecordLog."""
        return await asyncio.to_thread(self._store.records_after, log, after, limit)

    async def records_before(self, log: str, before: int | None, limit: int) -> list[tuple[int, bytes]]:
        """Return the records of a log of the store before one, the last first; see RecordLog."""
        return await asyncio.to_thread(self._store.records_before, log, before, limit)

    async def put_states(self, table: str, puts: Sequence[tuple[str, bytes, int | None]]) -> list[int | None]:
        """Put states into a table of the store; see StateTable."""
        return await asyncio.to_thread(self._store.put_states, table, puts)

    async def drop_state(self, table: str, key: str, expected: int) -> bool:
        """Remove a state from a table of the store; see StateTable."""
        return await asyncio.to_thread(self._store.drop_state, table, key, expected)

    async def states(self, table: str, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """Return versions and states of a table of the store by key; see StateTable."""
        return await asyncio.to_thread(self._store.states, table, keys)

    async def states_after(self, table: str, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        """Return the next states of a table of the store by version; see StateTable."""
        return await asyncio.to_thread(self._store.states_after, table, after, limit)

    async def conversation(self, user_id: str) -> tuple[int, bytes]:
        """Return the version and record of a shopper's conversation; see ConversationTable."""
        return await asyncio.to_thread(self._conversations.read, user_id, time.time_ns() // 1000)

    async def put_conversation(self, user_id: str, record: bytes, expected: int) -> int | None:
        """Put a shopper's conversation; see ConversationTable."""
        return await asyncio.to_thread(self._conversations.put, user_id, record, expected)

    async def forget_conversation(self, user_id: str) -> bool:
        """Remove a shopper's conversation, and return whether there was one; see ConversationTable."""
        return await asyncio.to_thread(self._conversations.forget, user_id)

    async def add_hand_over(self, hand_over: HandOver) -> None:
        """Add a conversation that a person takes over; see HandOverTable."""
        is_posted = self._handover.url is not None
        await asyncio.to_thread(lambda: self._hand_overs.add(hand_over, is_posted=is_posted))
        if self._posts is not None:
            self._posts.wake()

    async def hand_overs(self, after: int, limit: int) -> tuple[list[HandOver], int]:
        """Return the next hand-overs by their last change; see HandOverTable."""
        return await asyncio.to_thread(self._hand_overs.after, after, limit)

    def _begin_posts(self) -> None:
        """Post hand-overs from now on, if there is an address for them."""
        if self._handover.url is None:
            return
        try:
            secret = hand_over_secret(self._handover)
        except ServeError as error:  # `build` refuses it; of a tenant that comes later, the rest goes on
            logger.error("hand-overs wait", extra={"why": str(error)[:300]})
            return
        self._posts = HandOverPosts(lambda: self._hand_overs, self._handover, secret)
        self._posting = asyncio.get_running_loop().create_task(self._posts.run())

    async def _end_posts(self) -> None:
        if self._posting is not None:
            self._posting.cancel()
        if self._posts is not None:
            await self._posts.close()

    @property
    def opened(self) -> SqliteStore | RedisStore | None:
        """The store, once it is open."""
        return self._opened

    async def _clean(self) -> None:
        """Remove conversations and hand-overs that are too old, at most once in a while."""
        if time.monotonic() >= self._next_cleaning:
            self._next_cleaning = time.monotonic() + CLEAN_EVERY_S
            await asyncio.to_thread(self._conversations.clean, time.time_ns() // 1000)
            lost = await asyncio.to_thread(self._hand_overs.clean, time.time_ns() // 1000)
            if lost:
                logger.error("hand-overs were never confirmed, and are removed", extra={"ids": lost})

    @property
    def _conversations(self) -> ConversationTable:
        return ConversationTable(self._store, self._keep_us)

    @property
    def _hand_overs(self) -> HandOverTable:
        return HandOverTable(self._store, round(self._handover.days * DAY_US))

    @property
    def _store(self) -> SqliteStore | RedisStore:
        if self._opened is None:
            raise RuntimeError("a call came before the first bundle")
        return self._opened
