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
from vrec.core.protocols import EXPORT_ROWS, Applied
from vrec.profiles.profile import Entity, Profile
from vrec.profiles.stores.cache import HotProfiles, Key
from vrec.profiles.stores.codec import Row, event_of, key_of, rows_of
from vrec.profiles.stores.fold import Facts, Fold, FoldConfig
from vrec.profiles.stores.sqlite.file import VARIABLES, SqliteFile, absolute, lock, refusing
from vrec.profiles.update import ProfilesConfig

EventKind = Literal["impression", "click", "watch", "like", "share", "follow", "cart", "purchase"]


PUT_AT_ONCE = 500
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
class _Waiting:
    """One call's events on their way to the writer."""

    rows: list[Row]
    keys: list[bytes]
    future: Future[Applied] = field(default_factory=Future)


@dataclass(slots=True)
class _Job:
    """Anything else that the writer does between commits."""

    run: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)


class SqliteStore:
    """A ProfileStore in a file. Everything that writes waits in one queue for one thread.

    The thread takes all calls that wait into one commit, so that hundreds of callers pay for one. What is
    written at once is the log alone: a profile is the stored one and the log's events since, and is stored
    anew after `fold_after` events.
    """

    def __init__(self, config: SqliteConfig, facts: Facts, profiles: ProfilesConfig) -> None:
        """Opens the store; raises StoreError where another has it open, or it cannot be read and written."""
        self._config = config
        self._path = absolute(config.path)
        self._fold = Fold(facts, profiles)
        self._hot = HotProfiles(config.hot_profiles, config.fold_after, self._fold)
        self._held = lock(self._path)
        try:
            with refusing(self._path):
                self._file = SqliteFile(self._path, config.busy_timeout_s)
                self._file.prepare(self._path)
                self._reader = SqliteFile(self._path, config.busy_timeout_s)
        except StoreError:
            self._held.close()
            raise
        self._reading, self._closing, self._closed = Lock(), Lock(), False
        self._queue: SimpleQueue[_Waiting | _Job | None] = SimpleQueue()
        self._thread = Thread(target=self._write, name="vrec-store", daemon=True)
        self._thread.start()

    def apply(self, events: pa.Table) -> Applied:
        """What became of EVENTS; see ProfileStore."""
        return self.submit(events).result()

    def submit(self, events: pa.Table) -> Future[Applied]:
        """A future of what became of EVENTS; see ProfileStore."""
        rows = rows_of(events)
        return self._enqueue(_Waiting(rows, [key_of(row[0]) for row in rows]))

    def get(self, kind: Entity, ids: Sequence[str]) -> dict[str, Profile]:
        """The profiles of users or videos that have any event, by id; see ProfileStore."""
        self._check_open()
        if len(ids) == 1:
            profile = self._hot.find((kind, ids[0])) or self._read((kind, ids[0]))
            return {ids[0]: profile} if profile.seen else {}
        hot = ((name, self._hot.find((kind, name))) for name in ids)
        found = {name: profile for name, profile in hot if profile is not None}
        rest = [name for name in dict.fromkeys(ids) if name not in found]
        for start in range(0, len(rest), VARIABLES):
            # Read without making them hot: whoever follows all videos would drive out the shoppers in use.
            with self._reading, refusing(self._path), self._reader.reading():
                loaded = self._reader.load_many(kind, rest[start : start + VARIABLES])
            found |= {name: self._fold(profile, events) for name, (profile, events) in loaded.items()}
        return found

    def export(self, after: int = 0, limit: int = EXPORT_ROWS) -> tuple[pa.Table, int]:
        """The next EVENTS of the log and the cursor behind them; see ProfileStore."""
        self._check_open()
        with refusing(self._path), closing(SqliteFile(self._path, self._config.busy_timeout_s)) as file:
            return file.rows(after, limit)

    def end(self) -> int:
        """The cursor behind the newest event; see ProfileStore."""
        self._check_open()
        with self._reading, refusing(self._path):
            return self._reader.last()

    def erase(self, user_id: str) -> int:
        """How many events of a user were removed along with their profile; see ProfileStore."""
        return self._enqueue(_Job(lambda: self._erase(user_id))).result()

    def check(self) -> None:
        """Returns when the store could write a row at this moment; raises StoreError otherwise."""
        self._enqueue(_Job(self._probe)).result()

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
            raise StoreError(f"{self._path} is closed", mend="open the store again")

    def _read(self, key: Key) -> Profile:
        with self._reading, refusing(self._path):
            noted = self._hot.noted
            with self._reader.reading():
                loaded = self._reader.load(key, self._fold)
        if loaded.profile.seen:
            self._hot.keep(key, loaded, noted)
        return loaded.profile

    def _write(self) -> None:
        """The thread's whole life: whatever waits, in its order, until None."""
        waiting: deque[_Waiting | _Job | None] = deque()
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
                if not isinstance(job, _Job):
                    return self._release()
                _settle(job)

    def _group(self, waiting: deque[_Waiting | _Job | None]) -> list[_Waiting]:
        """The first calls that wait, which go into one commit; none where another job comes first."""
        group, size = [], 0
        while waiting and size < self._config.group_events:
            call = waiting[0]
            if not isinstance(call, _Waiting):
                break
            group.append(call)
            size += len(call.rows)
            waiting.popleft()
        return group

    def _commit(self, group: list[_Waiting]) -> None:
        try:
            with refusing(self._path):
                applied, fresh = self._append(group)
        except BaseException as error:  # whatever it is, callers wait for it
            # A disk that fails at the very end may have kept it all the same: what is in memory is not sure.
            self._hot.drop({key for call in group for row in call.rows for key in _owners(row)})
            for call in group:
                call.future.set_exception(error)
            return
        due = self._hot.note((number, event_of(row)) for number, _, row in fresh)
        for call, result in zip(group, applied, strict=True):
            call.future.set_result(result)
        self._store(sorted(due))

    def _append(self, group: list[_Waiting]) -> tuple[list[Applied], list[tuple[int, bytes, Row]]]:
        """What became of each call, and the new events with their numbers, all committed."""
        known = self._file.known(list({key for call in group for key in call.keys}))
        first, fresh, applied = self._file.last() + 1, [], []
        for call in group:
            before = len(fresh)
            for key, row in zip(call.keys, call.rows, strict=True):
                if key not in known:
                    known.add(key)
                    fresh.append((first + len(fresh), key, row))
            new = len(fresh) - before
            applied.append(Applied(new, len(call.rows) - new))
        if fresh:
            with self._file.writing(any(row[3] in self._config.survive_power_loss for _, _, row in fresh)):
                self._file.append(fresh)
        return applied, fresh

    def _store(self, due: Sequence[Key]) -> None:
        """Stores profiles that are far behind. The log has it all: where this fails, the next event tries."""
        for start in range(0, len(due), PUT_AT_ONCE):
            keys = due[start : start + PUT_AT_ONCE]
            with suppress(Exception), refusing(self._path):
                loaded = [self._file.load(key, self._fold) for key in keys]
                with self._file.writing(False):
                    self._file.put(loaded)
                self._hot.stored(keys)

    def _erase(self, user_id: str) -> int:
        with refusing(self._path):
            videos: list[Key] = [("video", name) for name in self._file.videos_of(user_id)]
            with self._file.writing(True):
                # First they take in the events that are about to go.
                self._file.put([self._file.load(key, self._fold) for key in videos])
                erased = self._file.erase(user_id)
            self._hot.drop([("user", user_id), *videos])
            self._file.forget()
        return erased

    def _probe(self) -> None:
        with refusing(self._path), self._file.writing(False):
            self._file.probe()

    def _release(self) -> None:
        with self._reading, suppress(sqlite3.Error):
            self._reader.close()
            self._file.close()
        self._held.close()


def _settle(job: _Job) -> None:
    try:
        job.future.set_result(job.run())
    except BaseException as error:  # whatever it is, a caller waits for it
        job.future.set_exception(error)


def _owners(row: Row) -> tuple[Key, Key]:
    return ("user", row[1]), ("video", row[2])
