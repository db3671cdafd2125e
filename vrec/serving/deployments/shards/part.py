"""Part of the catalog in a process, which follows counts, catalog, rules and streams as ranking does."""

import ctypes
import gc
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from vrec.bundle.catalog import BundleCatalog
from vrec.config.serve import ServeConfig
from vrec.profiles.profile import VideoMetadata
from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.ranking.deployment import RankingDeployment
from vrec.serving.deployments.store_ends import ReadEnds
from vrec.serving.messages import CatalogChange, ReadPosition
from vrec.serving.rules.book import ShopRule
from vrec.serving.streams.overlay import StreamOverlay
from vrec.serving.streams.states import StreamBook

if TYPE_CHECKING:
    from vrec.serving.scatter.messages import (
        FactsQuery,
        LookQuery,
        PartFacts,
        PartRecords,
        PartRows,
        PopularKey,
    )
    from vrec.serving.scatter.part_engine import PartEngine

Draft = tuple[str, ShopRule | None]
"""Rule that is put, or removed, for one request only."""


@dataclass(frozen=True, slots=True)
class LoadedPart:
    """Engine of a part with the changes since."""

    engine: "PartEngine"
    overlay: StreamOverlay

    def with_changes(self, changes: Sequence[CatalogChange]) -> "LoadedPart":
        """See Changeable."""
        overlay, changed = self.overlay.over(changes)
        return LoadedPart(self.engine.with_changes(changed), overlay)

    def with_streams(self, book: StreamBook) -> "LoadedPart":
        """Return the part with the vectors of those of a book's live streams that it has."""
        overlay, changes = self.overlay.refreshed(book, self.engine.snapshot)
        return LoadedPart(self.engine.with_changes(changes), overlay)


class PartDeployment(RankingDeployment):
    """One part of one bundle, and the changes of its videos."""

    def __init__(
        self, config: ServeConfig, profiles: ProfilesHandle, number: int, ends: ReadEnds | None
    ) -> None:
        """Build it without a bundle; `number` is that of the part."""
        super().__init__(config, profiles, None, remembers=False, ends=ends)
        self._number = number

    async def facts(self, ask: "FactsQuery", after: ReadPosition | None) -> "PartFacts":
        """Return facts of videos, with all changes up to a position."""
        await self._reach(after)
        return self._part.facts(ask, streams=self._streams.book)

    async def look(
        self, ask: "LookQuery", after: ReadPosition | None, draft: Draft | None = None
    ) -> "PartRows":
        """Return the videos that a list may depend on, with all changes up to a position."""
        await self._reach(after)
        book = self._rules.book if draft is None else self._rules.book.with_draft(*draft)
        return self._part.look(ask, book, streams=self._streams.book)

    async def records(self, video_ids: Sequence[str]) -> "PartRecords":
        """Return what ranking needs of videos."""
        return self._part.records(video_ids)

    async def popular_before(self, keys: "Sequence[PopularKey]") -> list[int]:
        """Return the number of the part's videos before each key in the order of popularity."""
        return self._part.popular_before(keys)

    @property
    def _part(self) -> "PartEngine":
        engine: Any = self._engine
        return engine

    def _load(self, uri: str) -> tuple[BundleCatalog, Any]:
        # Imported here, so that a process that only names this class to Serve does not load torch.
        from vrec.bundle.cutting import cut_bundle
        from vrec.serving.scatter.part_engine import PartEngine

        bundle = cut_bundle(load_whole(uri), self._config.replicas.shards, self._number)
        free_memory()
        return bundle, LoadedPart(
            PartEngine(bundle, self._config), StreamOverlay(self._config.live, bundle.encoder)
        )

    async def _open_reader(self) -> None:
        """Open nothing: profiles come with the requests."""

    def _find(self, video_ids: Collection[str]) -> Mapping[str, VideoMetadata]:
        return {}


def load_whole(uri: str) -> Any:
    """Return the whole bundle in a folder, which its smoke requests have checked."""
    import torch

    from vrec.bundle.bundle import ServingBundle

    # Replicas share the cores of the machine.
    torch.set_num_threads(1)
    bundle = ServingBundle.load(uri)
    bundle.check()
    return bundle


def free_memory() -> None:
    """Give memory that is not used any more back to the system, as far as its allocator can."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):  # another allocator gives it back by itself
        ctypes.CDLL(None).malloc_trim(0)
