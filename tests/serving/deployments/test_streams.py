"""Live streams over the real deployments: at once here, soon elsewhere, and never after their end."""

import asyncio
import itertools
import json
import time
import uuid

import pytest

from tests.contracts.store_places import RedisServer
from tests.serving.deployments.test_graph import Graph, ask, shown
from tests.serving.deployments.test_profiles import config_in, event, event_values
from tests.serving.http.client import acall
from tests.serving.tenants.service import DEFAULT, Service, key_entries
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.http.app import create_app
from vrec.serving.messages import RequestFilters
from vrec.serving.streams.states import StreamBeat, StreamDetails, StreamTaken

ONLY = RequestFilters(streams="only")


@pytest.fixture(scope="module")
def redis_store(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield {"kind": "redis", "url_variable": server.variable}
    server.stop()


def store_of(kind, request):
    if kind == "sqlite":
        return {}
    return {"store": request.getfixturevalue("redis_store") | {"prefix": uuid.uuid4().hex}}


def details(streamer="ann", title="Zanzibar live", **more):
    return StreamDetails(streamer, title, **more)


async def everywhere(api):
    at, none = time.time_ns() // 1000, RequestFilters()
    answers = [
        await api.recommend(ask(k=100)),
        await api.recommend(ask(k=100, filters=ONLY)),
        api.fallback(ask(k=200)),
        api.fallback(ask(k=200, filters=ONLY)),
        await api.search("Zanzibar", 100, none, at),
    ]
    return [set(shown(answer)) for answer in answers]


async def until(condition):
    """Wait for what comes by itself."""
    while not await condition():
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
@pytest.mark.parametrize("within", [False, True])
def test_a_stream_is_in_the_very_next_answers_of_its_replica_and_not_after_its_end(
    tmp_path, shop_bundle, within, kind, request
):
    """Nothing is refreshed by itself in this test: what is seen is what each request asks for."""
    more = store_of(kind, request)

    async def run():
        graph = await Graph(tmp_path, within=within, refresh_s=600.0, **more).started(shop_bundle)
        _, started = await graph.api.streams.put("live1", details())
        assert started
        assert all("live1" in one for one in await everywhere(graph.api))
        assert (await everywhere(graph.api))[1] == {"live1"}
        entry = await graph.api.video("live1", time.time_ns() // 1000)
        assert (entry.barred_by, entry.card["kind"]) == ((), "live")
        await graph.api.streams.end("live1")
        assert not any("live1" in one for one in await everywhere(graph.api))
        assert (await graph.api.video("live1", time.time_ns() // 1000)).barred_by == ("over",)
        assert (await graph.api.streams.put("live1", details()))[1]
        assert all("live1" in one for one in await everywhere(graph.api))

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_other_replicas_follow(tmp_path, shop_bundle, kind, request):
    more = store_of(kind, request)

    async def run():
        graph = await Graph(tmp_path, **more).started(shop_bundle)
        other = ApiDeployment(config_in(tmp_path, **more), graph.ranking, graph.profiles, None)
        await other.reconfigure({"bundle": shop_bundle.uri})
        await graph.api.streams.put("live2", details())

        async def seen():
            return all("live2" in one for one in await everywhere(other))

        await until(seen)
        assert [one.stream_id for one in await other.streams.live()] == ["live2"]
        await other.streams.beat("live2", StreamBeat(viewers=5))
        assert (await graph.api.streams.get("live2")).viewers == 5
        with pytest.raises(StreamTaken, match="of ann"):
            await other.streams.put("live2", details("bob"))
        with pytest.raises(StreamTaken, match="no stream"):
            await other.streams.put("video-01", details())
        await graph.api.streams.end("live2")
        assert (await other.streams.states(["live2"]))["live2"].ended_at is not None

        async def gone():
            return not any("live2" in one for one in await everywhere(other))

        await until(gone)

    asyncio.run(run())


def test_ends_that_race_answers_over_two_replicas_leave_no_stream_in_any(tmp_path, shop_bundle):
    """A list that was asked for after an end was acknowledged, by either replica, never has the stream."""

    async def run():
        graph = await Graph(tmp_path, refresh_s=0.2).started(shop_bundle)
        other = ApiDeployment(config_in(tmp_path, refresh_s=0.2), graph.ranking, graph.profiles, None)
        await other.reconfigure({"bundle": shop_bundle.uri})
        apps = [create_app(api, config_in(tmp_path), environment={}) for api in (graph.api, other)]
        turns, over, answers, wrong, seen = itertools.count(), set(), 0, [], set()
        body = {"user_id": "u", "k": 20, "kind": "stream"}
        going = True

        async def send(app, method, path, content=b""):
            return await acall(app, method, path, content, {"content-type": "application/json"})

        async def streamer(number):
            while going:
                name, turn = f"s{next(turns)}", number % 2
                content = b'{"streamer_id": "ann", "title": "t"}'
                assert (await send(apps[turn], "PUT", f"/v1/streams/{name}", content)).status == 201
                await asyncio.sleep(0.05 * number)
                assert (await send(apps[1 - turn], "DELETE", f"/v1/streams/{name}")).status == 204
                over.add(name)

        async def shopper(number):
            nonlocal answers
            while going:
                before = frozenset(over)
                reply = await send(apps[number % 2], "POST", "/v1/recommend", json.dumps(body).encode())
                found = {item["video_id"] for item in reply.json["items"]}
                assert not reply.json["degraded"], reply.json["why"]
                wrong.extend(found & before)
                seen.update(found)
                answers += 1

        tasks = [asyncio.create_task(streamer(n)) for n in range(4)]
        tasks += [asyncio.create_task(shopper(n)) for n in range(4)]
        while (answers < 300 or len(seen) <= 10) and not any(task.done() for task in tasks):
            await asyncio.sleep(0.05)
        going = False
        await asyncio.gather(*tasks)
        assert wrong == []
        assert len(over) > 10
        assert len(seen) > 10

    asyncio.run(run())


def test_a_shopper_may_come_back_to_a_stream_that_sold_something(tmp_path, shop_bundle):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        await graph.api.streams.put("live3", details())
        now = time.time_ns() // 1000
        row = event("p", video_id="live3", kind="purchase", value=1.0, at=now)
        await graph.api.apply(event_values(row))
        assert shown(await graph.api.recommend(ask(filters=ONLY))) == ["live3"]
        hidden = event("h", video_id="live3", kind="hide", at=now + 1)
        await graph.api.apply(event_values(hidden))
        assert shown(await graph.api.recommend(ask(filters=ONLY))) == []

    asyncio.run(run())


def test_streams_outlive_the_service_and_the_erasure_of_shoppers(tmp_path, shop_bundle):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        await graph.api.streams.put("live4", details("u"))
        await graph.api.streams.put("over4", details("u"))
        await graph.api.streams.end("over4")
        await graph.api.apply(event_values(event("a", video_id="live4", kind="like")))
        assert await graph.api.erase("u") == 1
        assert [one.stream_id for one in await graph.api.streams.live()] == ["live4"]
        graph.profiles.node._store.close()
        again = await Graph(tmp_path).started(shop_bundle)
        assert shown(await again.api.recommend(ask(filters=ONLY))) == ["live4"]

    asyncio.run(run())


def test_a_stream_of_a_tenant_is_no_other_s(tmp_path, shop_bundle, monkeypatch):
    monkeypatch.setenv("VREC_API_KEYS", key_entries(DEFAULT, "shop-a", "shop-b"))

    async def run():
        service = Service(tmp_path)
        tenants = {name: {"bundle": shop_bundle.uri} for name in ("shop-a", "shop-b")}
        await service.declare(shop_bundle.uri, tenants)
        one = {"streamer_id": "ann", "title": "of a"}
        assert (await service.send("shop-a", "PUT", "/v1/streams/s", one)).status == 201
        body = {"user_id": "u", "kind": "stream"}
        for tenant, wanted in (("shop-a", ["s"]), ("shop-b", []), (DEFAULT, [])):
            reply = await service.send(tenant, "POST", "/v1/recommend", body)
            assert [item["video_id"] for item in reply.json["items"]] == wanted, (tenant, reply.json["why"])
            listed = await service.send(tenant, "GET", "/v1/streams")
            assert [item["stream_id"] for item in listed.json["streams"]] == wanted
            assert (await service.send(tenant, "GET", "/v1/streams/s")).status == (200 if wanted else 404)
            if not wanted:
                assert (await service.send(tenant, "POST", "/v1/streams/s/beat", {})).status == 404
                assert (await service.send(tenant, "DELETE", "/v1/streams/s")).status == 404
        # The same id of another streamer is another stream.
        other = await service.send("shop-b", "PUT", "/v1/streams/s", {"streamer_id": "bob"})
        assert (other.status, other.json["streamer_id"]) == (201, "bob")
        assert (await service.send("shop-b", "DELETE", "/v1/streams/s")).status == 204
        assert (await service.send("shop-a", "GET", "/v1/streams/s")).json["live"]
        await service.close()

    asyncio.run(run())
