"""Metrics of the store, with real stores."""

import asyncio

from tests.contracts.store_places import RedisServer
from tests.events.rows import events
from vrec.profiles.stores.redis.store import RedisConfig, RedisStore
from vrec.profiles.stores.sqlite.store import SqliteConfig, SqliteStore
from vrec.profiles.update import ProfilesConfig
from vrec.serving.observability.metrics import InMemoryMetricsRecorder
from vrec.serving.observability.store_watch import LOOK_EVERY_S, StoreWatch

CLICKS = events(*({"kind": "click", "event_id": name} for name in "abc"))


def looked_at(store, *times):
    """Look at a store at some times, in seconds; return the watch's clock, the watch and what it recorded."""
    recorder, clock = InMemoryMetricsRecorder(), list(times)
    watch = StoreWatch(lambda: store, lambda: recorder, now=lambda: clock[0])
    while clock:
        asyncio.run(watch.look())
        clock.pop(0)
    return recorder


def test_the_store_is_looked_at_now_and_then(tmp_path):
    store = SqliteStore(SqliteConfig(path=str(tmp_path / "s.db")), lambda _: {}, ProfilesConfig())
    store.apply(CLICKS)
    recorder = looked_at(store, 1.0, 2.0, 1.0 + LOOK_EVERY_S)
    assert recorder.counts["vrec_store_up",] == 2
    assert recorder.sums["vrec_store_up",] == 1
    assert recorder.sums["vrec_log_entries",] == store.latest_cursor() >= 3
    sizes = [(tmp_path / name).stat().st_size for name in ("s.db", "s.db-wal")]
    assert recorder.sums["vrec_store_bytes", "used"] == sum(sizes)
    assert recorder.sums["vrec_store_bytes", "free"] > 0
    store.close()
    recorder = looked_at(store, 0.0)
    assert recorder.sums["vrec_store_up",] == 0
    assert ("vrec_log_entries",) not in recorder.sums


def test_a_server_has_room_up_to_its_maxmemory_and_is_seen_to_be_full_and_gone(tmp_path):
    server = RedisServer(tmp_path, "--maxmemory", "64mb")
    try:
        config = RedisConfig(url_variable=server.variable, timeout_s=0.5)
        store = RedisStore(config, lambda _: {}, ProfilesConfig())
        store.apply(CLICKS)
        recorder = looked_at(store, 0.0)
        used, free = (recorder.sums["vrec_store_bytes", of] for of in ("used", "free"))
        assert used > 100_000
        assert used + free == 64 * 2**20
        assert recorder.sums["vrec_store_up",] == 1
        store._db.config_set("maxmemory", 1_000_000 if used > 1_000_000 else 100_000)
        assert looked_at(store, 0.0).sums["vrec_store_up",] == 0
        server.kill()
        assert looked_at(store, 0.0).sums["vrec_store_up",] == 0
        store.close()
    finally:
        server.stop()
