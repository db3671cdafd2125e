"""Removal of the content of streams that have been over for long."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from vrec.serving.catalog.clock import wall_clock_us
from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.replies import await_reply
from vrec.serving.streams.content.messages import CONTENT_TABLE, ContentState, unpack_content
from vrec.serving.streams.states import (
    STREAMS_TABLE,
    VECTORS_TABLE,
    StreamVector,
    unpack_state,
    unpack_vector,
)

RECORDS_PER_ROUND = 50
"""Records of each table that a round looks at: about half a megabyte."""
PAUSE_US = 60_000_000
"""µs between two looks at a table that had nothing more to remove."""

Unpack = Callable[[str, bytes], StreamVector | ContentState | None]
TABLES: Mapping[str, Unpack] = {VECTORS_TABLE: unpack_vector, CONTENT_TABLE: unpack_content}
"""Tables with what streams showed, and how to decode their records."""


class ContentCleaner:
    """Removes vectors and outcomes of streams that have been over for longer than a time.

    Each record is removed alone, only if it is still the one that was looked at, and nobody reads it by then:
    a stream that starts again has no use for a vector from before its start. So whoever removes may stop
    between any two, and several may remove at once.
    """

    def __init__(
        self,
        profiles: ProfilesHandle,
        keep_s: float,
        timeout_s: float,
        *,
        now: Callable[[], int] = wall_clock_us,
    ) -> None:
        """Build it.

        Args:
            profiles: Handle of the deployment of the store.
            keep_s: Seconds for which the content of a stream that is over stays.
            timeout_s: Seconds that a call may take.
            now: Function that returns this machine's time, µs since 1970.
        """
        self._profiles, self._timeout_s, self._now = profiles, timeout_s, now
        self._keep_us = round(keep_s * 1e6)
        self._places: dict[str, tuple[int, int]] = dict.fromkeys(TABLES, (0, 0))
        """Of each table the version to go on after, and the time (µs) of the next look."""

    async def clean(self) -> int:
        """Look at the next records of each table, the oldest first, and return how many were removed."""
        removed = 0
        for table in TABLES:
            after, next_at = self._places[table]
            if self._now() >= next_at:
                removed += await self._clean(table, after)
        return removed

    async def _clean(self, table: str, after: int) -> int:
        before = self._now() - self._keep_us
        call = self._profiles.states_after.remote(table, after, RECORDS_PER_ROUND)
        records = await await_reply(call, self._timeout_s)
        contents = [(version, name, TABLES[table](name, record)) for version, name, record in records]
        old = {name: version for version, name, one in contents if one is not None and one.at < before}
        removed = await self._drop(table, old, before)
        # Records after one that is younger were written later. One that cannot be read stays.
        is_last = len(records) < RECORDS_PER_ROUND or any(
            one is not None and one.at >= before for _, _, one in contents
        )
        self._places[table] = (0, self._now() + PAUSE_US) if is_last else (records[-1][0], 0)
        return removed

    async def _drop(self, table: str, versions: Mapping[str, int], before: int) -> int:
        """Remove those records, by stream, whose streams are over since before a time, µs since 1970."""
        due = await self._over_since(list(versions), before)
        calls = (self._profiles.drop_state.remote(table, name, versions[name]) for name in due)
        return sum(await asyncio.gather(*(await_reply(call, self._timeout_s) for call in calls)))

    async def _over_since(self, names: Sequence[str], before: int) -> list[str]:
        if not names:
            return []
        call = self._profiles.states.remote(STREAMS_TABLE, names)
        found = await await_reply(call, self._timeout_s)
        states = ((name, unpack_state(name, record)) for name, (_, record) in found.items())
        kept = {name for name, state in states if state is None or state.ends_at >= before}
        return [name for name in names if name not in kept]
