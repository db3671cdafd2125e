"""Ends of a store's logs: numbers that say whether there is anything new, read for all tenants at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from vrec.core.errors import StoreError
from vrec.profiles.stores.redis.store import RedisStore
from vrec.profiles.stores.sqlite.store import SqliteStore
from vrec.serving.ab_test.log import EXPERIMENT_LOG
from vrec.serving.deployments.replies import await_reply
from vrec.serving.rules.book import RULES_LOG
from vrec.serving.streams.states import STREAMS_TABLE, VECTORS_TABLE
from vrec.serving.trends.follower import ERASURES_LOG

LOGS = (RULES_LOG, ERASURES_LOG, EXPERIMENT_LOG)
TABLES = (STREAMS_TABLE, VECTORS_TABLE)


class StoreEnds(NamedTuple):
    """Ends of the logs of one store."""

    events: int
    """Cursor behind the newest change of the log of events."""
    rules: int
    """Number of the last change of a rule."""
    erasures: int
    """Number of the last erasure."""
    experiment: int
    """Number of the last change of the A/B test."""
    streams: int = 0
    """Version of the last change of a live stream."""
    vectors: int = 0
    """Version of the last change of a stream's vector."""

    @property
    def logs(self) -> tuple[int, int, int, int]:
        """Ends of the logs alone."""
        return self.events, self.rules, self.erasures, self.experiment


ReadEnds = Callable[[], Awaitable[StoreEnds | None]]
"""Function that returns a shop's ends; None if they are not known now."""


def read_ends(stores: Mapping[str, SqliteStore | RedisStore]) -> dict[str, StoreEnds]:
    """Return the ends of stores by name, those on one Redis server in one command.

    Those that cannot be read are left out.
    """
    found: dict[str, StoreEnds] = {}
    servers: dict[str, dict[str, RedisStore]] = {}
    for name, store in stores.items():
        with suppress(StoreError):
            if isinstance(store, RedisStore):
                servers.setdefault(store.address, {})[name] = store
                continue
            last = (store.records_before(log, None, 1) for log in LOGS)
            found[name] = StoreEnds(
                store.latest_cursor(),
                *(one[0][0] if one else 0 for one in last),
                *(store.last_version(table) for table in TABLES),
            )
    for shared in servers.values():
        with suppress(StoreError):
            ends = RedisStore.ends_of(list(shared.values()), LOGS, TABLES)
            found |= {name: StoreEnds(*end) for name, end in zip(shared, ends, strict=True)}
    return found


class SharedEnds:
    """Ends of all tenants' stores, fetched together for whoever asks at about the same time."""

    def __init__(
        self, fetch: Callable[[], Awaitable[Mapping[str, StoreEnds]]], max_age_s: float, timeout_s: float
    ) -> None:
        """Build it.

        Args:
            fetch: Function that returns the ends by tenant, or raises.
            max_age_s: Seconds after which they are fetched again; those who ask earlier get the last ones.
            timeout_s: Seconds that fetching may take.
        """
        self._fetch, self._max_age_s, self._timeout_s = fetch, max_age_s, timeout_s
        self._fetched: asyncio.Task[Mapping[str, StoreEnds]] | None = None
        self._begun = 0.0

    def reader(self, tenant: str) -> ReadEnds:
        """Return the function that returns a tenant's ends; it raises what `fetch` raises."""

        async def read() -> StoreEnds | None:
            return (await self._all()).get(tenant)

        return read

    async def _all(self) -> Mapping[str, StoreEnds]:
        fetched = self._fetched
        if fetched is None or (fetched.done() and time.monotonic() - self._begun > self._max_age_s):
            fetched = self._fetched = asyncio.get_running_loop().create_task(self._fetch_all())
            self._begun = time.monotonic()
        return await asyncio.shield(fetched)

    async def _fetch_all(self) -> Mapping[str, StoreEnds]:
        return await await_reply(self._fetch(), self._timeout_s)
