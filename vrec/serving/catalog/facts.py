"""What the catalogue says of videos at this moment, as the fold of profiles asks it."""

from collections.abc import Collection, Mapping, Sequence

from vrec.bundle.catalog import BundleCatalog
from vrec.core.types import CatalogContent
from vrec.profiles.profile import VideoMetadata
from vrec.profiles.update import video_metadata
from vrec.serving.catalog.updates import latest_changes
from vrec.serving.messages import CatalogChange


class CurrentVideoFacts:
    """A bundle's facts and those of the changes since. It does not change: changes give another."""

    def __init__(self, bundle: BundleCatalog, changes: Sequence[CatalogChange] = ()) -> None:
        self._encoder, self._facts = bundle.encoder, video_metadata(bundle.content)
        self._latest = latest_changes({}, changes)
        self._changed = {name: self._facts_of(change) for name, change in self._latest.items()}

    def with_changes(self, changes: Sequence[CatalogChange]) -> "CurrentVideoFacts":
        """The facts after more changes, of which the last of each video counts."""
        other = object.__new__(CurrentVideoFacts)
        other._encoder, other._facts = self._encoder, self._facts
        fresh = latest_changes(self._latest, changes)
        other._latest = self._latest | fresh
        other._changed = self._changed | {name: self._facts_of(change) for name, change in fresh.items()}
        return other

    def find(self, video_ids: Collection[str]) -> Mapping[str, VideoMetadata]:
        """The facts of videos by id; of what is not known, or was removed, there are none."""
        found: dict[str, VideoMetadata] = {}
        for name in video_ids:
            facts = self._changed[name] if name in self._changed else self._facts.get(name)
            if facts is not None:
                found[name] = facts
        return found

    def _facts_of(self, change: CatalogChange) -> VideoMetadata | None:
        if change.row is None:
            return None
        facts, vector = video_metadata(CatalogContent(change.row))[change.video_id], None
        if not change.vectors and change.video_id in self._facts:
            vector = self._facts[change.video_id].vector
        elif change.encoders.get("fused") == self._encoder and "fused" in change.vectors:
            vector = change.vectors["fused"][0]
        return VideoMetadata(facts.attributes, facts.duration_s, vector)
