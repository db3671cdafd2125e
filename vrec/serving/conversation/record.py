"""Conversation as the store keeps it: its state, the last answers, and a bounded transcript."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pydantic import TypeAdapter, ValidationError

from vrec.assistant.answers import AnswerKind
from vrec.assistant.dialogue import DialogueState
from vrec.assistant.wording import Language
from vrec.serving.conversation.messages import AssistantReply, ShopperMessage

FORMAT = b"1"
"""First byte of every record; a conversation in another format begins anew."""
MAX_TURNS = 50
"""Turns of the transcript, the last ones."""
MAX_ANSWERS = 5
"""Answers that are kept whole, the last ones, for messages that are sent again."""


@dataclass(frozen=True, slots=True)
class TranscriptTurn:
    """Message and answer as a person reads them."""

    number: int
    """Number in the conversation, from 1."""
    message_id: str
    at: int
    """µs since 1970."""
    message: str
    remove: str | None
    """Key of the constraint that was taken back."""
    kind: AnswerKind
    language: Language
    text: str
    video_ids: tuple[str, ...]
    """Videos of the cards."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """Answer that is given again if its message is."""

    number: int
    message_id: str
    digest: str
    """Digest of what was sent with the id: another message with the same one is a new message."""
    request_id: str
    reply: AssistantReply


@dataclass(frozen=True, slots=True)
class Conversation:
    """Conversation of a shopper."""

    conversation_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    at: int = 0
    """Time of the last turn, µs since 1970."""
    number: int = 0
    """Number of turns so far."""
    state: DialogueState = field(default_factory=DialogueState)
    turns: tuple[TranscriptTurn, ...] = ()
    """Transcript, the oldest turn first."""
    answers: tuple[KeptAnswer, ...] = ()
    """Last answers, the oldest first."""

    def answer_to(self, message: ShopperMessage) -> KeptAnswer | None:
        """Return the answer to a message that was sent before; None for a new one."""
        sent = message.message_id, digest_of(message)
        return next((one for one in self.answers if (one.message_id, one.digest) == sent), None)

    def after(self, message: ShopperMessage, reply: AssistantReply, at: int) -> "Conversation":
        """Return the conversation after another turn at a time, µs since 1970."""
        number, answer = self.number + 1, reply.answer
        turn = TranscriptTurn(
            number, message.message_id, at, message.text, message.remove,
            answer.kind, answer.language, answer.text, tuple(item.video_id for item in reply.items),
        )  # fmt: skip
        kept = KeptAnswer(number, message.message_id, digest_of(message), message.request_id, reply)
        return replace(
            self,
            at=max(at, self.at),
            number=number,
            state=reply.state,
            turns=(*self.turns, turn)[-MAX_TURNS:],
            answers=(*self.answers, kept)[-MAX_ANSWERS:],
        )

    def joined(self, other: "Conversation") -> "Conversation":
        """Return both conversations as one: the turns by time, and the state of the one that spoke last.

        Turns that both have are in it once.
        """
        last = max((self, other), key=lambda one: one.at)
        distinct = {(turn.message_id, turn.at): turn for turn in (*self.turns, *other.turns)}
        number = self.number + other.number + len(distinct) - len(self.turns) - len(other.turns)
        turns = sorted(distinct.values(), key=lambda turn: turn.at)[-MAX_TURNS:]
        turns = [replace(turn, number=n) for n, turn in enumerate(turns, number - len(turns) + 1)]
        numbers = {(turn.message_id, turn.text): turn.number for turn in turns}
        kept = {
            n: replace(one, number=n)
            for one in (*self.answers, *other.answers)
            if (n := numbers.get((one.message_id, one.reply.answer.text))) is not None
        }
        answers = tuple(kept[n] for n in sorted(kept))[-MAX_ANSWERS:]
        return replace(last, number=number, turns=tuple(turns), answers=answers)


def begin_conversation(user_id: str, message: ShopperMessage, version: int) -> Conversation:
    """Return a new conversation; its id is the same if its first message is sent again before it is stored.

    Args:
        user_id: The shopper's id in events.
        message: The first message.
        version: Version of what the store has in its place.
    """
    sent = "\n".join((user_id, str(version), message.message_id, digest_of(message)))
    name = hashlib.blake2b(sent.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return Conversation(name)


_RECORD: TypeAdapter[Conversation] = TypeAdapter(Conversation)


def pack_conversation(conversation: Conversation) -> bytes:
    """Return a conversation as bytes."""
    return FORMAT + _RECORD.dump_json(conversation)


def unpack_conversation(record: bytes) -> Conversation | None:
    """Return a conversation from its bytes; None for one in a format that this version does not know."""
    if record[:1] != FORMAT:
        return None
    try:
        return _RECORD.validate_json(record[1:])
    except ValidationError:
        return None


def digest_of(message: ShopperMessage) -> str:
    """Return a digest of all that decides about the answer to a message."""
    parts: Sequence[object] = (
        message.text,
        message.remove,
        message.example or message.like,
        message.language,
    )
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
