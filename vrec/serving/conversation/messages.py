"""Messages between deployments about conversations with the assistant."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vrec.assistant.answers import Answer
from vrec.assistant.dialogue import DialogueState
from vrec.assistant.language_model.parsing import ShopVocabulary
from vrec.assistant.understanding.utterance import Utterance
from vrec.serving.messages import ListItem, RequestFilters
from vrec.serving.moments.messages import FoundMoment
from vrec.serving.rules.book import NO_BOOK, RuleBook
from vrec.serving.streams.states import NO_STREAMS, StreamBook


@dataclass(frozen=True, slots=True)
class ShopperMessage:
    """Message of a shopper to the assistant."""

    message_id: str
    """Id by which a repeated message is known."""
    request_id: str
    """Id of the list of cards, for the events of its items."""
    text: str = ""
    """The message; empty if only the fields below say what is wanted."""
    remove: str | None = None
    """Key of a constraint that is taken back before the message."""
    like: tuple[str, ...] = ()
    """Ids of videos to which the cards are to be similar."""
    example: str = ""
    """Digest of the file by which `like` was found; its videos come first, the nearest before the others.
    Empty without a file."""
    language: Literal["en", "zh"] | None = None
    """Language of the answer; None for that of the message."""
    surface: str = "assistant"
    filters: RequestFilters = field(default_factory=RequestFilters)
    vouched: bool = False
    """Whether a shopper token or a server's key vouches for the shopper, who has an account."""
    age: int | None = None
    """Declared or verified minimum age of the shopper in years; None if unknown."""


@dataclass(frozen=True, slots=True)
class ConverseQuery:
    """Request to the ranking deployment: a message, and the conversation before it."""

    user_id: str
    message: ShopperMessage
    state: DialogueState
    at: int
    """µs since 1970, UTC."""
    understood: Utterance | None = None
    """What the message means, if a language model was asked; None leaves it to the rules."""


@dataclass(frozen=True, eq=False, slots=True)
class ShopMoment:
    """Rules and live streams of a shop at the moment of an answer."""

    book: RuleBook = NO_BOOK
    """Rules of the shop."""
    streams: StreamBook = NO_STREAMS
    """Live streams."""


@dataclass(frozen=True, slots=True)
class AssistantReply:
    """Answer to a message, without what changes by itself."""

    answer: Answer
    state: DialogueState
    """The conversation after it."""
    items: tuple[ListItem, ...]
    """Cards, best first."""
    bundle: str
    """Version of the bundle that was used."""
    degraded: tuple[str, ...] = ()
    """Parts of the service that were missing."""
    unknown: tuple[str, ...] = ()
    """Ids of `like` that are not in the catalog."""
    moments: tuple[FoundMoment, ...] = ()
    """Moments of the cards that the answer tells of, best first."""


@dataclass(frozen=True, slots=True)
class ConverseResult:
    """Result of the ranking deployment."""

    reply: AssistantReply
    cards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Rows of VIDEOS of the cards by id, as they were when the answer was made."""
    vocabulary: ShopVocabulary | None = None
    """Names by which a language model may parse the message, which the rules did not understand."""
    cpu_ms: float = 0.0
    """CPU milliseconds of the process that made it, if that is another one."""


@dataclass(frozen=True, slots=True)
class ConversationTurn:
    """Turn of a conversation, as HTTP shows it."""

    conversation_id: str
    number: int
    """Number of the turn, from 1."""
    message_id: str
    request_id: str
    """Id of the list of cards."""
    reply: AssistantReply
    cards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Rows of VIDEOS of the cards, as the answer speaks of them; empty if it is given again."""
