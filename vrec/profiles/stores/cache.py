"""The profiles in use, in memory, and how far the stored profiles are behind the log."""

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from threading import Lock

from vrec.profiles.profile import Entity, EventRecord, Profile
from vrec.profiles.stores.fold import ProfileFold

ProfileKey = tuple[Entity, str]
"""A user or video: which of them, and its id."""
MAX_RECENT_COMMITS = 256
"""Commits whose users and videos are remembered, to tell whether what was read meanwhile is still all."""
MAX_COUNTED = 100_000
"""Users and videos whose events are counted until their profiles are stored again; about 25 MB."""


@dataclass(slots=True)
class StoredProfile:
    """A profile as read from the database."""

    profile: Profile
    last_number: int
    """The number of the last event in the log when it was read."""
    pending_count: int
    """Events in it that the stored profile lacks."""


@dataclass(slots=True)
class _CachedProfile:
    profile: Profile
    upto: int
    pending: list[EventRecord] = field(default_factory=list)


class ProfileCache:
    """At most `capacity` profiles, those used last. Safe to use from threads.

    One thread commits events and calls `note` after each commit; any thread reads with `find` and, after a
    miss, gives what it has read from the database to `keep`.
    """

    def __init__(self, capacity: int, fold_after: int, fold: ProfileFold) -> None:
        self._capacity, self._fold_after, self._fold = capacity, fold_after, fold
        self._hot: OrderedDict[ProfileKey, _CachedProfile] = OrderedDict()
        self._behind: OrderedDict[ProfileKey, int] = OrderedDict()
        self._recent: deque[frozenset[ProfileKey]] = deque(maxlen=MAX_RECENT_COMMITS)
        self._noted = 0
        self._lock = Lock()

    @property
    def commit_count(self) -> int:
        """How many commits have been noted: take it before reading from the database, for `keep`."""
        return self._noted

    def get(self, key: ProfileKey) -> Profile | None:
        """The profile with every event noted so far, or None where it is not here."""
        with self._lock:
            hot = self._hot.get(key)
            if hot is None:
                return None
            self._hot.move_to_end(key)
            if hot.pending:
                # Assigned only when the fold has succeeded: a catalogue that fails must not lose events.
                hot.profile, hot.pending = self._fold(hot.profile, hot.pending), []
            return hot.profile

    def put(self, key: ProfileKey, loaded: StoredProfile, noted: int) -> None:
        """Keeps what was read, unless its user or video has been noted since `noted` commits.

        Where an event was read before it is noted, its number tells.
        """
        with self._lock:
            missed = self._noted - noted
            if missed > len(self._recent) or any(key in self._recent[-i] for i in range(1, missed + 1)):
                return
            self._hot[key] = _CachedProfile(loaded.profile, loaded.last_number)
            self._hot.move_to_end(key)
            if loaded.pending_count:
                self._behind[key] = loaded.pending_count
            while len(self._hot) > self._capacity:
                self._hot.popitem(last=False)

    def record_commit(self, events: Iterable[tuple[int, EventRecord]]) -> set[ProfileKey]:
        """The users and videos whose profiles should be stored anew, after a commit of numbered events."""
        touched: set[ProfileKey] = set()
        with self._lock:
            for number, event in events:
                keys: tuple[ProfileKey, ProfileKey] = ("user", event.user_id), ("video", event.video_id)
                for key in keys:
                    touched.add(key)
                    self._behind[key] = self._behind.get(key, 0) + 1
                    self._behind.move_to_end(key)
                    hot = self._hot.get(key)
                    if hot is not None and number > hot.upto:
                        hot.pending.append(event)
                        hot.upto = number
            due = {key for key in touched if self._behind[key] >= self._fold_after}
            self._remember(touched)
            while len(self._behind) > MAX_COUNTED:
                due.add(self._behind.popitem(last=False)[0])
        return due

    def mark_stored(self, keys: Iterable[ProfileKey]) -> None:
        """Says that these profiles are stored with every event noted so far."""
        with self._lock:
            for key in keys:
                self._behind.pop(key, None)

    def invalidate(self, keys: Collection[ProfileKey]) -> None:
        """Forgets profiles that were changed in the database, also those being read at this moment."""
        with self._lock:
            for key in keys:
                self._hot.pop(key, None)
                self._behind.pop(key, None)
            self._remember(keys)

    def _remember(self, keys: Iterable[ProfileKey]) -> None:
        self._recent.append(frozenset(keys))
        self._noted += 1
