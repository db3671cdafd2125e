"""Tables of the SQLite store, the lock of its file, and its errors."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vrec.core.errors import StoreError, os_error_reason
from vrec.core.schema import REVERSED_BY
from vrec.events.reversals import PAIRED_KINDS

APPLICATION_ID = 0x76726563
"""Application id of vrec's files: "vrec" in ASCII."""
VERSION = 3
"""Version of the tables, stored in the file; other versions are refused."""
PAIRED = ", ".join(f"'{kind}'" for kind in sorted(PAIRED_KINDS))
"""Kinds of events that reverse others or can be reversed, in SQL."""
REVERSING = ", ".join(f"'{kind}'" for kind in sorted(REVERSED_BY))
"""Kinds of events that reverse others, in SQL."""
TABLES = f"""
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY,      -- the order in which they came
    key BLOB NOT NULL UNIQUE,        -- stands for event_id; stays when the rest is erased
    user_id TEXT,                    -- the account if the event is of a session that joined one
    video_id TEXT,                   -- alone it says that the video's profile has changed
    kind TEXT, row BLOB              -- the row has the user_id that was sent
);
CREATE INDEX IF NOT EXISTS events_of_users ON events (user_id, number);
CREATE INDEX IF NOT EXISTS events_of_videos ON events (video_id, number);
CREATE TABLE IF NOT EXISTS profiles (
    entity TEXT NOT NULL, entity_id TEXT NOT NULL,
    upto INTEGER NOT NULL,           -- the last event's number that is in it
    profile BLOB NOT NULL, UNIQUE (entity, entity_id)
);
CREATE INDEX IF NOT EXISTS paired_events ON events (user_id, video_id) WHERE kind IN ({PAIRED});
CREATE INDEX IF NOT EXISTS reversing_events ON events (user_id) WHERE kind IN ({REVERSING});
CREATE TABLE IF NOT EXISTS sessions (session TEXT PRIMARY KEY, user_id TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS sessions_of_users ON sessions (user_id);
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS probe (one INTEGER PRIMARY KEY, times INTEGER NOT NULL);
"""
RECORDS = """
CREATE TABLE IF NOT EXISTS records (
    log TEXT NOT NULL, number INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (log, number)
) WITHOUT ROWID
"""
"""Table of the record logs, which files of before them get when they are opened."""


STATES = """
CREATE TABLE IF NOT EXISTS states (
    name TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, state BLOB NOT NULL,
    PRIMARY KEY (name, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS states_by_version ON states (name, version);
CREATE TABLE IF NOT EXISTS state_versions (name TEXT PRIMARY KEY, last INTEGER NOT NULL);
"""
"""Tables of the states and of the last version of each named table; likewise."""
POWER_SAFE_TABLES = frozenset(
    {"links", "consents", "conversations", "hand_overs", "hand_overs_of", "hand_overs_waiting"}
)
"""Named tables of states with what shoppers consented to or wrote: changes survive a power loss once
acknowledged, and what is removed leaves no traces in the files."""
NEXT_STATES = "SELECT version, key, state FROM states WHERE name = ? AND version > ? ORDER BY version LIMIT ?"
"""Query for the next states of a named table by version."""


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


def absolute_path(path: str) -> Path:
    """Resolve a path against the present working folder."""
    return Path(os.path.abspath(path))


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
