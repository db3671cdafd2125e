"""The node that ranks: candidates, features, the ranker and the list, for one request at a time."""

import asyncio
import gc
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
from vrec.profiles.profile import Profile, VideoMetadata
from vrec.profiles.stores.factory import open_profile_reader
from vrec.profiles.stores.redis.store import RedisStore
from vrec.profiles.stores.sqlite.reader import SqliteProfileReader
from vrec.profiles.stores.sqlite.store import SqliteConfig
from vrec.serving.bundle_swap import ServedBundle
from vrec.serving.catalog.facts import CurrentVideoFacts
from vrec.serving.catalog.journal import CatalogJournal
from vrec.serving.deployments.profiles import owner_file
from vrec.serving.messages import CatalogChange, ListResult, RecommendQuery, RequestFilters

if TYPE_CHECKING:
    from vrec.serving.catalog.snapshot import BundleCatalogView
    from vrec.serving.recommend.engine import RecommendEngine

logger = logging.getLogger("ray.serve")

COUNTS_PER_CALL = 2_000
"""Videos whose counts are asked for in one call."""


@dataclass(frozen=True, slots=True)
class _LoadedBundle:
    """What a bundle and the changes since come to."""

    stock: "RecommendEngine"
    known: CurrentVideoFacts


class RankingDeployment:
    """Answers from memory. Only the shopper's profile is read for each request, so that it is the newest.

    Videos' counts and changes of the catalogue are followed every `refresh_s`. What is missing is left out
    and named in the answer: a shopper without a profile is a stranger.
    """

    def __init__(self, config: ServeConfig, profiles: Any, encoder: Any) -> None:
        """`profiles` and `encoder` are handles of those nodes; `encoder` may be None."""
        self._config, self._profiles, self._encoder = config, profiles, encoder
        self._served: ServedBundle[_LoadedBundle] = ServedBundle(config.data, self._load, remembers=True)
        self._journal, self._changes = CatalogJournal(config.data), list[CatalogChange]()
        self._cursor: int | None = None
        self._reader: SqliteProfileReader | RedisStore | None = None
        self._changing = asyncio.Lock()
        self._rng = np.random.default_rng()
        self._task: asyncio.Task[None] | None = None

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Moves to the bundle that is named, where it is sound, without leaving a request unanswered."""
        async with self._changing:
            if self._task is None:
                self._changes += await asyncio.to_thread(self._journal.read_new)
            if await self._served.swap_to(user_config["bundle"]):
                await self._fetch_video_counts()
                # What is loaded stays: looking through it again and again would stop requests.
                gc.collect()
                gc.freeze()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._refresh_loop())

    async def recommend(self, ask: RecommendQuery) -> ListResult:
        """What to show a shopper now."""
        begun, missing = time.perf_counter(), []
        try:
            profile = await self._profile(ask.user_id)
        except Exception as error:  # whatever it is, an answer without it is better than none
            logger.warning("no profile", extra={"request_id": ask.request_id, "why": _error_text(error)})
            profile, missing = None, ["profiles"]
        waited = time.perf_counter() - begun
        answer = self._engine.recommend(ask, profile or Profile("user", ask.user_id), self._rng)
        spent = {"profile": waited * 1e3, **answer.spent_ms}
        return replace(answer, degraded=(*missing, *answer.degraded), spent_ms=spent)

    async def similar(self, video_id: str, k: int, filters: RequestFilters, at: int) -> ListResult:
        """The videos most like one; raises UnknownVideo."""
        return self._engine.similar(video_id, k, filters, at)

    async def search(self, text: str, k: int, filters: RequestFilters, at: int) -> ListResult:
        """The videos that a text asks for; by its words alone where it cannot be embedded."""
        vector, missing = None, []
        if self._encoder is not None:
            try:
                vector = await asyncio.wait_for(
                    self._encoder.text.remote(text), self._config.ranking_timeout_s / 2
                )
            except Exception as error:  # as above
                logger.warning("no text vector", extra={"why": _error_text(error)})
                missing = ["encoder"]
        answer = self._engine.search(text, vector, k, filters, at)
        return replace(answer, degraded=(*missing, *answer.degraded))

    def bundle_view(self, uri: str) -> "tuple[BundleCatalog, BundleCatalogView] | None":
        """The bundle in that folder and what its videos come to, where it is the one that is served."""
        bundle = self._served.bundle
        return (bundle, self._engine.bundle_view) if bundle is not None and bundle.uri == uri else None

    async def ready(self) -> str:
        """The version that is served."""
        return self._served.version

    async def refused(self) -> str | None:
        """Why the bundle that was asked for last is not served."""
        return self._served.refused

    @property
    def _engine(self) -> "RecommendEngine":
        if self._served.now is None:
            raise RuntimeError("a request came before the first bundle")
        return self._served.now.stock

    def _load(self, uri: str) -> tuple[BundleCatalog, _LoadedBundle]:
        # Here, so that whoever only names this class to Serve need not wait for torch.
        import torch

        from vrec.bundle.bundle import ServingBundle
        from vrec.serving.recommend.engine import RecommendEngine

        # Replicas share the machine's cores.
        torch.set_num_threads(1)
        bundle = ServingBundle.load(uri)
        bundle.check()
        stock = RecommendEngine(bundle, self._config).with_changes(self._changes)
        return bundle, _LoadedBundle(stock, CurrentVideoFacts(bundle, self._changes))

    async def _profile(self, user_id: str) -> Profile | None:
        """A shopper's profile: read here where the store can be, else asked of the node that has it."""
        if self._reader is not None:
            if isinstance(self._reader, SqliteProfileReader):
                return self._reader.get("user", [user_id]).get(user_id)
            return (await asyncio.to_thread(self._reader.get, "user", [user_id])).get(user_id)
        return await asyncio.wait_for(self._profiles.get.remote(user_id), self._config.profile_timeout_s)

    async def _open_reader(self) -> None:
        """Opens the store for reading, where it is there by now and this process can reach the very same."""
        store, bundle = self._config.store, self._served.bundle
        if self._reader is not None or bundle is None:
            return
        if isinstance(store, SqliteConfig):
            owner = await self._profiles.owner.remote()
            # On another machine there may be another file at the same path, or none.
            file = Path(owner_file(store))
            if not file.exists() or file.read_text() != owner:
                return
        find = self._find
        self._reader = await asyncio.to_thread(open_profile_reader, store, find, bundle.profiles)

    def _find(self, video_ids: Collection[str]) -> Mapping[str, VideoMetadata]:
        return {} if self._served.now is None else self._served.now.known.find(video_ids)

    def _changed(self, changes: Sequence[CatalogChange]) -> "_LoadedBundle":
        now = self._served.now
        assert now is not None
        return _LoadedBundle(now.stock.with_changes(changes), now.known.with_changes(changes))

    async def _fetch_video_counts(self) -> None:
        """Fetches the counts of all videos; where profiles are away, `_keep_up` tries again."""
        self._cursor, cursor = None, None
        names = self._engine.video_ids
        try:
            for start in range(0, len(names), COUNTS_PER_CALL):
                some = names[start : start + COUNTS_PER_CALL]
                upto, states = await self._profiles.states.remote(some)
                cursor = upto if cursor is None else cursor
                self._engine.set_video_counts(some, states)
            self._cursor = cursor or 0
        except Exception as error:  # as above
            logger.warning("no counts of videos", extra={"why": _error_text(error)})

    async def _refresh_loop(self) -> None:
        while True:
            await asyncio.sleep(self._config.refresh_s)
            try:
                async with self._changing:
                    await self._follow()
            except Exception as error:  # the next round tries again
                logger.warning("cannot keep up", extra={"why": _error_text(error)})

    async def _follow(self) -> None:
        if changes := await asyncio.to_thread(self._journal.read_new):
            self._changes += changes
            self._served.now = await asyncio.to_thread(self._changed, changes)
        await self._open_reader()
        if self._cursor is None:
            await self._fetch_video_counts()
            return
        self._cursor, names, states = await self._profiles.video_counts_since.remote(self._cursor)
        if names:
            self._engine.set_video_counts(names, states)


def _error_text(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
