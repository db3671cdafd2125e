"""Models of requests to the assistant, and of its answers."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, StringConstraints, TypeAdapter, model_validator
from pydantic.types import Tag
from typing_extensions import TypeAliasType

from vrec.assistant import answers, wording
from vrec.serving.http.schemas.requests import (
    SESSION_TAG,
    USER_TAG,
    Expression,
    Id,
    ListFilters,
    RecommendContext,
    RequestModel,
    SessionFields,
    SessionId,
    Surface,
    UserFields,
    UserId,
    VideoId,
    by_shopper,
)
from vrec.serving.http.schemas.responses import RecommendedItem, ResponseModel

MAX_MESSAGE_CHARS = 4_000
"""Maximum length of a message that `serve.assistant.message_chars` may allow."""
MAX_LIKED = 10
"""Maximum number of videos to which cards can be similar."""
AssistantLanguage = TypeAliasType("AssistantLanguage", wording.Language)
AssistantAnswerKind = TypeAliasType("AssistantAnswerKind", answers.AnswerKind)
AssistantHandOverReason = TypeAliasType("AssistantHandOverReason", answers.HandOverReason)
ConstraintKey = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class SpokenFields(RequestModel):
    """Fields of a message to the assistant, with or without a file."""

    message: Annotated[str, StringConstraints(max_length=MAX_MESSAGE_CHARS)] = ""
    """What the shopper wrote, in English or Chinese, of at most `serve.assistant.message_chars` characters.
    Without a message the cards are those for what is asked for so far."""
    message_id: Id | None = None
    """Id of the message; one that is sent again is answered as before, not twice. Without it the request's
    id (`X-Request-ID`) counts."""
    remove: ConstraintKey | None = None
    """`key` of a constraint that the shopper takes back, before the message."""
    language: AssistantLanguage | None = None
    """Language of the answer; that of the message if absent."""
    surface: Surface = "assistant"
    """Surface that shows the cards; rerank settings and rules can differ by surface."""


class AssistantFields(SpokenFields):
    """Fields of `POST /v1/assistant` besides the shopper."""

    like: Annotated[list[VideoId], Field(max_length=MAX_LIKED)] = Field(default_factory=list)
    """Videos to which the cards are to be similar."""
    filters: ListFilters = Field(default_factory=ListFilters)
    """Filters of the cards, besides what the shopper asks for."""
    context: RecommendContext = Field(default_factory=RecommendContext)
    """Context of the recommendation."""


class UserAssistantRequest(UserFields, AssistantFields):
    """Body of `POST /v1/assistant` for a shopper with an account."""


class SessionAssistantRequest(SessionFields, AssistantFields):
    """Body of `POST /v1/assistant` for a shopper without account."""


AssistantRequest = UserAssistantRequest | SessionAssistantRequest
ASSISTANT_BODY: TypeAdapter[AssistantRequest] = TypeAdapter(
    Annotated[
        Annotated[UserAssistantRequest, Tag(USER_TAG)] | Annotated[SessionAssistantRequest, Tag(SESSION_TAG)],
        by_shopper(),
    ]
)
"""Body of `POST /v1/assistant`."""


class AssistantFileFields(SpokenFields):
    """Fields of `POST /v1/assistant:by-file` besides the file."""

    user_id: UserId | None = None
    """Id of a shopper with an account; give either this one or `session_id`."""
    session_id: SessionId | None = None
    """Id of an anonymous session."""
    expression: Expression | None = None
    """Filter expression for the cards, besides what the shopper asks for."""

    @model_validator(mode="after")
    def _check_shopper(self) -> Self:
        if (self.user_id is None) == (self.session_id is None):
            raise ValueError("give either user_id or session_id")
        return self

    @property
    def shopper(self) -> UserFields | SessionFields:
        """The shopper, as in a message without a file."""
        if self.user_id is not None:
            return UserFields(user_id=self.user_id)
        assert self.session_id is not None
        return SessionFields(session_id=self.session_id)


class AssistantForm(AssistantFileFields):
    """Form of `POST /v1/assistant:by-file`."""

    file: Annotated[str, Field(json_schema_extra={"format": "binary"})]
    """Picture (JPEG, PNG, WebP) or short clip, of which the first 20 s count."""


class QueryFacets(ResponseModel):
    """Values by facet."""

    category: list[str]
    product: list[str]
    """Kinds of products that no category of the shop holds."""
    color: list[str]
    attribute: list[str]
    tag: list[str]
    creator: list[str]
    size: list[str]
    word: list[str]
    """Other words."""


class PriceBounds(ResponseModel):
    """Range of prices; null where it is open."""

    least: float | None
    most: float | None
    above: bool
    """Whether `least` itself is too little."""
    below: bool
    """Whether `most` itself is too much."""


class ParsedQuery(ResponseModel):
    """All that is asked for so far in a conversation."""

    wanted: QueryFacets
    """A card has one of the values of each facet, and all attributes."""
    unwanted: QueryFacets
    """No card has any of these."""
    price: PriceBounds
    occasion: str | None
    recipient: str | None
    references: list[str]
    """Videos that the talk is about: those to which the cards are similar, or one that was spoken of."""


class ConstraintChip(ResponseModel):
    """One thing that is asked for."""

    key: str
    """Key for `remove`, such as `color:red`, `not-color:red` or `price`."""
    label: str
    """Name in the shopper's language."""


class CitedPassage(ResponseModel):
    """Passage of the shop's documents that the answer quotes."""

    anchor: str
    """Address in the folder of documents, such as `returns.md#how-to-return`."""
    title: str
    quote: str


class SuggestedMessage(ResponseModel):
    """Message that the shopper may send next."""

    label: str
    message: str


class AssistantResponse(ResponseModel):
    """Answer of the assistant."""

    request_id: str
    """Id of the cards; send it with the events of its items."""
    conversation_id: str
    turn: int
    """Number of the turn in the conversation, from 1."""
    message_id: str
    kind: AssistantAnswerKind
    """`cards`, `nothing` if nothing fits (the cards are popular videos), `detail` about shown videos, `cart`
    if the page may put the cards into the cart, `passage` of the documents, `person` if a person takes over,
    `order`, `moment`, or `talk`."""
    language: AssistantLanguage
    text: str
    """Answer in plain text."""
    cards: list[RecommendedItem]
    """Videos, best first."""
    currency: str
    query: ParsedQuery
    constraints: list[ConstraintChip]
    """What is asked for, one by one."""
    relaxed: list[str]
    """Facets that no video fits and that the cards leave out."""
    unchecked: list[str]
    """Wishes that no filter can express; the cards are only ordered by them."""
    sources: list[CitedPassage]
    suggestions: list[SuggestedMessage]
    hand_over: bool
    """Whether a person takes over; `/v1/hand-overs` has the conversation."""
    hand_over_reason: AssistantHandOverReason | None
    """Reason: `asked` by the shopper, `unknown` to the assistant, or an `order` to be changed."""
    unknown: list[str]
    """Ids of `like` that are not in the catalog."""
    bundle: str
    degraded: bool
    """Whether a part of the service was unavailable."""
    why: list[str]
    """Unavailable parts."""


class SpokenTurn(ResponseModel):
    """Message and answer of a conversation."""

    turn: int
    at: datetime
    message: str
    remove: str | None
    kind: AssistantAnswerKind
    language: AssistantLanguage
    text: str
    video_ids: list[str]
    """Videos of the cards."""


class ConversationResponse(ResponseModel):
    """Conversation of a shopper with the assistant."""

    user_id: str
    """The shopper, `session:` and the session's id for one without account."""
    conversation_id: str | None
    """Null if there is no conversation."""
    turns: list[SpokenTurn]
    """At most the last 50, the oldest first."""
    last: AssistantResponse | None
    """The last answer, with its cards as they are now."""
