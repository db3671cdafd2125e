"""Queries of the SQLite store about logs of records and tables of states."""

import sqlite3
from collections.abc import Sequence

from vrec.profiles.stores.sqlite.tables import NEXT_STATES

MAX_SQL_VARIABLES = 500
"""Maximum number of values in one statement; the oldest SQLite that Python 3.11 supports allows 999."""


class StateQueries:
    """Part of a connection to the database."""

    _db: sqlite3.Connection

    def last_record(self, log: str) -> int:
        """Return the number of the last record of a log; 0 if there is none."""
        return self._value("SELECT coalesce(max(number), 0) FROM records WHERE log = ?", log)

    def append_record(self, log: str, number: int, record: bytes, most: int | None) -> None:
        """Add a record to a log, and remove all but its last `most`."""
        self._db.execute("INSERT INTO records VALUES (?, ?, ?)", (log, number, record))
        if most is not None:
            self._db.execute("DELETE FROM records WHERE log = ? AND number <= ?", (log, number - most))

    def records(self, log: str, above: int, below: int, limit: int, order: str) -> list[tuple[int, bytes]]:
        """Return records of a log with numbers between two, in the order `ASC` or `DESC` of the numbers."""
        return self._db.execute(
            "SELECT number, record FROM records WHERE log = ? AND number > ? AND number < ? "
            f"ORDER BY number {order} LIMIT ?",
            (log, above, below, limit),
        ).fetchall()

    def put_state(self, table: str, key: str, state: bytes) -> int:
        """Put the state of a key, and return its version."""
        raised = self._db.execute(
            "INSERT INTO state_versions VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET last = last + 1 "
            "RETURNING last",
            (table,),
        )
        version: int = raised.fetchone()[0]
        self._db.execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?)", (table, key, version, state))
        return version

    def drop_state(self, table: str, key: str, version: int, *, erase: bool) -> bool:
        """Remove a state if it has this version, with its traces (`erase`); return whether it did."""
        query, values = "DELETE FROM states WHERE name = ? AND key = ? AND version = ?", (table, key, version)
        dropped = self._db.execute(query, values).rowcount > 0
        self._db.execute("UPDATE marks SET value = max(value, ?) WHERE name = 'traces'", (erase and dropped,))
        return dropped

    def states(self, table: str, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """Return the versions and states of the keys that have one."""
        found: dict[str, tuple[int, bytes]] = {}
        for start in range(0, len(keys), MAX_SQL_VARIABLES):
            part = keys[start : start + MAX_SQL_VARIABLES]
            query = "SELECT key, version, state FROM states WHERE name = ? AND key IN "
            rows = self._db.execute(f"{query} ({','.join('?' * len(part))})", (table, *part))
            found.update((key, (version, state)) for key, version, state in rows)
        return found

    def last_version(self, table: str) -> int:
        """Return the version of the last change of a table; 0 before the first."""
        return self._value("SELECT coalesce(max(last), 0) FROM state_versions WHERE name = ?", table)

    def states_after(self, table: str, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        """Return at most `limit` versions, keys and states of versions above `after`, ascending."""
        return self._db.execute(NEXT_STATES, (table, after, limit)).fetchall()

    def _value(self, sql: str, *values: str) -> int:
        return self._db.execute(sql, values).fetchone()[0]
