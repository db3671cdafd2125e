"""The Redis store without a server: which error has which fix, and the settings of its connections."""

import pytest
import redis
from redis.exceptions import NoPermissionError

from vrec.core.errors import StoreError
from vrec.profiles.stores.redis.client import RedisConfig, connect
from vrec.profiles.stores.redis.store import RedisStore
from vrec.profiles.update import ProfilesConfig


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (redis.OutOfMemoryError("OOM command not allowed"), "maxmemory"),
        (redis.ReadOnlyError("READONLY"), "the primary"),
        (redis.AuthenticationError("WRONGPASS"), "correct the user and password"),
        (NoPermissionError("NOPERM"), "run scripts"),
        (redis.BusyLoadingError("LOADING"), "has read its AOF"),
        (redis.ResponseError("MISCONF errors writing to the AOF"), "make room on its disk"),
        (redis.ResponseError("ERR unknown command"), StoreError.fix),
        (redis.ConnectionError("refused"), "start the server"),
        (redis.ConnectionError("refused"), "a full disk makes it"),
        (redis.TimeoutError("timeout"), "none counts twice"),
    ],
)
def test_every_error_of_the_server_has_its_fix(error, fix):
    store = object.__new__(RedisStore)
    store._name = "Redis at host:1"
    with pytest.raises(StoreError, match="Redis at host:1: ") as caught, store._store_errors():
        raise error
    assert fix in caught.value.fix


def test_settings_reach_the_connections():
    config = RedisConfig(timeout_s=0.75, connections=3)
    pool = connect("redis://:pass@host:7/2", config).connection_pool
    assert (pool.max_connections, pool.timeout) == (3, 0.75)
    options = pool.connection_kwargs
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (0.75, 0.75)
    assert (options["host"], options["port"], options["db"]) == ("host", 7, 2)


@pytest.mark.parametrize(
    ("url", "message"), [(None, "is not set"), ("http://secret@host", "is not one of a Redis")]
)
def test_a_missing_or_foreign_url_is_named_by_its_variable_and_not_shown(monkeypatch, url, message):
    if url is None:
        monkeypatch.delenv("MY_REDIS", raising=False)
    else:
        monkeypatch.setenv("MY_REDIS", url)
    with pytest.raises(StoreError, match=f"MY_REDIS {message}|MY_REDIS.*{message}") as caught:
        RedisStore(RedisConfig(url_variable="MY_REDIS"), lambda ids: {}, ProfilesConfig())
    assert "secret" not in str(caught.value) + caught.value.fix
