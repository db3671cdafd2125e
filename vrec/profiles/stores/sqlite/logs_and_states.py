"""Logs of records and tables of states of the SQLite store, which stand beside the profiles."""

import shutil
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from vrec.core.types import StoreSpace
from vrec.profiles.stores.sqlite.file import MAX_NUMBER, SqliteDatabase
from vrec.profiles.stores.sqlite.jobs import Job, WriterTask
from vrec.profiles.stores.sqlite.tables import POWER_SAFE_TABLES, store_errors

T = TypeVar("T")


class SqliteTables:
    """RecordLog and StateTable over a connection that writes and one that reads."""

    _file: SqliteDatabase
    _path: Path

    @abstractmethod
    def _enqueue(self, job: Job) -> Future[Any]:
        """Let the writer thread do a job."""

    @abstractmethod
    def _read_at_once(self, query: Callable[[SqliteDatabase], T], size: int) -> T:
        """Run a query for `size` keys, without a transaction where it is one statement."""

    @abstractmethod
    def _read_with(self, query: Callable[[SqliteDatabase], T]) -> T:
        """Run a short query as of one moment."""

    def append_record(
        self, log: str, record: bytes, *, expected: int | None = None, most: int | None = None
    ) -> int | None:
        """Append a record to a log durably, and return its number; see RecordLog."""
        return self._enqueue(WriterTask(lambda: self._append_record(log, record, expected, most))).result()

    def records_after(self, log: str, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return the next records of a log with their numbers; see RecordLog."""
        return self._read_with(lambda file: file.records(log, after, MAX_NUMBER, limit, "ASC"))

    def records_before(self, log: str, before: int | None, limit: int) -> list[tuple[int, bytes]]:
        """Return the records of a log before one, the last first; see RecordLog."""
        below = MAX_NUMBER if before is None else before
        return self._read_with(lambda file: file.records(log, 0, below, limit, "DESC"))

    def put_state(self, table: str, key: str, state: bytes, *, expected: int | None = None) -> int | None:
        """Put the state of a key, and return its version; see StateTable."""
        return self.put_states(table, [(key, state, expected)])[0]

    def put_states(self, table: str, puts: Sequence[tuple[str, bytes, int | None]]) -> list[int | None]:
        """Put states in one commit, and return their versions; see StateTable."""
        return self._enqueue(WriterTask(lambda: self._put_states(table, puts))).result()

    def drop_state(self, table: str, key: str, expected: int) -> bool:
        """Remove a state of this version, and return whether there was one; see StateTable."""

        def run() -> bool:
            erase = table in POWER_SAFE_TABLES
            with store_errors(self._path), self._file.writing(erase):
                return self._file.drop_state(table, key, expected, erase=erase)

        return self._enqueue(WriterTask(run)).result()

    def last_version(self, table: str) -> int:
        """Return the version of the last change of a table; see StateTable."""
        return self._read_with(lambda file: file.last_version(table))

    def states(self, table: str, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """Return the versions and states of keys; see StateTable."""
        return self._read_at_once(lambda file: file.states(table, keys), len(keys))

    def states_after(self, table: str, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        """Return the next states of a table by version; see StateTable."""
        return self._read_with(lambda file: file.states_after(table, after, limit))

    def space(self) -> StoreSpace:
        """Return the size of the files and the room on their disk; raise StoreError if that fails."""
        with store_errors(self._path):
            # The write-ahead log is a file of its own, and not always there.
            files = [file for file in (self._path, Path(f"{self._path}-wal")) if file.exists()]
            return StoreSpace(sum(f.stat().st_size for f in files), shutil.disk_usage(self._path.parent).free)

    def _append_record(self, log: str, record: bytes, expected: int | None, most: int | None) -> int | None:
        with store_errors(self._path):
            last = self._file.last_record(log)
            if expected is not None and expected != last:
                return None
            with self._file.writing(True):
                self._file.append_record(log, last + 1, record, most)
            return last + 1

    def _put_states(self, table: str, puts: Sequence[tuple[str, bytes, int | None]]) -> list[int | None]:
        versions: list[int | None] = []
        with store_errors(self._path), self._file.writing(table in POWER_SAFE_TABLES):
            for key, state, expected in puts:
                version, present = self._file.states(table, [key]).get(key, (0, None))
                if present != state:
                    is_due = expected in (None, version)
                    version = self._file.put_state(table, key, state) if is_due else None
                versions.append(version)
        return versions
