"""Models of a request for several lists at once, and of its response."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter
from pydantic.types import Tag
from pydantic_core import PydanticCustomError

from vrec.serving.http.schemas.requests import (
    SESSION_TAG,
    USER_TAG,
    ListKind,
    RankedListRequest,
    RecommendContext,
    RecommendRequest,
    RequestModel,
    SessionFields,
    SessionRecommendRequest,
    UserFields,
    UserRecommendRequest,
    by_shopper,
)
from vrec.serving.http.schemas.responses import RecommendResponse, ResponseModel

MAX_SLOTS = 10
"""Maximum number of slots in one request."""
SlotName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,32}$")]


class SlotRequest(RankedListRequest):
    """Slot of a page: a list of its own."""

    name: SlotName
    """Name of the slot, which is in the `request_id` of its list."""
    kind: ListKind = "video"
    """What the list is of: `video` for videos and live streams, `stream` for live streams alone."""


def _check_names(slots: list[SlotRequest]) -> list[SlotRequest]:
    """Return slots of which no two have one name."""
    names = [slot.name for slot in slots]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise PydanticCustomError(
            "slots", "two slots have the name {name}: give each its own", {"name": min(repeated)}
        )
    return slots


class SlotsFields(RequestModel):
    """Fields of `POST /v1/recommend:slots` besides the shopper."""

    context: RecommendContext = Field(default_factory=RecommendContext)
    """Context of the recommendation."""
    slots: Annotated[
        list[SlotRequest], Field(min_length=1, max_length=MAX_SLOTS), AfterValidator(_check_names)
    ]
    """Slots in their order: the list of each has no video of those before it."""

    def _fields_of(self, slot: SlotRequest) -> dict[str, Any]:
        return {
            "k": slot.k, "kind": slot.kind, "kinds": slot.kinds, "filters": slot.filters,
            "exclude": slot.exclude,
            "surface": slot.surface, "candidates": slot.candidates, "for": slot.related,
            "explain": slot.explain, "context": self.context,
        }  # fmt: skip


class UserSlotsRequest(UserFields, SlotsFields):
    """Body of `POST /v1/recommend:slots` for a shopper with an account."""

    def request_of(self, slot: SlotRequest) -> RecommendRequest:
        """Return the request of `POST /v1/recommend` that has the same list."""
        return UserRecommendRequest(user_id=self.user_id, **self._fields_of(slot))


class SessionSlotsRequest(SessionFields, SlotsFields):
    """Body of `POST /v1/recommend:slots` for a shopper without account."""

    def request_of(self, slot: SlotRequest) -> RecommendRequest:
        """Return the request of `POST /v1/recommend` that has the same list."""
        return SessionRecommendRequest(session_id=self.session_id, **self._fields_of(slot))


SlotsRequest = UserSlotsRequest | SessionSlotsRequest
SLOTS_BODY: TypeAdapter[SlotsRequest] = TypeAdapter(
    Annotated[
        Annotated[UserSlotsRequest, Tag(USER_TAG)] | Annotated[SessionSlotsRequest, Tag(SESSION_TAG)],
        by_shopper(),
    ]
)
"""Body of `POST /v1/recommend:slots`."""


class SlotResponse(RecommendResponse):
    """List of a slot."""

    name: str
    """Name of the slot."""


class SlotsResponse(ResponseModel):
    """Response of `POST /v1/recommend:slots`."""

    request_id: str
    """Id of this response. Each list has its own, which goes with the events of its items."""
    slots: list[SlotResponse]
    """The lists in the order of the request."""
