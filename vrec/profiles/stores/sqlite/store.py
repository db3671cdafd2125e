"""Store of profiles and events in a SQLite file, with one writer thread that commits for many callers."""

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from itertools import islice
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar

import pyarrow as pa

from vrec.core.errors import StoreError
from vrec.core.protocols import EXPIRY_ROWS, EXPORT_ROWS
from vrec.core.schema import SESSION_PREFIX
from vrec.core.types import ApplyResult, ExpiredEvents, LogChanges
from vrec.profiles.profile import Entity, Profile
from vrec.profiles.stores.cache import ProfileCache, ProfileKey
from vrec.profiles.stores.codec import event_key, rows_from_table
from vrec.profiles.stores.fold import ProfileFold, VideoLookup, has_events
from vrec.profiles.stores.futures import only_result
from vrec.profiles.stores.sqlite.changes import SqliteChanges, remove_traces
from vrec.profiles.stores.sqlite.config import SqliteConfig
from vrec.profiles.stores.sqlite.file import LoggedEvent, SqliteDatabase
from vrec.profiles.stores.sqlite.jobs import Erasure, Job, PendingAppend, WriterTask, profile_keys
from vrec.profiles.stores.sqlite.logs_and_states import SqliteTables
from vrec.profiles.stores.sqlite.state_queries import MAX_SQL_VARIABLES
from vrec.profiles.stores.sqlite.tables import absolute_path, lock, store_errors
from vrec.profiles.update import ProfilesConfig

T = TypeVar("T")
PUT_BATCH_SIZE = 500
"""Number of profiles that one transaction stores."""


class SqliteStore(SqliteTables):
    """ProfileStore in a file. All writes wait in one queue for one thread.

    The thread takes all waiting calls into one commit, so that hundreds of callers share its cost; waiting
    erasures share the removal of their traces from the files. Only the log is written at once: a profile is
    its stored state and the log's events since, and is stored again after `fold_after` events.
    """

    def __init__(self, config: SqliteConfig, facts: VideoLookup, profiles: ProfilesConfig) -> None:
        """Open the store; raise StoreError if another store has it open or it cannot be read and written."""
        self._config, self._path = config, absolute_path(config.path)
        self._fold, self._own_kinds = ProfileFold(facts, profiles), profiles.own_kinds
        self._hot = ProfileCache(config.hot_profiles, config.fold_after, self._fold)
        self._lock = lock(self._path)
        try:
            with store_errors(self._path):
                self._file = SqliteDatabase(self._path, config.busy_timeout_s)
                self._file.prepare(self._path)
                self._secret = self._file.secret()
                self._changes = SqliteChanges(self._file, self._fold)
                if self._file.has_traces():
                    # The process died during an erasure.
                    remove_traces(self._file, self._path)
                self._reader = SqliteDatabase(self._path, config.busy_timeout_s)
        except StoreError:
            self._lock.close()
            raise
        self._reading, self._closing, self._closed = Lock(), Lock(), False
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._thread = Thread(target=self._write, name="vrec-store", daemon=True)
        self._thread.start()

    def apply(self, events: pa.Table) -> ApplyResult:
        """Add EVENTS to the store; see ProfileStore."""
        return self.submit(events).result()

    def submit(self, events: pa.Table) -> Future[ApplyResult]:
        """Return a future of the result of `apply`; see ProfileStore."""
        return only_result(self.submit_all(events, [events.num_rows]))

    def submit_all(self, events: pa.Table, sizes: Sequence[int]) -> Future[list[ApplyResult]]:
        """Return a future of the results of several calls, in one commit; see ProfileStore."""
        rows = rows_from_table(events, self._own_kinds)
        return self._enqueue(PendingAppend(rows, [event_key(row[0], self._secret) for row in rows], sizes))

    def get(self, kind: Entity, ids: Sequence[str]) -> dict[str, Profile]:
        """Return the profiles of users or videos with any event, by id; see ProfileStore."""
        self._check_open()
        if kind == "user" and any(name.startswith(SESSION_PREFIX) for name in ids):
            owners = self._read_with(lambda file: file.owners(ids))
            found = self._get(kind, list(dict.fromkeys(owners.values())))
            return {name: found[owner] for name, owner in owners.items() if owner in found}
        return self._get(kind, ids)

    def _get(self, kind: Entity, ids: Sequence[str]) -> dict[str, Profile]:
        if len(ids) == 1:
            profile = self._hot.get((kind, ids[0])) or self._read((kind, ids[0]))
            return {ids[0]: profile} if has_events(profile) else {}
        cached = ((name, self._hot.get((kind, name))) for name in ids)
        profiles = {name: profile for name, profile in cached if profile is not None}
        rest = [name for name in dict.fromkeys(ids) if name not in profiles]
        for start in range(0, len(rest), MAX_SQL_VARIABLES):
            # Not cached: a caller that reads all videos would evict the users in use.
            with self._reading, store_errors(self._path), self._reader.reading():
                loaded = self._reader.load_many(kind, rest[start : start + MAX_SQL_VARIABLES])
            profiles |= {name: self._fold(profile, events) for name, (profile, events) in loaded.items()}
        return {name: profile for name, profile in profiles.items() if has_events(profile)}

    def export(self, after: int = 0, limit: int = EXPORT_ROWS) -> tuple[pa.Table, int]:
        """Return the next EVENTS of the log and the cursor behind them; see ProfileStore."""
        return self._read_apart(lambda file: file.events_after(after, limit))

    def follow(self, after: int, limit: int = EXPORT_ROWS) -> LogChanges:
        """Return the next changes of the log; see ProfileStore."""
        return self._read_apart(lambda file: file.changes_after(after, limit))

    def events_of(self, user_id: str, before: int | None, limit: int) -> tuple[pa.Table, int | None]:
        """Return a user's last EVENTS before a cursor; see ProfileStore."""
        return self._read_with(lambda file: file.events_of(file.owners([user_id])[user_id], before, limit))

    def latest_cursor(self) -> int:
        """Return the cursor behind the newest event; see ProfileStore."""
        return self._read_with(lambda file: file.last_number())

    def remove(self, event_id: str) -> bool:
        """Remove an event, and return whether it was there; see ProfileStore."""
        key = event_key(event_id, self._secret)

        def run() -> tuple[bool, set[ProfileKey]]:
            touched = self._changes.remove(event_id, key)
            return bool(touched), touched

        return self._change(run)

    def join(self, session: str, user_id: str) -> int:
        """Make a session's events a user's, and return their number; see ProfileStore."""
        return self._change(lambda: self._changes.join(session, user_id))

    def rename(self, user_id: str, new_id: str) -> int:
        """Give a user or session another id, and return the number of events; see ProfileStore."""
        return self._change(lambda: self._changes.rename(user_id, new_id))

    def owners(self, user_ids: Iterable[str]) -> dict[str, str]:
        """Return the account of each joined session, and every other id itself; see ProfileStore."""
        names = list(user_ids)
        if not any(name.startswith(SESSION_PREFIX) for name in names):
            return {name: name for name in names}
        return self._read_with(lambda file: file.owners(names))

    def sessions_of(self, user_id: str) -> list[str]:
        """Return the sessions that joined an account, ascending; see ProfileStore."""
        return self._read_with(lambda file: file.sessions_of(user_id))

    def erase(self, user_id: str) -> int:
        """Remove a user's events and profile, and return the number of events; see ProfileStore."""
        return self._enqueue(Erasure(user_id)).result()

    def expire(self, cutoffs: Mapping[str, int], after: int = 0, limit: int = EXPIRY_ROWS) -> ExpiredEvents:
        """Remove those of the next events that are too old; see ProfileStore."""
        return self._change(lambda: self._changes.expire(cutoffs, after, limit))

    def check(self) -> None:
        """Write a row to the store; raise StoreError if that fails."""
        self._enqueue(WriterTask(self._probe)).result()

    def close(self) -> None:
        """Finish everything submitted, then close the file; closing again does nothing."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _enqueue(self, job: Job) -> Future[Any]:
        with self._closing:
            self._check_open()
            # From here on it cannot be canceled: the events of a caller that goes away are stored.
            job.future.set_running_or_notify_cancel()
            self._queue.put(job)
        return job.future

    def _change(self, change: Callable[[], tuple[T, set[ProfileKey]]]) -> T:
        """Run a change in the writer's thread, and return its result."""

        def run() -> T:
            with store_errors(self._path):
                result, touched = change()
            self._hot.invalidate(touched)
            return result

        return self._enqueue(WriterTask(run)).result()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"{self._path} is closed", fix="open the store again")

    def _read_with(self, query: Callable[[SqliteDatabase], T]) -> T:
        self._check_open()
        with self._reading, store_errors(self._path), self._reader.reading():
            return query(self._reader)

    def _read_at_once(self, query: Callable[[SqliteDatabase], T], size: int) -> T:
        if size > MAX_SQL_VARIABLES:
            return self._read_with(query)
        # Each statement lets other threads run, which may take much longer than itself.
        self._check_open()
        with self._reading, store_errors(self._path):
            return query(self._reader)

    def _read_apart(self, query: Callable[[SqliteDatabase], T]) -> T:
        """Run a long query over a connection of its own, which others do not wait for."""
        self._check_open()
        with (
            store_errors(self._path),
            closing(SqliteDatabase(self._path, self._config.busy_timeout_s)) as file,
        ):
            return query(file)

    def _read(self, key: ProfileKey) -> Profile:
        with self._reading, store_errors(self._path):
            commit_count = self._hot.commit_count
            with self._reader.reading():
                loaded = self._reader.load(key, self._fold)
        if has_events(loaded.profile):
            self._hot.put(key, loaded, commit_count)
        return loaded.profile

    def _write(self) -> None:
        """Run the writer thread: process the queue in its order until None."""
        waiting: deque[Job | None] = deque()
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
                if isinstance(job, Erasure):
                    erasures = [job]
                    while waiting and isinstance(following := waiting[0], Erasure):
                        erasures.append(following)
                        waiting.popleft()
                    self._erase_all(erasures)
                elif isinstance(job, WriterTask):
                    job.settle()

    def _group(self, waiting: deque[Job | None]) -> list[PendingAppend]:
        """Take the first waiting calls for one commit; none if another task comes first."""
        group, size = [], 0
        while waiting and size < self._config.group_events:
            call = waiting[0]
            if not isinstance(call, PendingAppend):
                break
            group.append(call)
            size += len(call.rows)
            waiting.popleft()
        return group

    def _commit(self, group: list[PendingAppend]) -> None:
        owners: dict[str, str] = {}
        try:
            with store_errors(self._path):
                owners = self._file.owners(row[1] for call in group for row in call.rows)
                results, new_events, outdated = self._append(group, owners)
        except BaseException as error:  # any error must reach the waiting callers
            # A disk that fails at the very end may have stored the events, so the cache may be outdated.
            self._hot.invalidate(profile_keys(group, owners))
            for call in group:
                call.future.set_exception(error)
            return
        due = self._hot.record_commit((event.number, event.record) for event in new_events)
        self._hot.invalidate(outdated)
        for call, result in zip(group, results, strict=True):
            call.future.set_result(result)
        self._store(sorted(due))

    def _append(
        self, group: list[PendingAppend], owners: Mapping[str, str]
    ) -> tuple[list[list[ApplyResult]], list[LoggedEvent], set[ProfileKey]]:
        """Commit the new events of the calls.

        Returns:
            The results of each entry of the group, the new events, and the users and videos whose profiles
            were changed besides.
        """
        known = self._file.existing_keys(list({key for call in group for key in call.keys}))
        first, new_events = self._file.last_number() + 1, list[LoggedEvent]()
        results: list[list[ApplyResult]] = []
        for calls in group:
            rows = zip(calls.keys, calls.rows, strict=True)
            results.append([])
            for size in calls.sizes:
                before = len(new_events)
                for key, row in islice(rows, size):
                    if key not in known:
                        known.add(key)
                        new_events.append(LoggedEvent(first + len(new_events), key, owners[row[1]], row))
                new = len(new_events) - before
                results[-1].append(ApplyResult(new, size - new))
        outdated: set[ProfileKey] = set()
        if new_events:
            durable = any(event.row[3] in self._config.survive_power_loss for event in new_events)
            with self._file.writing(durable):
                self._file.append(new_events)
                outdated = self._changes.reverse(new_events)
        return results, new_events, outdated

    def _store(self, due: Sequence[ProfileKey]) -> None:
        """Store profiles that are due. If this fails, the next event tries again: the log has all events."""
        for start in range(0, len(due), PUT_BATCH_SIZE):
            keys = due[start : start + PUT_BATCH_SIZE]
            with suppress(Exception), store_errors(self._path):
                loaded = [self._file.load(key, self._fold) for key in keys]
                with self._file.writing(False):
                    self._file.put(loaded)
                self._hot.mark_stored(keys)

    def _erase_all(self, erasures: list[Erasure]) -> None:
        done: list[tuple[Erasure, int]] = []
        for erasure in erasures:
            try:
                done.append((erasure, self._erase(erasure.user_id)))
            except BaseException as error:  # any error must reach the waiting caller
                erasure.future.set_exception(error)
        try:
            if self._file.has_traces():
                remove_traces(self._file, self._path)
        except BaseException as error:  # likewise
            for erasure, _ in done:
                erasure.future.set_exception(error)
            return
        for erasure, count in done:
            erasure.future.set_result(count)

    def _erase(self, user_id: str) -> int:
        with store_errors(self._path):
            user_id = self._file.owners([user_id])[user_id]
            videos: list[ProfileKey] = [("video", name) for name in self._file.videos_of(user_id)]
            with self._file.writing(True):
                # First the videos' profiles take in the events that are about to be erased.
                self._file.put([self._file.load(key, self._fold) for key in videos])
                erased = self._file.erase(user_id)
            self._hot.invalidate([("user", user_id), *videos])
        return erased

    def _probe(self) -> None:
        with store_errors(self._path), self._file.writing(False):
            self._file.probe()

    def _release(self) -> None:
        with self._reading, suppress(sqlite3.Error):
            self._reader.close()
            self._file.close()
        self._lock.close()
