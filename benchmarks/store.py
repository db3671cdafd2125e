"""Durable events a second and the time of a profile, in both stores, with a bare SQLite log as the floor.

Shoppers and videos are drawn by popularity (Zipf); videos have embeddings of 256 numbers. The floor writes
the same packed events into a table with the same indices, and nothing else: no validation, no profiles.

    python benchmarks/store.py [--events 30000] [--threads 32] [--folder DIR]

DIR is where the database and Redis's AOF lie, since it is the disk that is measured. The second half needs
redis-server on the PATH.
"""

import argparse
import os
import shutil
import socket
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from vrec.core.protocols import ProfileStore
from vrec.core.schema import EVENTS, TIMESTAMP
from vrec.profiles.profile import Profile, VideoMetadata
from vrec.profiles.stores.codec import SECRET_BYTES, event_key, pack_row, rows_from_table
from vrec.profiles.stores.factory import RedisConfig, SqliteConfig, open_store
from vrec.profiles.update import ProfilesConfig

USERS, VIDEOS, DIM, BATCH = 20_000, 5_000, 256, 100
KINDS = ("impression", "click", "watch", "like", "cart")
"""Purchases are timed apart: each waits for the disk."""


def drawn(count: int, seed: int, kinds: tuple[str, ...] = KINDS) -> pa.Table:
    """Draw EVENTS of popular and rare shoppers and videos."""
    rng = np.random.default_rng(seed)
    users = (rng.zipf(1.2, count) - 1) % USERS
    videos = (rng.zipf(1.2, count) - 1) % VIDEOS
    columns = {
        "event_id": [rng.bytes(16).hex() for _ in range(count)],
        "user_id": [f"user-{i:06}" for i in users],
        "video_id": [f"video-{i:06}" for i in videos],
        "kind": rng.choice(kinds, count).tolist(),
        "value": rng.uniform(0, 30, count).astype(np.float32),
        "position": rng.integers(0, 20, count).astype(np.int16),
        "request_id": [f"request-{i:08}" for i in range(count)],
        "propensity": rng.uniform(0, 1, count).astype(np.float32),
        "domain": ["shop"] * count,
        "at": pa.array(1_700_000_000_000_000 + np.arange(count) * 1000).cast(TIMESTAMP),
    }
    return pa.table(columns, schema=EVENTS.arrow())


def catalogue() -> Callable[[Collection[str]], Mapping[str, VideoMetadata]]:
    rng = np.random.default_rng(0)
    known = {
        f"video-{i:06}": VideoMetadata(
            {f"category:{i % 40}": 1.0, f"creator:{i % 700}": 1.0, "kind:product": 1.0, "domain:shop": 1.0},
            20.0,
            rng.normal(size=DIM).astype(np.float32),
        )
        for i in range(VIDEOS)
    }
    return lambda ids: {name: known[name] for name in ids if name in known}


def rate(count: int, job: Callable[[], object]) -> float:
    begun = time.perf_counter()
    job()
    return count / (time.perf_counter() - begun)


def batches(store: ProfileStore[Profile], events: pa.Table) -> None:
    for start in range(0, events.num_rows, BATCH):
        store.apply(events.slice(start, BATCH))


def from_threads(store: ProfileStore[Profile], events: pa.Table, threads: int, size: int) -> list[float]:
    """Return the seconds of each call."""

    def call(start: int) -> float:
        begun = time.perf_counter()
        store.apply(events.slice(start, size))
        return time.perf_counter() - begun

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(call, range(0, events.num_rows, size)))


def floor(path: Path, events: pa.Table) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("CREATE TABLE log (n INTEGER PRIMARY KEY, key BLOB UNIQUE, u TEXT, v TEXT, row BLOB)")
    db.execute("CREATE INDEX users ON log (u, n)")
    db.execute("CREATE INDEX videos ON log (v, n)")
    rows = [
        (event_key(row[0], bytes(SECRET_BYTES)), row[1], row[2], pack_row(row))
        for row in rows_from_table(events)
    ]
    for start in range(0, len(rows), BATCH):
        db.execute("BEGIN")
        db.executemany("INSERT INTO log (key, u, v, row) VALUES (?, ?, ?, ?)", rows[start : start + BATCH])
        db.execute("COMMIT")
    db.close()


def quantiles(seconds: list[float]) -> str:
    """Return the median and 99th percentile in ms."""
    cuts = statistics.quantiles(seconds, n=100)
    return f"p50 {cuts[49] * 1e3:.2f} ms, p99 {cuts[98] * 1e3:.2f} ms"


def timed_gets(store: ProfileStore[Profile], users: list[str]) -> list[float]:
    found = []
    for user in users:
        begun = time.perf_counter()
        store.get("user", [user])
        found.append(time.perf_counter() - begun)
    return found


def measure(name: str, config: SqliteConfig | RedisConfig, count: int, threads: int) -> None:
    facts, profiles = catalogue(), ProfilesConfig()
    store = open_store(config, facts, profiles)
    warm, many, single = drawn(count, 1), drawn(count, 2), drawn(max(2_000, count // 6), 3)
    bought = drawn(2_000, 4, ("purchase",))
    batches(store, warm)
    print(
        f"{name}: batches of {BATCH}: {rate(count, lambda: batches(store, many)):,.0f} events/s", flush=True
    )
    concurrent = drawn(count, 5)
    done = rate(count, lambda: from_threads(store, concurrent, 4, BATCH))
    print(f"{name}: batches of {BATCH} from 4 threads: {done:,.0f} events/s", flush=True)
    for kind, events in (("one by one", single), ("purchases one by one", bought)):
        begun = time.perf_counter()
        taken = from_threads(store, events, threads, 1)
        done = events.num_rows / (time.perf_counter() - begun)
        print(f"{name}: {kind} from {threads} threads: {done:,.0f} events/s, {quantiles(taken)}", flush=True)
    users = many.column("user_id").unique().to_pylist()
    heavy = [f"user-{i:06}" for i in range(100)]
    store.get("user", heavy)
    print(f"{name}: get, the 100 most active, again: {quantiles(timed_gets(store, heavy * 5))}")
    store.close()
    store = open_store(config, facts, profiles)
    print(f"{name}: get after opening, any shopper: {quantiles(timed_gets(store, users[:2_000]))}")
    after = []
    for row in range(500):
        store.apply(bought.slice(row, 1).set_column(0, "event_id", pa.array([f"new-{row}"])))
        after += timed_gets(store, [bought.column("user_id")[row].as_py()])
    print(f"{name}: get right after the shopper's own event: {quantiles(after)}")
    store.close()


@contextmanager
def redis_server(folder: Path, fsync: str) -> Iterator[None]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = ("--dir", str(folder), "--appendonly", "yes", "--appendfsync", fsync, "--save", "")
    server = subprocess.Popen(["redis-server", "--port", str(port), *data], stdout=subprocess.DEVNULL)
    os.environ["VREC_REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
    time.sleep(2)
    try:
        yield
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--threads", type=int, default=32)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        events = drawn(options.events, 2)
        print(f"floor: {rate(options.events, lambda: floor(folder / 'floor.db', events)):,.0f} events/s")
        measure("sqlite", SqliteConfig(path=str(folder / "store.db")), options.events, options.threads)
        if shutil.which("redis-server"):
            for fsync in ("always", "everysec"):
                (folder / fsync).mkdir()
                with redis_server(folder / fsync, fsync):
                    measure(f"redis {fsync}", RedisConfig(fsync=fsync), options.events, options.threads)


if __name__ == "__main__":
    main()
