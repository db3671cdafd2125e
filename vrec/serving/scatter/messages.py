"""Messages between the process that gathers a list and the parts of the catalog."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from vrec.bundle.growing_bm25 import WordCounts
from vrec.core.types import Vectors
from vrec.profiles.profile import Profile
from vrec.ranking.features.video_counts import Doubles
from vrec.ranking.ranker_part import RankerPart
from vrec.serving.messages import RecommendQuery, RequestFilters

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.floating]
ScatterKind = Literal["recommend", "similar", "search"]

PopularKey = tuple[int, float, str]
"""Rank of a video in the order of popularity, its value among those of the rank, and its id."""
POPULAR, OTHERS, ARRIVED = 0, 1, 2
"""Ranks of videos in the order of popularity: the bundle's popular ones, its others, and new ones."""


@dataclass(frozen=True, eq=False, slots=True)
class FactsQuery:
    """Question about videos that a part owns, and about what depends on all parts."""

    video_ids: tuple[str, ...]
    """Videos whose neighbors and vectors are wanted."""
    filters: RequestFilters
    at: int
    """µs since 1970."""
    draws: bool = False
    """Whether the number of videos that match the filters is wanted."""
    text: str | None = None
    """Search whose words are counted; None for none."""


@dataclass(frozen=True, eq=False, slots=True)
class PartFacts:
    """Facts of one part."""

    neighbors: Mapping[str, tuple[npt.NDArray[np.int32], Floats]]
    """Numbers (rows of the whole bundle) and scores of the neighbors of each video that has any."""
    vectors: Mapping[str, Vectors]
    """(dim,) vector of each video in the catalog, zeros without one."""
    matching: int
    """Number of videos that match the filters; 0 if it was not wanted."""
    words: WordCounts | None
    """Counts of the search's words in new and changed videos."""


@dataclass(frozen=True, eq=False, slots=True)
class LookQuery:
    """Request of a list, with what a part must know of the others to look in itself."""

    kind: ScatterKind
    query: RecommendQuery
    user: Profile
    neighbors: Mapping[tuple[str, ...], Numbers] = field(default_factory=dict)
    """Rows of the part's bundle among the neighbors of some videos, best first, by those videos."""
    vectors: Mapping[str, Vectors] = field(default_factory=dict)
    """Vectors of videos of other parts that the request names."""
    draws: tuple[Numbers, Numbers] | None = None
    """Places of random draws, and the places of the drawn videos among the part's that match."""
    text: str = ""
    vector: Vectors | None = None
    """Vector of the text."""
    words: WordCounts | None = None
    """Counts of the text's words in new and changed videos of all parts."""


@dataclass(frozen=True, eq=False, slots=True)
class NamedCodes:
    """Column of names as codes."""

    names: tuple[str, ...]
    codes: Numbers
    """(n,) codes, −1 for none."""


@dataclass(frozen=True, eq=False, slots=True)
class PartRows:
    """Videos of a part that a list may depend on, by ascending id, and their places in the part's orders."""

    ids: tuple[str, ...]
    tags: tuple[frozenset[str], ...]
    named: Mapping[str, NamedCodes]
    """Creator, category, kind and language."""
    plain: Mapping[str, npt.NDArray[Any]]
    """(n,) price, available, published_at, expires_at and is_stream."""
    video_counts: Doubles
    """(n, len(VIDEO_COUNT_KEYS))."""
    rank: Numbers
    """(n,) POPULAR, OTHERS or ARRIVED."""
    rank_value: npt.NDArray[np.float64]
    """(n,) value by which those of a rank are ordered, ascending; ties go by id."""
    date: npt.NDArray[np.float64]
    """(n,) date by which new videos are ordered, NaN for none."""
    is_changed: npt.NDArray[np.bool_]
    """(n,) whether the video changed since the bundle, or is new."""
    bundle_row: Numbers
    """(n,) rows in the whole bundle, −1 for new videos."""
    has_neighbors: npt.NDArray[np.bool_]
    by_content: Mapping[bytes, tuple[Numbers, Scores]]
    """Rows of this object near to each vector that was searched for, and their scores."""
    drawn: tuple[Numbers, Numbers]
    """Places of random draws, and the rows of this object that were drawn."""
    found: Mapping[str, tuple[Numbers, Scores]]
    """Rows of this object that match a search, −1 for others, and their scores, by the name of the order."""
    dim: int
    """Length of the vectors."""
    vectors: tuple[Numbers, Vectors]
    """Rows of this object that are live streams, and their vectors."""


@dataclass(frozen=True, eq=False, slots=True)
class PartRecords:
    """Vectors and features of some videos of a part, for ranking."""

    ids: Sequence[str]
    vectors: Vectors
    """(n, dim), zeros without one."""
    ranker: RankerPart
