"""The nodes together, without Ray: what one tells reaches the others, and what is away is done without."""

import asyncio
import shutil
import time

import numpy as np
import pytest

from tests.serving.catalog.journals import added, removed, updated
from tests.serving.deployments.test_profiles import config_in, event, event_values
from tests.serving.direct import Direct
from vrec.core.errors import StoreError
from vrec.core.types import ApplyResult
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.profiles import ProfilesDeployment
from vrec.serving.deployments.protocol import BackendUnavailable, UnknownVideo, VideoIdTaken
from vrec.serving.deployments.ranking.deployment import RankingDeployment
from vrec.serving.messages import RecommendQuery, RequestFilters


class Graph:
    """All nodes but the encoder, in this process; `within` ranks in the node that speaks HTTP."""

    def __init__(self, folder, *, within=False, **more):
        config = config_in(folder, **more)
        self.profiles = Direct(ProfilesDeployment(config))
        self.ranking = None if within else Direct(RankingDeployment(config, self.profiles, None))
        self.api = ApiDeployment(config, self.ranking, self.profiles, None)

    async def move(self, uri):
        ranking = () if self.ranking is None else (self.ranking.node,)
        for node in (self.profiles.node, *ranking, self.api):
            await node.reconfigure({"bundle": uri})

    async def started(self, bundle):
        await self.move(bundle.uri)
        # The reader of profiles is opened by the first look for changes.
        await asyncio.sleep(0.3)
        return self


def ask(user_id="u", k=10, **more):
    return RecommendQuery(
        request_id="r", user_id=user_id, surface="feed", k=k, at=time.time_ns() // 1000, **more
    )


def shown(answer):
    return [item.video_id for item in answer.items]


def test_an_acknowledged_event_counts_in_the_very_next_answer(tmp_path, shop_bundle):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        first = await graph.api.recommend(ask())
        assert len(first.items) == 10
        assert first.degraded == ()
        bought = shown(first)[0]
        done = await graph.api.apply(event_values(event("a", video_id=bought, kind="purchase", value=1.0)))
        assert done == ApplyResult(1, 0)
        second = await graph.api.recommend(ask())
        assert bought not in shown(second)
        assert second.excluded_by_rule["bought"] == 1
        assert "bought" not in (await graph.api.recommend(ask("another"))).excluded_by_rule

    asyncio.run(run())


def test_answers_follow_what_a_shopper_likes(tmp_path, shop_bundle):
    videos = {v["video_id"]: v for v in shop_bundle.parts.videos.to_pylist()}
    one = next(v["category"] for v in videos.values() if v["available"])
    liked = [name for name, v in videos.items() if v["category"] == one][:5]
    now = time.time_ns() // 1000

    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        rows = [event(f"e{i}", video_id=name, kind="like", at=now) for i, name in enumerate(liked)]
        await graph.api.apply(event_values(*rows))
        answer = await graph.api.recommend(ask(k=20))
        assert {"cf", "content"} & {item.source for item in answer.items}
        reasons = {reason.partition(":")[0] for item in answer.items for reason in item.reasons}
        assert "liked" in reasons
        assert "watched" not in reasons

    asyncio.run(run())


def test_without_the_profile_node_answers_go_on_and_without_the_store_they_say_so(tmp_path, shop_bundle):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        graph.profiles.broken = RuntimeError("dead")
        # The store itself can be read, though nobody writes.
        assert (await graph.api.recommend(ask())).degraded == ()
        graph.ranking.node._reader.close()
        answer = await graph.api.recommend(ask())
        assert answer.degraded == ("profiles",)
        assert len(answer.items) == 10

    asyncio.run(run())


def test_without_the_ranking_node_there_are_popular_videos_that_are_allowed(tmp_path, shop_bundle):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        popular = shown(graph.api.fallback(ask(k=5)))
        assert len(popular) == 5
        barred = RequestFilters(exclude=frozenset(popular[:2]))
        answer = graph.api.fallback(ask(k=5, filters=barred))
        assert answer.degraded == ("ranking",)
        assert shown(answer)[:3] == popular[2:]
        await graph.api.change(updated(popular[2], available=False))
        assert popular[2] not in shown(graph.api.fallback(ask(k=5)))

    asyncio.run(run())


def test_many_calls_at_once_are_each_answered_for_their_own_events(tmp_path, shop_bundle):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        calls = [graph.api.apply(event_values(event(f"e{i % 40}"), event(f"f{i}"))) for i in range(60)]
        done = await asyncio.gather(*calls)
        assert sum(one.new for one in done) == 100
        assert sum(one.repeated for one in done) == 20
        assert (await graph.api.profile("u")).counts["event:click"] == 100
        graph.profiles.broken = StoreError("no room")
        with pytest.raises(StoreError, match="no room"):
            await graph.api.apply(event_values(event("late")))
        graph.profiles.broken = None
        assert await graph.api.apply(event_values(event("late"))) == ApplyResult(1, 0)

    asyncio.run(run())


def test_a_new_video_is_recommended_and_one_removed_is_not(tmp_path, shop_bundle):
    encoder = shop_bundle.parts.fused.column("encoder")[0].as_py()
    vector = np.zeros((1, 16), np.float32)
    vector[0, 3] = 1.0

    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        at = time.time_ns() // 1000
        await graph.api.change(added("mine", {"fused": vector}, {"fused": encoder}))
        assert "mine" in await graph.api.cards(["mine"])
        assert "mine" in shown(await graph.api.recommend(ask(k=100)))
        assert len((await graph.api.similar("mine", 3, RequestFilters(), at)).items) == 3
        await asyncio.sleep(0.3)
        await graph.api.apply(event_values(event("a", video_id="mine", kind="like", at=at)))
        assert (await graph.api.profile("u")).vector is not None
        await graph.api.change(removed("mine"))
        assert "mine" not in shown(await graph.api.recommend(ask("another", k=100)))
        assert await graph.api.cards(["mine"]) == {}

    asyncio.run(run())


@pytest.mark.parametrize("within", [False, True])
def test_after_an_edit_no_answer_of_the_replica_shows_the_old_state(tmp_path, shop_bundle, within):
    """Nothing is refreshed by itself in this test: what is seen is what each request asks for."""
    rows = {row["video_id"]: row for row in shop_bundle.parts.videos.to_pylist()}

    async def run():
        graph = await Graph(tmp_path, within=within, refresh_s=600.0).started(shop_bundle)
        other = ApiDeployment(config_in(tmp_path, refresh_s=600.0), graph.ranking, graph.profiles, None)
        await other.reconfigure({"bundle": shop_bundle.uri})
        at = time.time_ns() // 1000

        async def everywhere(api, title):
            none = RequestFilters()
            answers = [
                await api.recommend(ask(k=100)),
                api.fallback(ask(k=100)),
                await api.search(title, 100, none, at),
                await api.similar("video-01", 100, none, at),
            ]
            return [set(shown(answer)) for answer in answers]

        listed = await everywhere(graph.api, "Zanzibar")
        gone = next(name for name in sorted(listed[0] & listed[1] & listed[3]) if rows[name]["available"])
        kept = sorted((listed[0] & listed[1] & listed[3]) - {gone})[0]
        await graph.api.change(updated(gone, available=False))
        assert not any(gone in one for one in await everywhere(graph.api, "Zanzibar"))
        await graph.api.change(updated(gone, available=True))
        # A search that nothing matches lists popular videos, and so it has the video again too.
        assert [gone in one for one in await everywhere(graph.api, "Zanzibar")] == [True, True, True, True]
        # An edit by one replica and the next by another: the later one counts, and its own lists have it.
        await other.change(updated(kept, title="Zanzibar lantern", category="lamps"))
        lamps = ask(k=100, filters=RequestFilters(categories=frozenset({"lamps"})))
        assert shown(await other.recommend(lamps)) == shown(other.fallback(lamps)) == [kept]
        assert kept in shown(await other.search("Zanzibar", 5, RequestFilters(), at))
        await graph.api.change(removed(kept))
        assert not any(kept in one for one in await everywhere(graph.api, "Zanzibar"))
        assert await graph.api.cards([kept]) == {}
        with pytest.raises(UnknownVideo):
            await other.change(updated(kept, title="again"))
        with pytest.raises(VideoIdTaken):
            await other.change(added(gone))
        await other.change(added(kept, title="Zanzibar again"))
        assert shown(await other.search("Zanzibar", 5, RequestFilters(), at)) == [kept]

    asyncio.run(run())


def test_moving_to_another_bundle_and_back_fails_no_request(tmp_path, shop_bundle):
    from tests.bundles import write_shop_bundle
    from vrec.bundle.write import BundleConfig

    other = write_shop_bundle(tmp_path / "other", BundleConfig(neighbours=10, popular=10))
    broken = tmp_path / "broken"
    shutil.copytree(shop_bundle.uri, broken)
    (broken / "ranker" / "manifest.json").write_text("{}")

    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        liked = shop_bundle.parts.videos.column("video_id")[3].as_py()
        await graph.api.apply(event_values(event("a", video_id=liked, kind="like")))
        versions, moving = [], True

        async def shop():
            while moving:
                answer = await graph.api.recommend(ask(k=3))
                assert len(answer.items) == 3
                assert answer.degraded == ()
                versions.append(answer.bundle)
                # Without a pause, the thread that loads would wait for the interpreter each time.
                await asyncio.sleep(0.01)

        shopping = asyncio.create_task(shop())
        for uri in (other.uri, str(broken), shop_bundle.uri):
            await graph.move(uri)
        moving = False
        await shopping
        assert set(versions) == {shop_bundle.version, other.version}
        assert (await graph.api.recommend(ask())).bundle == shop_bundle.version

    asyncio.run(run())


def test_a_node_that_does_not_answer_is_away(tmp_path, shop_bundle):
    async def run():
        graph = await Graph(tmp_path, ranking_timeout_s=0.05).started(shop_bundle)

        async def never(*_):
            await asyncio.sleep(60)

        sound, graph.ranking.node.recommend = graph.ranking.node.recommend, never
        for _ in range(2):
            with pytest.raises(BackendUnavailable):
                await graph.api.recommend(ask())
        # From now on nobody waits for it, until one who asked after a while had an answer.
        graph.ranking.node.recommend = sound
        with pytest.raises(BackendUnavailable, match="lately"):
            await graph.api.recommend(ask())
        await asyncio.sleep(1.1)
        assert len((await graph.api.recommend(ask())).items) == 10

    asyncio.run(run())
