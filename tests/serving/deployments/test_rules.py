"""Changes of rules over the real deployments: at once here, soon elsewhere, and never half."""

import asyncio
import time

import pytest

from tests.contracts.store_places import RedisServer
from tests.serving.deployments.test_graph import Graph, ask, shown
from tests.serving.deployments.test_profiles import config_in
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.deployments.rules import MAX_RULES
from vrec.serving.messages import RequestFilters
from vrec.serving.rules.book import RuleChange, ShopRule
from vrec.serving.rules.errors import RuleConflict, RuleLimit, UnknownRule


@pytest.fixture(scope="module")
def redis_store(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield {"kind": "redis", "prefix": "rules", "url_variable": server.variable}
    server.stop()


def store_of(kind, request):
    return {} if kind == "sqlite" else {"store": request.getfixturevalue("redis_store")}


def put(rule_id, kind="ban", by="ann", **more):
    return RuleChange(rule_id, ShopRule(rule_id, kind, **more), by, time.time_ns() // 1000, "r")


def removal(rule_id):
    return RuleChange(rule_id, None, "bob", time.time_ns() // 1000, "q")


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
@pytest.mark.parametrize("within", [False, True])
def test_a_rule_is_in_the_very_next_answer_of_its_replica_and_soon_in_all(
    tmp_path, shop_bundle, within, kind, request
):
    """Nothing is refreshed by itself in the first half: what is seen is what each request asks for."""
    more = store_of(kind, request)

    async def run():
        graph = await Graph(tmp_path, within=within, refresh_s=600.0, **more).started(shop_bundle)
        other = ApiDeployment(config_in(tmp_path, **more), graph.ranking, graph.profiles, None)
        await other.reconfigure({"bundle": shop_bundle.uri})
        at, none = time.time_ns() // 1000, RequestFilters()

        async def everywhere(api):
            answers = [
                await api.recommend(ask(k=100)),
                api.fallback(ask(k=100)),
                await api.search("video", 100, none, at),
                await api.similar("video-01", 100, none, at),
            ]
            return [set(shown(answer)) for answer in answers]

        banned = sorted(set.intersection(*(await everywhere(graph.api))))[0]
        version = await graph.api.rules.change(put("no", video_ids=(banned,)), "absent")
        assert not any(banned in one for one in await everywhere(graph.api))
        await asyncio.sleep(0.4)
        assert not any(banned in one for one in await everywhere(other))
        # The other replica removes it: the first one sees that as soon as it looks, and at once in its book.
        await other.rules.change(removal("no"), frozenset({version.number}))
        assert all(banned in one for one in await everywhere(other))
        assert "no" not in (await graph.api.rules.book()).versions
        assert all(banned in one for one in await everywhere(graph.api))

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_of_two_editors_of_a_version_one_is_refused(tmp_path, shop_bundle, kind, request):
    more = store_of(kind, request)

    async def run():
        graph = await Graph(tmp_path, **more).started(shop_bundle)
        other = ApiDeployment(config_in(tmp_path, **more), graph.ranking, graph.profiles, None)
        await other.reconfigure({"bundle": shop_bundle.uri})
        apis, wins, latest = (graph.api, other), 0, await graph.api.rules.change(put("x"), "any")
        for turn in range(10):
            expected = frozenset({latest.number})
            tries = [api.rules.change(put("x", by=f"{turn}-{n}"), expected) for n, api in enumerate(apis)]
            # Another rule is changed meanwhile, which is no conflict.
            tries.append(other.rules.change(put(f"y{turn}"), "absent"))
            done = await asyncio.gather(*tries, return_exceptions=True)
            refused = [one for one in done[:2] if isinstance(one, RuleConflict)]
            (latest,) = [one for one in done[:2] if not isinstance(one, Exception)]
            assert len(refused) == 1
            assert "has been changed by" in str(refused[0])
            assert not isinstance(done[2], Exception)
            wins += 1
        history = await other.rules.history("x")
        assert len(history) == wins + 1
        assert history[0] == latest
        assert [one.number for one in history] == sorted((one.number for one in history), reverse=True)
        with pytest.raises(RuleConflict, match="already"):
            await graph.api.rules.change(put("x"), "absent")
        with pytest.raises(UnknownRule):
            await graph.api.rules.change(removal("z"), "any")
        with pytest.raises(RuleConflict, match="any more"):
            await graph.api.rules.change(put("z"), frozenset({1}))

    asyncio.run(run())


def test_rules_outlive_the_service_and_are_limited(tmp_path, shop_bundle, monkeypatch):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        banned = shown(await graph.api.recommend(ask()))[0]
        await graph.api.rules.change(put("no", video_ids=(banned,)), "absent")
        await graph.api.rules.change(put("brief"), "absent")
        await graph.api.rules.change(removal("brief"), "any")
        graph.profiles.node._store.close()
        again = await Graph(tmp_path).started(shop_bundle)
        assert banned not in shown(await again.api.recommend(ask(k=100)))
        assert [one.change.by for one in await again.api.rules.history("brief")] == ["bob", "ann"]
        monkeypatch.setattr("vrec.serving.deployments.rules.MAX_RULES", 2)
        await again.api.rules.change(put("second"), "absent")
        with pytest.raises(RuleLimit):
            await again.api.rules.change(put("third"), "absent")
        await again.api.rules.change(put("second", note="changed"), "any")

    assert MAX_RULES == 200
    asyncio.run(run())


def test_a_service_that_never_read_its_rules_says_so(tmp_path, shop_bundle):
    async def run():
        graph = Graph(tmp_path)
        graph.profiles.broken = BackendUnavailable("starting")
        await graph.move(shop_bundle.uri)
        answer = await graph.api.recommend(ask())
        assert "rules" in answer.degraded
        assert "rules" in graph.api.fallback(ask()).degraded
        graph.profiles.broken = None
        await asyncio.sleep(0.4)
        assert (await graph.api.recommend(ask())).degraded == ()
        assert graph.api.fallback(ask()).degraded == ("ranking",)
        # Once they are known they hold, though nobody can be asked.
        banned = shown(await graph.api.recommend(ask()))[0]
        await graph.api.rules.change(put("no", video_ids=(banned,)), "absent")
        assert banned not in shown(await graph.api.recommend(ask(k=100)))
        graph.profiles.broken = BackendUnavailable("gone")
        assert banned not in shown(graph.api.fallback(ask(k=100)))
        assert banned not in shown(await graph.api.recommend(ask(k=100)))
        with pytest.raises(BackendUnavailable):
            await graph.api.rules.book()

    asyncio.run(run())


def test_a_preview_shows_what_a_rule_does_and_leaves_no_trace(tmp_path, shop_bundle):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        queries = [ask(name, k=10) for name in ("u", "v", "w")]
        now = [shown(await graph.api.recommend(query)) for query in queries]
        pinned = shown(await graph.api.recommend(ask(k=100)))[-1]
        rule = ShopRule("p", "pin", (pinned,), position=1)
        last = graph.profiles.node._store.latest_cursor()
        begun = graph.api._recorder
        lists = await graph.api.rules.preview(queries, "p", rule)
        assert [shown(before) for before, _ in lists] == now
        assert all(shown(after)[1] == pinned for _, after in lists)
        assert graph.api._recorder is begun
        assert graph.profiles.node._store.latest_cursor() == last
        assert (await graph.api.rules.book()).versions == {}
        assert [shown(await graph.api.recommend(query)) for query in queries] == now
        # What was shown is what is then done.
        await graph.api.rules.change(put("p", "pin", video_ids=(pinned,), position=1), "absent")
        assert [shown(await graph.api.recommend(query)) for query in queries] == [
            shown(after) for _, after in lists
        ]
        back = await graph.api.rules.preview(queries, "p", None)
        assert [shown(after) for _, after in back] == now

    asyncio.run(run())
