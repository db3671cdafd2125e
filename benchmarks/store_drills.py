"""Drills of the disk under both stores: full, and slow. What is lost, and what the operator sees.

Run as root on Linux, with redis-server on the PATH: `python benchmarks/store_drills.py [--folder DIR]`.

Full: a file system of 8 MB in memory. Batches of 100 events are sent until none is taken any more. Then there
is room again, a Redis that has ended is started as a supervisor would, what was refused is sent again, and 20
further batches. Every acknowledged event must be in the log once.

Slow: the process that writes may write 10 times a second to DIR's disk, by a limit of the kernel's control
groups (`blkio`). 30 batches with one purchase each are sent, before and after.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from store import catalogue, drawn

from vrec.core.errors import StoreError
from vrec.profiles.stores.factory import RedisConfig, SqliteConfig, open_store
from vrec.profiles.stores.redis.store import RedisStore
from vrec.profiles.stores.sqlite.store import SqliteStore
from vrec.profiles.update import ProfilesConfig

BATCH, PORT, WRITES_PER_S = 100, 6398, 10
GROUP = Path("/sys/fs/cgroup/blkio/vrec-store-drill")
LIMIT = "blkio.throttle.write_iops_device"


@dataclass
class DiskedStore:
    """Store whose files are in a folder, and its server if it has one."""

    kind: str
    folder: Path
    server: subprocess.Popen[bytes] | None = None
    acknowledged: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start the server where there is one and it has ended."""
        if self.kind == "sqlite" or (self.server is not None and self.server.poll() is None):
            return
        command = ["redis-server", "--port", str(PORT), "--dir", str(self.folder), "--save", ""]
        # As in deploy/redis.conf.
        command += ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]
        os.environ["VREC_REDIS_URL"] = f"redis://127.0.0.1:{PORT}/0"
        with (self.folder.parent / "redis.log").open("ab") as log:
            self.server = subprocess.Popen(command, stdout=log)

    def open(self, patience_s: float = 60.0) -> SqliteStore | RedisStore:
        """Open the store as soon as that can be done."""
        config = RedisConfig() if self.kind == "redis" else SqliteConfig(path=str(self.folder / "store.db"))
        begun = time.monotonic()
        while True:
            try:
                return open_store(config, catalogue(), ProfilesConfig())
            except StoreError:
                if time.monotonic() - begun > patience_s:
                    raise
                time.sleep(0.2)

    @property
    def writer(self) -> int:
        """Id of the process that writes."""
        return self.server.pid if self.server is not None else os.getpid()

    def stop(self) -> None:
        """Stop the server."""
        if self.server is not None:
            self.server.terminate()
            self.server.wait()


def apply(store: SqliteStore | RedisStore, disked: DiskedStore, batch: pa.Table) -> StoreError | None:
    """Send a batch, and return the error with which it was refused."""
    try:
        store.apply(batch)
    except StoreError as error:
        return error
    disked.acknowledged += batch.column("event_id").to_pylist()
    return None


def log_of(store: SqliteStore | RedisStore) -> Counter[str]:
    """Return how often each event is in the log."""
    found, after = Counter[str](), 0
    while True:
        table, after = store.export(after)
        if not table.num_rows:
            return found
        found.update(table.column("event_id").to_pylist())


def compare(store: SqliteStore | RedisStore, disked: DiskedStore) -> str:
    """Return how many acknowledged events are missing or there more than once."""
    found = log_of(store)
    missing = sum(found[event] == 0 for event in disked.acknowledged)
    twice = sum(count > 1 for count in found.values())
    return f"{len(disked.acknowledged)} acknowledged, {missing} missing, {twice} more than once"


def fill(store: SqliteStore | RedisStore, disked: DiskedStore, events: pa.Table) -> int:
    """Send batches until three in a row are refused; print why, and return the first refused row."""
    refused, errors = 0, list[StoreError]()
    for start in range(0, events.num_rows, BATCH):
        error = apply(store, disked, events.slice(start, BATCH))
        errors = [*errors, error] if error else []
        if len(errors) == 1:
            refused = start
        if len(errors) == 3:
            break
    else:
        raise RuntimeError("the disk does not become full")
    for said in dict.fromkeys(f"{error} Fix: {error.fix}" for error in errors):
        print(f"    said: {said}", flush=True)
    with contextlib.suppress(IndexError):
        user = events.column("user_id")[0].as_py()
        try:
            profile = store.get("user", [user])
            print(f"    profiles meanwhile: {'read' if profile else 'not there'}", flush=True)
        except StoreError as error:
            print(f"    profiles meanwhile: {error}", flush=True)
    return refused


def on_a_full_disk(kind: str, folder: Path) -> None:
    """Fill a disk, make room, and compare the log with what was acknowledged."""
    disked = DiskedStore(kind, folder)
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=True)
    try:
        disked.start()
        store = disked.open()
        events = drawn(100_000, 0)
        refused = fill(store, disked, events)
        time.sleep(2)
        ended = disked.server is not None and disked.server.poll() is not None
        subprocess.run(["mount", "-o", "remount,size=200m", str(folder)], check=True)
        begun = time.monotonic()
        disked.start()
        batches = iter(range(refused, refused + 23 * BATCH, BATCH))
        start = next(batches)
        while error := apply(store, disked, events.slice(start, BATCH)):
            if time.monotonic() - begun > 60:
                raise error
            time.sleep(0.1)
        seconds = time.monotonic() - begun
        failed = sum(apply(store, disked, events.slice(start, BATCH)) is not None for start in batches)
        server = "the server had ended" if ended else "nothing had ended"
        print(
            f"{kind}, full disk: {server}; takes events {seconds:.1f} s after there is room, {failed} refused"
        )
        store.close()
        store = disked.open()
        print(f"    opened again: {compare(store, disked)}", flush=True)
        store.close()
    finally:
        disked.stop()
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def slow_writes(pid: int, folder: Path) -> Iterator[None]:
    """Let a process write some times a second to the disk of a folder, inside the `with`."""
    number = os.stat(folder).st_dev
    GROUP.mkdir(exist_ok=True)
    (GROUP / LIMIT).write_text(f"{os.major(number)}:{os.minor(number)} {WRITES_PER_S}")
    (GROUP / "cgroup.procs").write_text(str(pid))
    try:
        yield
    finally:
        (GROUP.parent / "cgroup.procs").write_text(str(pid))
        GROUP.rmdir()


def on_a_slow_disk(kind: str, folder: Path) -> None:
    """Send batches to a store, and again while its disk is slow."""
    folder.mkdir()
    disked = DiskedStore(kind, folder)
    disked.start()
    store = disked.open()
    try:
        for what, seed in (("usual", 1), ("slow", 2)):
            events = drawn(30 * BATCH, seed)
            kinds = ["purchase" if row % BATCH == 0 else "watch" for row in range(events.num_rows)]
            events = events.set_column(events.column_names.index("kind"), "kind", pa.array(kinds))
            limit = slow_writes(disked.writer, folder) if what == "slow" else contextlib.nullcontext()
            taken, refused = list[float](), 0
            with limit:
                for start in range(0, events.num_rows, BATCH):
                    begun = time.monotonic()
                    refused += apply(store, disked, events.slice(start, BATCH)) is not None
                    taken.append(time.monotonic() - begun)
            median, most = statistics.median(taken) * 1e3, max(taken) * 1e3
            print(f"{kind}, {what} disk: median {median:.0f} ms, longest {most:.0f} ms, {refused} refused")
        print(f"    {compare(store, disked)}", flush=True)
    finally:
        store.close()
        disked.stop()


def main() -> None:
    """Run the drills."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="a folder on a disk, of which the slow drill is")
    arguments = parser.parse_args()
    for kind in ("sqlite", "redis"):
        with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
            on_a_full_disk(kind, Path(name) / "full")
            on_a_slow_disk(kind, Path(name) / "slow")


if __name__ == "__main__":
    main()
