"""Protocols of what a store keeps beside profiles: logs of records, and tables of states."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class RecordLog(Protocol):
    """Thread-safe store of named logs of records, each numbered from 1 in the order of arrival.

    No two records of a log are equal bytes. Every method raises StoreError on failure.
    """

    def append_record(
        self, log: str, record: bytes, *, expected: int | None = None, most: int | None = None
    ) -> int | None:
        """Append a record durably.

        Args:
            log: Name of the log.
            record: The record.
            expected: Number that the log's last record must have (0 for an empty log); None for any.
            most: Number of records that are kept, the last ones; None for all.

        Returns:
            The record's number; None, and nothing is written, if the last one has another number.
        """
        ...

    def records_after(self, log: str, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return the first at most `limit` records with numbers above `after`, with their numbers."""
        ...

    def records_before(self, log: str, before: int | None, limit: int) -> list[tuple[int, bytes]]:
        """Return the last at most `limit` records with numbers below `before` (None: of all), last first."""
        ...


@runtime_checkable
class StateTable(Protocol):
    """Thread-safe store of named tables of states by key, each of which a newer state overwrites.

    Every change of a table gets a version, a number above those of all changes before. Every method raises
    StoreError on failure.
    """

    def put_state(self, table: str, key: str, state: bytes, *, expected: int | None = None) -> int | None:
        """Put the state of a key.

        Args:
            table: Name of the table.
            key: The key.
            state: The state. The one that the key has already is not put again.
            expected: Version that the key's state must have (0 for none); None for any.

        Returns:
            The version of the state; None, and nothing is written, if the present one has another version.
        """
        ...

    def put_states(self, table: str, puts: Sequence[tuple[str, bytes, int | None]]) -> list[int | None]:
        """Put states one after the other as `put_state` does, at the cost of one call.

        Args:
            table: Name of the table.
            puts: Key, state and expected version of each.
        """
        ...

    def drop_state(self, table: str, key: str, expected: int) -> bool:
        """Remove the state of a key if it has this version, and return whether it did."""
        ...

    def states(self, table: str, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """Return the versions and states of the keys that have one, with every change before the call."""
        ...

    def last_version(self, table: str) -> int:
        """Return the version of the last change of a table; 0 before the first."""
        ...

    def states_after(self, table: str, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        """Return the first at most `limit` states of versions above `after`: version, key and state."""
        ...
