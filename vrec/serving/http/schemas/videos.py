"""Models of requests and responses about videos of the catalog."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from vrec.core.schema import CREATOR_PREFIX
from vrec.serving.http.schemas.requests import (
    PLAIN_PATTERN,
    Amount,
    Cursor,
    Expression,
    LanguageTag,
    ListFilters,
    Moment,
    Name,
    Names,
    RequestModel,
    ShortId,
    ShortIds,
    Text,
    VideoId,
    VideoKind,
)
from vrec.serving.http.schemas.responses import ResponseModel, VideoResponse
from vrec.serving.messages import RequestFilters

MAX_LISTED = 200
"""Maximum number of videos in a page of the catalog."""
NotRecommendable = TypeAliasType(
    "NotRecommendable", Literal["unavailable", "unpublished", "expired", "kind", "ban", "over"]
)
"""Rules that keep a video from every shopper; `kind` is one that "feed" does not show, `over` a live stream
that has ended."""
VideoUri = Annotated[str, StringConstraints(min_length=1, max_length=1_000, pattern=PLAIN_PATTERN)]
SIMILAR_SUFFIX, MOMENTS_SUFFIX = "/similar", "/moments"
"""End of the path that returns the videos similar to one."""


def check_in_utc(at: datetime) -> datetime:
    """Return a time that is one in UTC too."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError(
            "utc_range", "is outside the years 1 to 9999 in UTC; null is without an end"
        ) from None


class VideoFields(RequestModel):
    """Catalog fields of a video besides its id, creator and file."""

    title: Text | None = None
    """Title of the video."""
    kind: VideoKind = "clip"
    """Kind of the video."""
    domain: Name = "shop"
    """Part of the business that the video belongs to."""
    category: Name | None = None
    """Category of the video."""
    tags: Names = Field(default_factory=list)
    """Tags of the video."""
    product_ids: ShortIds = Field(default_factory=list)
    """Ids of the products in the video."""
    language: LanguageTag | None = None
    """Language tag, such as `en` or `zh-Hans`."""
    price: Amount | None = None
    """Price of the product."""
    available: bool = True
    """Whether the video may be shown."""
    expires_at: Annotated[Moment, AfterValidator(check_in_utc)] | None = None
    """Time from which no list has the video, such as 2026-12-24T18:00:00Z."""


class UpdateVideoRequest(VideoFields):
    """Body of `PATCH /v1/videos/{video_id}`. Absent fields stay; null removes a title, category, language,
    price or expiry date."""

    creator_id: ShortId | None = None
    """Id of the creator; null leaves it as it is."""


def check_new_id(video_id: str) -> str:
    """Return an id that is no path of similar videos, and not in the namespace of creators in events."""
    if video_id.endswith(MOMENTS_SUFFIX):
        raise PydanticCustomError("moments", "an id may not end in /moments, which is a path of the service")
    if video_id.endswith(SIMILAR_SUFFIX):
        raise PydanticCustomError("similar", "an id may not end in /similar, which is a path of the service")
    if video_id.startswith(CREATOR_PREFIX):
        raise PydanticCustomError(
            "creator", "an id may not begin with creator: which events about a creator and no video have"
        )
    return video_id


NewVideoId = Annotated[VideoId, AfterValidator(check_new_id)]
"""Id that a video may be added with."""


class NewVideoFields(VideoFields):
    """Fields of a new video, beside its file or URI."""

    creator_id: ShortId
    """Id of the creator."""
    video_id: NewVideoId | None = None
    """Id of the video; generated if absent. It may neither end in `/similar` or `/moments` nor begin with
    `creator:`."""


class UploadVideoForm(NewVideoFields):
    """Body of `POST /v1/uploads`, a form with the video."""

    file: Annotated[str, Field(json_schema_extra={"format": "binary"})]
    """Video file."""


class AddVideoRequest(NewVideoFields):
    """Body of `POST /v1/videos`, with the URI of a video that the service may read."""

    uri: VideoUri
    """Path or URI below one of `security.media_roots`."""


class BulkVideoRow(UpdateVideoRequest):
    """Line of `POST /v1/videos:bulk`. A video of the catalog is changed in the given fields; another one is
    added, which takes `uri` and `creator_id`."""

    video_id: NewVideoId
    """Id of the video."""
    uri: VideoUri | None = None
    """Path or URI below one of `security.media_roots` of a video to add; that of a known video stays. The
    file is not embedded: until a bundle has the video, it is found by its words and as a new video."""


class BulkFailure(ResponseModel):
    """Line of a bulk request that changed nothing."""

    line: int
    """Number of the line, from 1."""
    video_id: str | None
    """Id of the video; null if the line has none."""
    type: str
    """Kind of problem, as in ProblemDocument."""
    detail: str
    """Explanation of the problem."""


class BulkResponse(ResponseModel):
    """Response of `POST /v1/videos:bulk`. Every line is counted in one of `added`, `updated` and `failed`."""

    added: int
    updated: int
    failed: int
    failures: list[BulkFailure]
    """The failed lines, ascending."""


class FilterQuery(BaseModel):
    """Filters in the query of a list; an absent one has no effect."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    kinds: Annotated[list[VideoKind], Field(max_length=3)] = Field(default_factory=list)
    """Only videos of these kinds."""
    categories: Names = Field(default_factory=list)
    """Only these categories."""
    creators: Names = Field(default_factory=list)
    """Only these creators."""
    tags: Names = Field(default_factory=list)
    """Only videos with at least one of these tags."""
    languages: Names = Field(default_factory=list)
    """Only videos in these languages or without a language."""
    most_price: Amount | None = None
    """Maximum price; a video without a price passes."""
    expression: Expression | None = None
    """Filter expression, such as `category in ["mugs", "hats"] and price <= 20 and not tag = "sale"`."""

    def to_filters(self) -> RequestFilters:
        """Return the filters for the serving backend."""
        filters = ListFilters(
            categories=self.categories,
            creators=self.creators,
            tags=self.tags,
            languages=self.languages,
            most_price=self.most_price,
            expression=self.expression,
        )
        return filters.to_filters(self.kinds, [])


class ListVideosQuery(FilterQuery):
    """Query of `GET /v1/videos`; an absent filter has no effect."""

    available: bool | None = None
    """Only videos that are available, or only those that are not."""
    text: Text | None = None
    """Words that a video has, each in its id, title, creator, category or a tag; case is ignored."""
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = 50
    """Maximum number of videos in the page."""
    cursor: Cursor | None = None
    """`next_cursor` of the page before; absent for the first page."""


class VideoDetails(VideoResponse):
    """Video of the catalog with all its fields and its present state."""

    uri: str
    domain: str
    published_at: datetime | None
    """Time from which the video is shown; null if it has none."""
    embedded: bool
    """Whether the video has a content vector, without which it has no similar videos by content."""
    min_age: int | None
    """Age in years below which a shopper does not get the video; null without a limit."""
    recommendable: bool
    """Whether lists can have the video, for shoppers who have not hidden, blocked or bought it."""
    why_not: list[NotRecommendable]
    """Reasons why no list has the video."""


class VideosResponse(ResponseModel):
    """Page of the catalog, by ascending video id."""

    videos: list[VideoDetails]
    found: int
    """Number of videos that match now, on all pages."""
    next_cursor: str | None
    """`cursor` of the next page; null on the last one."""
