"""Content of streams that have been over for long, on both kinds of stores, against a model."""

import asyncio
import time
import uuid
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contracts.store_places import RedisPlace, RedisServer, SqlitePlace
from tests.serving.direct import Direct
from vrec.config.serve import ServeConfig
from vrec.core.errors import StoreError
from vrec.serving.deployments import content_cleaner
from vrec.serving.deployments.content_cleaner import PAUSE_US, ContentCleaner
from vrec.serving.deployments.stream_content import StreamContentDeployment
from vrec.serving.streams.content.messages import CONTENT_TABLE, ContentState, pack_content
from vrec.serving.streams.states import (
    STREAMS_TABLE,
    VECTORS_TABLE,
    StreamState,
    StreamVector,
    pack_state,
    pack_vector,
)

KEEP_S, NOW = 100, 1_000_000_000
BEFORE = NOW - KEEP_S * 1_000_000


class Node:
    """The deployment of the store; it can fail at the removal of some state, before or after it."""

    def __init__(self, store):
        self.store, self.drops, self.fails_at, self.meanwhile = store, 0, None, None

    async def states(self, table, keys):
        found = self.store.states(table, keys)
        if self.meanwhile is not None:
            self.meanwhile()
            self.meanwhile = None
        return found

    async def states_after(self, table, after, limit):
        return self.store.states_after(table, after, limit)

    async def drop_state(self, table, key, expected):
        self.drops += 1
        if self.drops == self.fails_at:
            raise StoreError("the process died")
        return self.store.drop_state(table, key, expected)


def vector(at):
    return pack_vector(StreamVector("clip", at, np.ones(4, np.float32)))


def state(name, ends, *, ended):
    return pack_state(StreamState(name, "ann", 0, 0, NOW * 2 if ended else ends, ends if ended else None))


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def place(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    if request.param == "sqlite":
        yield lambda: SqlitePlace(folder)
        return
    server = RedisServer(folder)
    yield lambda: RedisPlace(server)
    server.stop()


def contents(store, table):
    return {name for _, name, _ in store.states_after(table, 0, 1_000)}


def clean_all(node, rounds=40, now=NOW):
    cleaner = ContentCleaner(Direct(node), KEEP_S, 30, now=lambda: now)
    return [asyncio.run(cleaner.clean()) for _ in range(rounds)]


TIMES = st.sampled_from([1, BEFORE - 1, BEFORE, BEFORE + 1, NOW - 1, NOW + 5])
STREAMS = st.lists(
    st.tuples(TIMES, st.booleans(), st.sampled_from([1, BEFORE - 1, BEFORE, NOW])), min_size=1, max_size=12
)


@given(streams=STREAMS, page=st.integers(1, 4), fails_at=st.none() | st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_what_goes_is_the_content_of_streams_over_for_long_whoever_dies(place, streams, page, fails_at):
    # Contents are written in the order of their times, as they are in the service.
    streams = sorted(streams, key=lambda one: one[2])
    with pytest.MonkeyPatch.context() as patch, closing(place().open()) as store:
        patch.setattr(content_cleaner, "RECORDS_PER_ROUND", page)
        kept = set()
        for number, (ends, ended, at) in enumerate(streams):
            name = f"s{number}"
            store.put_state(STREAMS_TABLE, name, state(name, ends, ended=ended))
            store.put_state(VECTORS_TABLE, name, vector(at))
            store.put_state(CONTENT_TABLE, name, pack_content(ContentState(at)))
            if ends >= BEFORE or at >= BEFORE:
                kept.add(name)
        node = Node(store)
        node.fails_at = fails_at
        removed = 2 * (len(streams) - len(kept))
        if fails_at is not None and fails_at <= removed:
            with pytest.raises(StoreError):
                clean_all(node)
        done = clean_all(node)
        assert max(done) <= 2 * page
        assert contents(store, VECTORS_TABLE) == contents(store, CONTENT_TABLE) == kept
        assert len(contents(store, STREAMS_TABLE)) == len(streams)


def test_a_vector_that_comes_meanwhile_stays(place):
    with closing(place().open()) as store:
        for name in ("again", "over"):
            store.put_state(STREAMS_TABLE, name, state(name, 1, ended=True))
            store.put_state(VECTORS_TABLE, name, vector(1))
        node = Node(store)
        node.meanwhile = lambda: store.put_state(VECTORS_TABLE, "again", vector(NOW))
        clean_all(node)
        assert contents(store, VECTORS_TABLE) == {"again"}


def test_what_cannot_be_read_stays_and_is_no_obstacle(place):
    with closing(place().open()) as store, pytest.MonkeyPatch.context() as patch:
        patch.setattr(content_cleaner, "RECORDS_PER_ROUND", 1)
        store.put_state(VECTORS_TABLE, "vector", b"?")
        for name in ("vector", "state", "over"):
            store.put_state(STREAMS_TABLE, name, state(name, 1, ended=True) if name != "state" else b"?")
            if name != "vector":
                store.put_state(VECTORS_TABLE, name, vector(1))
        clean_all(Node(store))
        assert contents(store, VECTORS_TABLE) == {"vector", "state"}


def test_a_table_with_nothing_to_remove_is_read_once_in_a_while(place):
    now, name = [NOW], uuid.uuid4().hex
    with closing(place().open()) as store:
        store.put_state(STREAMS_TABLE, name, state(name, NOW, ended=True))
        store.put_state(VECTORS_TABLE, name, vector(NOW))
        node = Node(store)
        reads = []
        node.states_after = lambda *args: _counted(reads, store, args)
        cleaner = ContentCleaner(Direct(node), KEEP_S, 30, now=lambda: now[0])
        for _ in range(5):
            assert asyncio.run(cleaner.clean()) == 0
        assert reads == [VECTORS_TABLE, CONTENT_TABLE]
        now[0] += KEEP_S * 1_000_000 + PAUSE_US
        assert asyncio.run(cleaner.clean()) == 1


async def _counted(reads, store, args):
    reads.append(args[0])
    return store.states_after(*args)


def test_the_deployment_of_content_removes_it(place, shop_bundle, tmp_path):
    config = ServeConfig(bundle=shop_bundle.uri, data=str(tmp_path), refresh_s=0.05)

    async def run(store):
        deployment = StreamContentDeployment(config, Direct(Node(store)))
        await deployment.reconfigure({"bundle": shop_bundle.uri})
        while contents(store, VECTORS_TABLE) != {"new"}:
            await asyncio.sleep(0.02)
        await deployment.close()

    with closing(place().open()) as store:
        for name, at in (("old", 1), ("new", time.time_ns() // 1000)):
            store.put_state(STREAMS_TABLE, name, state(name, at, ended=True))
            store.put_state(VECTORS_TABLE, name, vector(at))
        asyncio.run(asyncio.wait_for(run(store), 60))
