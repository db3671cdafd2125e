"""Models of requests and responses about creators."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypeAliasType

from vrec.serving.creators import lists
from vrec.serving.http.schemas.requests import Cursor
from vrec.serving.http.schemas.responses import ResponseModel

MAX_CREATORS = 500
"""Maximum number of creators on a page."""
CreatorKind = TypeAliasType("CreatorKind", lists.CreatorKind)
"""All creators, or streamers: those who have live streams, now or before."""


class CreatorFiguresResponse(ResponseModel):
    """Figures of a creator when the bundle was made. Rates are smoothed towards those of all creators."""

    videos_per_week: float
    """Videos published a week, from the first to the last."""
    last_published_at: datetime | None
    category: str | None
    """Most frequent category of the videos."""
    price: float | None
    """Median price of the videos."""
    impressions: int
    click_ratio: float
    """Clicks relative to those of an average creator in the same positions."""
    completion_rate: float
    """Share of the watches that were complete."""
    skip_rate: float
    """Share of skips among watches and skips."""
    refund_rate: float
    """Share of the purchases that were refunded."""
    report_rate: float
    """Reports per watch, by events of the shop's own kind `report`."""
    viewers: int
    """Shoppers who watched a video."""
    repeat_viewers: float
    """Share of the viewers who watched on several days."""
    followers: int
    gifts: int


class CreatorProfile(ResponseModel):
    """Creator or streamer."""

    creator_id: str
    about: str
    """Profile in a few words."""
    videos: int
    """Number of videos in the catalog, streams too."""
    streams: int
    """Number of live streams in the catalog, live or over."""
    is_new: bool
    """Whether the videos had fewer than `serve.creators.new_impressions` impressions."""
    figures: CreatorFiguresResponse | None
    """Figures when the bundle was made; null for a creator that it does not have."""


class CreatorActivity(ResponseModel):
    """Figures of what shoppers did with a creator so far, by all events that the service has."""

    follows: int
    """Follows that are in force, of the creator or from one of its videos."""
    gifts: int
    gifted: float
    """Value of the gifts."""


class CreatorResponse(CreatorProfile):
    """Response of `GET /v1/creators/{creator_id}`."""

    activity: CreatorActivity


class ListCreatorsQuery(BaseModel):
    """Query of `GET /v1/creators`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    kind: CreatorKind = "creator"
    """All creators, or streamers alone."""
    limit: Annotated[int, Field(ge=1, le=MAX_CREATORS)] = 100
    """Maximum number of creators."""
    cursor: Cursor | None = None
    """`next_cursor` of the page before; absent for the first page."""


class CreatorsResponse(ResponseModel):
    """Response of `GET /v1/creators`."""

    creators: list[CreatorProfile]
    """Creators by ascending id."""
    found: int
    """Number of creators on all pages."""
    next_cursor: str | None
    """`cursor` of the next page; null on the last one."""


class RecommendedCreator(CreatorProfile):
    """Creator of a list."""

    position: int
    """Position in the list from 0; send it with the events of this item."""
    score: float
    """Score in standard deviations over the candidates."""
    propensity: float
    """Probability of this creator in this position given those before; send it with the impression."""
    source: Literal["watched", "model", "content", "quality"]
    """What speaks for the creator: the shopper watches its videos, the recommender of creators, videos like
    those that the shopper likes, or its rates alone."""


class RecommendCreatorsResponse(ResponseModel):
    """Response of `POST /v1/recommend` with the kind `creator` or `streamer`."""

    request_id: str
    """Id of this response; send it with the events of its items."""
    bundle: str
    """Version of the bundle in service."""
    degraded: bool
    """Whether a part of the service was unavailable; then the list may have creators that the shopper
    follows."""
    why: list[str]
    """Unavailable parts."""
    creators: list[RecommendedCreator]
    """Creators, best first."""
