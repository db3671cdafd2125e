"""Streams that have been over for long, over the real deployments and both kinds of stores."""

import asyncio
import time
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contracts.store_places import RedisServer
from tests.serving.deployments.test_graph import Graph
from tests.serving.deployments.test_profiles import config_in
from vrec.serving.deployments import old_streams
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.old_streams import PAUSE_US, StreamCleaner
from vrec.serving.streams.states import StreamDetails, UnknownStream

KEEP_S = 3600


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def store(request, tmp_path_factory):
    if request.param == "sqlite":
        yield dict
        return
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield lambda: {"store": {"kind": "redis", "url_variable": server.variable, "prefix": uuid.uuid4().hex}}
    server.stop()


class Shop:
    """Graph whose clock can be moved on."""

    def __init__(self, graph):
        self.graph, self.ahead_us = graph, 0
        self.cleaner = self.cleaner_of(graph.api)

    def cleaner_of(self, api):
        return StreamCleaner(
            self.graph.profiles,
            api.streams._catalog,
            KEEP_S,
            30,
            now=lambda: time.time_ns() // 1000 + self.ahead_us,
        )

    async def put(self, name, api=None, title="Zanzibar"):
        await (api or self.graph.api).streams.put(name, StreamDetails("ann", title))

    def row(self, name):
        return self.graph.api.streams._catalog.card(name)

    async def has_state(self, name):
        try:
            await self.graph.api.streams.get(name)
        except UnknownStream:
            return False
        return True


def over(tmp_path, bundle, store, scenario):
    async def run():
        graph = await Graph(tmp_path, refresh_s=600.0, **store()).started(bundle)
        await scenario(Shop(graph))

    asyncio.run(run())


@given(
    turns=st.lists(st.tuples(st.booleans(), st.integers(0, 2)), min_size=1, max_size=9),
    page=st.integers(1, 4),
)
@settings(max_examples=6, deadline=None)
def test_streams_go_that_have_been_over_for_long_and_no_others(
    tmp_path_factory, shop_bundle, store, turns, page
):
    """Each stream begins in turn; some are ended, some begin again after the time has passed."""

    async def scenario(shop):
        api, again = shop.graph.api, []
        for number, (ended, _) in enumerate(turns):
            await shop.put(f"s{number}")
            if ended:
                await api.streams.end(f"s{number}")
        for number, (ended, what) in enumerate(turns):
            if ended and what == 1:
                await shop.put(f"s{number}", title="Again")
                again.append(number)
        # Ended streams are over for an hour and a minute; those without end lack a beat for less.
        shop.ahead_us = (KEEP_S + 20) * 1_000_000
        removed = sum([await shop.cleaner.clean() for _ in range(20)])
        gone = {number for number, (ended, _) in enumerate(turns) if ended and number not in again}
        assert removed == len(gone)
        for number in range(len(turns)):
            assert (shop.row(f"s{number}") is None) == (number in gone)
            assert await shop.has_state(f"s{number}") == (number not in gone)
        for number in gone:
            await shop.put(f"s{number}")
            assert shop.row(f"s{number}") is not None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(old_streams, "STREAMS_PER_ROUND", page)
        over(tmp_path_factory.mktemp("shop"), shop_bundle, store, scenario)


@pytest.mark.parametrize("moment", ["before the row", "while the row is removed", "before the state"])
def test_a_stream_that_starts_again_meanwhile_keeps_its_row(tmp_path, shop_bundle, store, moment):
    async def scenario(shop):
        api, catalog = shop.graph.api, shop.graph.api.streams._catalog
        other = ApiDeployment(
            config_in(tmp_path, refresh_s=600.0), shop.graph.ranking, shop.graph.profiles, None
        )
        await other.reconfigure({"bundle": shop_bundle.uri})
        await shop.put("s")
        await api.streams.end("s")
        shop.ahead_us = (KEEP_S + 60) * 1_000_000
        remove, starts = catalog.remove, iter([True])

        async def start():
            if next(starts, False):
                await shop.put("s", other, title="Again")

        async def removing(cards):
            if moment == "before the row":
                await start()
            if moment == "while the row is removed":
                before = catalog._catalog.journal.append_all

                def append_all(edits):
                    # Another process writes its row after this one has read the catalog's changes.
                    asyncio.run_coroutine_threadsafe(start(), loop).result(30)
                    return before(edits)

                catalog._catalog.journal.append_all = append_all
            gone = await remove(cards)
            if moment == "before the state":
                await start()
            return gone

        loop, catalog.remove = asyncio.get_running_loop(), removing
        assert await shop.cleaner.clean() == 0
        await api._live.follow(force=True)
        await other._live.follow(force=True)
        assert (await api.streams.get("s")).is_live(time.time_ns() // 1000)
        for served in (api, other):
            row = served.streams._catalog.card("s")
            assert row is not None
            # Two writes of one row at the same moment: the row is there, as it was.
            assert row["title"] == ("Zanzibar" if moment == "while the row is removed" else "Again")

    over(tmp_path, shop_bundle, store, scenario)


def test_several_may_remove_at_once_and_videos_stay(tmp_path, shop_bundle, store):
    async def scenario(shop):
        api = shop.graph.api
        for number in range(5):
            await shop.put(f"s{number}")
            await api.streams.end(f"s{number}")
        shop.ahead_us = (KEEP_S + 60) * 1_000_000
        videos = api._fallback_state
        before = {name for name in ("video-01", "video-02") if videos.card(name)}
        done = await asyncio.gather(*(shop.cleaner_of(api).clean() for _ in range(3)))
        assert sum(done) == 5
        assert not any([await shop.has_state(f"s{number}") for number in range(5)])
        assert all(shop.row(f"s{number}") is None for number in range(5))
        assert {name for name in before if api._fallback_state.card(name)} == before != set()
        # Nothing is left, so that the store is not read again for a while.
        reads, read = [], shop.graph.profiles.node.states_after
        shop.graph.profiles.node.states_after = lambda *args: reads.append(args) or read(*args)
        await shop.cleaner.clean()
        await shop.cleaner.clean()
        assert len(reads) == 1
        shop.ahead_us += PAUSE_US
        await shop.cleaner.clean()
        assert len(reads) == 2

    over(tmp_path, shop_bundle, store, scenario)
