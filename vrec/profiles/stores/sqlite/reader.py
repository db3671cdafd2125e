"""Reader of a SQLite store's profiles for other processes of the same machine, while the store writes."""

from collections.abc import Iterable, Sequence
from threading import Lock

from vrec.core.errors import StoreError
from vrec.core.schema import SESSION_PREFIX
from vrec.profiles.profile import Entity, Profile
from vrec.profiles.stores.fold import ProfileFold, VideoLookup, has_events
from vrec.profiles.stores.sqlite.config import SqliteConfig
from vrec.profiles.stores.sqlite.file import SqliteDatabase
from vrec.profiles.stores.sqlite.tables import absolute_path, store_errors
from vrec.profiles.update import ProfilesConfig


class SqliteProfileReader:
    """Read-only view of a SqliteStore that does not need the process that owns the file.

    Commits are visible at once, since both use the same WAL. Nothing is cached between two calls.
    """

    def __init__(self, config: SqliteConfig, facts: VideoLookup, profiles: ProfilesConfig) -> None:
        """Open the file; raise StoreError if it does not exist or cannot be read."""
        self._path, self._fold, self._lock = absolute_path(config.path), ProfileFold(facts, profiles), Lock()
        if not self._path.exists():
            raise StoreError(f"{self._path}: there is no store", fix="start the store that owns it first")
        with store_errors(self._path):
            self._file = SqliteDatabase(self._path, config.busy_timeout_s)
            self._file.read_only()

    def get(self, kind: Entity, ids: Sequence[str]) -> dict[str, Profile]:
        """Return the profiles of users or videos with any event, by id; raise StoreError."""
        with self._lock, store_errors(self._path), self._file.reading():
            owners = self._file.owners(ids) if kind == "user" else {name: name for name in ids}
            profiles = {
                name: self._file.load((kind, owner), self._fold).profile for name, owner in owners.items()
            }
        return {name: profile for name, profile in profiles.items() if has_events(profile)}

    def owners(self, user_ids: Iterable[str]) -> dict[str, str]:
        """Return the account of each joined session, and every other id itself."""
        names = list(user_ids)
        if not any(name.startswith(SESSION_PREFIX) for name in names):
            return {name: name for name in names}
        with self._lock, store_errors(self._path):
            return self._file.owners(names)

    def states(self, table: str, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """Return the versions and states of keys; see StateTable."""
        with self._lock, store_errors(self._path):
            return self._file.states(table, keys)

    def close(self) -> None:
        """Close the file; closing again does nothing."""
        self._file.close()
