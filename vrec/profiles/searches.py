"""Searches as events: what was asked for counts as interest, as a click on such a video does, but less.

A `search` event has no video. In place of its `video_id` stands what was asked for, such as
`search:category=mugs&tag=red`: categories, creators and tags of the catalog, and bounds of the price, but no
words of the shopper's, since the id is also that of a counter that outlives the shopper.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, urlencode

import numpy as np

from vrec.core.schema import SEARCH_PREFIX
from vrec.profiles.profile import VideoMetadata

SEARCH_KIND = "search"
"""Kind of the event of a search, which has no video."""
FACETS = ("category", "creator", "tag")
"""What a search can ask for that videos have."""
TAGGED: Mapping[str, str] = {"color": "tag", "attribute": "tag"}
"""Facets of the assistant's queries that videos have as tags."""
MAX_SUBJECT_CHARS = 500
"""Length of the longest subject; a search for more counts as one for its first facets."""
MAX_AVERAGED = 1_000
"""Videos with a facet whose embeddings are averaged, the first by id."""


def search_subject(asked: Iterable[tuple[str, str]]) -> str | None:
    """Return what stands in place of the video in the event of a search.

    Args:
        asked: Facets and values, such as ("category", "mugs"); colors and attributes are tags of videos, and
            others than FACETS are left out.

    Returns:
        The same for the same facets in any order; None for a search that asks for none of them.
    """
    tagged = ((TAGGED.get(facet, facet), value) for facet, value in asked)
    pairs = sorted({(facet, value) for facet, value in tagged if facet in FACETS and value})
    while pairs:
        subject = SEARCH_PREFIX + urlencode(pairs)
        if len(subject) <= MAX_SUBJECT_CHARS:
            return subject
        pairs.pop()
    return None


def searched_facets(subject: str) -> list[str]:
    """Return the facets in a subject as keys of VideoMetadata.attributes, such as `category:mugs`."""
    pairs = parse_qsl(subject.removeprefix(SEARCH_PREFIX))
    return [f"{facet}:{value}" for facet, value in pairs if facet in FACETS]


class VideoFacts(dict[str, VideoMetadata]):
    """Metadata of videos by id; `get` also finds that of a search, as if it were a video.

    A search has the facets that some video has, and the mean direction of the embeddings of the videos that
    have each.
    """

    def get(self, key: str, default: VideoMetadata | None = None) -> VideoMetadata | None:  # type: ignore[override]
        """Return the metadata of a video or a search; `default` for an unknown one."""
        if not key.startswith(SEARCH_PREFIX):
            return super().get(key, default)
        if "_videos_by_facet" not in self.__dict__:
            self._videos_by_facet = self._index()
        known = [facet for facet in searched_facets(key) if facet in self._videos_by_facet]
        if not known:
            return default
        directions = [mean for facet in known if (mean := self._mean(facet)) is not None]
        vector = _unit(np.sum(directions, axis=0)) if directions else None
        return VideoMetadata(dict.fromkeys(known, 1.0), None, vector)

    def _index(self) -> dict[str, list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for video_id in sorted(self):
            for key in self[video_id].attributes:
                if key.partition(":")[0] in FACETS and len(found[key]) < MAX_AVERAGED:
                    found[key].append(video_id)
        return dict(found)

    def _mean(self, facet: str) -> np.ndarray | None:
        vectors = [self[name].vector for name in self._videos_by_facet[facet]]
        held = [vector.astype(np.float64) for vector in vectors if vector is not None]
        return _unit(np.sum(held, axis=0)) if held else None


def _unit(vector: np.ndarray) -> np.ndarray | None:
    norm = float(np.linalg.norm(vector))
    return (vector / norm).astype(np.float32) if norm > 0 else None
