"""Models of requests with events."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, TypeAdapter, ValidationInfo, WithJsonSchema, model_validator
from pydantic.types import Discriminator, Tag
from pydantic_core import PydanticCustomError

from vrec.core.schema import SEARCH_PREFIX
from vrec.profiles.links import account_key
from vrec.serving.http.schemas.event_kind import EventKind
from vrec.serving.http.schemas.requests import (
    ID_PATTERN,
    MANY_TAG,
    MAX_OTHER_CHARS,
    MAX_VIDEO_ID_CHARS,
    ONE_TAG,
    SESSION_TAG,
    USER_TAG,
    WHOLE_NUMBER,
    Amount,
    Domain,
    Id,
    Moment,
    RequestModel,
    SessionFields,
    Surface,
    UserFields,
    VideoId,
    by_shopper,
)

MAX_EVENTS = 1_000
"""Maximum number of events in one request."""
CLOCK_SKEW = timedelta(minutes=5)
"""Maximum lead of a sender's clock."""
MAX_EVENT_AGE = timedelta(days=366)
"""Maximum age of an event on arrival."""


def _check_event_time(at: datetime, info: ValidationInfo) -> datetime:
    """Return the time of an event if it is within the limits around `context["now"]`."""
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
            "{at} is more than {days} days ago: give older events to `vrec fit`",
            {"at": at.isoformat(), "days": MAX_EVENT_AGE.days},
        )
    return at


def _check_video_id(video_id: str) -> str:
    """Return the video id of an event that is not one of a search."""
    if video_id.startswith(SEARCH_PREFIX):
        raise PydanticCustomError(
            "search",
            "a video_id may not begin with search: as those of the service's own events of searches do; "
            "send the search to POST /v1/search with user_id or session_id",
        )
    return video_id


EventVideoId = Annotated[
    VideoId,
    AfterValidator(_check_video_id),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_VIDEO_ID_CHARS,
            "pattern": ID_PATTERN,
            "not": {"pattern": f"^{SEARCH_PREFIX}"},
        }
    ),
]
"""Id of the video, or of the creator, of an event."""


class EventFields(RequestModel):
    """Fields of an event besides its shopper."""

    event_id: Id
    """Id that the sender chooses, such as a UUID; an event counts once, however often it is sent."""
    video_id: EventVideoId
    """Id of the video, which need not be in the catalog."""
    kind: EventKind
    """Kind of the event."""
    value: Amount | None = None
    """Seconds of a watch, money of a purchase or refund."""
    position: Annotated[int, Field(ge=0, le=32_767), WHOLE_NUMBER] | None = None
    """Position in the list from 0, as in the response."""
    request_id: Id | None = None
    """`request_id` of the response that listed the video."""
    propensity: Annotated[float, Field(gt=0, le=1)] | None = None
    """Propensity of the item, as in the response."""
    surface: Surface = "feed"
    """Surface of the event."""
    at: Annotated[Moment, AfterValidator(_check_event_time)] | None = None
    """Time of the event, such as 2026-05-04T12:00:00Z; the time of arrival if absent."""


class UserEventRequest(UserFields, EventFields):
    """Event: something that a shopper with an account saw or did."""

    domain: Domain | None = None
    """Other domain in which it happened, such as a social network: `user_id` is then the account there, with
    at most 80 characters. It counts for the shopper to whom the account is linked."""
    linked: bool = False
    """True, with `domain`: `user_id` is the shopper in the shop, and the event is stored as one of the
    account to which the shopper is linked there."""

    @model_validator(mode="after")
    def _check_account(self) -> Self:
        """Check that a linked account has a domain, and the length of an account's id."""
        if self.linked and self.domain is None:
            raise PydanticCustomError("linked", "linked needs domain: name that of the shopper's account")
        if self.domain is not None and not self.linked and len(self.user_id) > MAX_OTHER_CHARS:
            raise PydanticCustomError(
                "account",
                "user_id has more than {most} characters, the most with `domain`",
                {"most": MAX_OTHER_CHARS},
            )
        return self

    @property
    def user_key(self) -> str:
        """Id of the shopper or account in events and profiles, where `linked` does not say otherwise."""
        return self.user_id if self.domain is None else account_key(self.domain, self.user_id)


class SessionEventRequest(SessionFields, EventFields):
    """Event: something that a shopper without account saw or did."""


EventRequest = UserEventRequest | SessionEventRequest
_AnyEvent = Annotated[
    Annotated[UserEventRequest, Tag(USER_TAG)] | Annotated[SessionEventRequest, Tag(SESSION_TAG)],
    by_shopper(),
]


class EventsRequest(RequestModel):
    """Several events."""

    events: Annotated[list[_AnyEvent], Field(min_length=1, max_length=MAX_EVENTS)]
    """Events, of which all are stored or none."""


def _one_or_many(body: Any) -> str:
    return MANY_TAG if isinstance(body, dict) and "events" in body else ONE_TAG


EVENTS_BODY: TypeAdapter[EventRequest | EventsRequest] = TypeAdapter(
    Annotated[
        Annotated[_AnyEvent, Tag(ONE_TAG)] | Annotated[EventsRequest, Tag(MANY_TAG)],
        Discriminator(_one_or_many),
    ]
)
"""Body of `POST /v1/events`."""
