"""Database file of the SQLite store: its queries and transactions."""

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from vrec.core.errors import StoreError
from vrec.core.schema import SESSION_PREFIX
from vrec.core.types import LogChanges
from vrec.profiles.profile import Entity, EventRecord, Profile
from vrec.profiles.stores.cache import ProfileKey, StoredProfile
from vrec.profiles.stores.codec import (
    KEY_BYTES,
    SECRET_BYTES,
    EventRow,
    event_from_row,
    pack_profile,
    pack_row,
    table_from_rows,
    unpack_profile,
    unpack_row,
    with_owner,
)
from vrec.profiles.stores.fold import ProfileFold
from vrec.profiles.stores.sqlite.state_queries import MAX_SQL_VARIABLES, StateQueries
from vrec.profiles.stores.sqlite.tables import (
    APPLICATION_ID,
    PAIRED,
    RECORDS,
    REVERSING,
    STATES,
    TABLES,
    VERSION,
)

MAX_NUMBER = 2**63 - 1
"""Largest number of an event."""


class LoggedEvent(NamedTuple):
    """Event of the log."""

    number: int
    """Place in the order of arrival."""
    key: bytes
    owner: str
    """User whose event it is."""
    row: EventRow

    @property
    def record(self) -> EventRecord:
        """The part of the event that profiles use."""
        return event_from_row(self.row, self.owner)


class SqliteDatabase(StateQueries):
    """Connection to the database. Its methods raise sqlite3's errors; see `store_errors`."""

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self._db = sqlite3.connect(path, busy_timeout_s, isolation_level=None, check_same_thread=False)
        # Deleted and replaced data is overwritten with zeros at once; see also `remove_traces`.
        self._db.execute("PRAGMA secure_delete = ON")

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection."""
        return self._db

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
        self._db.executescript(f"{RECORDS}; {STATES}")

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
            f"WITH wanted (name) AS (VALUES {marks}) SELECT name, user_id, row FROM wanted CROSS JOIN events "
            f"ON {kind}_id = name AND row IS NOT NULL AND number > coalesce((SELECT upto FROM profiles "
            f"WHERE entity = '{kind}' AND entity_id = name), 0)",
            ids,
        )
        for name, owner, row in rows:
            found.setdefault(name, (Profile(kind, name), []))[1].append(
                event_from_row(unpack_row(row), owner)
            )
        return found

    def append(self, rows: Sequence[LoggedEvent]) -> None:
        """Add events with their numbers, keys and owners."""
        values = [(e.number, e.key, e.owner, e.row[2], e.row[3], pack_row(e.row)) for e in rows]
        self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", values)

    def owners(self, user_ids: Iterable[str]) -> dict[str, str]:
        """Return the user whose events those of each id are: the account of a joined session, or the id."""
        owners = dict.fromkeys(user_ids)
        sessions = [name for name in owners if name.startswith(SESSION_PREFIX)]
        for start in range(0, len(sessions), MAX_SQL_VARIABLES):
            part = sessions[start : start + MAX_SQL_VARIABLES]
            marks = ",".join("?" * len(part))
            owners |= dict(
                self._db.execute(f"SELECT session, user_id FROM sessions WHERE session IN ({marks})", part)
            )
        return {name: name if owner is None else owner for name, owner in owners.items()}

    def users_who_reverse(self, user_ids: Sequence[str]) -> set[str]:
        """Return the users who have an event that reverses others."""
        found: set[str] = set()
        for start in range(0, len(user_ids), MAX_SQL_VARIABLES):
            part = user_ids[start : start + MAX_SQL_VARIABLES]
            marks = ",".join("?" * len(part))
            query = (
                f"SELECT DISTINCT user_id FROM events WHERE kind IN ({REVERSING}) AND user_id IN ({marks})"
            )
            found.update(user_id for (user_id,) in self._db.execute(query, part))
        return found

    def paired_events(self, user_id: str, video_id: str | None = None) -> list[EventRecord]:
        """Return a user's events, of one video or all, that reverse others or can be reversed."""
        found = self._db.execute(
            f"SELECT row FROM events WHERE user_id = ? AND kind IN ({PAIRED})"
            f"{'' if video_id is None else ' AND video_id = ?'}",
            (user_id,) if video_id is None else (user_id, video_id),
        )
        return [event_from_row(unpack_row(row), user_id) for (row,) in found]

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
            f"SELECT user_id, row FROM events WHERE {entity}_id = ? AND number > ? AND row IS NOT NULL",
            (name, upto),
        ).fetchall()
        events = [event_from_row(unpack_row(row), owner) for owner, row in since]
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
            "SELECT number, user_id, row FROM events WHERE number > ? AND row IS NOT NULL "
            "ORDER BY number LIMIT ?",
            (after, limit),
        ).fetchall()
        rows = [with_owner(unpack_row(row), owner) for _, owner, row in found]
        return table_from_rows(rows), found[-1][0] if found else after

    def changes_after(self, after: int, limit: int) -> LogChanges:
        """Return at most `limit` changes of the log numbered above `after`."""
        found = self._db.execute(
            "SELECT number, video_id, row FROM events WHERE number > ? AND video_id IS NOT NULL "
            "ORDER BY number LIMIT ?",
            (after, limit),
        ).fetchall()
        rows = [unpack_row(row) for _, _, row in found if row is not None]
        return LogChanges(
            events=table_from_rows(rows),
            video_ids=tuple(dict.fromkeys(video_id for _, video_id, _ in found)),
            removed_at=max((number for number, _, row in found if row is None), default=0),
            cursor=found[-1][0] if found else after,
            complete=len(found) < limit,
        )

    def events_of(self, user_id: str, before: int | None, limit: int) -> tuple[pa.Table, int | None]:
        """Return a user's last events numbered below `before`, and the number of the last of them."""
        found = self._db.execute(
            "SELECT number, row FROM events WHERE user_id = ? AND number < ? ORDER BY number DESC LIMIT ?",
            (user_id, MAX_NUMBER if before is None else before, limit + 1),
        ).fetchall()
        rows = [with_owner(unpack_row(row), user_id) for _, row in found[:limit]]
        return table_from_rows(rows), found[limit - 1][0] if len(found) > limit else None

    def find(self, key: bytes) -> tuple[str, EventRow] | None:
        """Return the owner and row of an event that is in the log."""
        found = self._db.execute(
            "SELECT user_id, row FROM events WHERE key = ? AND row IS NOT NULL", (key,)
        ).fetchone()
        return None if found is None else (found[0], unpack_row(found[1]))

    def remove(self, key: bytes) -> None:
        """Remove all of an event but its key and its video, which becomes the log's last change."""
        self._db.execute(
            "UPDATE events SET number = (SELECT max(number) + 1 FROM events), user_id = NULL, kind = NULL, "
            "row = NULL WHERE key = ?",
            (key,),
        )

    def announce(self, video_ids: Iterable[str]) -> None:
        """Add to the log that profiles of videos have changed without a new event."""
        values = [(secrets.token_bytes(KEY_BYTES), video_id) for video_id in video_ids]
        self._db.executemany("INSERT INTO events (key, video_id) VALUES (?, ?)", values)

    def drop_profile(self, user_id: str) -> None:
        """Drop a user's stored profile, so that it is made of all events again."""
        self._db.execute("DELETE FROM profiles WHERE entity = 'user' AND entity_id = ?", (user_id,))

    def join(self, session: str, user_id: str) -> int:
        """Make a session's events a user's, and return their number."""
        self._db.execute("INSERT INTO sessions VALUES (?, ?)", (session, user_id))
        return self._db.execute(
            "UPDATE events SET user_id = ? WHERE user_id = ?", (user_id, session)
        ).rowcount

    def sessions_of(self, user_id: str) -> list[str]:
        """Return the sessions that joined an account, ascending."""
        found = self._db.execute(
            "SELECT session FROM sessions WHERE user_id = ? ORDER BY session", (user_id,)
        )
        return [session for (session,) in found]

    def videos_of(self, user_id: str) -> list[str]:
        """Return the videos of a user's events."""
        found = self._db.execute("SELECT DISTINCT video_id FROM events WHERE user_id = ?", (user_id,))
        return [video_id for (video_id,) in found]

    def erase(self, user_id: str) -> int:
        """Erase all but the keys of a user's events, and the profile; return the number of events.

        Traces stay in the files until `remove_traces`.
        """
        self.drop_profile(user_id)
        erased = self._db.execute(
            "UPDATE events SET user_id = NULL, video_id = NULL, kind = NULL, row = NULL WHERE user_id = ?",
            (user_id,),
        ).rowcount
        left = self._db.execute("DELETE FROM sessions WHERE user_id = ?", (user_id,)).rowcount
        if erased or left:
            self._db.execute("UPDATE marks SET value = 1 WHERE name = 'traces'")
        return erased

    def has_traces(self) -> bool:
        """Return whether something was erased since `remove_traces` last succeeded."""
        return bool(self._value("SELECT value FROM marks WHERE name = 'traces'"))

    def logged_after(self, after: int, limit: int) -> list[tuple[int, str | None, str | None, bytes | None]]:
        """Return number, owner, kind and packed row of the next entries of the log, also of erased ones."""
        return self._db.execute(
            "SELECT number, user_id, kind, row FROM events WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
        ).fetchall()

    def expire(self, numbers: Sequence[int]) -> None:
        """Erase all but the keys of events; traces stay in the files until `remove_traces`."""
        self._db.executemany(
            "UPDATE events SET user_id = NULL, video_id = NULL, kind = NULL, row = NULL WHERE number = ?",
            [(number,) for number in numbers],
        )
        self._db.execute("UPDATE marks SET value = 1 WHERE name = 'traces'")

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
