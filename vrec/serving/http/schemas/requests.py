"""What requests may say, bounded field by field, and what answers say."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationInfo,
    model_validator,
)
from pydantic.types import Discriminator, Tag
from pydantic_core import PydanticCustomError

from vrec.serving.messages import RequestFilters

MAX_EVENTS = 1_000
"""Events in one request."""
MAX_ITEMS = 100
"""Videos in one answer."""
MAX_NAMES = 1_000
"""Ids in one list of a request, such as `exclude`."""
CLOCK_SKEW = timedelta(minutes=5)
"""How far a sender's clock may be ahead."""
MAX_EVENT_AGE = timedelta(days=366)
"""How old an event may be when it comes."""

SIMILAR_SUFFIX = "/similar"
"""What the path of a video's neighbours ends in."""

# No control characters: ids are written to logs, keys of stores and file formats.
_PLAIN = r"^[^\x00-\x1f\x7f]+$"
Id = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=_PLAIN)]
VideoId = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=_PLAIN)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_PLAIN)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=_PLAIN)]
Surface = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,32}$")]


def _whole(given: Any) -> Any:
    """JSON has one kind of number: 3.0 is as whole as 3."""
    return int(given) if isinstance(given, float) and given.is_integer() else given


# After the bounds, or the document would not tell them.
_WHOLE = BeforeValidator(_whole)
Names = Annotated[list[Name], Field(max_length=50)]
VideoKind = Literal["product", "live", "clip"]
EventKind = Literal["impression", "click", "watch", "like", "share", "follow", "cart", "purchase"]
Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
ArmName = Annotated[str, StringConstraints(max_length=64)]

# What JSON Schema says of "exactly one of user_id and session_id".
_ONE_SHOPPER: dict[str, Any] = {
    "oneOf": [
        {
            "required": [one],
            "properties": {one: {"type": "string"}, other: {"type": "null"}},
        }
        for one, other in (("user_id", "session_id"), ("session_id", "user_id"))
    ]
}


class RequestModel(BaseModel):
    """The base of what requests say: nothing unknown, and nothing that must be guessed at."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class ShopperFields(RequestModel):
    """Whom a request or an event is about: someone with an account, or a visit."""

    user_id: Id | None = None
    """The shopper's id in the shop, best a pseudonym."""
    session_id: Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=_PLAIN)] | None = None
    """The visit of someone who is not known; its profile is `session:` and this id."""

    @model_validator(mode="after")
    def _check_one_shopper(self) -> Self:
        if (self.user_id is None) == (self.session_id is None):
            raise PydanticCustomError("shopper", "give either user_id or session_id")
        return self

    @property
    def user_key(self) -> str:
        """The id under which events and profiles are kept."""
        return self.user_id if self.user_id is not None else f"session:{self.session_id}"


class ListFilters(RequestModel):
    """What the list may hold; what is absent or empty restricts nothing."""

    categories: Names = Field(default_factory=list)
    """Only these categories."""
    creators: Names = Field(default_factory=list)
    """Only these creators."""
    tags: Names = Field(default_factory=list)
    """Only videos with one of these tags."""
    languages: Names = Field(default_factory=list)
    """Only these languages, and videos without one."""
    most_price: Amount | None = None
    """Nothing dearer."""
    blocked_creators: Names = Field(default_factory=list)
    """Nothing of these creators."""
    blocked_categories: Names = Field(default_factory=list)
    """Nothing of these categories."""

    def to_filters(self, kinds: list[VideoKind], exclude: list[str]) -> RequestFilters:
        """The same as the graph takes it."""
        return RequestFilters(
            kinds=frozenset(kinds) or None,
            categories=frozenset(self.categories) or None,
            creators=frozenset(self.creators) or None,
            tags=frozenset(self.tags) or None,
            languages=frozenset(self.languages) or None,
            most_price=self.most_price,
            exclude=frozenset(exclude),
            blocked_creators=frozenset(self.blocked_creators),
            blocked_categories=frozenset(self.blocked_categories),
        )


class RecommendContext(RequestModel):
    """What is known of the moment."""

    age: Annotated[int, Field(ge=0, le=130), _WHOLE] | None = None
    """The shopper's least age in years, where it was declared or proved."""


class ListRequest(RequestModel):
    """What a list is chosen from."""

    kinds: Annotated[list[VideoKind], Field(max_length=3)] = Field(default_factory=list)
    """Only videos of these kinds."""
    k: Annotated[int, Field(ge=1, le=MAX_ITEMS), _WHOLE] = 20
    """How many videos at most."""
    filters: ListFilters = Field(default_factory=ListFilters)
    """What the list may hold."""
    exclude: Annotated[list[VideoId], Field(max_length=MAX_NAMES)] = Field(default_factory=list)
    """Videos that must not be in it, such as those on the screen."""


class RecommendRequest(ShopperFields, ListRequest):
    """`POST /v1/recommend`."""

    model_config = ConfigDict(json_schema_extra=_ONE_SHOPPER)

    surface: Surface = "feed"
    """Where the list is shown; settings can differ by it."""
    context: RecommendContext = Field(default_factory=RecommendContext)
    """What is known of the moment."""


class SearchRequest(ListRequest):
    """`POST /v1/search`."""

    text: Text
    """What is looked for, in any of the catalogue's languages."""


def _check_event_time(at: datetime, info: ValidationInfo) -> datetime:
    now: datetime = info.context["now"] if info.context else datetime.now(UTC)
    if at > now + CLOCK_SKEW:
        raise PydanticCustomError(
            "future",
            "{at} is more than {minutes} minutes after this server's clock, {now}: set the sender's clock",
            {"at": at.isoformat(), "minutes": CLOCK_SKEW.seconds // 60, "now": now.isoformat()},
        )
    if at < now - MAX_EVENT_AGE:
        raise PydanticCustomError(
            "past",
            "{at} is more than {days} days ago: older events belong into `vrec fit`",
            {"at": at.isoformat(), "days": MAX_EVENT_AGE.days},
        )
    return at


class EventRequest(ShopperFields):
    """One thing that a shopper saw or did."""

    model_config = ConfigDict(json_schema_extra=_ONE_SHOPPER)

    event_id: Id
    """An id of the sender's making, such as a UUID: however often an event is sent, it counts once."""
    video_id: VideoId
    """Which video; one that is not in the catalogue (yet) counts too."""
    kind: EventKind
    """What happened."""
    value: Amount | None = None
    """Seconds for a watch, money for a purchase."""
    position: Annotated[int, Field(ge=0, le=32_767), _WHOLE] | None = None
    """The place in the list, from 0, as the answer gave it."""
    request_id: Id | None = None
    """The answer's request_id."""
    propensity: Annotated[float, Field(gt=0, le=1)] | None = None
    """The item's propensity, as the answer gave it."""
    surface: Surface = "feed"
    """Where it happened."""
    at: Annotated[AwareDatetime, AfterValidator(_check_event_time)] | None = None
    """When, as in 2026-05-04T12:00:00Z; when it came, where absent."""


class EventsRequest(RequestModel):
    """Many events."""

    events: Annotated[list[EventRequest], Field(min_length=1, max_length=MAX_EVENTS)]
    """They are kept all or none."""


def _one_or_many(given: Any) -> str:
    return "many" if isinstance(given, dict) and "events" in given else "one"


EVENTS_BODY: TypeAdapter[EventRequest | EventsRequest] = TypeAdapter(
    Annotated[
        Annotated[EventRequest, Tag("one")] | Annotated[EventsRequest, Tag("many")],
        Discriminator(_one_or_many),
    ]
)
"""The body of `POST /v1/events`, whose errors begin with "one" or "many"."""


class VideoFields(RequestModel):
    """What a catalogue says of a video besides whose it is and its bytes."""

    title: Text | None = None
    """Its name, for people."""
    kind: VideoKind = "clip"
    """What it shows."""
    domain: Name = "shop"
    """The part of the business that it belongs to."""
    category: Name | None = None
    tags: Names = Field(default_factory=list)
    product_ids: Names = Field(default_factory=list)
    """What it sells."""
    language: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$")] | None = (
        None
    )
    """A language tag, such as `en` or `zh-Hans`."""
    price: Amount | None = None
    available: bool = True
    """Whether it may be shown."""


class UpdateVideoRequest(VideoFields):
    """`PUT /v1/videos/{video_id}`: what is absent stays as it is; null takes a title or a price away."""

    creator_id: Name | None = None
    """Whose it is; null leaves it as it is."""


def _check_addressable(video_id: str) -> str:
    if video_id.endswith(SIMILAR_SUFFIX):
        raise PydanticCustomError("similar", "no id may end in /similar, which is a path of its own")
    return video_id


class NewVideoFields(VideoFields):
    """What is said of a new video, beside an uploaded file or a URI."""

    creator_id: Name
    """Whose it is."""
    video_id: Annotated[VideoId, AfterValidator(_check_addressable)] | None = None
    """Its id; one is made where absent."""


class UploadVideoForm(NewVideoFields):
    """`POST /v1/videos` as a form: an uploaded video."""

    file: Annotated[str, Field(json_schema_extra={"format": "binary"})]
    """The video."""


class AddVideoRequest(NewVideoFields):
    """`POST /v1/videos` as JSON: a video that lies where the service may read it."""

    uri: Annotated[str, StringConstraints(min_length=1, max_length=1_000, pattern=_PLAIN)]
    """A path or URI below one of `security.media_roots`."""
