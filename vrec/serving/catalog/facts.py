"""Current metadata of videos, as profile updates need it."""

from collections.abc import Collection, Mapping, Sequence

from vrec.bundle.catalog import BundleCatalog
from vrec.profiles.profile import VideoMetadata
from vrec.profiles.update import video_metadata
from vrec.serving.catalog.updates import changes_to_content
from vrec.serving.messages import CatalogChange


class CurrentVideoFacts:
    """Immutable metadata of a bundle's videos and of the changes since."""

    def __init__(self, bundle: BundleCatalog) -> None:
        self._encoder, self._from_bundle = bundle.encoder, video_metadata(bundle.content)
        embeddings = bundle.content.embeddings
        self._dim = 0 if embeddings is None else embeddings.schema.field("vector").type.list_size
        self._changed: dict[str, VideoMetadata | None] = {}

    def with_changes(self, changes: Sequence[CatalogChange]) -> "CurrentVideoFacts":
        """Return the metadata after more changes, each of which replaces the one of its video before."""
        other = object.__new__(CurrentVideoFacts)
        other.__dict__.update(self.__dict__)
        new = {change.video_id: change for change in changes}
        other._changed = self._changed | self._changed_metadata(new)
        return other

    def find(self, video_ids: Collection[str]) -> Mapping[str, VideoMetadata]:
        """Return the metadata of videos by id, without unknown and removed ones."""
        results: dict[str, VideoMetadata] = {}
        for video_id in video_ids:
            changed = video_id in self._changed
            metadata = self._changed[video_id] if changed else self._from_bundle.get(video_id)
            if metadata is not None:
                results[video_id] = metadata
        return results

    def _changed_metadata(self, latest: Mapping[str, CatalogChange]) -> dict[str, VideoMetadata | None]:
        """Return the metadata of changed videos, with the bundle's vectors where they have none; None where
        removed."""
        results: dict[str, VideoMetadata | None] = dict.fromkeys(latest)
        changed = [change for change in latest.values() if change.row is not None]
        if not changed:
            return results
        for video_id, own in video_metadata(changes_to_content(changed, self._encoder, self._dim)).items():
            bundled, vector = self._from_bundle.get(video_id), own.vector
            if vector is None and bundled is not None:
                vector = bundled.vector
            results[video_id] = VideoMetadata(own.attributes, own.duration_s, vector)
        return results
