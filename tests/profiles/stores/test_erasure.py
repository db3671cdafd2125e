"""After an erasure no file of a store has the user's id, nor ids or times of the events; counts stay."""

import re
import shutil
import sqlite3
import struct
import time
from contextlib import closing
from itertools import takewhile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import redis

from tests.contracts.store_places import RedisPlace, RedisServer, SqlitePlace
from vrec.core.errors import StoreError
from vrec.core.schema import EVENTS
from vrec.core.types import ApplyResult
from vrec.testing.store_profiles import ids_of, log_of, of_user

KINDS = ("impression", "click", "watch", "like", "purchase")
START_US = 1_760_000_000_000_000
COUNT, STEP = 600, 30
DIGITS = 26
"""Bytes of an id, with its prefix, that are looked for."""


class Files:
    """SQLite's files in a folder."""

    def __init__(self, folder, **settings):
        self.folder = folder / "files"
        self.folder.mkdir()
        self.place = SqlitePlace(self.folder, **settings)

    def settle(self):
        """Nothing has to happen until the files are free of what was erased."""

    def stop(self):
        pass


class Server:
    """A Redis server's AOF and RDB files, without compression, which would hide bytes from a search."""

    def __init__(self, folder, **settings):
        self.folder = folder / "redis"
        self.folder.mkdir()
        self.server = RedisServer(self.folder, "--rdbcompression", "no", "--save", "3600 1000000")
        self.place = RedisPlace(self.server, **settings)

    def settle(self):
        """Rewrite both files, as docs/decisions/stores.md says."""
        with closing(redis.Redis(port=self.server.port)) as client:
            client.save()
            client.bgrewriteaof()
            while True:
                state = client.info("persistence")
                if not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]:
                    break
                time.sleep(0.01)
            assert state["aof_last_bgrewrite_status"] == "ok"

    def stop(self):
        self.server.stop()


@pytest.fixture(params=[Files, Server])
def kept(request, tmp_path):
    """Return a function that makes a store's files of each kind."""
    made = []

    def make(**settings):
        made.append(request.param(tmp_path, **settings))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def shop_events(seed, count, *, users=12, videos=9, length=12):
    """Events whose ids and times occur nowhere else, of users some of whom watch one video alone."""
    rng = np.random.default_rng(seed)
    names = [f"user-{rng.bytes(length).hex()}" for _ in range(users)]
    rows = []
    for number in range(count):
        user = int(rng.integers(users))
        video = f"video-{user if user < 3 else int(rng.integers(videos))}"
        rows.append({
            "event_id": f"event-{rng.bytes(length).hex()}", "user_id": names[user], "video_id": video,
            "kind": KINDS[rng.integers(len(KINDS))], "value": 2.0, "domain": "d", "request_id": None,
            "at": START_US + number * 1_000_003 + int(rng.integers(1_000_000)),
        })  # fmt: skip
    return names, pa.Table.from_pylist(rows, schema=EVENTS.arrow())


def traces(folder: Path, user, mine):
    """What a search of all files finds of a user: ids as text, times as every number they are stored as."""
    times = mine.column("at").cast(pa.int64()).to_pylist()
    # The beginning of an id is enough: of an old copy the end may be overwritten.
    ids = {name.encode()[:DIGITS] for name in [user, *ids_of(mine)]}
    numbers = {form: {struct.pack(form, at) for at in times} for form in (">Q", "<Q", ">d", "<d")}
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        texts = {text[:DIGITS] for text in re.findall(rb"(?:user|event)-[0-9a-f]{20,}", data)}
        found += [(path.name, one) for one in texts & ids]
        found += [(path.name, one) for one in map(str, times) if one.encode() in data]
        for form, packed in numbers.items():
            found += [(path.name, form, one) for one in packed & near_numbers(data, form)]
    return found


def near_numbers(data, form):
    """All eight bytes of data that begin, or in the other order end, as the times of these tests do."""
    first, last = (struct.pack(f">{form[1]}", START_US + shift) for shift in (0, 10**9))
    common = bytes(a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=True)))
    pattern, before = (common, 0) if form[0] == ">" else (common[::-1], 8 - len(common))
    starts = (match.start() - before for match in re.finditer(re.escape(pattern), data))
    return {data[start : start + 8] for start in starts}


@pytest.mark.slow
@pytest.mark.parametrize("fold_after", [1, 32])
@pytest.mark.parametrize("length", [12, 700])
def test_no_byte_of_an_erased_shopper_is_left_in_any_file(kept, fold_after, length):
    files = kept(fold_after=fold_after)
    names, events = shop_events(fold_after + length, COUNT, length=length)
    counts = {}
    with closing(files.place.open()) as store:
        for start in range(0, COUNT, STEP):
            store.apply(events.slice(start, STEP))
            store.get("video", [f"video-{n}" for n in range(9)])
            # Between writes, so that pages are split, freed and filled again.
            if start in (210, 360):
                erased = names[start // STEP % 5]
                store.erase(erased)
                files.settle()
                assert traces(files.folder, erased, of_user(events, erased)) == []
        assert traces(files.folder, names[5], of_user(events, names[5])) != []
        before = {name: p.counts for name, p in store.get("video", [f"video-{n}" for n in range(9)]).items()}
        for erased in names[:9]:
            mine = of_user(events, erased)
            store.erase(erased)
            counts[erased] = mine
        files.settle()
        for erased, mine in counts.items():
            assert traces(files.folder, erased, mine) == []
        after = {name: p.counts for name, p in store.get("video", [f"video-{n}" for n in range(9)]).items()}
        assert after == before
        # The erased events are still recognised.
        assert store.apply(events) == ApplyResult(0, COUNT)
        assert set(log_of(store).column("user_id").to_pylist()) == set(names[9:])
        for user in names[9:]:
            assert store.get("user", [user])[user].counts
    with closing(files.place.open()) as store:
        assert store.apply(events) == ApplyResult(0, COUNT)
        assert {n: p.counts for n, p in store.get("video", list(before)).items()} == before
    files.settle()
    for erased, mine in counts.items():
        assert traces(files.folder, erased, mine) == []


def test_the_profiles_of_videos_hold_no_event(kept):
    files = kept(fold_after=2)
    _, events = shop_events(1, 60)
    with closing(files.place.open()) as store:
        store.apply(events)
        profiles = store.get("video", [f"video-{n}" for n in range(9)])
        assert (
            sum(sum(v for k, v in p.counts.items() if k.startswith("event:")) for p in profiles.values())
            == 60
        )
        assert all(p.seen == () and p.history == () for p in profiles.values())


def test_two_stores_have_no_key_in_common(tmp_path):
    """Keys are hashes with a secret of each store, so that a guessed id cannot be looked up elsewhere."""
    _, events = shop_events(2, 20)
    keys = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        place = SqlitePlace(tmp_path / name)
        with closing(place.open()) as store:
            store.apply(events)
        with closing(sqlite3.connect(place.config.path)) as db:
            keys.append({key for (key,) in db.execute("SELECT key FROM events")})
    assert len(keys[0]) == len(keys[1]) == 20
    assert not keys[0] & keys[1]


@pytest.mark.parametrize("again", [True, False])
def test_an_erasure_that_cannot_empty_the_wal_says_so_and_can_be_repeated(tmp_path, again):
    files = Files(tmp_path, busy_timeout_s=0.1)
    names, events = shop_events(3, 200)
    user = names[4]
    with closing(files.place.open()) as store:
        store.apply(events)
        with closing(sqlite3.connect(files.place.config.path, isolation_level=None)) as backup:
            backup.execute("BEGIN")
            backup.execute("SELECT count(*) FROM events").fetchone()
            with pytest.raises(StoreError, match="another program reads the database") as error:
                store.erase(user)
            assert "erase the user again" in (error.value.fix or "")
            assert store.get("user", [user]) == {}
            with pytest.raises(StoreError, match="another program reads the database"):
                store.erase("nobody")
        if again:
            assert store.erase(user) == 0
            assert traces(files.folder, user, of_user(events, user)) == []
    # A store whose process ended before that does it when it is opened.
    with closing(files.place.open()):
        assert traces(files.folder, user, of_user(events, user)) == []


def test_a_redis_store_of_another_layout_is_named(tmp_path):
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server here")
    files = Server(tmp_path)
    try:
        with closing(redis.Redis(port=files.server.port)) as client:
            client.xadd(f"{files.place.config.prefix}:log", {"e": b"x"}, id="1-0")
        _, events = shop_events(4, 3)
        with closing(files.place.open()) as store, pytest.raises(StoreError) as error:
            store.apply(events)
        assert "another prefix" in (error.value.fix or "")
    finally:
        files.stop()
