"""Rules that a process follows: those of the store's log, read now and then or when a request needs it."""

import asyncio
from collections.abc import Awaitable, Callable

from vrec.serving.rules.book import RULES_LOG, RuleBook

RECORDS_PER_CALL = 1_000
"""Changes of rules fetched in one call."""

FetchRecords = Callable[[str, int, int], Awaitable[list[tuple[int, bytes]]]]


class RuleFollower:
    """The rules in force in one process."""

    def __init__(self, fetch: FetchRecords) -> None:
        """Follow the log that `fetch` reads: records of a log after a number, at most so many."""
        self._fetch, self._lock = fetch, asyncio.Lock()
        self.book = RuleBook()
        self.is_read = False
        """Whether the log has been read; before, no rule is known."""

    async def follow(self) -> RuleBook:
        """Read the changes that were durable before the call; raises what `fetch` raises."""
        async with self._lock:
            while True:
                records = await self._fetch(RULES_LOG, self.book.number, RECORDS_PER_CALL)
                self.book = self.book.after(records)
                if len(records) < RECORDS_PER_CALL:
                    self.is_read = True
                    return self.book

    async def catch_up(self, last: int | None) -> None:
        """Read the log unless it ends with a number that is known; None if its end is not known."""
        if last is None or not self.is_read or last != self.book.number:
            await self.follow()

    async def reach(self, number: int) -> None:
        """Read the changes up to a number, if they are not known yet; raises what `fetch` raises."""
        if self.book.number < number:
            await self.follow()
