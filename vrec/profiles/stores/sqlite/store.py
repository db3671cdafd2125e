"""Profiles and events in a SQLite file: one process, one writing thread, many callers to a commit."""

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from vrec.core.errors import StoreError
from vrec.core.protocols import EXPORT_ROWS
from vrec.core.types import ApplyResult
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

EventKind = Literal["impression", "click", "watch", "like", "share", "follow", "cart", "purchase"]


PUT_BATCH_SIZE = 500
"""Profiles that one transaction stores."""


class SqliteConfig(FoldConfig):
    """Where the embedded store lies, and what it may use."""

    kind: Literal["sqlite"] = "sqlite"
    """Profiles and events in one file, for one process that writes."""
    path: str = "vrec-store.db"
    """The database file on a local disk; its folder is made. `PATH-wal`, `-shm` and `.lock` lie beside it."""
    survive_power_loss: tuple[EventKind, ...] = ("purchase",)
    """Kinds of events that are on the disk itself when they are acknowledged, and all before them. The others
    are with the operating system by then: they survive the death of the process, not that of the machine."""
    hot_profiles: int = Field(default=5_000, ge=1)
    """Profiles held in memory, those used last; a long one of a shopper takes about 50 kB there."""
    group_events: int = Field(default=5_000, ge=1)
    """Events after which no more waiting calls join a commit."""
    busy_timeout_s: float = Field(default=5.0, ge=0)
    """Seconds to wait where another program, such as a backup, holds the database."""


@dataclass(slots=True)
class _PendingAppend:
    """One call's events on their way to the writer."""

    rows: list[EventRow]
    keys: list[bytes]
    future: Future[ApplyResult] = field(default_factory=Future)


@dataclass(slots=True)
class _WriterTask:
    """Anything else that the writer does between commits."""

    run: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)


class SqliteStore:
    """A ProfileStore in a file. Everything that writes waits in one queue for one thread.

    The thread takes all calls that wait into one commit, so that hundreds of callers pay for one. What is
    written at once is the log alone: a profile is the stored one and the log's events since, and is stored
    anew after `fold_after` events.
    """

    def __init__(self, config: SqliteConfig, facts: VideoLookup, profiles: ProfilesConfig) -> None:
        """Opens the store; raises StoreError where another has it open, or it cannot be read and written."""
        self._config = config
        self._path = absolute_path(config.path)
        self._fold = ProfileFold(facts, profiles)
        self._hot = ProfileCache(config.hot_profiles, config.fold_after, self._fold)
        self._held = lock(self._path)
        try:
            with store_errors(self._path):
                self._file = SqliteDatabase(self._path, config.busy_timeout_s)
                self._file.prepare(self._path)
                self._reader = SqliteDatabase(self._path, config.busy_timeout_s)
        except StoreError:
            self._held.close()
            raise
        self._reading, self._closing, self._closed = Lock(), Lock(), False
        self._queue: SimpleQueue[_PendingAppend | _WriterTask | None] = SimpleQueue()
        self._thread = Thread(target=self._write, name="vrec-store", daemon=True)
        self._thread.start()

    def apply(self, events: pa.Table) -> ApplyResult:
        """What became of EVENTS; see ProfileStore."""
        return self.submit(events).result()

    def submit(self, events: pa.Table) -> Future[ApplyResult]:
        """A future of what became of EVENTS; see ProfileStore."""
        rows = rows_from_table(events)
        return self._enqueue(_PendingAppend(rows, [event_key(row[0]) for row in rows]))

    def get(self, kind: Entity, ids: Sequence[str]) -> dict[str, Profile]:
        """The profiles of users or videos that have any event, by id; see ProfileStore."""
        self._check_open()
        if len(ids) == 1:
            profile = self._hot.get((kind, ids[0])) or self._read((kind, ids[0]))
            return {ids[0]: profile} if profile.seen else {}
        hot = ((name, self._hot.get((kind, name))) for name in ids)
        found = {name: profile for name, profile in hot if profile is not None}
        rest = [name for name in dict.fromkeys(ids) if name not in found]
        for start in range(0, len(rest), MAX_SQL_VARIABLES):
            # Read without making them hot: whoever follows all videos would drive out the shoppers in use.
            with self._reading, store_errors(self._path), self._reader.reading():
                loaded = self._reader.load_many(kind, rest[start : start + MAX_SQL_VARIABLES])
            found |= {name: self._fold(profile, events) for name, (profile, events) in loaded.items()}
        return found

    def export(self, after: int = 0, limit: int = EXPORT_ROWS) -> tuple[pa.Table, int]:
        """The next EVENTS of the log and the cursor behind them; see ProfileStore."""
        self._check_open()
        with (
            store_errors(self._path),
            closing(SqliteDatabase(self._path, self._config.busy_timeout_s)) as file,
        ):
            return file.events_after(after, limit)

    def latest_cursor(self) -> int:
        """The cursor behind the newest event; see ProfileStore."""
        self._check_open()
        with self._reading, store_errors(self._path):
            return self._reader.last_number()

    def erase(self, user_id: str) -> int:
        """How many events of a user were removed along with their profile; see ProfileStore."""
        return self._enqueue(_WriterTask(lambda: self._erase(user_id))).result()

    def check(self) -> None:
        """Returns when the store could write a row at this moment; raises StoreError otherwise."""
        self._enqueue(_WriterTask(self._probe)).result()

    def close(self) -> None:
        """Returns when everything submitted is done and the file is closed; closing again does nothing."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _enqueue(self, job: Any) -> Future[Any]:
        with self._closing:
            self._check_open()
            # From here on it cannot be cancelled: a caller that goes away leaves its events to be kept.
            job.future.set_running_or_notify_cancel()
            self._queue.put(job)
        return job.future

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"{self._path} is closed", fix="open the store again")

    def _read(self, key: ProfileKey) -> Profile:
        with self._reading, store_errors(self._path):
            noted = self._hot.commit_count
            with self._reader.reading():
                loaded = self._reader.load(key, self._fold)
        if loaded.profile.seen:
            self._hot.put(key, loaded, noted)
        return loaded.profile

    def _write(self) -> None:
        """The thread's whole life: whatever waits, in its order, until None."""
        waiting: deque[_PendingAppend | _WriterTask | None] = deque()
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
                if not isinstance(job, _WriterTask):
                    return self._release()
                _settle(job)

    def _group(self, waiting: deque[_PendingAppend | _WriterTask | None]) -> list[_PendingAppend]:
        """The first calls that wait, which go into one commit; none where another job comes first."""
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
                applied, fresh = self._append(group)
        except BaseException as error:  # whatever it is, callers wait for it
            # A disk that fails at the very end may have kept it all the same: what is in memory is not sure.
            self._hot.invalidate({key for call in group for row in call.rows for key in _owners(row)})
            for call in group:
                call.future.set_exception(error)
            return
        due = self._hot.record_commit((number, event_from_row(row)) for number, _, row in fresh)
        for call, result in zip(group, applied, strict=True):
            call.future.set_result(result)
        self._store(sorted(due))

    def _append(
        self, group: list[_PendingAppend]
    ) -> tuple[list[ApplyResult], list[tuple[int, bytes, EventRow]]]:
        """What became of each call, and the new events with their numbers, all committed."""
        known = self._file.existing_keys(list({key for call in group for key in call.keys}))
        first, fresh, applied = self._file.last_number() + 1, [], []
        for call in group:
            before = len(fresh)
            for key, row in zip(call.keys, call.rows, strict=True):
                if key not in known:
                    known.add(key)
                    fresh.append((first + len(fresh), key, row))
            new = len(fresh) - before
            applied.append(ApplyResult(new, len(call.rows) - new))
        if fresh:
            with self._file.writing(any(row[3] in self._config.survive_power_loss for _, _, row in fresh)):
                self._file.append(fresh)
        return applied, fresh

    def _store(self, due: Sequence[ProfileKey]) -> None:
        """Stores profiles that are far behind. The log has it all: where this fails, the next event tries."""
        for start in range(0, len(due), PUT_BATCH_SIZE):
            keys = due[start : start + PUT_BATCH_SIZE]
            with suppress(Exception), store_errors(self._path):
                loaded = [self._file.load(key, self._fold) for key in keys]
                with self._file.writing(False):
                    self._file.put(loaded)
                self._hot.mark_stored(keys)

    def _erase(self, user_id: str) -> int:
        with store_errors(self._path):
            videos: list[ProfileKey] = [("video", name) for name in self._file.videos_of(user_id)]
            with self._file.writing(True):
                # First they take in the events that are about to go.
                self._file.put([self._file.load(key, self._fold) for key in videos])
                erased = self._file.erase(user_id)
            self._hot.invalidate([("user", user_id), *videos])
            self._file.checkpoint_wal()
        return erased

    def _probe(self) -> None:
        with store_errors(self._path), self._file.writing(False):
            self._file.probe()

    def _release(self) -> None:
        with self._reading, suppress(sqlite3.Error):
            self._reader.close()
            self._file.close()
        self._held.close()


def _settle(job: _WriterTask) -> None:
    try:
        job.future.set_result(job.run())
    except BaseException as error:  # whatever it is, a caller waits for it
        job.future.set_exception(error)


def _owners(row: EventRow) -> tuple[ProfileKey, ProfileKey]:
    return ("user", row[1]), ("video", row[2])
