"""In-memory cache of profiles, with counts of the events that the stored profiles lack."""

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from threading import Lock

from vrec.profiles.profile import Entity, EventRecord, Profile
from vrec.profiles.stores.fold import ProfileFold

ProfileKey = tuple[Entity, str]
"""Kind (user or video) and id."""
MAX_RECENT_COMMITS = 256
"""Commits whose users and videos are remembered, to detect whether a profile read meanwhile is outdated."""
MAX_COUNTED = 100_000
"""Users and videos whose pending events are counted; about 25 MB."""


@dataclass(slots=True)
class StoredProfile:
    """Profile as read from the database, with every event of the log at that time."""

    profile: Profile
    last_number: int
    """Number of the last event in the log at the time of reading."""
    pending_count: int
    """Number of its events that the profile in the database lacks."""


@dataclass(slots=True)
class _CachedProfile:
    profile: Profile
    last_number: int
    pending: list[EventRecord] = field(default_factory=list)


class ProfileCache:
    """Thread-safe cache of the `capacity` profiles that were used last.

    One thread commits events and calls `record_commit` after each commit; any thread reads with `get` and,
    after a miss, passes the profile that it has read from the database to `put`.
    """

    def __init__(self, capacity: int, fold_after: int, fold: ProfileFold) -> None:
        self._capacity, self._fold_after, self._fold = capacity, fold_after, fold
        self._profiles: OrderedDict[ProfileKey, _CachedProfile] = OrderedDict()
        self._pending_counts: OrderedDict[ProfileKey, int] = OrderedDict()
        self._recent: deque[frozenset[ProfileKey]] = deque(maxlen=MAX_RECENT_COMMITS)
        self._commit_count = 0
        self._lock = Lock()

    @property
    def commit_count(self) -> int:
        """Number of commits recorded so far; read it before reading from the database, for `put`."""
        return self._commit_count

    def get(self, key: ProfileKey) -> Profile | None:
        """Return the profile with every event recorded so far, or None if it is not cached."""
        with self._lock:
            cached = self._profiles.get(key)
            if cached is None:
                return None
            self._profiles.move_to_end(key)
            if cached.pending:
                # Assigned only after the fold has succeeded: a catalog that fails must not lose events.
                cached.profile, cached.pending = self._fold(cached.profile, cached.pending), []
            return cached.profile

    def put(self, key: ProfileKey, loaded: StoredProfile, commit_count: int) -> None:
        """Cache a profile read from the database, unless a later commit has changed its user or video.

        Args:
            key: The user or video.
            loaded: Its profile.
            commit_count: The cache's `commit_count` before reading.
        """
        with self._lock:
            missed = self._commit_count - commit_count
            if missed > len(self._recent) or any(key in self._recent[-i] for i in range(1, missed + 1)):
                return
            self._profiles[key] = _CachedProfile(loaded.profile, loaded.last_number)
            self._profiles.move_to_end(key)
            if loaded.pending_count:
                self._pending_counts[key] = loaded.pending_count
            while len(self._profiles) > self._capacity:
                self._profiles.popitem(last=False)

    def record_commit(self, events: Iterable[tuple[int, EventRecord]]) -> set[ProfileKey]:
        """Record a commit of numbered events, and return the users and videos whose profiles must be stored.

        A cached profile that was read with an event already in it ignores the event by its number.
        """
        touched: set[ProfileKey] = set()
        with self._lock:
            for number, event in events:
                keys: tuple[ProfileKey, ProfileKey] = ("user", event.user_id), ("video", event.video_id)
                for key in keys:
                    touched.add(key)
                    self._pending_counts[key] = self._pending_counts.get(key, 0) + 1
                    self._pending_counts.move_to_end(key)
                    cached = self._profiles.get(key)
                    if cached is not None and number > cached.last_number:
                        cached.pending.append(event)
                        cached.last_number = number
            due = {key for key in touched if self._pending_counts[key] >= self._fold_after}
            self._remember(touched)
            while len(self._pending_counts) > MAX_COUNTED:
                due.add(self._pending_counts.popitem(last=False)[0])
        return due

    def mark_stored(self, keys: Iterable[ProfileKey]) -> None:
        """Mark these profiles as stored with every event recorded so far."""
        with self._lock:
            for key in keys:
                self._pending_counts.pop(key, None)

    def invalidate(self, keys: Collection[ProfileKey]) -> None:
        """Drop profiles that were changed in the database, also those being read at this moment."""
        with self._lock:
            for key in keys:
                self._profiles.pop(key, None)
                self._pending_counts.pop(key, None)
            self._remember(keys)

    def _remember(self, keys: Iterable[ProfileKey]) -> None:
        self._recent.append(frozenset(keys))
        self._commit_count += 1
