"""Conversations in the states of a store, by shopper."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from vrec.core.errors import StoreError
from vrec.serving.conversation.record import pack_conversation, unpack_conversation

CONVERSATIONS_TABLE = "conversations"
"""Table of the store with the conversations, by the shopper's user id in events."""
ATTEMPTS = 50
"""Attempts of a change, each of which fails if another process changes the same conversation meanwhile."""
RECORDS_PER_ROUND = 50
"""Conversations that one look for old ones reads at most."""


class ConversationStore(Protocol):
    """Part of a store that conversations need."""

    def owners(self, user_ids: Iterable[str]) -> dict[str, str]:
        """Return the account of each joined session, and every other id itself."""
        ...

    def put_state(self, table: str, key: str, state: bytes, *, expected: int | None = None) -> int | None:
        """See StateTable."""
        ...

    def drop_state(self, table: str, key: str, expected: int) -> bool:
        """See StateTable."""
        ...

    def states(self, table: str, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """See StateTable."""
        ...

    def states_after(self, table: str, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        """See StateTable."""
        ...


class ConversationTable:
    """Conversations in a store.

    A session's conversation becomes its account's when the session joins it. Whoever writes looks after the
    write whether the session has joined meanwhile, and moves what was written: so it is moved whichever of
    the two comes first.
    """

    def __init__(self, store: ConversationStore, keep_us: int) -> None:
        """Take the store, and the µs for which a conversation is kept after its last turn."""
        self._store, self._keep_us = store, keep_us

    def read(self, user_id: str, now: int) -> tuple[int, bytes]:
        """Return the version and record of a shopper's conversation; (version, b"") for none or an old one.

        Args:
            user_id: The shopper; a session that has joined an account has that one's.
            now: Time, µs since 1970.
        """
        owner = self._owner(user_id)
        version, record = self._store.states(CONVERSATIONS_TABLE, [owner]).get(owner, (0, b""))
        conversation = unpack_conversation(record) if version else None
        is_current = conversation is not None and conversation.at >= now - self._keep_us
        return version, record if is_current else b""

    def put(self, user_id: str, record: bytes, expected: int) -> int | None:
        """Put a shopper's conversation durably if the present one has the expected version, 0 for none.

        Returns:
            The new version; None, and nothing is written, if another turn came before.
        """
        owner = self._owner(user_id)
        version = self._store.put_state(CONVERSATIONS_TABLE, owner, record, expected=expected)
        if version is not None and (now := self._owner(user_id)) != owner:
            self._move(owner, now)
        return version

    def join(self, session: str, user_id: str) -> None:
        """Make a session's conversation a user's, after the session has joined the user in the store."""
        self._move(session, self._owner(user_id))

    def rename(self, user_id: str, new_id: str) -> None:
        """Make a shopper's conversation that of another id, after the store has renamed the shopper."""
        self._move(user_id, self._owner(new_id))

    def forget(self, user_id: str) -> bool:
        """Remove a shopper's conversation durably, and return whether there was one."""
        found = False
        keys = list(dict.fromkeys((user_id, self._owner(user_id))))
        for _ in range(ATTEMPTS):
            present = self._store.states(CONVERSATIONS_TABLE, keys)
            if not present:
                return found
            for key, (version, _) in present.items():
                found |= self._store.drop_state(CONVERSATIONS_TABLE, key, version)
        raise _too_fast(user_id)

    def clean(self, now: int) -> int:
        """Remove conversations that are too old at a time (µs since 1970), and return how many were.

        At most RECORDS_PER_ROUND are looked at, those that changed longest ago.
        """
        old = 0
        for version, key, record in self._store.states_after(CONVERSATIONS_TABLE, 0, RECORDS_PER_ROUND):
            conversation = unpack_conversation(record)
            if conversation is not None and conversation.at >= now - self._keep_us:
                break
            old += self._store.drop_state(CONVERSATIONS_TABLE, key, version)
        return old

    def _owner(self, user_id: str) -> str:
        return self._store.owners([user_id])[user_id]

    def _move(self, key: str, to: str) -> None:
        """Move a conversation to another key, where both become one if there is one."""
        for _ in range(ATTEMPTS):
            states = self._store.states(CONVERSATIONS_TABLE, [key, to])
            if key not in states or key == to:
                return
            (version, record), (expected, there) = states[key], states.get(to, (0, b""))
            moved, present = unpack_conversation(record), unpack_conversation(there)
            merged = present.joined(moved) if moved and present else moved or present
            done = merged is None or self._store.put_state(
                CONVERSATIONS_TABLE, to, pack_conversation(merged), expected=expected
            )
            # If another turn has come to it meanwhile, the next attempt adds that one.
            if done is not None and self._store.drop_state(CONVERSATIONS_TABLE, key, version):
                return
        raise _too_fast(to)


def _too_fast(user_id: str) -> StoreError:
    return StoreError(f"the conversation of {user_id} is changed faster than it can be written")
