"""What one tenant does, then what the others see: the sequences that tell, one by one, on the same ids."""

import asyncio
import time
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from tests.serving.tenants.service import DEFAULT, Service, key_entries
from vrec.serving.observability import metrics

TENANTS = (DEFAULT, "shop-a", "shop-b")
AT = datetime.fromtimestamp(time.time() - 3600, UTC).isoformat()


class Shops:
    """A service of three tenants that is called without a loop."""

    def __init__(self, folder, store, videos):
        self.runner, self.videos = asyncio.Runner(), videos
        self.recorder = metrics.metrics_recorder()
        more = {"refresh_s": 1e6, "ranking_timeout_s": 60, "profile_timeout_s": 60, "store": store}
        self.service = self.runner.run(self._made(folder, more))

    async def _made(self, folder, more):
        return Service(folder, **more)

    def declare(self, uri):
        self.runner.run(self.service.declare(uri, {name: {"bundle": uri} for name in TENANTS if name}))

    def send(self, tenant, method, path, content=None):
        async def reply():
            # Changes of the catalog and the rules are followed now, not by the clock.
            async with self.service.ranking.shop_of(tenant) as shop:
                await shop._follow()
            return await self.service.send(tenant, method, path, content)

        return self.runner.run(reply())

    def good(self, tenant, method, path, content=None):
        """Return the JSON of a reply that has to be a success."""
        reply = self.send(tenant, method, path, content)
        assert reply.status < 300, reply.body
        return reply.json if reply.body else None

    def like(self, tenant, event, **visitor):
        one = {"event_id": event, "video_id": self.videos[0], "kind": "like", "at": AT} | visitor
        assert self.good(tenant, "POST", "/v1/events", one)["new"] == 1

    def shopper(self, tenant, user):
        """Return what a tenant has about a shopper: the profile, and the ids of events."""
        profile = self.send(tenant, "GET", f"/v1/profiles/{user}")
        pages = self.send(tenant, "GET", f"/v1/users/{user}?limit=50")
        if profile.status == 404:
            assert pages.status == 404
            return None
        return profile.json, [one["event_id"] for one in pages.json["recent"]]

    def titles(self, video):
        return {name: self.good(name, "GET", f"/v1/videos/{video}")["title"] for name in TENANTS}

    def listed(self, tenant, user):
        body = {"user_id": user, "k": 10}
        return [one["video_id"] for one in self.good(tenant, "POST", "/v1/recommend", body)["items"]]

    def close(self):
        self.runner.run(self.service.close())
        self.runner.close()


@pytest.fixture
def shops(shop_bundle, store, tmp_path, monkeypatch):
    monkeypatch.setenv("VREC_API_KEYS", key_entries(*TENANTS))
    recorder = metrics.InMemoryMetricsRecorder()
    monkeypatch.setattr(metrics, "metrics_recorder", lambda: recorder)
    videos = shop_bundle.parts.videos.column("video_id").to_pylist()
    made = Shops(tmp_path, store, videos)
    made.declare(shop_bundle.uri)
    yield made
    made.close()


def test_shoppers_and_their_events(shops):
    for owner in TENANTS:
        others = [name for name in TENANTS if name != owner]
        user = f"sent-{owner}"
        shops.like(owner, f"event-{owner}", user_id=user)
        assert shops.shopper(owner, user)[1] == [f"event-{owner}"]
        assert [shops.shopper(name, user) for name in others] == [None, None]

        user, joined = f"joined-{owner}", f"session-{owner}"
        for name in TENANTS:
            shops.like(name, f"visit-{owner}", session_id=joined)
        shops.good(owner, "POST", f"/v1/users/{user}/sessions", {"session_id": joined})
        assert shops.shopper(owner, user)[1] == [f"visit-{owner}"]
        assert [shops.shopper(name, user) for name in others] == [None, None]

        for way in ("erased", "removed"):
            user, event = f"{way}-{owner}", f"{way}-event-{owner}"
            for name in TENANTS:
                shops.like(name, event, user_id=user)
            before = {name: shops.shopper(name, user) for name in TENANTS}
            path = f"/v1/profiles/{user}" if way == "erased" else f"/v1/events/{event}"
            shops.good(owner, "DELETE", path)
            assert shops.shopper(owner, user) is None
            assert all(shops.shopper(name, user) == before[name] is not None for name in others)


def test_the_catalog_and_rules(shops):
    for place, owner in enumerate(TENANTS):
        others = [name for name in TENANTS if name != owner]
        video = shops.videos[place]
        before = shops.titles(video)
        shops.good(owner, "PATCH", f"/v1/videos/{video}", {"title": f"title of {owner}"})
        assert shops.titles(video) == before | {owner: f"title of {owner}"}

        lists = {name: shops.listed(name, "nobody") for name in TENANTS}
        banned = lists[owner][0]
        rule = {"kind": "ban", "videos": {"video_ids": [banned]}}
        shops.good(owner, "PUT", f"/v1/rules/ban-{place}", rule)
        assert banned not in shops.listed(owner, "nobody")
        for name in others:
            assert shops.listed(name, "nobody") == lists[name]
            assert shops.send(name, "GET", f"/v1/rules/ban-{place}/history").status == 404
            audit = shops.good(name, "GET", "/v1/audit?limit=1000")["entries"]
            assert {"rule_id": f"ban-{place}"} not in [
                one["target"] for one in audit if one["method"] == "PUT"
            ]


def test_conversations(shops):
    category = shops.good(DEFAULT, "GET", "/v1/videos?limit=1")["videos"][0]["category"]
    for_whom = dict(zip(TENANTS, ("mother", "son", "friend"), strict=True))
    said = {name: f"{category} for my {who}" for name, who in for_whom.items()}
    for owner in TENANTS:
        body = {"user_id": "talks", "message": said[owner], "message_id": "m"}
        answer = shops.good(owner, "POST", "/v1/assistant", body)
        assert (answer["turn"], bool(answer["cards"])) == (1, True)
        # The same id at another shop is another message.
        assert shops.good(owner, "POST", "/v1/assistant", body) == answer
    for owner in TENANTS:
        kept = shops.good(owner, "GET", "/v1/assistant/talks")
        assert [turn["message"] for turn in kept["turns"]] == [said[owner]]
        assert kept["last"]["query"]["recipient"] == for_whom[owner]
    shops.good(DEFAULT, "DELETE", "/v1/profiles/talks")
    left = {name: len(shops.good(name, "GET", "/v1/assistant/talks")["turns"]) for name in TENANTS}
    assert left == {name: int(name != DEFAULT) for name in TENANTS}


def test_cursors(shops):
    query = {"user_id": "u", "k": 6}
    for owner in TENANTS:
        first = shops.good(owner, "POST", "/v1/recommend", query)
        page = {"request_id": first["request_id"], "cursor": first["next_cursor"]}
        catalog = shops.good(owner, "GET", "/v1/videos?limit=2")["next_cursor"]
        for name in TENANTS:
            replies = [
                shops.send(name, "POST", "/v1/recommend", query | {"page": page}),
                shops.send(name, "GET", f"/v1/videos?limit=2&cursor={catalog}"),
            ]
            assert [one.status for one in replies] == ([200, 200] if name == owner else [422, 422])


def test_metrics_and_the_log(shops, logged):
    async def broken(*_):
        raise RuntimeError("ranking broke")

    for owner in TENANTS:
        before = shops.recorder.counts.copy()
        shops.like(owner, f"counted-{owner}", user_id="counted")
        shops.listed(owner, "counted")
        label = f"tenant={owner}" if owner else None
        added = shops.recorder.counts - before
        assert {"vrec_events", "vrec_answers"} <= {key[0] for key in added}
        assert {next((t for t in key if t.startswith("tenant=")), None) for key in added} == {label}

        async def break_ranking(owner=owner):
            async with shops.service.ranking.shop_of(owner) as shop:
                shop.recommend = broken

        shops.runner.run(break_ranking())
        logged.clear()
        assert shops.good(owner, "POST", "/v1/recommend", {"user_id": "u", "k": 3})["degraded"]
        assert any("ranking broke" in one.getMessage() for one in logged)
        assert {getattr(one, "tenant", DEFAULT) for one in logged} == {owner}


def test_batches_and_the_log_of_events(shops):
    for owner in TENANTS:
        others = [name for name in TENANTS if name != owner]
        batch = shops.good(owner, "POST", "/v1/batches", {"user_ids": ["u"], "k": 3})["batch_id"]
        for name in others:
            for method, path in (("GET", ""), ("GET", "/result"), ("DELETE", "")):
                assert shops.send(name, method, f"/v1/batches/{batch}{path}").status == 404
        shops.good(owner, "DELETE", f"/v1/batches/{batch}")

        shops.like(owner, f"exported-{owner}", user_id="exported")
        for name in TENANTS:
            table = pa.ipc.open_stream(shops.send(name, "GET", "/v1/events?format=arrow").body).read_all()
            assert (f"exported-{owner}" in table.column("event_id").to_pylist()) == (name == owner)
