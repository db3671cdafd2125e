"""Changes of the SQLite store that reach back: reversals, removal of events, joined sessions.

A user's profile is dropped and made of all events again. A video's takes in all its events first, and then
its counts are corrected.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vrec.core.errors import SessionTaken, StoreError, UnknownEvent
from vrec.core.types import ExpiredEvents
from vrec.events.reversals import PAIRED_KINDS
from vrec.profiles.reversals import CountChange, changes_by_video, reversed_events
from vrec.profiles.stores.cache import ProfileKey
from vrec.profiles.stores.codec import event_from_row, unpack_row
from vrec.profiles.stores.fold import ProfileFold
from vrec.profiles.stores.sqlite.file import LoggedEvent, SqliteDatabase
from vrec.profiles.stores.sqlite.renames import has_user, rename_session, rename_user
from vrec.profiles.stores.sqlite.tables import store_errors


class SqliteChanges:
    """Changes over the writer's connection; `reverse` runs within a transaction of the caller.

    Each returns the users and videos whose profiles were changed in the database.
    """

    def __init__(self, file: SqliteDatabase, fold: ProfileFold) -> None:
        self._file, self._fold = file, fold

    def reverse(self, added: Sequence[LoggedEvent]) -> set[ProfileKey]:
        """Correct profiles after new events of which some reverse others, or are reversed by earlier ones."""
        new_ids = {event.row[0] for event in added}
        pairs = dict.fromkeys((e.owner, e.row[2]) for e in added if e.row[3] in PAIRED_KINDS)
        # Most users have none, and then nothing is reversed.
        reversing = self._file.users_who_reverse(list({owner for owner, _ in pairs}))
        touched: set[ProfileKey] = set()
        for owner, video_id in pairs:
            if owner not in reversing:
                continue
            now = self._file.paired_events(owner, video_id)
            before = [event for event in now if event.event_id not in new_ids]
            changes = changes_by_video(reversed_events(before), reversed_events(now))
            if changes:
                touched |= self._correct([owner], changes)
        return touched

    def remove(self, event_id: str, key: bytes) -> set[ProfileKey]:
        """Remove an event; nothing is touched if it is gone already.

        Raises:
            UnknownEvent: There never was an event of this id.
        """
        found = self._file.find(key)
        if found is None:
            if not self._file.existing_keys([key]):
                raise UnknownEvent(f"there is no event {event_id}")
            return set()
        owner, row = found
        event = event_from_row(row, owner)
        now = self._file.paired_events(owner, event.video_id) if event.kind in PAIRED_KINDS else []
        rest = [one for one in now if one.event_id != event_id]
        changes = changes_by_video(reversed_events(now), reversed_events(rest), event)
        with self._file.writing(True):
            touched = self._correct([owner], changes)
            self._file.remove(key)
        touched.add(("video", event.video_id))
        return touched

    def join(self, session: str, user_id: str) -> tuple[int, set[ProfileKey]]:
        """Make a session's events a user's; also returns their number.

        Raises:
            SessionTaken: The session is another user's.
        """
        owner = self._file.owners([session])[session]
        if owner == user_id:
            return 0, set()
        if owner != session:
            raise SessionTaken(f"{session} is joined to another account already")
        apart = [self._file.paired_events(name) for name in (session, user_id)]
        merged = [replace(event, user_id=user_id) for events in apart for event in events]
        before = [event for events in apart for event in reversed_events(events)]
        changes = changes_by_video(before, reversed_events(merged))
        with self._file.writing(True):
            touched = self._correct([session, user_id], changes)
            moved = self._file.join(session, user_id)
            self._file.announce(changes)
        return moved, touched

    def rename(self, user_id: str, new_id: str) -> tuple[int, set[ProfileKey]]:
        """Give a user or session another id; also returns the number of events that changed their user.

        Both have the events of both afterwards, if both have some.
        """
        if user_id == new_id:
            return 0, set()
        owners = self._file.owners([user_id, new_id])
        if owners[user_id] != user_id:
            return 0, self._rename_joined(user_id, new_id, owners[user_id], owners[new_id])
        if not has_user(self._file.connection, user_id):
            return 0, set()
        target = owners[new_id]
        apart = [self._file.paired_events(name) for name in (user_id, target)]
        merged = [replace(event, user_id=target) for events in apart for event in events]
        before = [event for events in apart for event in reversed_events(events)]
        changes = changes_by_video(before, reversed_events(merged))
        with self._file.writing(True):
            touched = self._correct([user_id, target], changes)
            moved = rename_user(self._file.connection, user_id, new_id, target)
            self._file.announce(changes)
        return moved, touched

    def _rename_joined(self, session: str, new_id: str, account: str, other: str) -> set[ProfileKey]:
        """Give a session of an account another id, which is that of an account `other`, or its own."""
        touched: set[ProfileKey] = set()
        if other == new_id and has_user(self._file.connection, new_id):
            _, touched = self.join(new_id, account)
        # An id that has joined another account cannot have these events: the account itself has them.
        sent = new_id if other in (new_id, account) else account
        with self._file.writing(True):
            rename_session(self._file.connection, session, sent, account)
        return touched

    def expire(
        self, cutoffs: Mapping[str, int], after: int, limit: int
    ) -> tuple[ExpiredEvents, set[ProfileKey]]:
        """Remove those of the next events that are too old; see ProfileStore."""
        entries = self._file.logged_after(after, limit)
        cursor = entries[-1][0] if len(entries) == limit else 0
        old: list[tuple[int, str, str]] = []
        for number, owner, kind, packed in entries:
            if kind is not None and kind in cutoffs and packed is not None and owner is not None:
                row = unpack_row(packed)
                if row[-1] < cutoffs[kind]:
                    old.append((number, owner, row[2]))
        if not old:
            return ExpiredEvents(0, cursor), set()
        videos: list[ProfileKey] = [("video", name) for name in sorted({video_id for *_, video_id in old})]
        owners = {owner for _, owner, _ in old}
        with self._file.writing(False):
            # First the videos' profiles take in the events that are about to go.
            self._file.put([self._file.load(key, self._fold) for key in videos])
            self._file.expire([number for number, *_ in old])
            for owner in owners:
                self._file.drop_profile(owner)
        touched: set[ProfileKey] = {("user", owner) for owner in owners}
        return ExpiredEvents(len(old), cursor), touched.union(videos)

    def _correct(self, user_ids: Iterable[str], changes: Mapping[str, CountChange]) -> set[ProfileKey]:
        touched: set[ProfileKey] = set()
        for user_id in user_ids:
            self._file.drop_profile(user_id)
            touched.add(("user", user_id))
        for video_id, change in changes.items():
            loaded = self._file.load(("video", video_id), self._fold)
            loaded.profile = self._fold.adjust(loaded.profile, change)
            self._file.put([loaded])
            touched.add(("video", video_id))
        return touched


def remove_traces(file: SqliteDatabase, path: Path) -> None:
    """Remove what erased users left in the files of the store; raise StoreError if something stays."""
    try:
        with store_errors(path):
            removed = file.remove_traces()
    except StoreError as error:
        raise StoreError(
            f"{error}; the user is erased, but traces stay in the files",
            fix="make room for a second copy of the database, and erase the user again",
        ) from error
    if not removed:
        raise StoreError(
            f"{path}: the user is erased, but another program reads the database, so that old "
            f"pages stay in {path.name}-wal",
            fix="let the other program finish, and erase the user again",
        )
