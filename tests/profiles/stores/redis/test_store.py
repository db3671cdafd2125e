"""The store on a server: one that is away, weak or full, two processes at once, and what errors may tell."""

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pyarrow as pa
import pytest
import redis

from tests.contracts.store_places import RedisPlace, RedisServer
from vrec.core.errors import StoreError
from vrec.core.types import ApplyResult
from vrec.profiles.stores.redis.store import MAX_EVENTS_PER_CALL, RedisConfig, RedisStore
from vrec.testing.store_profiles import (
    CONFIG,
    assert_near,
    changed,
    facts,
    ids_of,
    log_of,
    stored,
    wanted,
    world,
)

EVENTS = world()[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def place(server):
    return RedisPlace(server, timeout_s=1.0)


def settings(server, **values):
    client = redis.Redis(port=server.port)
    for name, value in values.items():
        client.config_set(name.replace("_", "-"), value)
    client.close()


def test_a_server_that_is_away_is_told_at_once_and_used_when_it_is_back(tmp_path):
    server = RedisServer(tmp_path)
    place = RedisPlace(server, timeout_s=1.0)
    try:
        with closing(place.open()) as store:
            store.apply(EVENTS.slice(0, 50))
            server.kill()
            for call in (
                lambda: store.apply(EVENTS),
                lambda: store.get("user", ["u"]),
                store.check,
                store.export,
            ):
                with pytest.raises(StoreError, match=r"Redis at 127\.0\.0\.1") as caught:
                    call()
                assert "start the server" in caught.value.fix
            with pytest.raises(StoreError):
                store.submit(EVENTS).result(30)
            server.start()
            store.check()
            assert store.apply(EVENTS.slice(0, 100)) == ApplyResult(50, 50)
            assert stored(store, wanted(EVENTS)) == wanted(EVENTS.slice(0, 100))
    finally:
        server.stop()


def test_a_server_that_hangs_is_given_up(tmp_path):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        os.environ["VREC_TEST_DEAF"] = f"redis://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(StoreError) as caught:
            RedisStore(RedisConfig(url_variable="VREC_TEST_DEAF", timeout_s=0.2), facts, CONFIG)
        assert "none counts twice" in caught.value.fix


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"appendfsync": "everysec"}, "appendfsync is everysec, want always"),
        ({"appendonly": "no"}, "appendonly is no, want yes"),
        ({"maxmemory_policy": "allkeys-lru"}, "want noeviction"),
    ],
)
def test_servers_that_may_lose_events_are_refused(server, place, values, words):
    settings(server, **values)
    try:
        with pytest.raises(StoreError, match=words):
            place.open()
    finally:
        settings(server, appendonly="yes", appendfsync="always", maxmemory_policy="noeviction")


def test_less_may_be_asked_for(server):
    settings(server, appendfsync="everysec")
    try:
        RedisPlace(server, fsync="everysec").open().close()
        settings(server, appendonly="no")
        RedisPlace(server, fsync="unchecked").open().close()
    finally:
        settings(server, appendonly="yes", appendfsync="always")


def test_a_server_that_does_not_tell_its_settings_is_refused_unless_unchecked(server):
    client = redis.Redis(port=server.port)
    client.execute_command("ACL", "SETUSER", "shop", "on", ">pass", "~*", "+@all", "-config")
    os.environ["VREC_TEST_SHOP"] = f"redis://shop:pass@127.0.0.1:{server.port}"
    try:
        config = RedisConfig(url_variable="VREC_TEST_SHOP", prefix="acl")
        with pytest.raises(StoreError, match="does not reveal its settings") as caught:
            RedisStore(config, facts, CONFIG)
        assert "unchecked" in caught.value.fix
        RedisStore(config.model_copy(update={"fsync": "unchecked"}), facts, CONFIG).close()
    finally:
        client.execute_command("ACL", "DELUSER", "shop")
        client.close()


def test_a_full_server_keeps_nothing_by_halves_and_works_again(server, place):
    with closing(place.open()) as store:
        store.apply(EVENTS.slice(0, 20))
        settings(server, maxmemory="1mb")
        try:
            with pytest.raises(StoreError) as caught:
                store.apply(EVENTS)
            assert "maxmemory" in caught.value.fix
            with pytest.raises(StoreError):
                store.check()
            assert log_of(store).equals(EVENTS.slice(0, 20))
        finally:
            settings(server, maxmemory="0")
        assert store.apply(EVENTS) == ApplyResult(EVENTS.num_rows - 20, 20)
        assert stored(store, wanted(EVENTS)) == wanted(EVENTS)


def test_passwords_are_never_told(server):
    for url in (
        f"redis://nobody:hunter2@127.0.0.1:{server.port}/0",
        "redis://:hunter2@127.0.0.1:1/0",
        "redis://:hunter2@127.0.0.1:port/0",
        "http://:hunter2@127.0.0.1/",
    ):
        os.environ["VREC_TEST_SECRET"] = url
        with pytest.raises(StoreError) as caught:
            RedisStore(RedisConfig(url_variable="VREC_TEST_SECRET"), facts, CONFIG)
        told, error = "", caught.value
        while error is not None:
            told, error = f"{told} {error} {getattr(error, 'fix', '')}", error.__cause__
        assert "hunter2" not in told


def test_a_missing_variable_is_named():
    with pytest.raises(StoreError, match="VREC_NOT_SET is not set"):
        RedisStore(RedisConfig(url_variable="VREC_NOT_SET"), facts, CONFIG)


def test_two_stores_write_at_once(place):
    """Each a client of its own, as two processes are; both fold the same hot videos after every event."""
    place.config = place.config.model_copy(update={"fold_after": 1})
    events = changed(EVENTS.slice(0, 240), video_id=["v1", "v2"] * 120)
    with closing(place.open()) as one, closing(place.open()) as other, ThreadPoolExecutor(6) as pool:
        parts = [(store, events.slice(start, 8)) for start in range(0, 240, 8) for store in (one, other)]
        new = sum(pool.map(lambda part: part[0].apply(part[1]).new, parts))
        assert new == 240
        for store in (one, other):
            assert sorted(ids_of(log_of(store))) == sorted(ids_of(events))
            assert_near(stored(store, wanted(events)), wanted(events))


def test_a_user_is_erased_while_others_and_they_write(place):
    """What came after it is there, what came before is nowhere, and the videos count both."""
    place.config = place.config.model_copy(update={"fold_after": 2})
    events = changed(
        EVENTS.slice(0, 150), user_id=["gone", "stays", "stays too"] * 50, video_id="v", kind="like"
    )
    with closing(place.open()) as store:
        erased, done = [], threading.Event()

        def erase():
            while not done.is_set():
                erased.append(store.erase("gone"))
                time.sleep(0.002)

        thread = threading.Thread(target=erase)
        thread.start()
        for row in range(150):
            assert store.apply(events.slice(row, 1)) == ApplyResult(1, 0)
        done.set()
        thread.join()
        assert sum(erased) + store.erase("gone") == 50
        assert log_of(store).column("user_id").unique().sort().to_pylist() == ["stays", "stays too"]
        assert store.get("user", ["gone"]) == {}
        assert store.get("video", ["v"])["v"].counts["event:like"] == 150
        client = redis.from_url(os.environ[place.config.url_variable])
        assert [key for key in client.scan_iter(f"{place.config.prefix}:*") if b"gone" in key] == []
        tail = client.lrange(f"{place.config.prefix}:tail:video:v", 0, -1)
        assert [event for event in tail if b"gone" in event] == []
        client.close()


def test_calls_that_would_hold_up_the_server_are_refused(server):
    # The largest call that is taken may outlast the usual time limit where other tests use the machine.
    with closing(RedisPlace(server, timeout_s=60.0).open()) as store:
        ids = [str(row) for row in range(MAX_EVENTS_PER_CALL + 1)]
        many = changed(EVENTS.slice(0, 1).take(pa.array([0] * len(ids))), event_id=ids)
        with pytest.raises(StoreError, match="in one call") as caught:
            store.apply(many)
        assert "at most" in caught.value.fix
        assert store.apply(many.slice(1)) == ApplyResult(MAX_EVENTS_PER_CALL, 0)


def test_a_script_that_the_server_has_forgotten_is_sent_again(server, place):
    with closing(place.open()) as store:
        store.apply(EVENTS.slice(0, 5))
        redis.Redis(port=server.port).script_flush()
        assert store.apply(EVENTS.slice(0, 10)) == ApplyResult(5, 5)
