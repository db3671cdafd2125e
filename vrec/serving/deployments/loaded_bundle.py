"""Bundle of a ranking process with the changes since."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vrec.config.streams import StreamsConfig
from vrec.core.pauses import pause_if_due
from vrec.serving.catalog.facts import CurrentVideoFacts
from vrec.serving.messages import CatalogChange
from vrec.serving.recommend.fallback import PopularFallback
from vrec.serving.streams.overlay import StreamOverlay
from vrec.serving.streams.states import StreamBook

if TYPE_CHECKING:
    from vrec.serving.recommend.engine import RecommendEngine


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """Engine and metadata of a bundle with the changes since."""

    engine: "RecommendEngine"
    facts: CurrentVideoFacts
    fallback: PopularFallback
    """Popular videos for answers without ranking, over the engine's catalog."""
    overlay: StreamOverlay = field(default_factory=lambda: StreamOverlay(StreamsConfig(), None))
    """Vectors of live streams, which the engine has."""

    def with_changes(self, changes: Sequence[CatalogChange]) -> "LoadedBundle":
        """See Changeable."""
        overlay, changed = self.overlay.over(changes)
        pause_if_due()
        facts, engine = self.facts.with_changes(changes), self.engine.with_changes(changed)
        return LoadedBundle(engine, facts, self.fallback.with_snapshot(engine.snapshot), overlay)

    def with_streams(self, book: StreamBook) -> "LoadedBundle":
        """Return the bundle with the vectors of a book's live streams."""
        overlay, changes = self.overlay.refreshed(book, self.engine.snapshot)
        engine = self.engine.with_changes(changes)
        return LoadedBundle(engine, self.facts, self.fallback.with_snapshot(engine.snapshot), overlay)
