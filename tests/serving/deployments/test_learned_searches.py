"""Searches that count as interest, over both stores: the feed follows, and an erasure leaves none behind."""

import asyncio

import pytest

from tests.serving.deployments.test_conversations import check_that_feeds_follow
from tests.serving.deployments.test_graph import Graph
from vrec.core.schema import SEARCH_PREFIX
from vrec.serving.deployments import learned_searches as module
from vrec.serving.deployments.protocol import BackendUnavailable


def over_graph(tmp_path, bundle, run, **more):
    async def start():
        graph = await Graph(tmp_path, **more).started(bundle)
        try:
            return await run(graph, graph.api.learned_searches)
        finally:
            await graph.api.close()
            await graph.ranking.node.close()
            await graph.profiles.node.close()

    return asyncio.run(start())


async def logged(graph):
    table, _ = await graph.api.export(0, 1_000)
    return table.to_pylist()


class Held:
    """Calls that understand a search wait until they are let go."""

    def __init__(self, graph):
        self.gate, self.asked = asyncio.Event(), asyncio.Event()
        self._of = graph.ranking.node.search_subject
        graph.ranking.node.search_subject = self

    async def __call__(self, text):
        self.asked.set()
        await self.gate.wait()
        return await self._of(text)


def test_the_feed_follows_what_was_searched_until_it_is_erased(tmp_path, shop_bundle, store):
    async def run(graph, searches):
        async def search(asked):
            searches.learn(f"a nice {asked}", asked, f"r-{asked}")
            await searches.settle()

        await check_that_feeds_follow(graph, shop_bundle, search)
        assert await logged(graph) == []

    over_graph(tmp_path, shop_bundle, run, store=store)


def test_an_event_has_what_was_asked_for_and_none_of_the_other_words(tmp_path, shop_bundle):
    async def run(graph, searches):
        searches.learn("category-0 for my neighbor Zebedee", "ann", "r-1")
        searches.learn("zebedee", "ann", "r-2")
        await searches.settle()
        (event,) = await logged(graph)
        assert event["video_id"] == f"{SEARCH_PREFIX}category=category-0"
        assert (event["user_id"], event["kind"], event["request_id"]) == ("ann", "search", "r-1")
        assert "ebedee" not in str(event)

    over_graph(tmp_path, shop_bundle, run)


def test_a_request_counts_once_and_nobody_else_can_name_its_event(tmp_path, shop_bundle):
    async def run(graph, searches):
        for _ in range(3):
            searches.learn("category-0", "ann", "r")
        searches.learn("category-0", "bob", "r")
        searches.learn("category-1", "ann", "r")
        other = type(graph.api)(graph.api._config, graph.ranking, graph.profiles, None)
        other.learned_searches.learn("category-0", "ann", "r")
        await searches.settle()
        await other.learned_searches.settle()
        ids = [one["event_id"] for one in await logged(graph)]
        assert len(ids) == len(set(ids)) == 4

    over_graph(tmp_path, shop_bundle, run)


def test_an_erasure_waits_for_what_is_still_to_be_written(tmp_path, shop_bundle, store):
    async def run(graph, searches):
        held = Held(graph)
        searches.learn("category-0", "ann", "r")
        await held.asked.wait()
        erasing = asyncio.create_task(graph.api.erase("ann"))
        done, _ = await asyncio.wait([erasing], timeout=0.2)
        assert not done
        held.gate.set()
        await erasing
        await searches.settle()
        assert await logged(graph) == []
        assert await graph.api.profile("ann") is None

    over_graph(tmp_path, shop_bundle, run, store=store)


def test_an_erasure_by_another_replica_leaves_nothing_either(tmp_path, shop_bundle, store):
    async def run(graph, searches):
        held = Held(graph)
        searches.learn("category-0", "ann", "r")
        await held.asked.wait()
        other = type(graph.api)(graph.api._config, graph.ranking, graph.profiles, None)
        await other.erase("ann")
        held.gate.set()
        await searches.settle()
        assert await logged(graph) == []
        assert await graph.api.profile("ann") is None
        # Whoever comes back begins anew.
        searches.learn("category-0", "ann", "later")
        await searches.settle()
        assert len(await logged(graph)) == 1

    over_graph(tmp_path, shop_bundle, run, store=store)


def test_a_session_brings_along_what_it_has_searched(tmp_path, shop_bundle, store):
    async def run(graph, searches):
        held = Held(graph)
        searches.learn("category-0", "session:s", "r")
        await held.asked.wait()
        joining = asyncio.create_task(graph.api.join("session:s", "ann"))
        await asyncio.sleep(0.1)
        held.gate.set()
        assert await joining == 1
        assert (await graph.api.profile("ann")).counts["event:search"] == 1
        assert await graph.api.erase("ann") == 1
        assert await logged(graph) == []

    over_graph(tmp_path, shop_bundle, run, store=store)


def test_what_fails_or_is_switched_off_is_not_counted_and_hurts_nobody(tmp_path, shop_bundle, monkeypatch):
    async def broken(graph, searches):
        graph.ranking.broken = BackendUnavailable("it restarts")
        searches.learn("category-0", "ann", "r")
        await searches.settle()
        graph.ranking.broken, graph.profiles.broken = None, BackendUnavailable("it restarts")
        searches.learn("category-0", "ann", "r")
        await searches.settle()
        graph.profiles.broken = None
        monkeypatch.setattr(module, "MAX_PENDING", 2)
        for number in range(9):
            searches.learn("category-0", "ann", f"r{number}")
        await searches.settle()
        assert len(await logged(graph)) == 2

    async def off(graph, searches):
        searches.learn("category-0", "ann", "r")
        await searches.settle()
        assert await logged(graph) == []

    over_graph(tmp_path / "broken", shop_bundle, broken)
    over_graph(tmp_path / "off", shop_bundle, off, learns_searches=False)


@pytest.mark.parametrize("text", ["", "!!", "not category-0", "where is my order?", "x" * 3_000])
def test_a_text_that_asks_for_nothing_leaves_nothing(tmp_path, shop_bundle, text):
    async def run(graph, searches):
        searches.learn(text, "ann", "r")
        await searches.settle()
        assert await logged(graph) == []

    over_graph(tmp_path, shop_bundle, run)
