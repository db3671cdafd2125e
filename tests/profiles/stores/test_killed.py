"""SIGKILL in the middle of it: what was acknowledged is in the log once, and the profiles are the log's."""

import os
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.contracts.store_places import RedisPlace, RedisServer, SqlitePlace
from vrec.testing.store_profiles import assert_near, ids_of, log_of, stored, wanted

ROOT = Path(__file__).resolve().parents[3]


@contextmanager
def writer(place, name, threads, size):
    """A process that writes to the store; its acknowledged ids are read from it line by line."""
    command = [
        sys.executable,
        str(ROOT / "tests/profiles/stores/killed_writer.py"),
        place.config.model_dump_json(),
    ]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [*command, name, str(threads), str(size)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def acknowledged(process, count):
    assert process.stdout is not None
    return {process.stdout.readline().strip() for _ in range(count)}


def rest_of(process):
    """What it had said before it died, but for a line that was cut."""
    said = process.stdout.read()
    return set(said[: said.rfind("\n") + 1].split())


def assert_reconciled(place, said):
    with closing(place.open()) as store:
        log = log_of(store)
        ids = ids_of(log)
        assert len(set(ids)) == len(ids)
        assert said <= set(ids)
        assert_near(stored(store, wanted(log)), wanted(log))
        assert store.apply(log).new == 0


@pytest.mark.slow
def test_sqlite_loses_nothing_with_its_process(tmp_path):
    place, said = SqlitePlace(tmp_path, fold_after=4), set()
    for name, threads, size in (("a", 8, 1), ("b", 3, 40)):  # the second upon what the first has left
        with writer(place, name, threads, size) as process:
            said |= acknowledged(process, 400)
            process.kill()
            said |= rest_of(process)
        assert_reconciled(place, said)


@pytest.mark.slow
def test_redis_loses_nothing_with_its_server(tmp_path):
    """Two processes write the same ids, so that most of one's are repeated."""
    server = RedisServer(tmp_path)
    try:
        place = RedisPlace(server, fold_after=4)
        with writer(place, "a", 8, 1) as single, writer(place, "a", 3, 40) as many:
            said = acknowledged(single, 300) | acknowledged(many, 80)
            server.kill()
            said |= rest_of(single) | rest_of(many)
        server.start()
        assert_reconciled(place, said)
    finally:
        server.stop()
