"""Connection to a Redis server, and the logs and tables of states that stand beside the profiles there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import redis
from redis.exceptions import NoPermissionError

from vrec.core.errors import StoreError
from vrec.core.types import StoreSpace
from vrec.profiles.stores.redis import scripts as redis_scripts
from vrec.profiles.stores.redis.client import RedisConfig, connect, server_url

ERROR_FIXES: tuple[tuple[type[redis.RedisError], str, str], ...] = (
    (redis.OutOfMemoryError, "", "raise its maxmemory, and keep maxmemory-policy at noeviction"),
    (redis.ReadOnlyError, "", "give the address of the primary, not of a replica"),
    (redis.AuthenticationError, "", "correct the user and password in the URL"),
    (NoPermissionError, "", "let the user run scripts and use the keys of the prefix"),
    (redis.BusyLoadingError, "", "wait until the server has read its AOF, and send the events again"),
    (redis.ResponseError, "WRONGTYPE", "give another prefix, or the version of vrec that wrote this one"),
    (redis.ResponseError, "MISCONF", "make room on its disk (its log says more), and send the events again"),
    (
        redis.ConnectionError,
        "",
        "start the server or fix the way to it, and send the same events again; its log says why it ended, "
        "which a full disk makes it do where appendfsync is always",
    ),
    (redis.TimeoutError, "", "send the events again, stored or not: none counts twice"),
)
"""Fixes of the server's errors, by class and a word in the message; the first match counts."""


class RedisTables:
    """RecordLog and StateTable below a prefix on a Redis server."""

    def __init__(self, config: RedisConfig) -> None:
        """Make the client, which connects when it is used; raise StoreError if there is no URL."""
        self._config, self._prefix = config, config.prefix
        url = server_url(config)
        self._db = connect(url, config)
        parts = urlsplit(url)  # only host and port are shown, as the URL may hold a password
        self._name = f"Redis at {parts.hostname or parts.path}:{parts.port or 6379}"
        self._append_record = self._db.register_script(redis_scripts.APPEND_RECORD)
        self._put_state = self._db.register_script(redis_scripts.PUT_STATE)
        self._drop_state = self._db.register_script(redis_scripts.DROP_STATE)
        self._get_states = self._db.register_script(redis_scripts.GET_STATES)
        self._next_states = self._db.register_script(redis_scripts.NEXT_STATES)
        self._closed = False

    def append_record(
        self, log: str, record: bytes, *, expected: int | None = None, most: int | None = None
    ) -> int | None:
        """Append a record to a log durably, and return its number; see RecordLog."""
        self._check_open()
        with self._store_errors():
            args = [record, -1 if expected is None else expected, 0 if most is None else most]
            number: Any = self._append_record(self._record_keys(log), args)
        return number or None

    def records_after(self, log: str, after: int, limit: int) -> list[tuple[int, bytes]]:
        """Return the next records of a log with their numbers; see RecordLog."""
        return self._records(log, lambda first, last: range(max(first, after + 1), last + 1)[:limit])

    def records_before(self, log: str, before: int | None, limit: int) -> list[tuple[int, bytes]]:
        """Return the records of a log before one, the last first; see RecordLog."""
        return self._records(
            log,
            lambda first, last: range(last if before is None else min(last, before - 1), first - 1, -1)[
                :limit
            ],
        )

    def put_state(self, table: str, key: str, state: bytes, *, expected: int | None = None) -> int | None:
        """Put the state of a key, and return its version; see StateTable."""
        return self.put_states(table, [(key, state, expected)])[0]

    def put_states(self, table: str, puts: Sequence[tuple[str, bytes, int | None]]) -> list[int | None]:
        """Put states, and return their versions; see StateTable."""
        self._check_open()
        with self._store_errors(), self._db.pipeline(transaction=False) as calls:
            for key, state, expected in puts:
                args = [key, state, -1 if expected is None else expected]
                self._put_state(self._state_keys(table), args, client=calls)
            versions: list[Any] = calls.execute()
        return [version or None for version in versions]

    def drop_state(self, table: str, key: str, expected: int) -> bool:
        """Remove a state of this version, and return whether there was one; see StateTable."""
        self._check_open()
        with self._store_errors():
            return bool(self._drop_state(self._state_keys(table), [key, expected]))

    def states(self, table: str, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """Return the versions and states of keys; see StateTable."""
        self._check_open()
        with self._store_errors():
            found = _states(self._get_states(self._state_keys(table), list(keys)) if keys else [])
        return {key: (version, state) for version, key, state in found}

    def last_version(self, table: str) -> int:
        """Return the version of the last change of a table; see StateTable."""
        self._check_open()
        with self._store_errors():
            return int(cast("Any", self._db.get(self._state_keys(table)[2])) or 0)

    def states_after(self, table: str, after: int, limit: int) -> list[tuple[int, str, bytes]]:
        """Return the next states of a table by version; see StateTable."""
        self._check_open()
        with self._store_errors():
            return _states(self._next_states(self._state_keys(table), [after, limit]))

    def check(self) -> None:
        """Write a key to the server; raise StoreError if that fails."""
        self._check_open()
        with self._store_errors():
            self._db.set(f"{self._prefix}:probe", 1)

    def space(self) -> StoreSpace:
        """Return the server's memory, up to `maxmemory` if it has one; raise StoreError if that fails."""
        self._check_open()
        with self._store_errors():
            memory: Any = self._db.info("memory")
        used, most = int(memory["used_memory"]), int(memory.get("maxmemory", 0))
        return StoreSpace(used, max(0, (most or int(memory.get("total_system_memory", 0))) - used))

    def _check_settings(self) -> None:
        """Raise StoreError if the server is less durable than required, or evicts keys when full."""
        if self._config.fsync == "unchecked":
            return self.check()
        try:
            with self._store_errors():
                settings: Any = self._db.config_get("append*", "maxmemory-policy")
        except StoreError as error:
            if not isinstance(error.__cause__, redis.ResponseError):
                raise
            raise StoreError(
                f"{self._name} does not reveal its settings: {error.__cause__}",
                fix="make sure that it keeps an AOF, and set fsync to unchecked",
            ) from None
        enough = ("always",) if self._config.fsync == "always" else ("always", "everysec")
        problems = []
        if settings["appendonly"] != "yes":
            problems.append("appendonly is no, want yes")
        if settings["appendfsync"] not in enough:
            problems.append(f"appendfsync is {settings['appendfsync']}, want {self._config.fsync}")
        if settings["maxmemory-policy"].startswith("allkeys"):
            problems.append(f"maxmemory-policy is {settings['maxmemory-policy']}, want noeviction")
        if problems:
            raise StoreError(
                f"{self._name} may lose acknowledged events: {'; '.join(problems)}",
                fix="correct its redis.conf and restart it, or require less with serve.store.fsync",
            )
        return None

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"{self._name}: the store is closed", fix="open the store again")

    def _record_keys(self, log: str) -> list[str]:
        return [f"{self._prefix}:records:{log}", f"{self._prefix}:records:{log}:last"]

    def _records(self, log: str, numbers: Callable[[int, int], range]) -> list[tuple[int, bytes]]:
        """Return the records with these numbers, chosen by the first and the last one of the log."""
        self._check_open()
        records, last = self._record_keys(log)
        with self._store_errors():
            end = int(cast("Any", self._db.get(last)) or 0)
            length: Any = self._db.hlen(records)
            # Between the two commands records may be added and the first ones removed.
            wanted = numbers(max(1, end - length + 1), end)
            found: Any = self._db.hmget(records, wanted) if wanted else []
        return [(n, record) for n, record in zip(wanted, found, strict=True) if record is not None]

    def _state_keys(self, table: str) -> list[str]:
        states = f"{self._prefix}:states:{table}"
        return [states, f"{states}:versions", f"{states}:last"]

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        """Convert errors of Redis and the network to a StoreError with a fix."""
        try:
            yield
        except redis.RedisError as error:
            fixes = (fix for kind, word, fix in ERROR_FIXES if isinstance(error, kind) and word in str(error))
            raise StoreError(f"{self._name}: {error}", fix=next(fixes, StoreError.fix)) from error


def _states(answer: Any) -> list[tuple[int, str, bytes]]:
    """Return the versions, keys and states in a script's answer."""
    versions, keys, states = answer[::3], answer[1::3], answer[2::3]
    return [(int(v), key.decode(), state) for v, key, state in zip(versions, keys, states, strict=True)]
