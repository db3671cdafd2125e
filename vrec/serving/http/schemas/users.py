"""Bodies and responses of `/v1/users`."""

from datetime import datetime

from vrec.serving.http.schemas.requests import RequestModel, SessionId
from vrec.serving.http.schemas.responses import ResponseModel


class JoinSessionRequest(RequestModel):
    """Body of `POST /v1/users/{user_id}/sessions`."""

    session_id: SessionId
    """Session in which the shopper logged in, as in its events."""


class JoinSessionResponse(ResponseModel):
    """Session that joined an account."""

    user_id: str
    session_id: str
    events: int
    """Events of the session that became the shopper's; 0 if the session had joined before."""


class InterestItem(ResponseModel):
    """Interest in a category or creator."""

    name: str
    interest: float
    """Events that showed interest, less those that showed the opposite."""
    share: float | None
    """Share of the shopper's events of interest, at most 1; null if the interest is not above 0."""


class UserTaste(ResponseModel):
    """Videos in which a shopper showed interest lately, summed up; null where the catalog does not say."""

    videos: int
    """Number of these videos that the catalog has."""
    tags: list[str]
    """Most frequent tags, at most 5."""
    typical_price: float | None
    """Median price."""
    typical_length_s: float | None
    """Median length in seconds."""
    languages: list[str]
    """Languages, the most frequent first."""


class UserEvent(ResponseModel):
    """Event of a shopper."""

    event_id: str
    kind: str
    video_id: str
    at: datetime
    value: float | None
    surface: str
    position: int | None
    request_id: str | None


class UserResponse(ResponseModel):
    """Profile of a shopper in plain words, and the last events."""

    user_id: str
    """The account, also where its session was asked for."""
    summary: list[str]
    """The profile in plain English sentences."""
    events: int
    """Number of events that count: without those that are removed or reversed."""
    counts: dict[str, int]
    """These events by kind."""
    watched_s: float
    """Seconds watched."""
    active_hours: list[int]
    """Hours of the day (UTC) with the most events, at most 3."""
    categories: list[InterestItem]
    """The strongest interest first."""
    creators: list[InterestItem]
    """The strongest interest first."""
    taste: UserTaste
    bought: list[str]
    """Videos from which the shopper bought, the last first."""
    hidden: list[str]
    """Videos that the shopper hid or disliked, which are in no list of theirs."""
    recent: list[UserEvent]
    """A page of the events as they arrived, the last first, reversed ones included."""
    next_cursor: str | None
    """`cursor` of the next page of `recent`; null at the end."""
