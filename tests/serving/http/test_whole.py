"""HTTP over the real deployments in one process."""

import asyncio
import json

import pytest

from tests.serving.deployments.test_graph import Graph
from tests.serving.deployments.test_profiles import config_in
from tests.serving.direct import Direct
from tests.serving.http.client import acall, form
from vrec.core.errors import StoreError
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.encoder import EncoderDeployment
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.http.app import create_app

JSON = {"content-type": "application/json"}


def over(folder, bundle, scenario, *, within=False, **more):
    """Run `scenario(send, graph)` against the app; `send(method, path, content)` returns a reply."""

    async def run():
        graph = await Graph(folder, within=within, **more).started(bundle)
        app = graph.app = create_app(graph.api, config_in(folder, **more), environment={})

        async def send(method, path, content=None):
            body = b"" if content is None else json.dumps(content).encode()
            return await acall(app, method, path, body, JSON if body else {})

        await scenario(send, graph)

    asyncio.run(run())


def ids(reply):
    return [item["video_id"] for item in reply.json["items"]]


@pytest.mark.parametrize("within", [False, True], ids=["by itself", "within HTTP"])
def test_a_shopper_s_day(tmp_path, shop_bundle, within):
    async def scenario(send, graph):
        assert (await send("GET", "/readyz")).json["ready"]
        ask = {"user_id": "anna", "k": 10}
        first = await send("POST", "/v1/recommend", ask)
        assert first.json["bundle"] == shop_bundle.version
        assert (len(ids(first)), first.json["degraded"]) == (10, False)
        assert all(0 <= item["p_conv"] <= item["p_click"] <= 1 for item in first.json["items"])
        events = [
            {"event_id": f"i{item['position']}", "user_id": "anna", "video_id": item["video_id"],
             "kind": "impression", "position": item["position"], "propensity": item["propensity"],
             "request_id": first.json["request_id"]}
            for item in first.json["items"]
        ]  # fmt: skip
        bought = ids(first)[0]
        events.append(
            {"event_id": "b", "user_id": "anna", "video_id": bought, "kind": "purchase", "value": 3}
        )
        assert (await send("POST", "/v1/events", {"events": events})).json == {
            "new": 11,
            "repeated": 0,
            "unused": 0,
            "refused": 0,
        }
        assert bought not in ids(await send("POST", "/v1/recommend", ask))
        assert (await send("GET", "/v1/profiles/anna")).json["counts"]["event:purchase"] == 1
        near = await send("GET", f"/v1/videos/{bought}/similar?k=3")
        assert len(ids(near)) == 3
        assert (await send("GET", "/v1/videos/none/similar")).status == 404
        change = await send("PATCH", f"/v1/videos/{ids(near)[0]}", {"available": False})
        assert (change.status, change.json["available"]) == (200, False)
        await asyncio.sleep(0.3)
        assert ids(near)[0] not in ids(await send("GET", f"/v1/videos/{bought}/similar?k=3"))
        assert (await send("DELETE", f"/v1/videos/{ids(near)[1]}")).status == 204
        assert (await send("DELETE", f"/v1/videos/{ids(near)[1]}")).status == 404
        assert (await send("DELETE", "/v1/profiles/anna")).json["erased"] == 11
        assert (await send("GET", "/v1/profiles/anna")).status == 404

    over(tmp_path, shop_bundle, scenario, within=within)


def test_after_two_waits_in_vain_nobody_waits_for_ranking(tmp_path, shop_bundle):
    asked = []

    async def never(ask, after=None):
        asked.append(ask)
        await asyncio.sleep(60)

    async def scenario(send, graph):
        graph.ranking.node.recommend = never
        for _ in range(5):
            reply = await send("POST", "/v1/recommend", {"user_id": "u", "k": 5})
            assert (reply.status, reply.json["why"], len(ids(reply))) == (200, ["ranking"], 5)
        assert len(asked) == 2

    over(tmp_path, shop_bundle, scenario, ranking_timeout_s=0.05)


@pytest.mark.parametrize("within", [False, True], ids=["by itself", "within HTTP"])
def test_a_service_that_refused_a_bundle_is_ready_with_the_one_before_and_says_so(
    tmp_path, shop_bundle, within
):
    async def scenario(send, graph):
        await graph.move(str(tmp_path / "broken"))
        ready = await send("GET", "/readyz")
        assert (ready.status, ready.json["ready"], ready.json["bundle"]) == (200, True, shop_bundle.version)
        assert "broken" in ready.json["refused"]
        assert len(ids(await send("POST", "/v1/recommend", {"user_id": "u", "k": 5}))) == 5
        await graph.move(shop_bundle.uri)
        assert (await send("GET", "/readyz")).json["refused"] is None

    over(tmp_path, shop_bundle, scenario, within=within)


@pytest.mark.parametrize("within", [False, True], ids=["by itself", "within HTTP"])
def test_a_hidden_video_is_recommended_to_others_alone(tmp_path, shop_bundle, within):
    async def scenario(send, graph):
        async def shown(shopper):
            return set(ids(await send("POST", "/v1/recommend", {"user_id": shopper, "k": 100})))

        everything = await shown("anna")
        hidden = sorted(everything)[::7]
        for kind, expected in (("hide", everything - set(hidden)), ("unhide", everything)):
            events = [
                {"event_id": f"{kind}-{name}", "user_id": "anna", "video_id": name, "kind": kind}
                for name in hidden
            ]
            assert (await send("POST", "/v1/events", {"events": events})).json["new"] == len(hidden)
            assert await shown("anna") & everything == expected
            assert set(hidden) <= await shown("bert")

    over(tmp_path, shop_bundle, scenario, within=within)


def test_what_is_left_when_parts_are_killed(tmp_path, shop_bundle):
    async def scenario(send, graph):
        graph.ranking.broken = BackendUnavailable("killed")
        reply = await send("POST", "/v1/recommend", {"user_id": "u", "k": 5})
        assert (reply.status, reply.json["degraded"], reply.json["why"]) == (200, True, ["ranking"])
        assert len(ids(reply)) == 5
        assert reply.json["items"][0]["kind"] is not None
        ready = await send("GET", "/readyz")
        assert (ready.status, ready.json["parts"]["ranking"]) == (503, "killed")
        graph.profiles.broken = StoreError("no room on /srv")
        event = {"event_id": "e", "user_id": "u", "video_id": "v", "kind": "click"}
        reply = await send("POST", "/v1/events", event)
        assert (reply.status, reply.json["type"]) == (503, "urn:vrec:problem:store-away")
        graph.profiles.broken = None
        assert (await send("POST", "/v1/events", event)).json == {
            "new": 1,
            "repeated": 0,
            "unused": 0,
            "refused": 0,
        }

    over(tmp_path, shop_bundle, scenario)


def test_a_bundle_without_encoders_takes_no_uploads_and_keeps_nothing_of_them(tmp_path, shop_bundle):
    async def run():
        graph = await Graph(tmp_path).started(shop_bundle)
        config = config_in(tmp_path)
        encoder = EncoderDeployment(config)
        await encoder.reconfigure({"bundle": shop_bundle.uri})
        for node, kind in ((Direct(encoder), "not-served"), (None, "busy")):
            api = ApiDeployment(config, graph.ranking, graph.profiles, node)
            await api.reconfigure({"bundle": shop_bundle.uri})
            body, headers = form([("creator_id", "me")], b"\0\0\0\x18ftypmp42" + b"\0" * 9_000)
            reply = await acall(create_app(api, config, environment={}), "POST", "/v1/uploads", body, headers)
            assert (reply.status, reply.json["type"]) == (503, f"urn:vrec:problem:{kind}")
        assert list((tmp_path / "data" / "uploads").iterdir()) == []

    asyncio.run(run())
