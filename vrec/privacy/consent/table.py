"""Consents in the states of a store, by shopper and purpose."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import msgpack

from vrec.core.errors import StoreError, VrecError

Purpose = Literal["personalise", "train", "link"]
"""`personalise`: events are kept, and lists are made for the shopper. `train`: models are fitted on them.
`link`: accounts in other domains may be linked."""
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
CONSENTS_TABLE = "consents"
"""Table of the store with the answers, by the shopper's user id in events."""
FORMAT = 1
"""First value of every state of the table; others are refused."""
ATTEMPTS = 50
"""Attempts of a change, each of which fails if another process changes the same answers meanwhile."""


class ConsentMissing(VrecError):
    """Change that a shopper does not consent to."""

    fix = "ask the shopper first, and put the answer with PUT /v1/users/{user_id}/consent"


@dataclass(frozen=True, slots=True)
class ConsentAnswer:
    """Answer of a shopper about one purpose."""

    given: bool
    at: int
    """Time of the answer, µs since 1970."""
    by: str | None = None
    """Name of the API key by which it came; None without keys."""


Answers = Mapping[Purpose, ConsentAnswer]


class ConsentReader(Protocol):
    """Part of a store that reading consents needs."""

    def owners(self, user_ids: Iterable[str]) -> dict[str, str]:
        """Return the account of each joined session, and every other id itself."""
        ...

    def states(self, table: str, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """See StateTable."""
        ...


class ConsentStore(ConsentReader, Protocol):
    """Part of a store that consents need."""

    def put_state(self, table: str, key: str, state: bytes, *, expected: int | None = None) -> int | None:
        """See StateTable."""
        ...

    def drop_state(self, table: str, key: str, expected: int) -> bool:
        """See StateTable."""
        ...

    def states_after(self, table: str, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        """See StateTable."""
        ...


def stricter(one: Answers, other: Answers) -> dict[Purpose, ConsentAnswer]:
    """Return the answers of a session and its account as one's.

    An answer counts more than none, a refusal more than a consent, and of two equal answers the later one.
    """
    found: dict[Purpose, ConsentAnswer] = {}
    for purpose in PURPOSES:
        answers = [answers[purpose] for answers in (one, other) if purpose in answers]
        if answers:
            found[purpose] = min(answers, key=lambda answer: (answer.given, -answer.at))
    return found


def read_answers(reader: ConsentReader, user_ids: Iterable[str]) -> dict[str, dict[Purpose, ConsentAnswer]]:
    """Return the answers of those among some shoppers who gave any; a joined session has its account's."""
    owners = reader.owners(user_ids)
    states = reader.states(CONSENTS_TABLE, list(dict.fromkeys(owners.values()))) if owners else {}
    return {name: _unpack(states[owner][1]) for name, owner in owners.items() if owner in states}


def read_given(reader: ConsentReader, user_ids: Iterable[str], purpose: Purpose) -> dict[str, bool]:
    """Return which of some shoppers consent to a purpose, of those who have answered."""
    owners = reader.owners(user_ids)
    states = reader.states(CONSENTS_TABLE, list(dict.fromkeys(owners.values()))) if owners else {}
    answers = {owner: _values(state) for owner, (_, state) in states.items()}
    return {
        name: answers[owner][purpose][0]
        for name, owner in owners.items()
        if owner in answers and purpose in answers[owner]
    }


class ConsentTable:
    """Consents in a store.

    A session's answers become its account's when it joins. Whoever writes looks after the write whether the
    session has joined meanwhile, and moves what was written.
    """

    def __init__(self, store: ConsentStore) -> None:
        self._store = store

    def of(self, user_id: str) -> dict[Purpose, ConsentAnswer]:
        """Return a shopper's answers; those of a joined session are its account's."""
        return read_answers(self._store, [user_id]).get(user_id, {})

    def put(self, user_id: str, answers: Answers) -> dict[Purpose, ConsentAnswer]:
        """Put a shopper's answers durably, those about other purposes stay; return all.

        An answer that says what is known already stays as it was, with its time.
        """
        owner = self._owner(user_id)
        put = self._change(owner, lambda known: known | _new(known, answers))
        if (now := self._owner(user_id)) != owner:
            self._move(owner, now)
        return put

    def prepare_join(self, session: str, user_id: str) -> None:
        """Give an account the refusals of a session that is about to join it.

        So there is no moment in which the session's events are the account's without its refusals.
        """
        if self._owner(session) == session:
            found = self._read(session)[1]
            if found:
                self._change(user_id, lambda known: stricter(known, found))

    def join(self, session: str, user_id: str) -> None:
        """Move a session's answers to a user, after the session has joined the user in the store."""
        self._move(session, self._owner(user_id))

    def rename(self, user_id: str, new_id: str) -> None:
        """Move a shopper's answers to another id of the same shopper."""
        self._move(user_id, self._owner(new_id))

    def forget(self, user_id: str) -> bool:
        """Remove a shopper's answers durably, and return whether there were any."""
        found = False
        for key in dict.fromkeys((user_id, self._owner(user_id))):
            for _ in range(ATTEMPTS):
                version, known = self._read(key)
                if not version:
                    break
                found |= bool(known)
                if self._store.drop_state(CONSENTS_TABLE, key, version):
                    break
            else:
                raise _too_fast()
        return found

    def after(self, version: int, limit: int) -> tuple[list[tuple[str, dict[Purpose, ConsentAnswer]]], int]:
        """Return the next shoppers' answers by their last change.

        Args:
            version: The number that the last call returned; 0 at first.
            limit: Maximum number of shoppers.

        Returns:
            User ids with answers, and the number for the next call; 0 at the end.
        """
        rows = self._store.states_after(CONSENTS_TABLE, version, limit)
        return [(key, _unpack(state)) for _, key, state in rows], rows[-1][0] if len(rows) == limit else 0

    def _owner(self, user_id: str) -> str:
        return self._store.owners([user_id])[user_id]

    def _read(self, key: str) -> tuple[int, dict[Purpose, ConsentAnswer]]:
        version, state = self._store.states(CONSENTS_TABLE, [key]).get(key, (0, b""))
        return version, _unpack(state) if version else {}

    def _change(self, key: str, change: Any) -> dict[Purpose, ConsentAnswer]:
        for _ in range(ATTEMPTS):
            version, known = self._read(key)
            changed = change(known)
            if self._store.put_state(CONSENTS_TABLE, key, _pack(changed), expected=version) is not None:
                return changed
        raise _too_fast()

    def _move(self, key: str, to: str) -> None:
        for _ in range(ATTEMPTS):
            version, known = self._read(key)
            if not version or key == to:
                return
            self._change(to, lambda there, known=known: stricter(there, known))
            # If another answer has come to it meanwhile, the next attempt moves that one.
            if self._store.drop_state(CONSENTS_TABLE, key, version):
                return
        raise _too_fast()


def _new(known: Answers, answers: Answers) -> dict[Purpose, ConsentAnswer]:
    return {
        purpose: answer
        for purpose, answer in answers.items()
        if purpose not in known or known[purpose].given != answer.given
    }


def _pack(answers: Answers) -> bytes:
    values = {purpose: [one.given, one.at, one.by] for purpose, one in sorted(answers.items())}
    packed = msgpack.packb((FORMAT, values))
    assert packed is not None  # it is None for streaming packers only
    return packed


def _unpack(state: bytes) -> dict[Purpose, ConsentAnswer]:
    values = _values(state)
    return {purpose: ConsentAnswer(*values[purpose]) for purpose in PURPOSES if purpose in values}


def _values(state: bytes) -> dict[str, Any]:
    form, values = msgpack.unpackb(state)
    if form != FORMAT:
        raise StoreError(
            "the store holds consents that this version of vrec cannot read",
            fix="open the store with the version of vrec that wrote it, or restore it from a backup",
        )
    return values


def _too_fast() -> StoreError:
    return StoreError("the consents of a shopper are changed faster than they can be written")
