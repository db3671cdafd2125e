"""Profiles read from a SQLite store's file by another process of the same machine, while the store writes."""

from collections.abc import Sequence
from threading import Lock

from vrec.core.errors import StoreError
from vrec.profiles.profile import Entity, Profile
from vrec.profiles.stores.fold import ProfileFold, VideoLookup
from vrec.profiles.stores.sqlite.file import SqliteDatabase, absolute_path, store_errors
from vrec.profiles.stores.sqlite.store import SqliteConfig
from vrec.profiles.update import ProfilesConfig


class SqliteProfileReader:
    """What `SqliteStore.get` gives, without asking the process that owns the file: also while it is away.

    What is committed is seen at once, since both look at the same WAL. Nothing is kept between two calls.
    """

    def __init__(self, config: SqliteConfig, facts: VideoLookup, profiles: ProfilesConfig) -> None:
        """Opens the file; raises StoreError where there is none, or it cannot be read."""
        self._path, self._fold, self._lock = absolute_path(config.path), ProfileFold(facts, profiles), Lock()
        if not self._path.exists():
            raise StoreError(f"{self._path}: there is no store", fix="start the store that owns it first")
        with store_errors(self._path):
            self._file = SqliteDatabase(self._path, config.busy_timeout_s)
            self._file.read_only()

    def get(self, kind: Entity, ids: Sequence[str]) -> dict[str, Profile]:
        """The profiles of users or videos that have any event, by id; raises StoreError."""
        with self._lock, store_errors(self._path), self._file.reading():
            found = {name: self._file.load((kind, name), self._fold).profile for name in ids}
        return {name: profile for name, profile in found.items() if profile.seen}

    def close(self) -> None:
        """Closes the file; closing again does nothing."""
        self._file.close()
