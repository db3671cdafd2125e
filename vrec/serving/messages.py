"""What the parts of the serving graph say to each other. Plain frozen data: it crosses processes."""

from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from vrec.core.types import Modality, Vectors

RankOrder = Literal["ranked", "popular"]
"""How an arm orders candidates: by the ranker, or by popularity alone, for comparison."""


@dataclass(frozen=True, slots=True)
class RequestFilters:
    """What a request wants to see; None and empty sets want nothing in particular."""

    kinds: frozenset[str] | None = None
    """VIDEOS.kind."""
    categories: frozenset[str] | None = None
    """VIDEOS.category; a video without one is in none."""
    creators: frozenset[str] | None = None
    """VIDEOS.creator_id."""
    tags: frozenset[str] | None = None
    """At least one of these tags, without regard to case."""
    languages: frozenset[str] | None = None
    """VIDEOS.language; a video without one passes, such as one without words."""
    most_price: float | None = None
    """A video without a price passes: it sells nothing."""
    exclude: frozenset[str] = frozenset()
    """Video ids that must not be given."""
    blocked_creators: frozenset[str] = frozenset()
    blocked_categories: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RecommendQuery:
    """A request for recommendations."""

    request_id: str
    user_id: str
    surface: str
    """Where the list is shown, such as "feed": settings can differ by it, and events carry it as `domain`."""
    k: int
    at: int
    """µs since 1970, UTC."""
    filters: RequestFilters = RequestFilters()
    age: int | None = None
    """The shopper's least age in years, where it was declared or proved."""
    order: RankOrder = "ranked"


@dataclass(frozen=True, slots=True)
class ListItem:
    """One video of an answer."""

    video_id: str
    score: float
    p_click: float
    watch_s: float
    p_conv: float
    utility: float
    reasons: tuple[str, ...]
    """Codes of `vrec.ranking.reranking.reasons`."""
    source: str
    """Which candidates it was among: cf, content, popular, new, search, …"""
    propensity: float
    """The chance of this video in this slot given those before it; 1 where nothing is tried out."""


def unranked_item(video_id: str, score: float, source: str, reasons: tuple[str, ...] = ()) -> ListItem:
    """An item of which no ranker was asked: expectations and utility are 0, and nothing was tried out."""
    return ListItem(
        video_id=video_id,
        score=score,
        p_click=0.0,
        watch_s=0.0,
        p_conv=0.0,
        utility=0.0,
        reasons=reasons,
        source=source,
        propensity=1.0,
    )


@dataclass(frozen=True, slots=True)
class ListResult:
    """A list of videos, best first, and how it came about."""

    items: tuple[ListItem, ...]
    bundle: str
    """The version of the bundle that answered."""
    degraded: tuple[str, ...] = ()
    """What was missing, in words for operators: "profiles", "ranking"; empty where nothing was."""
    candidates: int = 0
    """How many were ranked."""
    excluded_by_rule: dict[str, int] = field(default_factory=dict)
    """How many candidates each hard rule barred."""
    spent_ms: dict[str, float] = field(default_factory=dict)
    """Milliseconds by stage: profile, candidates, features, ranker, rerank."""


@dataclass(frozen=True, eq=False, slots=True)
class CatalogChange:
    """What a catalogue's change says of one video: its whole row and vectors from now on, or its removal."""

    video_id: str
    at: int
    """µs since 1970; of two changes of a video the later one counts."""
    row: pa.Table | None
    """One VIDEOS row; None where the video was removed."""
    vectors: dict[Modality, Vectors] = field(default_factory=dict)
    """(1, dim) unit vectors by modality, those that it has."""
    encoders: dict[Modality, str] = field(default_factory=dict)
    """The name of each vector's encoder: vectors of others than the bundle's are left out."""


@dataclass(frozen=True, eq=False, slots=True)
class EmbeddedVideo:
    """What became of a video given to the encoder."""

    vectors: dict[Modality, Vectors]
    encoders: dict[Modality, str]
    duration_s: float | None
    phash: str | None
    decode_s: float
    encode_s: float
