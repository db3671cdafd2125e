"""Messages between deployments: plain frozen data, which crosses processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from vrec.core.errors import VrecError
from vrec.core.types import Modality, Vectors

KindOfVideo = Literal["product", "live", "clip"]
"""Values of VIDEOS.kind that the service knows."""
RankOrder = Literal["ranked", "popular"]
"""Order of candidates in an arm: by the ranker, or by popularity alone as a baseline."""


@dataclass(frozen=True, slots=True)
class FieldComparison:
    """Comparison of a field of a video with values."""

    field: str
    """kind, category, creator, tag, language or price."""
    operator: Literal["<", "<=", ">", ">=", "in"]
    """`in` holds if the field equals one of the values."""
    values: tuple[str, ...] | tuple[float, ...]
    """Values; exactly one unless the operator is `in`."""


@dataclass(frozen=True, slots=True)
class BooleanFilter:
    """Combination of filters."""

    operator: Literal["and", "or", "not"]
    parts: tuple["FilterExpression", ...]
    """Filters that are combined; exactly one for `not`."""


FilterExpression = FieldComparison | BooleanFilter


@dataclass(frozen=True, slots=True)
class RequestFilters:
    """Filters of a request; None and empty sets do not filter."""

    kinds: frozenset[str] | None = None
    """VIDEOS.kind."""
    categories: frozenset[str] | None = None
    """VIDEOS.category; a video without a category matches none."""
    creators: frozenset[str] | None = None
    """VIDEOS.creator_id."""
    tags: frozenset[str] | None = None
    """Tags of which a video has at least one, case-insensitive."""
    languages: frozenset[str] | None = None
    """VIDEOS.language; a video without a language passes, such as one without words."""
    most_price: float | None = None
    """Maximum price; a video without a price passes, since it sells nothing."""
    expression: FilterExpression | None = None
    """Expression that a video has to match; a video without a price counts as one of price 0, and one without
    a language as one in every language."""
    exclude: frozenset[str] = frozenset()
    """Video ids that must not be returned."""
    streams: Literal["any", "only", "none"] = "any"
    """Whether live streams may be returned, or nothing else. Streams that are over never are."""
    blocked_creators: frozenset[str] = frozenset()
    """Creators that the shopper has blocked."""
    blocked_categories: frozenset[str] = frozenset()
    """Categories that the shopper has blocked."""


@dataclass(frozen=True, slots=True)
class RecommendQuery:
    """Request for recommendations."""

    request_id: str
    user_id: str
    surface: str
    """Place of the list in the shop, such as "feed"; settings can differ by it. It is `domain` in events."""
    k: int
    """Maximum number of videos."""
    at: int
    """µs since 1970, UTC."""
    filters: RequestFilters = RequestFilters()
    age: int | None = None
    """Declared or verified minimum age of the shopper in years; None if unknown."""
    order: RankOrder = "ranked"
    candidates: tuple[str, ...] | None = None
    """Ids of the videos to rank; None ranks those that are found for the shopper."""
    seeds: tuple[str, ...] = ()
    """Ids of videos to which the list is related."""
    cart: tuple[str, ...] = ()
    """Ids of videos that the list complements."""
    explain: bool = False
    """Whether the result has `scores` and `barred`."""
    shown: tuple[str, ...] = ()
    """Ids of the videos on earlier pages of the list."""


@dataclass(frozen=True, slots=True)
class ListItem:
    """One video of a list."""

    video_id: str
    score: float
    """Score that the list is ordered by."""
    p_click: float
    """Predicted click probability."""
    watch_s: float
    """Predicted watch time in seconds."""
    p_conv: float
    """Predicted purchase probability."""
    utility: float
    """Utility of the predictions, as reranking weighs them."""
    reasons: tuple[str, ...]
    """Codes of `vrec.ranking.reranking.reasons`."""
    source: str
    """Source of the candidate: cf, content, popular, new, search:words, …"""
    propensity: float
    """Probability of this video in this slot given the videos before it; 1 without exploration."""
    rules: tuple[str, ...] = ()
    """Rules of the shop that put it here or changed its score, as `pin:ID`, `campaign:ID` or `boost:ID`."""


def unranked_item(video_id: str, score: float, source: str, reasons: tuple[str, ...] = ()) -> ListItem:
    """Return an item without predictions: predictions and utility are 0, and the propensity is 1."""
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
    """List of videos, best first, with figures about its making."""

    items: tuple[ListItem, ...]
    bundle: str
    """Version of the bundle that was used."""
    degraded: tuple[str, ...] = ()
    """Parts of the service that were missing, such as "profiles" or "ranking"; empty if none."""
    candidates: int = 0
    """Number of candidates that were found."""
    excluded_by_rule: dict[str, int] = field(default_factory=dict)
    """Number of candidates that each hard rule excluded."""
    spent_ms: dict[str, float] = field(default_factory=dict)
    """Milliseconds by stage: profile, candidates, features, ranker, rerank."""
    unknown: tuple[str, ...] = ()
    """Ids of the request's candidates, seeds and cart that are not in the catalog."""
    scores: tuple[Mapping[str, float], ...] = ()
    """Scores of each item by source of candidates; only if they were asked for."""
    barred: tuple[tuple[str, str], ...] = ()
    """Ids of videos that were considered and the rule that excluded each; only if they were asked for."""
    cpu_ms: float = 0.0
    """CPU milliseconds of the process that made it, if that is another one."""


@dataclass(frozen=True, eq=False, slots=True)
class CatalogEdit:
    """Edit of one video: an addition, an update of the named fields, or a removal."""

    video_id: str
    kind: Literal["add", "update", "remove"]
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Columns of VIDEOS that the edit sets, without `video_id`; for an addition all that may not be null."""
    vectors: Mapping[Modality, Vectors] = field(default_factory=dict)
    """(1, dim) float32 unit vectors by modality, for the modalities that the edit sets."""
    encoders: Mapping[Modality, str] = field(default_factory=dict)
    """Encoder of each vector by modality."""


@dataclass(frozen=True, eq=False, slots=True)
class VideoUpsert:
    """Update of a video, or its addition if the catalog lacks it."""

    update: CatalogEdit
    addition: CatalogEdit | VrecError
    """Edit that adds the video, or the reason why it cannot be added."""


class JournalPosition(NamedTuple):
    """Position in the catalog changes that one process has written."""

    node: str
    edits: int


class ReadPosition(NamedTuple):
    """Changes that an answer has to have."""

    catalog: JournalPosition | None = None
    """Position in the catalog changes; None for any."""
    rules: int = 0
    """Number of the last change of the shop's rules."""
    streams: int = 0
    """Version of the last start or end of a live stream."""


@dataclass(frozen=True, eq=False, slots=True)
class CatalogChange:
    """Video as the catalog has it after its edits: its complete row and vectors, or its absence."""

    video_id: str
    at: int
    """Time of the video's arrival or change, µs since 1970."""
    row: pa.Table | None
    """VIDEOS with the video's row, and maybe rows of other videos; None for a video that is not in the
    catalog."""
    vectors: dict[Modality, Vectors] = field(default_factory=dict)
    """(1, dim) float32 unit vectors by modality that replace the bundle's."""
    encoders: dict[Modality, str] = field(default_factory=dict)
    """Encoder of each vector by modality; vectors of encoders other than the bundle's are ignored."""
    number: int = 0
    """Place of the video's row in `row`."""


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """Video of the catalog with its present state."""

    card: Mapping[str, Any]
    """Row of VIDEOS by column."""
    barred_by: tuple[str, ...]
    """Eligibility rules that keep it from every shopper; none if it can be recommended."""
    min_age: int | None
    """Age in years below which a shopper does not get it; None without a limit."""
    embedded: bool
    """Whether it has a vector of the bundle's encoder."""


@dataclass(frozen=True, slots=True)
class CatalogPage:
    """Page of the catalog, by ascending video id."""

    entries: tuple[CatalogEntry, ...]
    matching: int
    """Number of videos that match, on all pages."""
    has_more: bool
    """Whether further videos match after the last one."""


@dataclass(frozen=True, eq=False, slots=True)
class EmbeddedVideo:
    """Result of embedding a video."""

    vectors: dict[Modality, Vectors]
    """(1, dim) float32 unit vectors by modality, for the modalities present."""
    encoders: dict[Modality, str]
    """Encoder of each vector by modality."""
    duration_s: float | None
    """Length of the video in seconds; None if unknown."""
    decode_s: float
    """Seconds spent decoding."""
    encode_s: float
    """Seconds spent encoding."""
    copy_of: str | None = None
    """Video of the bundle that it is a copy of; None if there is none, or the bundle has no fingerprints."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Call of an operation; without bodies, secrets, or ids of shoppers."""

    at: int
    """µs since 1970."""
    by: str | None
    """Name of the API key; None without keys."""
    operation: str
    """Operation of the OpenAPI document, such as `update_video`."""
    method: str
    path: str
    """Path as the document has it, such as `/v1/videos/{video_id}`."""
    target: Mapping[str, str]
    """Parameters of the path, except ids of shoppers; of some operations also what they change."""
    status: int
    """Status of the response."""
    request_id: str
    reason: str | None = None
    """Reason why it was refused, for some operations; None for others, and for those that were done."""
