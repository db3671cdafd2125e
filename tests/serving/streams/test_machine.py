"""Streams over two replicas and both kinds of stores, against a dictionary and a clock."""

import asyncio
import uuid
from contextlib import closing
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.contracts.store_places import RedisPlace, RedisServer, SqlitePlace
from tests.serving.direct import Direct
from vrec.config.streams import StreamsConfig
from vrec.serving.deployments.streams import StreamOperations
from vrec.serving.streams.follower import StreamFollower
from vrec.serving.streams.states import (
    StreamBeat,
    StreamDetails,
    StreamOver,
    StreamTaken,
    UnknownStream,
    is_stream,
)

EXPIRY_S = 10
NAMES, REPLICAS = st.sampled_from(["a", "b/1", "ü"]), st.integers(0, 1)
PRODUCTS = st.lists(st.sampled_from(["p", "q"]), unique=True, max_size=2).map(tuple)


class Node:
    """The part of the deployment of the store that streams need."""

    def __init__(self, store):
        self.store = store

    async def put_states(self, table, puts):
        return self.store.put_states(table, puts)

    async def states(self, table, keys):
        return self.store.states(table, keys)

    async def states_after(self, table, after, limit):
        return self.store.states_after(table, after, limit)


class Catalog:
    """A catalog that two replicas share, with a video that is no stream."""

    def __init__(self):
        self.cards = {"video": {"uri": "/x.mp4"}}

    def card(self, video_id):
        return self.cards.get(video_id)

    async def edit(self, video_id, choose):
        for edit in choose(self.card(video_id)):
            self.cards[video_id] = dict(self.card(video_id) or {}) | dict(edit.fields)

    async def embed(self, title, tags):
        return None


@dataclass
class Model:
    """A stream as it should be; times in seconds."""

    streamer: str
    started: float
    expires: float
    ended: float | None = None
    viewers: int | None = None
    products: tuple = ()

    def is_live(self, at):
        return self.ended is None and at < self.expires


class Streams(RuleBasedStateMachine):
    """Starts, beats, ends and the passing of time, by either replica."""

    place = None

    def __init__(self):
        super().__init__()
        self.store, self.catalog = self.place().open(), Catalog()
        self.now, self.model, self.runner = 1_000.0, {}, asyncio.Runner()
        self.expiry = [EXPIRY_S, EXPIRY_S]
        self.replicas = [self._replica(EXPIRY_S) for _ in range(2)]

    def _replica(self, expiry_s):
        node = Node(self.store)
        # Without the wall clock: the follower would forget these streams of 1970.
        follower = StreamFollower(node.states_after)
        follower._forget = lambda before: None
        config, now = StreamsConfig(expiry_s=expiry_s), lambda: round(self.now * 1e6)
        more = {"timeout_s": 30, "now": now, "gather_s": 0}
        return StreamOperations(Direct(node), follower, self.catalog, config, **more)

    def teardown(self):
        self.runner.close()
        self.store.close()

    def call(self, replica, method, *args):
        operations = self.replicas[replica]

        async def run():
            return await getattr(operations, method)(*args)

        return self.runner.run(run())

    @rule(seconds=st.sampled_from([0.5, 4, 9.9, 10, 60]))
    def wait(self, seconds):
        self.now += seconds

    @rule(replica=REPLICAS, expiry_s=st.sampled_from([5, EXPIRY_S, 60]))
    def restart(self, replica, expiry_s):
        """Another expiry holds for later beats alone: what is over does not come back."""
        self.expiry[replica], self.replicas[replica] = expiry_s, self._replica(expiry_s)

    @rule(replica=REPLICAS, name=NAMES, streamer=st.sampled_from(["ann", "bob"]), products=PRODUCTS)
    def put(self, replica, name, streamer, products):
        before, details = (
            self.model.get(name),
            StreamDetails(streamer, f"by {streamer}", product_ids=products),
        )
        live = before is not None and before.is_live(self.now)
        if live and before.streamer != streamer:
            with pytest.raises(StreamTaken):
                self.call(replica, "put", name, details)
            return
        state, started = self.call(replica, "put", name, details)
        assert started == (not live)
        if not live:
            self.model[name] = before = Model(streamer, self.now, self.now)
        before.expires, before.products = self.now + self.expiry[replica], products
        assert state.product_ids == products
        card = self.catalog.card(name)
        assert (is_stream(card), card["creator_id"], card["title"]) == (True, streamer, details.title)

    @rule(replica=REPLICAS)
    def put_video(self, replica):
        with pytest.raises(StreamTaken):
            self.call(replica, "put", "video", StreamDetails("ann"))
        assert self.call(replica, "states", ["video"]) == {}

    @rule(replica=REPLICAS, name=NAMES, viewers=st.none() | st.integers(0, 9), products=st.none() | PRODUCTS)
    def beat(self, replica, name, viewers, products):
        model, beat = self.model.get(name), StreamBeat(viewers, products)
        if model is None or not model.is_live(self.now):
            with pytest.raises(UnknownStream if model is None else StreamOver):
                self.call(replica, "beat", name, beat)
            return
        self.call(replica, "beat", name, beat)
        model.expires = self.now + self.expiry[replica]
        model.viewers = model.viewers if viewers is None else viewers
        model.products = model.products if products is None else products

    @rule(
        replica=REPLICAS,
        beats=st.dictionaries(NAMES, st.tuples(st.none() | st.integers(0, 9), st.none() | PRODUCTS)),
    )
    def beat_all(self, replica, beats):
        found = self.call(replica, "beat_all", {name: StreamBeat(*beat) for name, beat in beats.items()})
        assert list(found) == list(beats)
        for name, (viewers, products) in beats.items():
            model = self.model.get(name)
            if model is None or not model.is_live(self.now):
                assert isinstance(found[name], UnknownStream if model is None else StreamOver)
                continue
            model.expires = self.now + self.expiry[replica]
            model.viewers = model.viewers if viewers is None else viewers
            model.products = model.products if products is None else products
            assert (found[name].viewers, found[name].product_ids) == (model.viewers, model.products)

    @rule(replica=REPLICAS, name=NAMES)
    def end(self, replica, name):
        model = self.model.get(name)
        if model is None:
            with pytest.raises(UnknownStream):
                self.call(replica, "end", name)
            return
        self.call(replica, "end", name)
        if model.ended is None:
            model.ended = min(self.now, model.expires)

    @invariant()
    def both_replicas_know_all(self):
        live = sorted(name for name, one in self.model.items() if one.is_live(self.now))
        for replica in range(2):
            found = self.call(replica, "states", [*self.model, "none"])
            assert found.keys() == self.model.keys()
            for name, state in found.items():
                one = self.model[name]
                assert (state.streamer_id, state.viewers, state.product_ids) == (
                    one.streamer, one.viewers, one.products,
                )  # fmt: skip
                assert state.started_at == round(one.started * 1e6)
                over = self.replicas[replica].ends_at(state)
                if one.is_live(self.now):
                    assert over is None
                else:
                    assert over == round(min(one.ended or 1e12, one.expires) * 1e6)
            assert [one.stream_id for one in self.call(replica, "live")] == live


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_replicas_agree_with_the_model(kind, server, tmp_path):
    folder = tmp_path / uuid.uuid4().hex
    folder.mkdir()

    class Machine(Streams):
        place = staticmethod(lambda: SqlitePlace(folder) if kind == "sqlite" else RedisPlace(server))

    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=checks
        ),
    )


def test_a_beat_by_a_replica_that_knows_an_old_state_counts_once_more(tmp_path):
    with closing(SqlitePlace(tmp_path).open()) as store:
        catalog, clock = Catalog(), {"s": 5.0}

        async def run():
            pair = []
            for _ in range(2):
                follower = StreamFollower(Node(store).states_after)
                config, now = StreamsConfig(expiry_s=EXPIRY_S), lambda: round(clock["s"] * 1e6)
                pair.append(
                    StreamOperations(Direct(Node(store)), follower, catalog, config, timeout_s=5, now=now)
                )
            here, there = pair
            await here.put("s", StreamDetails("ann"))
            await there.beat("s", StreamBeat(viewers=1))
            await there.end("s")
            with pytest.raises(StreamOver):  # here it is live, as far as this replica knows
                await here.beat("s", StreamBeat(viewers=2))
            await there.put("s", StreamDetails("bob"))
            assert (await here.beat("s", StreamBeat(viewers=3))).streamer_id == "bob"
            clock["s"] -= 3  # a clock behind the others' takes nothing from a stream
            assert (await here.beat("s", StreamBeat())).beat_at == 5_000_000

        asyncio.run(run())
