"""A queue of JSON texts in SQLite, in memory or in a file that survives the process."""

import sqlite3
from collections.abc import Sequence

Rows = list[tuple[int, str]]
"""Keys and texts, oldest first."""


class TextQueue:
    """First in, first out; rows stay until they are removed by their keys. Not safe for several threads."""

    def __init__(self, file: str = ":memory:") -> None:
        """Open the queue of a file, which several processes may share, or one in memory."""
        self._connection = sqlite3.connect(file, timeout=30, check_same_thread=False, isolation_level=None)
        # A committed row survives the process, though not a power failure.
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS queue (key INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL)"
        )
        self.recount()

    def recount(self) -> int:
        """Count the rows, those of other processes too."""
        (self.size,) = self._connection.execute("SELECT COUNT(*) FROM queue").fetchone()
        return self.size

    def add(self, text: str) -> None:
        """Add a row at the end."""
        self._connection.execute("INSERT INTO queue (text) VALUES (?)", (text,))
        self.size += 1

    def first(self, count: int) -> Rows:
        """Return the oldest rows."""
        rows = self._connection.execute(
            "SELECT key, text FROM queue ORDER BY key LIMIT ?", (count,)
        ).fetchall()
        if not rows:
            self.size = 0
        return rows

    def remove(self, keys: Sequence[int]) -> None:
        """Remove rows; those that another process removed are passed over."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("DELETE FROM queue WHERE key = ?", [(key,) for key in keys])
        self._connection.execute("COMMIT")
        self.size = max(0, self.size - len(keys))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
