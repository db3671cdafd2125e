"""Models of request bodies; every field has limits."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    WithJsonSchema,
)
from pydantic.types import Discriminator, Tag
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from vrec.core.schema import DOMAIN_PREFIX, SESSION_PREFIX
from vrec.serving.catalog.expressions import (
    EXPRESSION_FORMAT,
    MAX_EXPRESSION_CHARS,
    InvalidExpression,
    parse_expression,
)
from vrec.serving.http.cursors import CURSOR_FORMAT, MAX_CURSOR_CHARS
from vrec.serving.messages import KindOfVideo, RequestFilters

MAX_ITEMS = 100
"""Maximum number of videos in one response."""
MAX_NAMES = 1_000  # ids in `exclude`
MAX_CANDIDATES = 500
"""Maximum number of videos that a request can have ranked."""
MAX_SEEDS = 50  # videos that a list is made for
MAX_ID_CHARS, MAX_VIDEO_ID_CHARS = 128, 256
"""Maximum length of an id of a user, event or request."""
USER_TAG, SESSION_TAG, ONE_TAG, MANY_TAG = "(user)", "(session)", "(one)", "(many)"
"""Alternatives of a body. They stand in the paths of validation errors, but in no message to a client."""
# No control characters: ids are written to logs, keys of stores and file formats.
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
PLAIN_PATTERN = r"^[^\x00-\x1f\x7f]+$"
# Nor spaces around an id, which tables of events do not keep.
ID_PATTERN = r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$"
Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARS, pattern=ID_PATTERN)]
VideoId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_VIDEO_ID_CHARS, pattern=ID_PATTERN)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=PLAIN_PATTERN)]
ShortId = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=ID_PATTERN)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=PLAIN_PATTERN)]
Surface = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,32}$")]


def _to_whole(number: Any) -> Any:
    """Return an integer for a whole float: JSON has one type of number, in which 3.0 is 3."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


# Stands after the bounds in annotations; else the OpenAPI document would lack them.
WHOLE_NUMBER = BeforeValidator(_to_whole)


def _check_cursor(cursor: str) -> str:
    """Return a cursor that is not empty: as the first page, an empty one would lead in circles."""
    if not cursor:
        raise PydanticCustomError(
            "empty_cursor",
            "is empty: leave it out for the first page, and stop after a page without next_cursor",
        )
    return cursor


Cursor = Annotated[
    str,
    AfterValidator(_check_cursor),
    Field(max_length=MAX_CURSOR_CHARS, json_schema_extra={"minLength": 1, "format": CURSOR_FORMAT}),
]


def _check_time_text(at: Any) -> Any:
    """Return a time that is no number, with or without quotes: its unit would be a guess."""
    if not isinstance(at, datetime) and not (isinstance(at, str) and _DATE.match(at)):
        raise PydanticCustomError(
            "time_text", "Input should be a date and time with an offset, such as 2026-12-24T18:00:00Z"
        )
    return at


# Not strict: a value that a validator has seen counts as Python's, which would have to be a datetime.
Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_check_time_text)]
Names = Annotated[list[Name], Field(max_length=50)]
ShortIds = Annotated[list[ShortId], Field(max_length=50)]
LanguageTag = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$")]
# Aliases with a name are schemas of their own in the OpenAPI document, and one type in generated clients.
VideoKind = TypeAliasType("VideoKind", KindOfVideo)
ListKind = TypeAliasType("ListKind", Literal["video", "stream"])
RecommendKind = TypeAliasType("RecommendKind", Literal["video", "stream", "creator", "streamer"])
Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
ArmName = Annotated[str, StringConstraints(max_length=64)]


def _check_expression(text: str) -> str:
    """Return a filter expression that can be parsed."""
    try:
        parse_expression(text)
    except InvalidExpression as error:
        raise PydanticCustomError("expression", "{reason}", {"reason": str(error)}) from None
    return text


Expression = Annotated[
    str,
    StringConstraints(max_length=MAX_EXPRESSION_CHARS),
    AfterValidator(_check_expression),
    Field(json_schema_extra={"format": EXPRESSION_FORMAT}),
]


class RequestModel(BaseModel):
    """Base of request bodies: unknown fields and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


def _check_user_id(user_id: str) -> str:
    """Return an id that is not in the namespace of sessions or of accounts in other domains."""
    if user_id.startswith(SESSION_PREFIX):
        raise PydanticCustomError(
            "session", "a user_id may not begin with session: send a visit without account as session_id"
        )
    if user_id.startswith(DOMAIN_PREFIX):
        raise PydanticCustomError(
            "domain", "a user_id may not begin with domain: send an account of another domain with `domain`"
        )
    return user_id


UserId = Annotated[
    Id,
    AfterValidator(_check_user_id),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_ID_CHARS,
            "pattern": ID_PATTERN,
            "not": {"pattern": f"^({SESSION_PREFIX}|{DOMAIN_PREFIX})"},
        }
    ),
]
"""Id of a shopper with an account."""
Domain = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,32}$")]
"""Name of another domain, such as a social network; the shop's videos of it have it as `domain`."""
MAX_OTHER_CHARS = 80
"""Maximum length of the id of an account in another domain."""
OtherUserId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_OTHER_CHARS, pattern=ID_PATTERN)]
SessionId = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=ID_PATTERN)]


def _refuse_second_shopper(given: Any) -> None:
    if given is not None:
        raise PydanticCustomError("shopper", "give only one of user_id and session_id")


class UserFields(RequestModel):
    """Shopper with an account."""

    user_id: UserId
    """Id of the shopper in the shop, preferably a pseudonym. It may begin with neither `session:` nor
    `domain:`."""
    session_id: Annotated[None, BeforeValidator(_refuse_second_shopper)] = None
    """Absent: the shopper has an account."""

    @property
    def user_key(self) -> str:
        """Id of the shopper in events and profiles."""
        return self.user_id


class SessionFields(RequestModel):
    """Shopper without account."""

    session_id: SessionId
    """Id of an anonymous session; its profile has the id `session:` followed by this one."""
    user_id: None = None
    """Absent: the shopper has no account."""

    @property
    def user_key(self) -> str:
        """Id of the shopper in events and profiles."""
        return f"{SESSION_PREFIX}{self.session_id}"


def _shopper_tag(body: Any) -> str | None:
    """Return the tag of a body by its shopper; None, an error, if it names none.

    A body with both, or that is no object, gets a tag too: its model names what is wrong.
    """
    get = body.get if isinstance(body, dict) else lambda name: getattr(body, name, None)
    tags = {"user_id": USER_TAG, "session_id": SESSION_TAG}
    given = [tag for name, tag in tags.items() if get(name) is not None]
    is_object = isinstance(body, dict | BaseModel)
    return given[0] if given else None if is_object else USER_TAG


def by_shopper() -> Discriminator:
    """Return the choice between the models of a shopper with an account and of one without."""
    return Discriminator(
        _shopper_tag,
        custom_error_type="shopper",
        custom_error_message="give either user_id or session_id",
    )


class ListFilters(RequestModel):
    """Filters of a list; an absent or empty filter has no effect."""

    categories: Names = Field(default_factory=list)
    """Only these categories."""
    creators: Names = Field(default_factory=list)
    """Only these creators."""
    tags: Names = Field(default_factory=list)
    """Only videos with at least one of these tags."""
    languages: Names = Field(default_factory=list)
    """Only videos in these languages or without a language."""
    most_price: Amount | None = None
    """Maximum price."""
    expression: Expression | None = None
    """Filter expression, such as `category in ["mugs", "hats"] and price <= 20 and not tag = "sale"`."""
    blocked_creators: Names = Field(default_factory=list)
    """No videos of these creators."""
    blocked_categories: Names = Field(default_factory=list)
    """No videos of these categories."""

    def to_filters(self, kinds: list[VideoKind], exclude: list[str]) -> RequestFilters:
        """Return the filters for the serving backend, with kinds and excluded ids."""
        return RequestFilters(
            kinds=frozenset(kinds) or None,
            categories=frozenset(self.categories) or None,
            creators=frozenset(self.creators) or None,
            tags=frozenset(self.tags) or None,
            languages=frozenset(self.languages) or None,
            most_price=self.most_price,
            expression=None if self.expression is None else parse_expression(self.expression),
            exclude=frozenset(exclude),
            blocked_creators=frozenset(self.blocked_creators),
            blocked_categories=frozenset(self.blocked_categories),
        )


class RecommendContext(RequestModel):
    """Context of a recommendation."""

    age: Annotated[int, Field(ge=0, le=130), WHOLE_NUMBER] | None = None
    """Minimum age of the shopper in years, if declared or verified."""


class ListRequest(RequestModel):
    """Common fields of requests for a list."""

    kinds: Annotated[list[VideoKind], Field(max_length=3)] = Field(default_factory=list)
    """Only videos of these kinds."""
    k: Annotated[int, Field(ge=1, le=MAX_ITEMS), WHOLE_NUMBER] = 20
    """Maximum number of videos."""
    filters: ListFilters = Field(default_factory=ListFilters)
    """Filters of the list."""
    exclude: Annotated[list[VideoId], Field(max_length=MAX_NAMES)] = Field(default_factory=list)
    """Ids of videos to leave out, such as those on the screen."""


class RelatedVideos(RequestModel):
    """Videos that a list is made for, besides the shopper. The list has none of them."""

    video_ids: Annotated[list[VideoId], Field(max_length=MAX_SEEDS)] = Field(default_factory=list)
    """Videos to which the list is related, such as those on the page, by content and by co-watching."""
    cart: Annotated[list[VideoId], Field(max_length=MAX_SEEDS)] = Field(default_factory=list)
    """Videos of what is in the cart: the list complements them, by co-watching alone."""


class ListPage(RequestModel):
    """Next page of a list."""

    request_id: Id
    """`request_id` of the list; its further pages have the same."""
    cursor: Cursor
    """`next_cursor` of the page before."""


class RankedListRequest(ListRequest):
    """Fields of a list for a shopper."""

    surface: Surface = "feed"
    """Surface that shows the list; rerank settings can differ by surface."""
    candidates: Annotated[list[VideoId], Field(min_length=1, max_length=MAX_CANDIDATES)] | None = None
    """Videos to rank, and no others; `for` is then not used."""
    related: RelatedVideos = Field(default_factory=RelatedVideos, alias="for")
    """Videos that the list is made for."""
    explain: bool = False
    """Whether items have `scores` and the response has `barred`."""


class RecommendFields(RankedListRequest):
    """Fields of `POST /v1/recommend` besides the shopper."""

    kind: RecommendKind = "video"
    """What the list is of: `video` for videos and live streams, `stream` for live streams alone, `creator`
    for creators to follow, `streamer` for those of them who stream. Of creators, `exclude` has the ids,
    `filters` and `kinds` are those of their videos, and `candidates`, `for`, `explain` and `page` are not
    used."""
    context: RecommendContext = Field(default_factory=RecommendContext)
    """Context of the recommendation."""
    page: ListPage | None = None
    """Next page of a list; other fields are those of its first page, except `k`, `exclude` and `explain`."""


class UserRecommendRequest(UserFields, RecommendFields):
    """Body of `POST /v1/recommend` for a shopper with an account."""


class SessionRecommendRequest(SessionFields, RecommendFields):
    """Body of `POST /v1/recommend` for a shopper without account."""


RecommendRequest = UserRecommendRequest | SessionRecommendRequest
RECOMMEND_BODY: TypeAdapter[RecommendRequest] = TypeAdapter(
    Annotated[
        Annotated[UserRecommendRequest, Tag(USER_TAG)] | Annotated[SessionRecommendRequest, Tag(SESSION_TAG)],
        by_shopper(),
    ]
)
"""Body of `POST /v1/recommend`."""


class SearchRequest(ListRequest):
    """Body of `POST /v1/search`."""

    text: Text
    """Search text, in any language of the catalog."""
    user_id: UserId | None = None
    """Shopper with an account who searches; only counted, for popular searches."""
    session_id: SessionId | None = None
    """Anonymous session that searches; not used with a `user_id`."""

    moments: bool = False
    """Whether items have `moments`: where in the video the text is said or shown."""

    @property
    def user_key(self) -> str | None:
        """Id of the shopper in events and profiles; None if the request names none."""
        session = None if self.session_id is None else f"{SESSION_PREFIX}{self.session_id}"
        return session if self.user_id is None else self.user_id
