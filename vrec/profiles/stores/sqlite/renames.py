"""Other ids for users and sessions in the database file, within a transaction of the caller."""

import sqlite3

from vrec.profiles.stores.codec import pack_row, unpack_row, with_owner


def has_user(db: sqlite3.Connection, user_id: str) -> bool:
    """Return whether there is an event or a joined session of a user."""
    query = (
        "SELECT EXISTS (SELECT 1 FROM events WHERE user_id = :id) "
        "OR EXISTS (SELECT 1 FROM sessions WHERE user_id = :id)"
    )
    return bool(db.execute(query, {"id": user_id}).fetchone()[0])


def rename_user(db: sqlite3.Connection, user_id: str, new_id: str, owner: str) -> int:
    """Make a user's events and joined sessions another one's, and return the number of events.

    Args:
        db: The connection.
        user_id: The user, or a session that has joined no account.
        new_id: Id as which the events were sent from now on.
        owner: User whose events they are from now on: `new_id`, or the account that it has joined.
    """
    _rename_rows(db, user_id, user_id, new_id)
    moved = db.execute("UPDATE events SET user_id = ? WHERE user_id = ?", (owner, user_id)).rowcount
    db.execute("UPDATE sessions SET user_id = ? WHERE user_id = ?", (owner, user_id))
    db.execute("UPDATE marks SET value = 1 WHERE name = 'traces'")
    return moved


def rename_session(db: sqlite3.Connection, session: str, new_id: str, owner: str) -> None:
    """Give a session that has joined an account another id, that of a session of the account or its own."""
    _rename_rows(db, owner, session, new_id)
    if new_id != owner:
        db.execute("UPDATE OR IGNORE sessions SET session = ? WHERE session = ?", (new_id, session))
    db.execute("DELETE FROM sessions WHERE session = ?", (session,))
    db.execute("UPDATE marks SET value = 1 WHERE name = 'traces'")


def _rename_rows(db: sqlite3.Connection, owner: str, sent: str, new_id: str) -> None:
    """Change the id with which events of an owner were sent."""
    found = db.execute("SELECT number, row FROM events WHERE user_id = ? AND row IS NOT NULL", (owner,))
    rows = [(number, unpack_row(row)) for number, row in found.fetchall()]
    changed = [(pack_row(with_owner(row, new_id)), number) for number, row in rows if row[1] == sent]
    db.executemany("UPDATE events SET row = ? WHERE number = ?", changed)
