"""Conversations that a person takes over, in the states of a store."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import msgpack
from pydantic import TypeAdapter

from vrec.assistant.answers import HandOverReason
from vrec.assistant.wording import Language
from vrec.core.errors import StoreError
from vrec.serving.conversation.messages import ShopperMessage
from vrec.serving.conversation.record import Conversation, digest_of

HAND_OVERS_TABLE = "hand_overs"
"""Table of the hand-overs by id."""
SHOPPERS_TABLE = "hand_overs_of"
"""Table of the ids of each shopper's hand-overs, by the shopper's user id in events."""
WAITING_TABLE = "hand_overs_waiting"
"""Table of those that the shop's address has not confirmed, by id: attempts, and when the next one is due."""
FORMAT = 1
MAX_TURNS = 20
"""Turns of a transcript, the last ones."""
MAX_CHARS = 1_000
"""Characters of a message, and of an answer, in a transcript."""
ATTEMPTS = 50
MAX_WAITING = 1_000
"""Waiting hand-overs that one look reads at most."""
CLEANED_AT_ONCE = 50
"""Hand-overs that one look for old ones reads at most."""


@dataclass(frozen=True, slots=True)
class HandOverTurn:
    """Message and answer of a transcript."""

    at: int
    """µs since 1970."""
    message: str
    answer: str
    video_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HandOver:
    """Conversation that a person takes over."""

    hand_over_id: str
    at: int
    """µs since 1970."""
    user_id: str
    """The shopper's id in events."""
    reason: HandOverReason
    language: Language
    turns: tuple[HandOverTurn, ...]
    """The last turns, the oldest first; the last one handed over."""
    confirmed_at: int | None = None
    """Time at which the shop's address confirmed it, µs since 1970."""

    def bounded(self) -> "HandOver":
        """Return it with at most MAX_TURNS turns of at most MAX_CHARS characters each way."""
        turns = (
            replace(turn, message=turn.message[:MAX_CHARS], answer=turn.answer[:MAX_CHARS])
            for turn in self.turns[-MAX_TURNS:]
        )
        return replace(self, turns=tuple(turns))


@dataclass(frozen=True, slots=True)
class WaitingHandOver:
    """Hand-over that is to be posted."""

    hand_over_id: str
    version: int
    """Version of its state in WAITING_TABLE."""
    attempts: int
    due_at: int
    """µs since 1970."""


class HandOverStore(Protocol):
    """Part of a store that hand-overs need; see StateTable."""

    def owners(self, user_ids: Iterable[str]) -> dict[str, str]: ...
    def put_state(self, table: str, key: str, state: bytes, *, expected: int | None = None) -> int | None: ...
    def drop_state(self, table: str, key: str, expected: int) -> bool: ...
    def states(self, table: str, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]: ...
    def states_after(self, table: str, after: int, limit: int) -> list[tuple[int, str, bytes]]: ...


def hand_over_of(user_id: str, message: ShopperMessage, after: Conversation) -> HandOver:
    """Return the hand-over of a conversation; its id is the same if the message is sent again.

    Args:
        user_id: The shopper's id in events.
        message: The last message.
        after: The conversation with the message and its answer.
    """
    last = after.answers[-1].reply.answer
    sent = "\n".join((after.conversation_id, message.message_id, digest_of(message)))
    name = hashlib.blake2b(sent.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    turns = tuple(HandOverTurn(turn.at, turn.message, turn.text, turn.video_ids) for turn in after.turns)
    reason = last.hand_over_reason or "asked"
    return HandOver(name, after.at, user_id, reason, last.language, turns).bounded()


class HandOverTable:
    """Hand-overs in a store.

    The shopper's ids are written first, so that whatever is written after can be found and erased.
    """

    def __init__(self, store: HandOverStore, keep_us: int) -> None:
        """Take the store, and the µs for which a hand-over is kept."""
        self._store, self._keep_us = store, keep_us

    def add(self, hand_over: HandOver, *, is_posted: bool) -> None:
        """Add a hand-over durably; one with an id that is there stays as it is.

        Args:
            hand_over: The hand-over.
            is_posted: Whether it is to be posted to the shop's address.

        Raises:
            StoreError: It is not there, or perhaps in part: adding it again completes it.
        """
        owner = self._store.owners([hand_over.user_id])[hand_over.user_id]
        name, kept = hand_over.hand_over_id, replace(hand_over.bounded(), user_id=owner)
        self._change_ids(owner, lambda ids: (*(one for one in ids if one != name), name))
        if self._store.states(HAND_OVERS_TABLE, [name]) and not self._is_unposted(name):
            return
        self._store.put_state(HAND_OVERS_TABLE, name, _pack(kept), expected=0)
        if is_posted:
            self._store.put_state(WAITING_TABLE, name, _packed([0, hand_over.at]), expected=0)
        # The session may have joined an account, or the shopper been erased, since the first line.
        if (now := self._store.owners([owner])[owner]) != owner:
            self.join(owner, now)
        elif name not in self._ids(owner)[1]:
            self._drop([name])

    def after(self, version: int, limit: int) -> tuple[list[HandOver], int]:
        """Return the next hand-overs by their last change, and the version of the last of them.

        Args:
            version: Version behind which to begin; 0 at first.
            limit: Maximum number of hand-overs.
        """
        rows = self._store.states_after(HAND_OVERS_TABLE, version, limit)
        return [_unpack(state) for _, _, state in rows], rows[-1][0] if rows else version

    def find(self, name: str) -> HandOver | None:
        """Return a hand-over by its id; None if there is none."""
        found = self._store.states(HAND_OVERS_TABLE, [name]).get(name)
        return None if found is None else _unpack(found[1])

    def waiting(self) -> list[WaitingHandOver]:
        """Return those that are not confirmed, at most MAX_WAITING, the ones changed longest ago first."""
        rows = self._store.states_after(WAITING_TABLE, 0, MAX_WAITING)
        return [WaitingHandOver(name, version, *msgpack.unpackb(state)) for version, name, state in rows]

    def claim(self, one: WaitingHandOver, until: int) -> WaitingHandOver | None:
        """Keep others from posting a hand-over until a time, µs since 1970; None if another was first."""
        return self._put_waiting(replace(one, due_at=until))

    def postpone(self, one: WaitingHandOver, due_at: int) -> None:
        """Put off a claimed hand-over whose posting failed."""
        self._put_waiting(replace(one, attempts=one.attempts + 1, due_at=due_at))

    def confirm(self, one: WaitingHandOver, at: int) -> None:
        """Write down that a claimed hand-over was confirmed at a time, µs since 1970."""
        self._change(one.hand_over_id, confirmed_at=at)
        self._store.drop_state(WAITING_TABLE, one.hand_over_id, one.version)

    def join(self, session: str, user_id: str) -> None:
        """Make a session's hand-overs a user's."""
        moved = self._ids(session)[1]
        if not moved or session == user_id:
            return
        self._change_ids(user_id, lambda ids: (*(one for one in ids if one not in moved), *moved))
        for name in moved:
            self._change(name, user_id=user_id)
        self._change_ids(session, lambda ids: tuple(one for one in ids if one not in moved))

    def of(self, user_id: str) -> list[HandOver]:
        """Return a shopper's hand-overs."""
        owner = self._store.owners([user_id])[user_id]
        return [found for name in self._ids(owner)[1] if (found := self.find(name)) is not None]

    def forget(self, user_id: str) -> None:
        """Remove a shopper's hand-overs durably, also those that are not confirmed."""
        for owner in dict.fromkeys((user_id, self._store.owners([user_id])[user_id])):
            names = self._ids(owner)[1]
            self._change_ids(owner, lambda _: ())
            self._drop(names)

    def clean(self, now: int) -> list[str]:
        """Remove hand-overs that are too old at a time (µs since 1970), and return the ids of those that were
        never confirmed though they waited."""
        lost: list[str] = []
        for _, name, state in self._store.states_after(HAND_OVERS_TABLE, 0, CLEANED_AT_ONCE):
            hand_over = _unpack(state)
            if hand_over.at >= now - self._keep_us:
                break
            if self._is_waiting(name):
                lost.append(name)
            self._drop([name])
            self._change_ids(hand_over.user_id, lambda ids, gone=name: tuple(i for i in ids if i != gone))
        return lost

    def _change(self, name: str, **changes: Any) -> None:
        for _ in range(ATTEMPTS):
            found = self._store.states(HAND_OVERS_TABLE, [name]).get(name)
            if found is None:
                return
            changed = _pack(replace(_unpack(found[1]), **changes))
            if self._store.put_state(HAND_OVERS_TABLE, name, changed, expected=found[0]) is not None:
                return
        raise _too_fast()

    def _is_waiting(self, name: str) -> bool:
        return bool(self._store.states(WAITING_TABLE, [name]))

    def _is_unposted(self, name: str) -> bool:
        """Return whether one is neither confirmed nor waiting, as after an addition that broke off."""
        found = self.find(name)
        return found is not None and found.confirmed_at is None and not self._is_waiting(name)

    def _put_waiting(self, one: WaitingHandOver) -> WaitingHandOver | None:
        state = _packed([one.attempts, one.due_at])
        version = self._store.put_state(WAITING_TABLE, one.hand_over_id, state, expected=one.version)
        return None if version is None else replace(one, version=version)

    def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            for table in (WAITING_TABLE, HAND_OVERS_TABLE):
                for _ in range(ATTEMPTS):
                    found = self._store.states(table, [name]).get(name)
                    if found is None or self._store.drop_state(table, name, found[0]):
                        break
                else:
                    raise _too_fast()

    def _ids(self, owner: str) -> tuple[int, tuple[str, ...]]:
        version, state = self._store.states(SHOPPERS_TABLE, [owner]).get(owner, (0, b""))
        return version, tuple(msgpack.unpackb(state)) if version else ()

    def _change_ids(self, owner: str, change: Any) -> None:
        for _ in range(ATTEMPTS):
            version, ids = self._ids(owner)
            changed = change(ids)
            if changed == ids:
                return
            if changed:
                put = self._store.put_state(SHOPPERS_TABLE, owner, _packed(changed), expected=version)
                if put is not None:
                    return
            elif self._store.drop_state(SHOPPERS_TABLE, owner, version):
                return
        raise _too_fast()


_HAND_OVER: TypeAdapter[HandOver] = TypeAdapter(HandOver)


def _pack(hand_over: HandOver) -> bytes:
    return _packed([FORMAT, asdict(hand_over)])


def _unpack(state: bytes) -> HandOver:
    form, values = msgpack.unpackb(state)
    if form != FORMAT:
        raise StoreError(
            "the store holds hand-overs that this version of vrec cannot read",
            fix="open the store with the version of vrec that wrote it, or restore it from a backup",
        )
    return _HAND_OVER.validate_python(values)


def _packed(value: Any) -> bytes:
    packed = msgpack.packb(value)
    assert packed is not None  # it is None for streaming packers only
    return packed


def _too_fast() -> StoreError:
    return StoreError("the hand-overs of a shopper are changed faster than they can be written")
