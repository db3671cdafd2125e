"""Streams that a process follows: those of the store, read now and then or when a request needs it."""

import asyncio
from collections.abc import Awaitable, Callable

from vrec.serving.catalog.clock import wall_clock_us
from vrec.serving.streams.states import STREAMS_TABLE, VECTORS_TABLE, StreamBook, StreamState

STATES_PER_CALL = 1_000
"""States fetched in one call."""
REMEMBERED_US = 3_600_000_000
"""Time without a beat after which a process forgets a stream; one that it does not know is over."""

FetchStates = Callable[[str, int, int], Awaitable[list[tuple[int, str, bytes]]]]


class StreamFollower:
    """Streams as one process knows them."""

    def __init__(self, fetch: FetchStates, *, with_vectors: bool = False) -> None:
        """Follow the tables that `fetch` reads: states of a table above a version, at most so many.

        Args:
            fetch: The function.
            with_vectors: Whether the content of the streams is followed too.
        """
        self._fetch, self._with_vectors, self._lock = fetch, with_vectors, asyncio.Lock()
        self.book = StreamBook()
        self._versions: dict[str, int] = {}
        """Version of each stream's state in the book."""
        self.is_read = False
        """Whether the states have been read; before, no stream is known, and all count as over."""

    async def follow(self) -> StreamBook:
        """Read the states that were put before the call; raises what `fetch` raises."""
        async with self._lock:
            more = True
            while more:
                states = await self._fetch(STREAMS_TABLE, self.book.version, STATES_PER_CALL)
                more = len(states) == STATES_PER_CALL
                if states:
                    self._learn_all(states)
            more = self._with_vectors
            while more:
                vectors = await self._fetch(VECTORS_TABLE, self.book.vectors_version, STATES_PER_CALL)
                more = len(vectors) == STATES_PER_CALL
                self.book = self.book.after_vectors(vectors) if vectors else self.book
            self._forget(wall_clock_us() - REMEMBERED_US)
            self.is_read = True
            return self.book

    def known(self, stream_id: str) -> tuple[int, StreamState] | None:
        """Return the version and state of a stream as far as this process knows; None if it does not."""
        state = self.book.states.get(stream_id)
        return None if state is None else (self._versions[stream_id], state)

    def learn(self, stream_id: str, version: int, state: StreamState) -> None:
        """Take in a state that this process has put."""
        if version > self._versions.get(stream_id, 0):
            self._versions[stream_id] = version
            self.book = self.book.with_state(state)

    def _forget(self, before: int) -> None:
        kept = self.book.without_old(before)
        if kept is not self.book:
            self.book = kept
            self._versions = {name: self._versions[name] for name in kept.states}

    def _learn_all(self, records: list[tuple[int, str, bytes]]) -> None:
        # A state that was put here while these were on their way is newer.
        new = [record for record in records if record[0] > self._versions.get(record[1], 0)]
        self.book = self.book.after(new, records[-1][0])
        self._versions.update((stream_id, version) for version, stream_id, _ in new)

    async def catch_up(self, last: tuple[int, int] | None) -> None:
        """Read the tables unless these are their last versions and known; None if they are not known."""
        known = self.book.version, self.book.vectors_version
        wanted = None if last is None else (last[0], last[1] if self._with_vectors else known[1])
        if not self.is_read or wanted != known:
            await self.follow()

    async def reach(self, version: int) -> None:
        """Read the states up to a version, if they are not known yet; raises what `fetch` raises."""
        if self.book.version < version:
            await self.follow()
