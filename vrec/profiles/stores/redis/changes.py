"""Reads before the scripts of the Redis store: whose events there are, and what they reverse."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import redis

from vrec.core.errors import SessionTaken, UnknownEvent
from vrec.core.schema import REVERSED_BY, SESSION_PREFIX
from vrec.events.reversals import PAIRED_KINDS, REVERSIBLE_KINDS
from vrec.profiles.profile import EventRecord
from vrec.profiles.reversals import CountChange, changes_by_video, reversed_events
from vrec.profiles.stores.codec import EventRow, event_from_row, pack_row, unpack_row, with_owner
from vrec.profiles.stores.redis.tails import change_entry, correction_entries


@dataclass(frozen=True, slots=True)
class OwnedEvents:
    """Events of a user as read; a script that changes them first checks that none has come since."""

    sent: str
    """User id with which events are sent: a session, perhaps, of the owner."""
    owner: str
    count: int
    paired: tuple[EventRecord, ...]
    """Those that reverse others or can be reversed."""

    @property
    def guard(self) -> tuple[str, str, int]:
        """Arguments of a script that checks them."""
        return self.sent, self.owner, self.count


def pairing_of(kind: str) -> str:
    """Return what a script is told about the kind of an event."""
    return "reverses" if kind in REVERSED_BY else "reversible" if kind in REVERSIBLE_KINDS else ""


class RedisLog:
    """Reads of the log over a client, whose errors it raises."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._db, self._prefix = client, prefix

    def owners(self, user_ids: Iterable[str]) -> dict[str, str]:
        """Return the user whose events those of each id are: the account of a joined session, or the id."""
        owners = {name: name for name in user_ids}
        sessions = [name for name in owners if name.startswith(SESSION_PREFIX)]
        if sessions:
            found: Any = self._db.hmget(f"{self._prefix}:sessions", sessions)
            owners |= {
                name: owner.decode() for name, owner in zip(sessions, found, strict=True) if owner is not None
            }
        return owners

    def numbers_of(self, owner: str) -> list[int]:
        """Return the numbers of a user's events."""
        numbers: Any = self._db.lrange(f"{self._prefix}:events:{owner}", 0, -1)
        return [int(number) for number in numbers]

    def rows(self, numbers: Sequence[int]) -> list[EventRow]:
        """Return the rows of the log with these numbers; those that are gone are left out."""
        return [row for _, row in self.entries(numbers)]

    def entries(self, numbers: Sequence[int]) -> list[tuple[int, EventRow]]:
        """Return the rows of the log with these numbers, and the numbers, without those that are gone."""
        found: Any = self._db.hmget(f"{self._prefix}:log", numbers) if numbers else []
        return [
            (number, unpack_row(row)) for number, row in zip(numbers, found, strict=True) if row is not None
        ]

    def events_of(self, sent: str) -> OwnedEvents:
        """Return the events of a user or session."""
        owner = self.owners([sent])[sent]
        numbers = self.numbers_of(owner)
        paired = (event_from_row(row, owner) for row in self.rows(numbers) if row[3] in PAIRED_KINDS)
        return OwnedEvents(sent, owner, len(numbers), tuple(paired))

    def plan_corrections(self, rows: Sequence[EventRow], keys: Sequence[Any]) -> list[Any]:
        """Return the arguments of `APPLY` about guards and corrections for rows with these keys."""
        numbers: Any = self._db.hmget(f"{self._prefix}:ids", list(keys))
        new = [row for row, number in zip(rows, numbers, strict=True) if number is None]
        paired = [row for row in new if row[3] in PAIRED_KINDS]
        known = [self.events_of(sent) for sent in dict.fromkeys(row[1] for row in paired)]
        owner_of = {one.sent: one.owner for one in known}
        entries: list[Any] = []
        for owner, before in {one.owner: one.paired for one in known}.items():
            ids = {event.event_id for event in before}
            mine = [event_from_row(row, owner) for row in paired if owner_of[row[1]] == owner]
            # Of several events of one id the first counts.
            added = {event.event_id: event for event in reversed(mine) if event.event_id not in ids}
            changes = changes_by_video(reversed_events(before), reversed_events([*before, *added.values()]))
            for video_id, change in changes.items():
                for entry in correction_entries(change):
                    entries += (video_id, entry)
        guards = [value for one in known for value in one.guard]
        return [len(known), len(entries) // 2, *guards, *entries]

    def plan_removal(self, event_id: str, key: Any) -> "RemovalPlan | None":
        """Return how to remove an event; None if it is gone already.

        Raises:
            UnknownEvent: There never was an event of this id.
        """
        number: Any = self._db.hget(f"{self._prefix}:ids", key)
        if number is None:
            raise UnknownEvent(f"there is no event {event_id}")
        packed: Any = self._db.hget(f"{self._prefix}:log", number.decode())
        if packed is None:
            return None
        row = unpack_row(packed)
        known = self.events_of(row[1])
        event = event_from_row(row, known.owner)
        rest = [one for one in known.paired if one.event_id != event_id]
        changes = changes_by_video(reversed_events(known.paired), reversed_events(rest), event)
        entries = correction_entries(changes.get(event.video_id, CountChange()))
        about = (*known.guard, number, event.video_id, packed, change_entry(event.video_id))
        return RemovalPlan(event.video_id, (*about, *entries))

    def plan_join(self, session: str, user_id: str) -> list[Any] | None:
        """Return the arguments of `JOIN` behind the marker; None if the session is the user's already.

        Raises:
            SessionTaken: The session is another user's.
        """
        apart = [self.events_of(name) for name in (session, user_id)]
        if apart[0].owner == user_id:
            return None
        if apart[0].owner != session:
            raise SessionTaken(f"{session} is joined to another account already")
        before = [event for one in apart for event in reversed_events(one.paired)]
        merged = [replace(event, user_id=user_id) for one in apart for event in one.paired]
        arguments: list[Any] = [session, user_id, *(one.count for one in apart)]
        for video_id, change in changes_by_video(before, reversed_events(merged)).items():
            for entry in correction_entries(change):
                arguments += (video_id, entry, change_entry(video_id))
        return arguments

    def plan_rename(self, user_id: str, new_id: str) -> "RenamePlan | None":
        """Return how to give a user or session another id; None if it is unknown."""
        if user_id == new_id:
            return None
        known, target = self.events_of(user_id), self.owners([new_id])[new_id]
        is_joined = known.owner != user_id
        # An id that has joined another account cannot have a session's events: the account itself has them.
        sent = known.owner if is_joined and target not in (new_id, known.owner) else new_id
        rows = self.entries(self.numbers_of(known.owner))
        renamed = [
            value
            for number, row in rows
            if row[1] == user_id
            for value in (number, pack_row(with_owner(row, sent)))
        ]
        videos = tuple(dict.fromkeys(row[2] for _, row in rows))
        if is_joined:
            joins = known.owner if target == new_id and self.numbers_of(new_id) else None
            return RenamePlan(videos, (user_id, sent, known.owner, known.count, *renamed), True, joins)
        if not known.count and not self._db.exists(f"{self._prefix}:sessions:{user_id}"):
            return None
        other = self.events_of(new_id)
        before = [event for one in (known, other) for event in reversed_events(one.paired)]
        merged = [replace(event, user_id=other.owner) for one in (known, other) for event in one.paired]
        arguments: list[Any] = [user_id, new_id, other.owner, known.count, other.count, len(renamed) // 2]
        arguments += renamed
        for video_id, change in changes_by_video(before, reversed_events(merged)).items():
            for entry in correction_entries(change):
                arguments += (video_id, entry, change_entry(video_id))
        return RenamePlan(videos, tuple(arguments))


@dataclass(frozen=True, slots=True)
class RenamePlan:
    """Change of the id of a user or session."""

    videos: tuple[str, ...]
    """Videos of the events."""
    arguments: tuple[Any, ...]
    """Arguments of the script behind the marker."""
    is_joined: bool = False
    """True for a session that has joined an account: the script is `RENAME_SESSION`, else `RENAME`."""
    joins: str | None = None
    """Account that the new id has to join first, since there are events of it."""


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """Removal of an event."""

    video_id: str
    arguments: tuple[Any, ...]
    """Arguments of `REMOVE` behind the marker."""
