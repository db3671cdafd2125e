"""The node that keeps profiles and events."""

import asyncio
import logging
import uuid
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
from vrec.core.errors import VrecError
from vrec.core.types import ApplyResult
from vrec.profiles.profile import Profile, VideoMetadata
from vrec.profiles.stores.factory import open_store
from vrec.profiles.stores.sqlite.store import SqliteConfig
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS, profile_counts
from vrec.serving.bundle_swap import ServedBundle
from vrec.serving.catalog.facts import CurrentVideoFacts
from vrec.serving.catalog.journal import CatalogJournal
from vrec.serving.experiments import ArmCounts, ArmStatistics
from vrec.serving.messages import CatalogChange

logger = logging.getLogger("ray.serve")

VideoCountRows = npt.NDArray[np.float64]
MAX_FOLLOWED_EVENTS = 20_000
"""Events that a follower is given at most at once."""


class ProfilesDeployment:
    """Profiles out, events in. One process with the embedded store, as many as one likes with Redis."""

    def __init__(self, config: ServeConfig) -> None:
        self._config = config
        self._served: ServedBundle[CurrentVideoFacts] = ServedBundle(config.data, self._load)
        self._journal, self._changes = CatalogJournal(config.data), list[CatalogChange]()
        self._store: Any = None
        self._arms = ArmCounts(config.arms)
        self._cursor = 0
        self._owner = uuid.uuid4().hex
        self._task: asyncio.Task[None] | None = None
        # SQLite's profiles are in memory or a short read away; a server's answer is waited for in a thread.
        self._direct = isinstance(config.store, SqliteConfig)

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Moves to the bundle that is named, where it is sound."""
        if self._store is None:
            self._changes += await asyncio.to_thread(self._journal.read_new)
        await self._served.swap_to(user_config["bundle"])
        if self._store is not None or self._served.bundle is None:
            return
        profiles = self._served.bundle.profiles
        self._store = await asyncio.to_thread(open_store, self._config.store, self._find, profiles)
        self._cursor = await asyncio.to_thread(self._store.end)
        if isinstance(self._config.store, SqliteConfig):
            await asyncio.to_thread(Path(owner_file(self._config.store)).write_text, self._owner)
        self._task = asyncio.get_running_loop().create_task(self._refresh_loop())

    async def apply(self, events: pa.Table, sizes: Sequence[int]) -> list[ApplyResult | VrecError]:
        """What became of EVENTS of several calls, whose sizes they are, all of them durable by now.

        Of a call whose events cannot be taken, the StoreError, EventsError or SchemaError in its place.
        """
        starts = np.cumsum([0, *sizes]).tolist()
        parts = [events.slice(start, size) for start, size in zip(starts, sizes, strict=False)]
        return await asyncio.gather(*(self._submit(part) for part in parts))

    async def get(self, user_id: str) -> Profile | None:
        """A user's profile, with every event that was acknowledged before; None of who has none."""
        if self._direct:
            return self._store.get("user", [user_id]).get(user_id)
        return (await asyncio.to_thread(self._store.get, "user", [user_id])).get(user_id)

    async def video_counts(self, video_ids: Sequence[str]) -> tuple[int, VideoCountRows]:
        """A cursor, and the (N, len(STATE)) counts of videos with at least all events before it."""
        cursor = await asyncio.to_thread(self._store.end)
        return cursor, await asyncio.to_thread(self._states, video_ids)

    async def video_counts_since(self, cursor: int) -> tuple[int, list[str], VideoCountRows]:
        """The cursor to go on from, and the ids and counts of videos with events since `cursor`."""
        events, cursor = await asyncio.to_thread(self._store.export, cursor, MAX_FOLLOWED_EVENTS)
        ids = sorted(set(events.column("video_id").to_pylist()))
        return cursor, ids, await asyncio.to_thread(self._states, ids)

    async def export(self, after: int, limit: int) -> tuple[pa.Table, int]:
        """The next EVENTS of the log and the cursor behind them."""
        return await asyncio.to_thread(self._store.export, after, limit)

    async def erase(self, user_id: str) -> int:
        """How many events of a user were removed along with their profile."""
        return await asyncio.to_thread(self._store.erase, user_id)

    async def owner(self) -> str:
        """What stands in the file beside the embedded store: who finds it there has the same file."""
        return self._owner

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

    async def _submit(self, events: pa.Table) -> ApplyResult | VrecError:
        try:
            return await asyncio.wrap_future(self._store.submit(events))
        except VrecError as error:
            return error

    def _find(self, video_ids: Collection[str]) -> Mapping[str, VideoMetadata]:
        return {} if self._served.now is None else self._served.now.find(video_ids)

    def _states(self, video_ids: Sequence[str]) -> VideoCountRows:
        found = self._store.get("video", video_ids)
        rows = np.zeros((len(video_ids), len(VIDEO_COUNT_KEYS)))
        # Of a large catalogue most videos may have no events yet: theirs stay zero at no cost.
        for place, name in enumerate(video_ids):
            if (profile := found.get(name)) is not None:
                rows[place] = profile_counts(profile)
        return rows

    async def _refresh_loop(self) -> None:
        while True:
            await asyncio.sleep(self._config.refresh_s)
            try:
                await asyncio.to_thread(self._follow_journal)
                events, self._cursor = await asyncio.to_thread(
                    self._store.export, self._cursor, MAX_FOLLOWED_EVENTS
                )
                if events.num_rows:
                    self._arms.add(events)
            except VrecError as error:  # the next round tries again
                logger.warning("cannot keep up", extra={"why": str(error)[:300]})

    def _follow_journal(self) -> None:
        if new := self._journal.read_new():
            self._changes += new
            if self._served.now is not None:
                self._served.now = self._served.now.with_changes(new)

    def _load(self, uri: str) -> tuple[BundleCatalog, CurrentVideoFacts]:
        bundle = BundleCatalog.load(uri)
        return bundle, CurrentVideoFacts(bundle, self._changes)


def owner_file(config: SqliteConfig) -> str:
    """The file that names the process which has the embedded store open."""
    return f"{config.path}.owner"
