"""Shards behind the nodes of the service, in one process: changes, reloads, and shards that are gone."""

import asyncio
import shutil
import time
from dataclasses import replace

import pytest

from tests.serving.catalog.journals import removed, updated
from tests.serving.deployments.test_graph import ask, shown
from tests.serving.deployments.test_profiles import config_in, event, event_values
from tests.serving.direct import Direct
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.protocol import BackendUnavailable, UnknownVideo
from vrec.serving.deployments.ranking.deployment import RankingDeployment
from vrec.serving.deployments.ranking.gathering import GatheringDeployment
from vrec.serving.deployments.shards.deployment import CatalogShard
from vrec.serving.messages import RequestFilters
from vrec.serving.moments.messages import MomentsMissing
from vrec.serving.tenants.deployments import ProfilesHost
from vrec.serving.tenants.handles import TenantHandle


class ShardedGraph:
    """All nodes but the encoder, with the catalog in shards, and a node that ranks the whole beside them."""

    def __init__(self, folder, shards=3):
        config = config_in(folder, replicas={"shards": shards}, ranking_timeout_s=240, profile_timeout_s=60)
        self.host = Direct(ProfilesHost(config))
        profiles = TenantHandle(self.host, "")
        self.shards = [Direct(CatalogShard(config, self.host, number)) for number in range(shards)]
        self.gathering = GatheringDeployment(config, profiles, None, self.shards)
        self.whole = RankingDeployment(config, profiles, None, remembers=False)
        # As if the store's file were on another machine: both get profiles from the store's deployment.
        self.whole._profile = self.gathering._profile
        self.api = ApiDeployment(config, Direct(self.gathering), profiles, None)

    async def started(self, bundle):
        shards = [one.node for one in self.shards]
        for node in (self.host.node, *shards, self.gathering, self.whole, self.api):
            await node.reconfigure({"bundle": bundle.uri})
        await asyncio.sleep(0.3)
        return self

    async def both(self, query):
        """The list gathered from shards, and that of the whole catalog, after all that was acknowledged."""
        position = self.api._position
        lists = [await node.recommend(query, position) for node in (self.gathering, self.whole)]
        return [replace(one, spent_ms={}, cpu_ms=0.0) for one in lists]

    async def agreed(self, query):
        """Both lists as soon as all counts and changes have reached everyone, who follow them in rounds."""
        until = time.monotonic() + 60
        found, wanted = await self.both(query)
        while found != wanted and time.monotonic() < until:
            await asyncio.sleep(0.1)
            found, wanted = await self.both(query)
        return found, wanted


def owner_of(graph, video_id):
    return graph.gathering.served.bundle.part.cut.part_of(video_id)


def test_lists_of_shards_are_those_of_the_whole_after_events_and_changes(tmp_path, shop_bundle):
    async def run():
        graph = await ShardedGraph(tmp_path).started(shop_bundle)
        rows = [event(f"e{n}", video_id=f"video-{n:02}", kind="like") for n in range(0, 90, 9)]
        await graph.api.apply(event_values(*rows))
        found, wanted = await graph.agreed(ask(k=20))
        assert found == wanted
        assert len(found.items) == 20
        first, second, third = shown(found)[:3]
        await graph.api.change(removed(first))
        await graph.api.change(updated(second, available=False))
        await graph.api.change(updated(third, title="Zanzibar lantern"))
        found, wanted = await graph.agreed(ask(k=20))
        assert found == wanted
        assert not {first, second} & set(shown(found))
        assert third in shown(found)
        searched = await graph.gathering.search("zanzibar", 5, RequestFilters(), ask().at)
        assert shown(searched) == [third]
        similar = [
            await node.similar(third, 9, RequestFilters(), ask().at)
            for node in (graph.gathering, graph.whole)
        ]
        assert similar[0].items == similar[1].items
        with pytest.raises(UnknownVideo):
            await graph.gathering.similar(first, 9, RequestFilters(), ask().at)
        with pytest.raises(MomentsMissing):
            await graph.gathering.find_moments(None)

    asyncio.run(run())


def test_what_a_shard_that_is_gone_has_is_missing_and_the_answer_says_so(tmp_path, shop_bundle):
    async def run():
        graph = await ShardedGraph(tmp_path).started(shop_bundle)
        whole = await graph.gathering.recommend(ask(k=30))
        lost = owner_of(graph, shown(whole)[0])
        assert await graph.gathering.ready() == shop_bundle.version
        graph.shards[lost].broken = RuntimeError("both copies are gone")
        answer = await graph.gathering.recommend(ask(k=30))
        assert answer.degraded == ("shards",)
        left = {owner_of(graph, name) for name in shown(answer)}
        assert left == {0, 1, 2} - {lost}
        assert len(answer.items) == 30
        with pytest.raises(BackendUnavailable, match=rf"shards without an answer, of 3: {lost}"):
            await graph.gathering.ready()
        assert (await graph.api.ready()).parts["ranking"] is not None
        for one in graph.shards:
            one.broken = RuntimeError("all are gone")
        with pytest.raises(BackendUnavailable):
            await graph.gathering.recommend(ask())
        assert len(graph.api.fallback(ask(k=5)).items) == 5
        for one in graph.shards:
            one.broken = None
        assert (await graph.gathering.recommend(ask())).degraded == ()

    asyncio.run(run())


def test_lists_are_of_one_bundle_while_shards_move_one_after_the_other(tmp_path, shop_bundle, monkeypatch):
    from tests.bundles import CONFIG, shop_parts
    from vrec.bundle.write import write_bundle

    monkeypatch.setattr("vrec.serving.deployments.shards.deployment.LOOK_S", 0.01)
    other = str(tmp_path / "other")
    write_bundle(other, shop_parts(), CONFIG.model_copy(update={"popular": 12}))

    async def run():
        graph = await ShardedGraph(tmp_path).started(shop_bundle)
        await graph.shards[0].node.reconfigure({"bundle": other})
        assert (await graph.gathering.recommend(ask())).bundle == shop_bundle.version
        await graph.gathering.reconfigure({"bundle": other})
        answer = await graph.gathering.recommend(ask())
        assert (answer.bundle, answer.degraded) == (shop_bundle.version, ())
        for one in graph.shards[1:]:
            await one.node.reconfigure({"bundle": other})
        answer = await graph.gathering.recommend(ask())
        assert answer.bundle == graph.gathering.served.version != shop_bundle.version
        # Nobody asks for the bundle before any more.
        monkeypatch.setattr("vrec.serving.deployments.shards.deployment.KEEP_S", 0.0)
        await asyncio.sleep(1)
        assert [one.node._before for one in graph.shards] == [None] * 3
        broken = str(tmp_path / "broken")
        shutil.copytree(other, broken)
        (tmp_path / "broken" / "manifest.json").unlink()
        await graph.shards[0].node.reconfigure({"bundle": broken})
        assert (await graph.gathering.recommend(ask())).degraded == ()

    asyncio.run(run())
