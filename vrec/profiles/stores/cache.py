"""The profiles in use, in memory, and how far the stored profiles are behind the log."""

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from threading import Lock

from vrec.profiles.profile import Entity, Event, Profile
from vrec.profiles.stores.fold import Fold

Key = tuple[Entity, str]
"""A user or video: which of them, and its id."""
GROUPS_REMEMBERED = 256
"""Commits whose users and videos are remembered, to tell whether what was read meanwhile is still all."""
COUNTED = 100_000
"""Users and videos whose events are counted until their profiles are stored again; about 25 MB."""


@dataclass(slots=True)
class Loaded:
    """A profile as read from the database."""

    profile: Profile
    upto: int
    """The number of the last event in the log when it was read."""
    behind: int
    """Events in it that the stored profile lacks."""


@dataclass(slots=True)
class _Hot:
    profile: Profile
    upto: int
    pending: list[Event] = field(default_factory=list)


class HotProfiles:
    """At most `capacity` profiles, those used last. Safe to use from threads.

    One thread commits events and calls `note` after each commit; any thread reads with `find` and, after a
    miss, gives what it has read from the database to `keep`.
    """

    def __init__(self, capacity: int, fold_after: int, fold: Fold) -> None:
        self._capacity, self._fold_after, self._fold = capacity, fold_after, fold
        self._hot: OrderedDict[Key, _Hot] = OrderedDict()
        self._behind: OrderedDict[Key, int] = OrderedDict()
        self._recent: deque[frozenset[Key]] = deque(maxlen=GROUPS_REMEMBERED)
        self._noted = 0
        self._lock = Lock()

    @property
    def noted(self) -> int:
        """How many commits have been noted: take it before reading from the database, for `keep`."""
        return self._noted

    def find(self, key: Key) -> Profile | None:
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

    def keep(self, key: Key, loaded: Loaded, noted: int) -> None:
        """Keeps what was read, unless its user or video has been noted since `noted` commits.

        Where an event was read before it is noted, its number tells.
        """
        with self._lock:
            missed = self._noted - noted
            if missed > len(self._recent) or any(key in self._recent[-i] for i in range(1, missed + 1)):
                return
            self._hot[key] = _Hot(loaded.profile, loaded.upto)
            self._hot.move_to_end(key)
            if loaded.behind:
                self._behind[key] = loaded.behind
            while len(self._hot) > self._capacity:
                self._hot.popitem(last=False)

    def note(self, events: Iterable[tuple[int, Event]]) -> set[Key]:
        """The users and videos whose profiles should be stored anew, after a commit of numbered events."""
        touched: set[Key] = set()
        with self._lock:
            for number, event in events:
                keys: tuple[Key, Key] = ("user", event.user_id), ("video", event.video_id)
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
            while len(self._behind) > COUNTED:
                due.add(self._behind.popitem(last=False)[0])
        return due

    def stored(self, keys: Iterable[Key]) -> None:
        """Says that these profiles are stored with every event noted so far."""
        with self._lock:
            for key in keys:
                self._behind.pop(key, None)

    def drop(self, keys: Collection[Key]) -> None:
        """Forgets profiles that were changed in the database, also those being read at this moment."""
        with self._lock:
            for key in keys:
                self._hot.pop(key, None)
                self._behind.pop(key, None)
            self._remember(keys)

    def _remember(self, keys: Iterable[Key]) -> None:
        self._recent.append(frozenset(keys))
        self._noted += 1
