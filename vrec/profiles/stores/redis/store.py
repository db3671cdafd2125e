"""Store of profiles and events on a Redis server, which many processes may share."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from threading import Lock
from typing import Any

import pyarrow as pa

from vrec.core.errors import StoreError
from vrec.core.protocols import EXPIRY_ROWS, EXPORT_ROWS
from vrec.core.types import ApplyResult, ExpiredEvents, LogChanges
from vrec.profiles.profile import Entity, Profile
from vrec.profiles.stores.cache import ProfileKey
from vrec.profiles.stores.codec import (
    SECRET_BYTES,
    EventRow,
    event_key,
    pack_profile,
    pack_row,
    rows_from_table,
    table_from_rows,
    unpack_profile,
    with_owner,
)
from vrec.profiles.stores.fold import ProfileFold, VideoLookup, has_events
from vrec.profiles.stores.futures import only_result
from vrec.profiles.stores.redis import scripts as redis_scripts
from vrec.profiles.stores.redis.changes import RedisLog, pairing_of
from vrec.profiles.stores.redis.client import RedisConfig
from vrec.profiles.stores.redis.tables import RedisTables
from vrec.profiles.stores.redis.tails import fold_tail, is_change_entry, new_marker
from vrec.profiles.update import ProfilesConfig

MAX_EVENTS_PER_CALL = 20_000
"""Maximum number of events in one call, which blocks the server for about a fifth of a second."""
MAX_EXPORTED_PER_CALL = 10_000
"""Maximum number of events that one command of an export reads, for the same reason."""
ATTEMPTS = 20
"""Attempts of an erasure, each of which fails if another process writes meanwhile."""


class RedisStore(RedisTables):
    """ProfileStore on a Redis server: the log is a hash, a profile its stored state and the events since.

    A script appends events to the log and to the tails of their users and videos, so writers never wait for
    each other; the process that lengthens a tail beyond `fold_after` folds it into the stored profile.
    """

    def __init__(self, config: RedisConfig, facts: VideoLookup, profiles: ProfilesConfig) -> None:
        """Open the store; raise StoreError if there is no server or it is less durable than required."""
        super().__init__(config)
        self._fold, self._own_kinds = ProfileFold(facts, profiles), profiles.own_kinds
        self._apply = self._db.register_script(redis_scripts.APPLY)
        self._put = self._db.register_script(redis_scripts.PUT)
        self._erase = self._db.register_script(redis_scripts.ERASE)
        self._expire = self._db.register_script(redis_scripts.EXPIRE)
        self._remove = self._db.register_script(redis_scripts.REMOVE)
        self._join = self._db.register_script(redis_scripts.JOIN)
        self._rename = self._db.register_script(redis_scripts.RENAME)
        self._rename_session = self._db.register_script(redis_scripts.RENAME_SESSION)
        self._log = RedisLog(self._db, self._prefix)
        self._threads = ThreadPoolExecutor(config.connections, "vrec-store")
        self._closing = Lock()
        try:
            self._check_settings()
            self._secret = self._get_secret()
        except StoreError:
            self.close()
            raise

    def apply(self, events: pa.Table) -> ApplyResult:
        """Add EVENTS to the store; see ProfileStore. One call runs one script."""
        self._check_open()
        return self._append_calls(rows_from_table(events, self._own_kinds), [events.num_rows])[0]

    def submit(self, events: pa.Table) -> Future[ApplyResult]:
        """Return a future of the result of `apply`; see ProfileStore."""
        return only_result(self.submit_all(events, [events.num_rows]))

    def submit_all(self, events: pa.Table, sizes: Sequence[int]) -> Future[list[ApplyResult]]:
        """Return a future of the results of several calls, in one script; see ProfileStore."""
        rows = rows_from_table(events, self._own_kinds)
        with self._closing:
            self._check_open()
            return self._threads.submit(self._append_calls, rows, sizes)

    def get(self, kind: Entity, ids: Sequence[str]) -> dict[str, Profile]:
        """Return the profiles of users or videos with any event, by id; see ProfileStore."""
        self._check_open()
        with self._store_errors():
            owners = self._log.owners(ids) if kind == "user" else {name: name for name in ids}
        loaded = self._load([(kind, owner) for owner in dict.fromkeys(owners.values())])
        profiles = {owner: profile for (_, owner), (profile, _) in loaded.items() if has_events(profile)}
        return {name: profiles[owner] for name, owner in owners.items() if owner in profiles}

    def export(self, after: int = 0, limit: int = EXPORT_ROWS) -> tuple[pa.Table, int]:
        """Return the next EVENTS of the log and the cursor behind them; see ProfileStore."""
        entries, after, _ = self._entries_after(after, limit)
        rows = [row for _, row in entries if not is_change_entry(row)]
        with self._store_errors():
            owners = self._log.owners(row[1] for row in rows)
        return table_from_rows([with_owner(row, owners[row[1]]) for row in rows]), after

    def follow(self, after: int, limit: int = EXPORT_ROWS) -> LogChanges:
        """Return the next changes of the log; see ProfileStore."""
        entries, after, complete = self._entries_after(after, limit)
        rows = [row for _, row in entries if not is_change_entry(row)]
        videos = tuple(dict.fromkeys(row[2] for _, row in entries))
        removed_at = max((number for number, row in entries if is_change_entry(row)), default=0)
        return LogChanges(table_from_rows(rows), videos, removed_at, after, complete)

    def events_of(self, user_id: str, before: int | None, limit: int) -> tuple[pa.Table, int | None]:
        """Return a user's last EVENTS before a cursor; see ProfileStore."""
        self._check_open()
        with self._store_errors():
            owner = self._log.owners([user_id])[user_id]
            numbers = sorted(self._log.numbers_of(owner), reverse=True)
            numbers = [number for number in numbers if before is None or number < before]
            rows = self._log.rows(numbers[:limit])
        more = numbers[limit - 1] if len(numbers) > limit else None
        return table_from_rows([with_owner(row, owner) for row in rows]), more

    def latest_cursor(self) -> int:
        """Return the cursor behind the newest event; see ProfileStore."""
        self._check_open()
        with self._store_errors():
            return self._last_number()

    @property
    def address(self) -> str:
        """Server and database, the same for stores that differ in their prefix alone."""
        given = self._db.get_connection_kwargs()
        return f"{self._name}/{given.get('db', 0)}"

    @staticmethod
    def ends_of(
        stores: Sequence["RedisStore"], logs: Sequence[str], tables: Sequence[str]
    ) -> list[tuple[int, ...]]:
        """Return each store's `latest_cursor`, the number of the last record of each log, and the last
        version of each table.

        Args:
            stores: Stores of one address.
            logs: Names of logs.
            tables: Names of tables of states.

        Raises:
            StoreError: The server cannot be read.
        """
        # One of them may be closed at this moment: its shop is leaving.
        first = next((store for store in stores if not store._closed), stores[0])
        keys = [f"{store._prefix}:number" for store in stores]
        for log in logs:
            keys += [store._record_keys(log)[1] for store in stores]
        for table in tables:
            keys += [store._state_keys(table)[2] for store in stores]
        first._check_open()
        with first._store_errors():
            found: Any = first._db.mget(keys)
        numbers = [int(one or 0) for one in found]
        return [tuple(numbers[place :: len(stores)]) for place in range(len(stores))]

    def erase(self, user_id: str) -> int:
        """Remove a user's events and profile, and return the number of events; see ProfileStore."""
        self._check_open()
        for _ in range(ATTEMPTS):
            with self._store_errors():
                owner = self._log.owners([user_id])[user_id]
                numbers = self._log.numbers_of(owner)
                rows = self._log.rows(numbers)
            # First the videos' profiles take in the events that are about to be erased.
            if not self._fold_tails(list({_key("video", row[2]) for row in rows})):
                continue
            with self._store_errors():
                erased: Any = self._erase(args=[self._prefix, owner, len(numbers)])
            if erased >= 0:
                return erased
        raise self._too_fast("erased")

    def expire(self, cutoffs: Mapping[str, int], after: int = 0, limit: int = EXPIRY_ROWS) -> ExpiredEvents:
        """Remove those of the next events that are too old; see ProfileStore."""
        entries, cursor, is_end = self._entries_after(after, limit, gaps=True)
        old: dict[str, list[int | str]] = {}
        for number, row in entries:
            if row[3] in cutoffs and row[-1] < cutoffs[row[3]]:
                old.setdefault(row[1], []).extend((number, row[2]))
        # First the videos' profiles take in the events that are about to go.
        videos = sorted({str(video_id) for pairs in old.values() for video_id in pairs[1::2]})
        self._fold_tails([_key("video", name) for name in videos])
        removed = 0
        with self._store_errors():
            owners = self._log.owners(old)
            for user, pairs in old.items():
                count: Any = self._expire(args=[self._prefix, new_marker(), user, owners[user], *pairs])
                removed += count
        return ExpiredEvents(removed, 0 if is_end else cursor)

    def remove(self, event_id: str) -> bool:
        """Remove an event, and return whether it was there; see ProfileStore."""
        self._check_open()
        for _ in range(ATTEMPTS):
            with self._store_errors():
                plan = self._log.plan_removal(event_id, event_key(event_id, self._secret))
            if plan is None:
                return False
            # Only a stored profile that has the event can be corrected.
            self._fold_tails([("video", plan.video_id)])
            with self._store_errors():
                if self._remove(args=[self._prefix, new_marker(), *plan.arguments]):
                    return True
        raise self._too_fast("removed")

    def join(self, session: str, user_id: str) -> int:
        """Make a session's events a user's, and return their number; see ProfileStore."""
        self._check_open()
        for _ in range(ATTEMPTS):
            with self._store_errors():
                arguments = self._log.plan_join(session, user_id)
                moved: Any = (
                    0 if arguments is None else self._join(args=[self._prefix, new_marker(), *arguments])
                )
            if moved >= 0:
                return moved
        raise self._too_fast("joined")

    def rename(self, user_id: str, new_id: str) -> int:
        """Give a user or session another id, and return the number of events; see ProfileStore."""
        self._check_open()
        for _ in range(ATTEMPTS):
            with self._store_errors():
                plan = self._log.plan_rename(user_id, new_id)
            if plan is None:
                return 0
            if plan.joins is not None:
                self.join(new_id, plan.joins)
                continue
            # First the videos' profiles take in the events, whose entries are about to be others.
            if not self._fold_tails([_key("video", name) for name in plan.videos]):
                continue
            script = self._rename_session if plan.is_joined else self._rename
            with self._store_errors():
                moved: Any = script(args=[self._prefix, new_marker(), *plan.arguments])
            if moved >= 0:
                return moved
        raise self._too_fast("renamed")

    def owners(self, user_ids: Iterable[str]) -> dict[str, str]:
        """Return the account of each joined session, and every other id itself; see ProfileStore."""
        self._check_open()
        with self._store_errors():
            return self._log.owners(user_ids)

    def sessions_of(self, user_id: str) -> list[str]:
        """Return the sessions that joined an account, ascending; see ProfileStore."""
        self._check_open()
        with self._store_errors():
            found: Any = self._db.smembers(f"{self._prefix}:sessions:{user_id}")
        return sorted(session.decode() for session in found)

    def close(self) -> None:
        """Finish everything submitted, then close the connections; see ProfileStore."""
        with self._closing:
            self._closed = True
        self._threads.shutdown()
        self._db.close()

    def _get_secret(self) -> bytes:
        """Return the secret of the event keys, which the first process makes."""
        with self._store_errors():
            self._db.set(f"{self._prefix}:secret", secrets.token_bytes(SECRET_BYTES), nx=True)
            secret: Any = self._db.get(f"{self._prefix}:secret")
        return secret

    def _last_number(self) -> int:
        number: Any = self._db.get(f"{self._prefix}:number")
        return int(number or 0)

    def _append_calls(self, rows: Sequence[EventRow], sizes: Sequence[int]) -> list[ApplyResult]:
        """Append the rows of several calls, one call after the other; return each call's result."""
        left = iter(rows)
        calls = [list(islice(left, size)) for size in sizes]
        # Together they may be more than one script should take.
        groups = [calls] if len(rows) <= MAX_EVENTS_PER_CALL else [[call] for call in calls]
        results: list[ApplyResult] = []
        for group in groups:
            new = self._append([row for call in group for row in call])
            end = 0
            for call in group:
                start, end = end, end + len(call)
                fresh = sum(place in new for place in range(start, end))
                results.append(ApplyResult(fresh, len(call) - fresh))
        return results

    def _append(self, rows: Sequence[EventRow]) -> set[int]:
        """Append rows, and return the places of those that are new."""
        if len(rows) > MAX_EVENTS_PER_CALL:
            raise StoreError(
                f"{len(rows):,} events in one call, which would block {self._name} for all others",
                fix=f"send at most {MAX_EVENTS_PER_CALL:,} events in a call",
            )
        events: list[Any] = []
        for row in rows:
            key = event_key(row[0], self._secret)
            events += (key, row[1], row[2], pairing_of(row[3]), pack_row(row))
        answer = self._run_apply([0, 0], events)
        for _ in range(ATTEMPTS):
            if answer[0] >= 0:
                break
            # Some of the events reverse others: what that means for videos is found here.
            with self._store_errors():
                keys = [event_key(row[0], self._secret) for row in rows]
                corrections = self._log.plan_corrections(rows, keys)
            answer = self._run_apply(corrections, events)
        else:
            raise self._too_fast("stored")
        _, names, new = answer
        long = [name.decode() for name in names]
        with suppress(Exception):  # the events are stored, and the next one of theirs tries again
            self._fold_tails([_key(kind, name) for kind, name in zip(long[::2], long[1::2], strict=True)])
        return set(new)

    def _run_apply(self, corrections: list[Any], events: list[Any]) -> Any:
        args = [self._prefix, self._config.fold_after, new_marker(), *corrections, *events]
        with self._store_errors():
            return self._apply(args=args)

    def _entries_after(
        self, after: int, limit: int, *, gaps: bool = False
    ) -> tuple[list[tuple[int, EventRow]], int, bool]:
        """Return the next numbered entries of the log, the last number, and whether that is the end.

        With `gaps`, erased entries count towards the limit.
        """
        self._check_open()
        rows: list[tuple[int, EventRow]] = []
        with self._store_errors():
            last = self._last_number()
            # Erased events leave gaps in the numbers.
            while after < last and len(rows) < limit:
                end = min(last, after + min(limit - len(rows), MAX_EXPORTED_PER_CALL))
                rows += self._log.entries(range(after + 1, end + 1))
                after = end
                if gaps:
                    break
        return rows, after, after >= last

    def _too_fast(self, done: str) -> StoreError:
        return StoreError(
            f"{self._name}: events of the user arrive faster than they can be {done}",
            fix="stop sending events of the user for a moment, and send the request again",
        )

    def _load(self, keys: Sequence[ProfileKey]) -> dict[ProfileKey, tuple[Profile, list[bytes]]]:
        """Return each profile with all its events, and the packed events that the stored profile lacks."""
        with self._store_errors():
            pipe = self._db.pipeline(transaction=True)
            for key in keys:
                stored, tail = self._names(key)
                pipe.get(stored)
                pipe.lrange(tail, 0, -1)
            answers = pipe.execute()
        loaded = {}
        for key, stored, tail in zip(keys, answers[::2], answers[1::2], strict=True):
            profile = Profile(*key) if stored is None else unpack_profile(stored)
            loaded[key] = fold_tail(profile, tail, self._fold), tail
        return loaded

    def _fold_tails(self, keys: Sequence[ProfileKey]) -> bool:
        """Store these profiles with their tails, and return whether no other process interfered with any."""
        all_stored = True
        for key, (profile, tail) in self._load(keys).items():
            if tail:
                with self._store_errors():
                    args = [tail[0], pack_profile(profile), len(tail)]
                    all_stored &= self._put(self._names(key), args) == 1
        return all_stored

    def _names(self, key: ProfileKey) -> tuple[str, str]:
        kind, name = key
        return f"{self._prefix}:{kind}:{name}", f"{self._prefix}:tail:{kind}:{name}"


def _key(kind: str, name: str) -> ProfileKey:
    return ("user", name) if kind == "user" else ("video", name)
