"""Calls that go to a store together, beside the same calls one after the other."""

import tempfile
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contracts.store_places import RedisPlace, RedisServer, SqlitePlace
from vrec.testing.store_profiles import log_of, stored, wanted, world

ROWS = 24
CALLS = st.lists(st.lists(st.integers(0, ROWS - 1), max_size=6), max_size=8)
"""Rows of the events of each call: any may be in several calls, and several times in one."""


def check(together, alone, calls, split):
    """Results, log and profiles are those of single calls, wherever a batch of the calls ends."""
    events = world()[0]
    tables = [events.take(pa.array(rows, pa.int64())) for rows in calls]
    with closing(together.open()) as one, closing(alone.open()) as other:
        results = []
        for batch in (tables[:split], tables[split:]):
            merged = pa.concat_tables([events.slice(0, 0), *batch])
            results += one.submit_all(merged, [table.num_rows for table in batch]).result(30)
        assert results == [other.apply(table) for table in tables]
        assert log_of(one).equals(log_of(other))
        everything = wanted(events.slice(0, ROWS))
        assert stored(one, everything) == stored(other, everything)


@given(calls=CALLS, split=st.integers(0, 8))
@settings(max_examples=40)
def test_sqlite(calls, split):
    with tempfile.TemporaryDirectory() as folder:
        check(SqlitePlace(Path(folder)), SqlitePlace(Path(folder)), calls, split)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@given(calls=CALLS, split=st.integers(0, 8))
@settings(max_examples=20)
def test_redis(server, calls, split):
    check(RedisPlace(server), RedisPlace(server), calls, split)
