"""Database file of the SQLite store: its tables, queries and transactions."""

import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from vrec.core.errors import StoreError, os_error_reason
from vrec.profiles.profile import Entity, EventRecord, Profile
from vrec.profiles.stores.cache import ProfileKey, StoredProfile
from vrec.profiles.stores.codec import (
    SECRET_BYTES,
    EventRow,
    event_from_row,
    pack_profile,
    pack_row,
    table_from_rows,
    unpack_profile,
    unpack_row,
)
from vrec.profiles.stores.fold import ProfileFold

APPLICATION_ID = 0x76726563
"""Application id of vrec's files: "vrec" in ASCII."""
VERSION = 2
"""Version of the tables, stored in the file; other versions are refused."""
TABLES = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY,      -- the order in which they came
    key BLOB NOT NULL UNIQUE,        -- stands for event_id; stays when the rest is erased
    user_id TEXT, video_id TEXT, row BLOB
);
CREATE INDEX IF NOT EXISTS events_of_users ON events (user_id, number);
CREATE INDEX IF NOT EXISTS events_of_videos ON events (video_id, number);
CREATE TABLE IF NOT EXISTS profiles (
    entity TEXT NOT NULL, entity_id TEXT NOT NULL,
    upto INTEGER NOT NULL,           -- the last event's number that is in it
    profile BLOB NOT NULL, UNIQUE (entity, entity_id)
);
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS probe (one INTEGER PRIMARY KEY, times INTEGER NOT NULL);
"""
RECORDS = """
CREATE TABLE IF NOT EXISTS records (
    log TEXT NOT NULL, number INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (log, number)
) WITHOUT ROWID
"""
"""Table of the record logs, which files of before them get when they are opened."""
MAX_SQL_VARIABLES = 500
"""Maximum number of values in one statement; the oldest SQLite that Python 3.11 supports allows 999."""


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Convert errors of SQLite and the operating system to a StoreError with a fix."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}", fix=_fix_for(str(error))) from error
    except OSError as error:
        raise StoreError(
            f"{path}: {os_error_reason(error)}", fix="give a path that can be written"
        ) from error


def _fix_for(message: str) -> str:
    fixes = {
        "locked": "another program holds the database: let it finish, and send the events again",
        "full": "make room on the disk, and send the events again",
        "disk I/O": "make room on the disk or fix it, and send the events again",
        "readonly": "make the file and its folder writable for this user",
        "unable to open": "give a path whose folder exists and can be written",
        "closed": "open the store again",
        "not a database": "give another path, or restore the file from a backup",
        "malformed": "restore the file from a backup, or recover it with `sqlite3 FILE .recover`",
    }
    return next((fix for part, fix in fixes.items() if part in message), StoreError.fix)


def lock(path: Path) -> sqlite3.Connection:
    """Lock PATH.lock, on every platform, until the connection is closed or its process dies.

    Raises:
        StoreError: Another store holds the lock.
    """
    with store_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(f"{path}.lock", timeout=0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            connection.close()
            if "locked" not in str(error):
                raise
            raise StoreError(
                f"{path} is open in another store, which alone may write to it",
                fix="stop the other process, or use Redis if several processes are to write",
            ) from None
    return connection


class SqliteDatabase:
    """Connection to the database. Its methods raise sqlite3's errors; see `store_errors`."""

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self._db = sqlite3.connect(path, busy_timeout_s, isolation_level=None, check_same_thread=False)
        # Deleted and replaced data is overwritten with zeros at once; see also `remove_traces`.
        self._db.execute("PRAGMA secure_delete = ON")

    def read_only(self) -> None:
        """Forbid writes over this connection."""
        self._db.execute("PRAGMA query_only = ON")

    def prepare(self, path: Path) -> None:
        """Create the tables of an empty database; raise StoreError for a database of another program."""
        marks = self._value("PRAGMA application_id"), self._value("PRAGMA user_version")
        if marks == (0, 0) and self._value("SELECT count(*) FROM sqlite_master") == 0:
            self._db.execute("PRAGMA journal_mode = WAL")
            secret = secrets.token_hex(SECRET_BYTES)
            self._db.executescript(
                f"BEGIN; {TABLES} INSERT INTO marks VALUES ('secret', x'{secret}'), ('traces', 0); "
                f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; COMMIT"
            )
        elif marks != (APPLICATION_ID, VERSION):
            raise StoreError(
                f"{path} is a database, but not a store of this version of vrec",
                fix="give another path, or the version of vrec that wrote it",
            )
        self._db.execute(RECORDS)

    @contextmanager
    def writing(self, survives_power_loss: bool) -> Iterator[None]:
        """Run a transaction that is committed at its end, or rolled back if anything in it fails."""
        self._db.execute(f"PRAGMA synchronous = {'FULL' if survives_power_loss else 'NORMAL'}")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # SQLite may have rolled it back already, as on a full disk.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Run a transaction that reads everything as of one moment."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("ROLLBACK")

    def secret(self) -> bytes:
        """Return the secret of the event keys."""
        return self._db.execute("SELECT value FROM marks WHERE name = 'secret'").fetchone()[0]

    def last_number(self) -> int:
        """Return the number of the last event; 0 if there is none."""
        return self._value("SELECT coalesce(max(number), 0) FROM events")

    def existing_keys(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return the keys that are in the log, erased events included."""
        found: set[bytes] = set()
        for start in range(0, len(keys), MAX_SQL_VARIABLES):
            part = keys[start : start + MAX_SQL_VARIABLES]
            marks = ",".join("?" * len(part))
            found.update(
                key for (key,) in self._db.execute(f"SELECT key FROM events WHERE key IN ({marks})", part)
            )
        return found

    def load_many(self, kind: Entity, ids: Sequence[str]) -> dict[str, tuple[Profile, list[EventRecord]]]:
        """Return the stored profiles and later events of the users or videos that have any event, by id.

        At most MAX_SQL_VARIABLES ids. For many ids this is faster than `load`, above all if most have no
        event; for one id `load` is.
        """
        marks = ",".join(["(?)"] * len(ids))
        stored = self._db.execute(
            f"SELECT entity_id, profile FROM profiles WHERE entity = '{kind}' "
            f"AND entity_id IN (VALUES {marks})",
            ids,
        )
        found = {name: (unpack_profile(profile), list[EventRecord]()) for name, profile in stored}
        # CROSS JOIN fixes the order: from each id to its later events, however many there were before.
        rows = self._db.execute(
            f"WITH wanted (name) AS (VALUES {marks}) SELECT name, row FROM wanted CROSS JOIN events "
            f"ON {kind}_id = name AND number > coalesce((SELECT upto FROM profiles "
            f"WHERE entity = '{kind}' AND entity_id = name), 0)",
            ids,
        )
        for name, row in rows:
            found.setdefault(name, (Profile(kind, name), []))[1].append(event_from_row(unpack_row(row)))
        return found

    def append(self, rows: Sequence[tuple[int, bytes, EventRow]]) -> None:
        """Add events with their numbers and keys."""
        values = [(number, key, row[1], row[2], pack_row(row)) for number, key, row in rows]
        self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", values)

    def load(self, key: ProfileKey, fold: ProfileFold) -> StoredProfile:
        """Return a profile with all its events in the log; a profile without events has an empty `seen`."""
        entity, name = key
        stored = self._db.execute(
            "SELECT upto, profile FROM profiles WHERE entity = ? AND entity_id = ?", key
        ).fetchone()
        upto, profile = (
            (0, Profile(entity, name)) if stored is None else (stored[0], unpack_profile(stored[1]))
        )
        # Erased events have neither user nor video, so they do not match.
        since = self._db.execute(
            f"SELECT row FROM events WHERE {entity}_id = ? AND number > ?", (name, upto)
        ).fetchall()
        events = [event_from_row(unpack_row(row)) for (row,) in since]
        return StoredProfile(fold(profile, events), self.last_number(), len(events))

    def put(self, loaded: Sequence[StoredProfile]) -> None:
        """Store profiles, replacing the present ones."""
        values = [
            (p.profile.entity, p.profile.entity_id, p.last_number, pack_profile(p.profile)) for p in loaded
        ]
        self._db.executemany(
            "INSERT INTO profiles VALUES (?, ?, ?, ?) ON CONFLICT (entity, entity_id) "
            "DO UPDATE SET upto = excluded.upto, profile = excluded.profile",
            values,
        )

    def events_after(self, after: int, limit: int) -> tuple[pa.Table, int]:
        """Return at most `limit` EVENTS numbered above `after`, and the last one's number."""
        found = self._db.execute(
            "SELECT number, row FROM events WHERE number > ? AND row IS NOT NULL ORDER BY number LIMIT ?",
            (after, limit),
        ).fetchall()
        return table_from_rows([unpack_row(row) for _, row in found]), found[-1][0] if found else after

    def videos_of(self, user_id: str) -> list[str]:
        """Return the videos of a user's events."""
        found = self._db.execute("SELECT DISTINCT video_id FROM events WHERE user_id = ?", (user_id,))
        return [video_id for (video_id,) in found]

    def erase(self, user_id: str) -> int:
        """Erase all but the keys of a user's events, and the profile; return the number of events.

        Traces stay in the files until `remove_traces`.
        """
        self._db.execute("DELETE FROM profiles WHERE entity = 'user' AND entity_id = ?", (user_id,))
        erased = self._db.execute(
            "UPDATE events SET user_id = NULL, video_id = NULL, row = NULL WHERE user_id = ?", (user_id,)
        ).rowcount
        if erased:
            self._db.execute("UPDATE marks SET value = 1 WHERE name = 'traces'")
        return erased

    def last_record(self, log: str) -> int:
        """Return the number of the last record of a log; 0 if there is none."""
        found = self._db.execute("SELECT coalesce(max(number), 0) FROM records WHERE log = ?", (log,))
        return found.fetchone()[0]

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

    def has_traces(self) -> bool:
        """Return whether something was erased since `remove_traces` last succeeded."""
        return bool(self._value("SELECT value FROM marks WHERE name = 'traces'"))

    def remove_traces(self) -> bool:
        """Write the whole database anew and empty the WAL, so that nothing erased is in any file.

        `secure_delete` is not enough: when SQLite moves rows between pages, copies stay in unused parts of
        them.

        Returns:
            False if a reader of old pages did not end within the busy timeout.
        """
        self._db.execute("VACUUM")
        busy, _, _ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not busy:
            self._db.execute("UPDATE marks SET value = 0 WHERE name = 'traces'")
        return not busy

    def probe(self) -> None:
        """Write one row, to check that the database is writable."""
        self._db.execute("INSERT INTO probe VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET times = times + 1")

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def _value(self, sql: str) -> int:
        return self._db.execute(sql).fetchone()[0]


def absolute_path(path: str) -> Path:
    """Resolve a path against the present working folder."""
    return Path(os.path.abspath(path))
