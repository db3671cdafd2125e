"""Removal of streams that have been over for long, with their rows of the catalog."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from vrec.serving.catalog.clock import wall_clock_us
from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.protocol import Card
from vrec.serving.deployments.replies import await_reply
from vrec.serving.deployments.stream_catalog import ServedStreamCatalog
from vrec.serving.streams.states import STREAMS_TABLE, unpack_state

STREAMS_PER_ROUND = 50
PAUSE_US = 600_000_000
"""µs between two looks at the streams once nothing more was to be removed."""


class StreamCleaner:
    """Removes streams that have been over for longer than a time.

    The row of the catalog goes first, only if nobody has changed it since it was looked at, then the state,
    likewise: a stream that starts again meanwhile keeps both, since its start writes the state before the
    row. If another process writes the row in the moment in which this one removes it, the state tells, and
    the stream gets its old row again. Whoever removes may stop in between, and several may remove at once.
    """

    def __init__(
        self,
        profiles: ProfilesHandle,
        catalog: ServedStreamCatalog,
        keep_s: float,
        timeout_s: float,
        *,
        now: Callable[[], int] = wall_clock_us,
    ) -> None:
        """Build it.

        Args:
            profiles: Handle of the deployment of the store.
            catalog: Catalog with the streams' rows.
            keep_s: Seconds for which a stream that is over stays.
            timeout_s: Seconds that a call may take.
            now: Function that returns this machine's time, µs since 1970.
        """
        self._profiles, self._catalog, self._timeout_s, self._now = profiles, catalog, timeout_s, now
        self._keep_us = round(keep_s * 1e6)
        self._after, self._next_at = 0, 0

    async def clean(self) -> int:
        """Look at the next streams, those with the oldest beats first; return how many were removed."""
        if self._now() < self._next_at:
            return 0
        before = self._now() - self._keep_us
        call = self._profiles.states_after.remote(STREAMS_TABLE, self._after, STREAMS_PER_ROUND)
        records = await await_reply(call, self._timeout_s)
        states = [(version, name, unpack_state(name, record)) for version, name, record in records]
        over = [name for _, name, state in states if state is not None and state.ends_at < before]
        removed = await self._remove(over, before)
        # States after one that is younger were written later. One that cannot be read stays.
        is_last = len(records) < STREAMS_PER_ROUND or any(
            state is not None and state.beat_at >= before for _, _, state in states
        )
        self._after, self._next_at = (0, self._now() + PAUSE_US) if is_last else (records[-1][0], 0)
        return removed

    async def _remove(self, names: Sequence[str], before: int) -> int:
        if not names:
            return 0
        # The rows are looked at before the states: a row of a later start has a state of a later start.
        cards = {name: self._catalog.card(name) for name in names}
        call = self._profiles.states.remote(STREAMS_TABLE, names)
        found = await await_reply(call, self._timeout_s)
        versions: dict[str, int] = {}
        for name, (version, record) in found.items():
            state = unpack_state(name, record)
            if state is not None and state.ends_at < before:
                versions[name] = version
        if not versions:
            return 0
        gone = await self._catalog.remove({name: cards[name] for name in versions})
        calls = (self._profiles.drop_state.remote(STREAMS_TABLE, name, versions[name]) for name in gone)
        dropped = await asyncio.gather(*(await_reply(call, self._timeout_s) for call in calls))
        changed = [name for name, is_gone in zip(gone, dropped, strict=True) if not is_gone]
        await self._restore({name: cards[name] for name in changed})
        return sum(dropped)

    async def _restore(self, cards: Mapping[str, Card | None]) -> None:
        """Give the streams among these that have started meanwhile their rows again."""
        if cards:
            call = self._profiles.states.remote(STREAMS_TABLE, list(cards))
            started = await await_reply(call, self._timeout_s)
            await self._catalog.restore({name: cards[name] for name in started})
