"""The node that keeps profiles and events."""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.bundle.catalogue import BundleCatalogue
from vrec.core.errors import VrecError
from vrec.core.protocols import Applied, Content
from vrec.profiles.profile import Profile, VideoFacts
from vrec.profiles.store import open_store
from vrec.profiles.stores.sqlite import SqliteConfig
from vrec.profiles.update import facts_of
from vrec.ranking.features.states import STATE, state_of
from vrec.serve_config import ServeConfig
from vrec.serving.arms import ArmCounts, ArmStatistics
from vrec.serving.changes import newest
from vrec.serving.journal import Journal
from vrec.serving.reload import Served
from vrec.serving.wire import Change

logger = logging.getLogger("ray.serve")

States = npt.NDArray[np.float64]
FOLLOWED = 20_000
"""Events that a follower is given at most at once."""


class ProfilesNode:
    """Profiles out, events in. One process with the embedded store, as many as one likes with Redis."""

    def __init__(self, config: ServeConfig) -> None:
        self._config = config
        self._served: Served[Mapping[str, VideoFacts]] = Served(config.data, _load)
        self._journal, self._changes = Journal(config.data), dict[str, Change]()
        self._changed: dict[str, VideoFacts | None] = {}
        self._store: Any = None
        self._arms = ArmCounts(config.arms)
        self._cursor = 0
        self._tasks: set[asyncio.Task[None]] = set()
        # SQLite's profiles are in memory or a short read away; a server's answer is waited for in a thread.
        self._direct = isinstance(config.store, SqliteConfig)

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Moves to the bundle that is named, where it is sound."""
        await self._served.move(user_config["bundle"])
        if self._store is not None or self._served.bundle is None:
            return
        await asyncio.to_thread(self._follow_journal)
        profiles = self._served.bundle.profiles
        self._store = await asyncio.to_thread(open_store, self._config.store, self._find, profiles)
        self._cursor = await asyncio.to_thread(self._store.end)
        task = asyncio.get_running_loop().create_task(self._keep_up())
        self._tasks.add(task)

    async def check_health(self) -> None:
        """Raises StoreError while the store cannot be opened at all; one that is away for a while is no cause
        to start this process anew."""

    async def apply(self, events: pa.Table) -> Applied:
        """What became of EVENTS, which are durable by now; raises StoreError, EventsError, SchemaError."""
        return await asyncio.wrap_future(self._store.submit(events))

    async def get(self, user_id: str) -> Profile | None:
        """A user's profile, with every event that was acknowledged before; None of who has none."""
        if self._direct:
            return self._store.get("user", [user_id]).get(user_id)
        return (await asyncio.to_thread(self._store.get, "user", [user_id])).get(user_id)

    async def states(self, video_ids: Sequence[str]) -> tuple[int, States]:
        """A cursor, and the (N, len(STATE)) counts of videos with at least all events before it."""
        cursor = await asyncio.to_thread(self._store.end)
        return cursor, await asyncio.to_thread(self._states, video_ids)

    async def states_since(self, cursor: int) -> tuple[int, list[str], States]:
        """The cursor to go on from, and the ids and counts of videos with events since `cursor`."""
        events, cursor = await asyncio.to_thread(self._store.export, cursor, FOLLOWED)
        ids = sorted(set(events.column("video_id").to_pylist()))
        return cursor, ids, await asyncio.to_thread(self._states, ids)

    async def export(self, after: int, limit: int) -> tuple[pa.Table, int]:
        """The next EVENTS of the log and the cursor behind them."""
        return await asyncio.to_thread(self._store.export, after, limit)

    async def erase(self, user_id: str) -> int:
        """How many events of a user were removed along with their profile."""
        return await asyncio.to_thread(self._store.erase, user_id)

    async def arms(self) -> ArmStatistics:
        """What shoppers did in each arm since this process began."""
        return self._arms.snapshot()

    async def ready(self) -> str:
        """The version that is served; raises StoreError where the store cannot be written at this moment."""
        await asyncio.to_thread(self._store.check)
        return self._served.version

    async def refused(self) -> str | None:
        """Why the bundle that was asked for last is not served."""
        return self._served.refused

    def _find(self, video_ids: Collection[str]) -> Mapping[str, VideoFacts]:
        known, changed = self._served.now or {}, self._changed
        found: dict[str, VideoFacts] = {}
        for name in video_ids:
            facts = changed[name] if name in changed else known.get(name)
            if facts is not None:
                found[name] = facts
        return found

    def _states(self, video_ids: Sequence[str]) -> States:
        found = self._store.get("video", video_ids)
        rows = [state_of(found.get(name)) for name in video_ids]
        return np.array(rows).reshape(len(rows), len(STATE))

    async def _keep_up(self) -> None:
        while True:
            await asyncio.sleep(self._config.refresh_s)
            try:
                await asyncio.to_thread(self._follow_journal)
                events, self._cursor = await asyncio.to_thread(self._store.export, self._cursor, FOLLOWED)
                if events.num_rows:
                    self._arms.add(events)
            except VrecError as error:  # the next round tries again
                logger.warning("cannot keep up", extra={"why": str(error)[:300]})

    def _follow_journal(self) -> None:
        if not (new := self._journal.read_new()):
            return
        fresh = newest(self._changes, new)
        self._changes |= fresh
        # What is removed is known no more: its events count, and move no taste.
        self._changed |= {name: self._facts_of(change) for name, change in fresh.items()}

    def _facts_of(self, change: Change) -> VideoFacts | None:
        if change.row is None:
            return None
        facts, before = facts_of(Content(change.row))[change.video_id], (self._served.now or {})
        vector = None
        if not change.vectors and change.video_id in before:
            vector = before[change.video_id].vector
        elif self._served.bundle is not None and change.encoders.get("fused") == self._served.bundle.encoder:
            vector = change.vectors["fused"][0]
        return VideoFacts(facts.attributes, facts.duration_s, vector)


def _load(uri: str) -> tuple[BundleCatalogue, Mapping[str, VideoFacts]]:
    bundle = BundleCatalogue.load(uri)
    return bundle, facts_of(bundle.content)
