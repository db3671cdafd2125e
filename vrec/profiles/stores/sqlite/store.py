"""Store of profiles and events in a SQLite file, with one writer thread that commits for many callers."""

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Literal, TypeAlias

import pyarrow as pa
from pydantic import Field

from vrec.core.errors import StoreError
from vrec.core.protocols import EXPORT_ROWS
from vrec.core.types import ApplyResult
from vrec.events.config import EventKind
from vrec.profiles.profile import Entity, Profile
from vrec.profiles.stores.cache import ProfileCache, ProfileKey
from vrec.profiles.stores.codec import EventRow, event_from_row, event_key, rows_from_table
from vrec.profiles.stores.fold import FoldConfig, ProfileFold, VideoLookup
from vrec.profiles.stores.sqlite.file import (
    MAX_SQL_VARIABLES,
    SqliteDatabase,
    absolute_path,
    lock,
    store_errors,
)
from vrec.profiles.update import ProfilesConfig

MAX_NUMBER = 2**63 - 1
"""Number above those of all records: the largest integer of SQLite."""
PUT_BATCH_SIZE = 500
"""Number of profiles that one transaction stores."""


class SqliteConfig(FoldConfig):
    """Settings for the embedded store in a SQLite file."""

    kind: Literal["sqlite"] = "sqlite"
    """Store in one file, for one process that writes."""
    path: str = "vrec-store.db"
    """Database file on a local disk; its folder is created. `PATH-wal`, `-shm` and `.lock` lie beside it."""
    survive_power_loss: tuple[EventKind, ...] = ("purchase",)
    """Kinds of events that are on the disk when they are acknowledged, with all events before them. Others
    may still be in the operating system's cache: they survive a crash of the process, not of the machine."""
    hot_profiles: int = Field(default=5_000, ge=1)
    """Number of profiles cached in memory, those used last; a long user profile takes about 50 kB."""
    group_events: int = Field(default=5_000, ge=1)
    """Number of events from which no more waiting calls join a commit."""
    busy_timeout_s: float = Field(default=5.0, ge=0)
    """Seconds to wait while another program, such as a backup, holds the database."""


@dataclass(slots=True)
class _PendingAppend:
    """Events of one call, waiting for the writer thread."""

    rows: list[EventRow]
    keys: list[bytes]
    future: Future[ApplyResult] = field(default_factory=Future)


@dataclass(slots=True)
class _Erasure:
    """Erasure of one user, waiting for the writer thread."""

    user_id: str
    future: Future[int] = field(default_factory=Future)


@dataclass(slots=True)
class _WriterTask:
    """Other work that the writer thread does between commits."""

    run: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)


_Job: TypeAlias = _PendingAppend | _Erasure | _WriterTask


class SqliteStore:
    """ProfileStore in a file. All writes wait in one queue for one thread.

    The thread takes all waiting calls into one commit, so that hundreds of callers share its cost; waiting
    erasures share the removal of their traces from the files. Only the log is written at once: a profile is
    its stored state and the log's events since, and is stored again after `fold_after` events.
    """

    def __init__(self, config: SqliteConfig, facts: VideoLookup, profiles: ProfilesConfig) -> None:
        """Open the store; raise StoreError if another store has it open or it cannot be read and written."""
        self._config = config
        self._path = absolute_path(config.path)
        self._fold = ProfileFold(facts, profiles)
        self._hot = ProfileCache(config.hot_profiles, config.fold_after, self._fold)
        self._lock = lock(self._path)
        try:
            with store_errors(self._path):
                self._file = SqliteDatabase(self._path, config.busy_timeout_s)
                self._file.prepare(self._path)
                self._secret = self._file.secret()
                if self._file.has_traces():
                    # The process died during an erasure.
                    self._remove_traces()
                self._reader = SqliteDatabase(self._path, config.busy_timeout_s)
        except StoreError:
            self._lock.close()
            raise
        self._reading, self._closing, self._closed = Lock(), Lock(), False
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = Thread(target=self._write, name="vrec-store", daemon=True)
        self._thread.start()

    def apply(self, events: pa.Table) -> ApplyResult:
        """Add EVENTS to the store; see ProfileStore."""
        return self.submit(events).result()

    def submit(self, events: pa.Table) -> Future[ApplyResult]:
        """Return a future of the result of `apply`; see ProfileStore."""
        rows = rows_from_table(events)
        return self._enqueue(_PendingAppend(rows, [self._key_of(row[0]) for row in rows]))

    def get(self, kind: Entity, ids: Sequence[str]) -> dict[str, Profile]:
        """Return the profiles of users or videos with any event, by id; see ProfileStore."""
        self._check_open()
        if len(ids) == 1:
            profile = self._hot.get((kind, ids[0])) or self._read((kind, ids[0]))
            return {ids[0]: profile} if profile.counts else {}
        cached = ((name, self._hot.get((kind, name))) for name in ids)
        profiles = {name: profile for name, profile in cached if profile is not None}
        rest = [name for name in dict.fromkeys(ids) if name not in profiles]
        for start in range(0, len(rest), MAX_SQL_VARIABLES):
            # Not cached: a caller that reads all videos would evict the users in use.
            with self._reading, store_errors(self._path), self._reader.reading():
                loaded = self._reader.load_many(kind, rest[start : start + MAX_SQL_VARIABLES])
            profiles |= {name: self._fold(profile, events) for name, (profile, events) in loaded.items()}
        return profiles

    def export(self, after: int = 0, limit: int = EXPORT_ROWS) -> tuple[pa.Table, int]:
        """Return the next EVENTS of the log and the cursor behind them; see ProfileStore."""
        self._check_open()
        with (
            store_errors(self._path),
            closing(SqliteDatabase(self._path, self._config.busy_timeout_s)) as file,
        ):
            return file.events_after(after, limit)

    def latest_cursor(self) -> int:
        """Return the cursor behind the newest event; see ProfileStore."""
        self._check_open()
        with self._reading, store_errors(self._path):
            return self._reader.last_number()

    def erase(self, user_id: str) -> int:
        """Remove a user's events and profile, and return the number of events; see ProfileStore."""
        return self._enqueue(_Erasure(user_id)).result()

    def append_record(
        self, log: str, record: bytes, *, expected: int | None = None, most: int | None = None
    ) -> int | None:
        """Append a record to a log durably, and return its number; see RecordLog."""
        return self._enqueue(_WriterTask(lambda: self._append_record(log, record, expected, most))).result()

    def records_after(self, log: str, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return the next records of a log with their numbers; see RecordLog."""
        return self._records(log, after, MAX_NUMBER, limit, "ASC")

    def records_before(self, log: str, before: int | None, limit: int) -> list[tuple[int, bytes]]:
        """Return the records of a log before one, the last first; see RecordLog."""
        return self._records(log, 0, MAX_NUMBER if before is None else before, limit, "DESC")

    def check(self) -> None:
        """Write a row to the store; raise StoreError if that fails."""
        self._enqueue(_WriterTask(self._probe)).result()

    def close(self) -> None:
        """Finish everything submitted, then close the file; closing again does nothing."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _enqueue(self, job: _Job) -> Future[Any]:
        with self._closing:
            self._check_open()
            # From here on it cannot be canceled: the events of a caller that goes away are stored.
            job.future.set_running_or_notify_cancel()
            self._queue.put(job)
        return job.future

    def _key_of(self, event_id: str) -> bytes:
        return event_key(event_id, self._secret)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"{self._path} is closed", fix="open the store again")

    def _read(self, key: ProfileKey) -> Profile:
        with self._reading, store_errors(self._path):
            commit_count = self._hot.commit_count
            with self._reader.reading():
                loaded = self._reader.load(key, self._fold)
        if loaded.profile.counts:
            self._hot.put(key, loaded, commit_count)
        return loaded.profile

    def _write(self) -> None:
        """Run the writer thread: process the queue in its order until None."""
        waiting: deque[_Job | None] = deque()
        while True:
            waiting.append(self._queue.get())
            with suppress(Empty):
                while True:
                    waiting.append(self._queue.get_nowait())
            while waiting:
                if group := self._group(waiting):
                    self._commit(group)
                    continue
                job = waiting.popleft()
                if job is None:
                    return self._release()
                if isinstance(job, _Erasure):
                    erasures = [job]
                    while waiting and isinstance(following := waiting[0], _Erasure):
                        erasures.append(following)
                        waiting.popleft()
                    self._erase_all(erasures)
                elif isinstance(job, _WriterTask):
                    _run_task(job)

    def _group(self, waiting: deque[_Job | None]) -> list[_PendingAppend]:
        """Take the first waiting calls for one commit; none if another task comes first."""
        group, size = [], 0
        while waiting and size < self._config.group_events:
            call = waiting[0]
            if not isinstance(call, _PendingAppend):
                break
            group.append(call)
            size += len(call.rows)
            waiting.popleft()
        return group

    def _commit(self, group: list[_PendingAppend]) -> None:
        try:
            with store_errors(self._path):
                results, new_events = self._append(group)
        except BaseException as error:  # any error must reach the waiting callers
            # A disk that fails at the very end may have stored the events, so the cache may be outdated.
            self._hot.invalidate({key for call in group for row in call.rows for key in _profile_keys(row)})
            for call in group:
                call.future.set_exception(error)
            return
        due = self._hot.record_commit((number, event_from_row(row)) for number, _, row in new_events)
        for call, result in zip(group, results, strict=True):
            call.future.set_result(result)
        self._store(sorted(due))

    def _append(
        self, group: list[_PendingAppend]
    ) -> tuple[list[ApplyResult], list[tuple[int, bytes, EventRow]]]:
        """Commit the new events of the calls; return each call's result, and the new events with numbers."""
        known = self._file.existing_keys(list({key for call in group for key in call.keys}))
        first, new_events, results = self._file.last_number() + 1, [], []
        for call in group:
            before = len(new_events)
            for key, row in zip(call.keys, call.rows, strict=True):
                if key not in known:
                    known.add(key)
                    new_events.append((first + len(new_events), key, row))
            new = len(new_events) - before
            results.append(ApplyResult(new, len(call.rows) - new))
        if new_events:
            durable = any(row[3] in self._config.survive_power_loss for _, _, row in new_events)
            with self._file.writing(durable):
                self._file.append(new_events)
        return results, new_events

    def _store(self, due: Sequence[ProfileKey]) -> None:
        """Store profiles that are due. If this fails, the next event tries again: the log has all events."""
        for start in range(0, len(due), PUT_BATCH_SIZE):
            keys = due[start : start + PUT_BATCH_SIZE]
            with suppress(Exception), store_errors(self._path):
                loaded = [self._file.load(key, self._fold) for key in keys]
                with self._file.writing(False):
                    self._file.put(loaded)
                self._hot.mark_stored(keys)

    def _erase_all(self, erasures: list[_Erasure]) -> None:
        done: list[tuple[_Erasure, int]] = []
        for erasure in erasures:
            try:
                done.append((erasure, self._erase(erasure.user_id)))
            except BaseException as error:  # any error must reach the waiting caller
                erasure.future.set_exception(error)
        try:
            if self._file.has_traces():
                self._remove_traces()
        except BaseException as error:  # likewise
            for erasure, _ in done:
                erasure.future.set_exception(error)
            return
        for erasure, count in done:
            erasure.future.set_result(count)

    def _remove_traces(self) -> None:
        try:
            with store_errors(self._path):
                removed = self._file.remove_traces()
        except StoreError as error:
            raise StoreError(
                f"{error}; the user is erased, but traces stay in the files",
                fix="make room for a second copy of the database, and erase the user again",
            ) from error
        if not removed:
            raise StoreError(
                f"{self._path}: the user is erased, but another program reads the database, so that old "
                f"pages stay in {self._path.name}-wal",
                fix="let the other program finish, and erase the user again",
            )

    def _erase(self, user_id: str) -> int:
        with store_errors(self._path):
            videos: list[ProfileKey] = [("video", name) for name in self._file.videos_of(user_id)]
            with self._file.writing(True):
                # First the videos' profiles take in the events that are about to be erased.
                self._file.put([self._file.load(key, self._fold) for key in videos])
                erased = self._file.erase(user_id)
            self._hot.invalidate([("user", user_id), *videos])
        return erased

    def _append_record(self, log: str, record: bytes, expected: int | None, most: int | None) -> int | None:
        with store_errors(self._path):
            last = self._file.last_record(log)
            if expected is not None and expected != last:
                return None
            with self._file.writing(True):
                self._file.append_record(log, last + 1, record, most)
            return last + 1

    def _records(
        self, log: str, above: int, below: int, limit: int, order: Literal["ASC", "DESC"]
    ) -> list[tuple[int, bytes]]:
        self._check_open()
        with self._reading, store_errors(self._path):
            return self._reader.records(log, above, below, limit, order)

    def _probe(self) -> None:
        with store_errors(self._path), self._file.writing(False):
            self._file.probe()

    def _release(self) -> None:
        with self._reading, suppress(sqlite3.Error):
            self._reader.close()
            self._file.close()
        self._lock.close()


def _run_task(task: _WriterTask) -> None:
    try:
        task.future.set_result(task.run())
    except BaseException as error:  # any error must reach the waiting caller
        task.future.set_exception(error)


def _profile_keys(row: EventRow) -> tuple[ProfileKey, ProfileKey]:
    return ("user", row[1]), ("video", row[2])
