"""Tenants against separate services: with the same ids for everything, each answers as if it were alone."""

import asyncio
import io
import math
import shutil
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.contracts.store_places import RedisServer
from tests.serving.tenants.service import DEFAULT, Service, key_entries
from vrec.serving.http.routes import recommendations
from vrec.serving.observability import metrics

A, B = "shop-a", "shop-b"
TENANTS = (DEFAULT, A, B)
NOW = time.time_ns() // 1000
"""µs since 1970 that all lists are asked for at; a fixed one would be too long ago for events one day."""
AT = datetime.fromtimestamp(NOW // 1_000_000 - 3600, UTC).isoformat()
"""Time of all events."""
VOLATILE = {"spent_ms", "at", "changed_at", "created_at", "batch_id", "next_cursor", "salt", "sha256"}
"""What differs from moment to moment, as the salt of a receipt and the digest with it do."""
OWNERS, USERS, EVENTS = (
    st.sampled_from(TENANTS),
    st.sampled_from(["u0", "u1"]),
    st.sampled_from(["e0", "e1", "e2"]),
)
KINDS = st.sampled_from(["click", "like", "purchase", "hide", "impression"])
METRICS = ("vrec_events", "vrec_answers", "vrec_catalogue_changes")


def steady(value):
    """Return plain data without what differs from moment to moment."""
    if isinstance(value, dict):
        if "batch" in value.get("path", ""):  # in the audit log; ids of batches are drawn
            value = {key: one for key, one in value.items() if key != "target"}
        return {key: steady(one) for key, one in value.items() if key not in VOLATILE}
    return [steady(one) for one in value] if isinstance(value, list) else value


def same(one, other):
    """Return whether plain data is equal but for the last digits of single-precision scores."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-5)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


class Shops(RuleBasedStateMachine):
    """A service of three tenants beside three services of one shop each, which are sent the same."""

    bundle_uris: dict
    videos: tuple
    recorders: list
    server: RedisServer | None
    logged: list

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="vrec-tenants-"))
        self.runner = asyncio.Runner()
        self.number, self.etags, self.batch = 0, {}, False
        self.runner.run(self._begin())

    async def _begin(self):
        # No loop looks for changes by itself, so that both sides know the same at every step.
        quiet = {"refresh_s": 1e6, "warm_tenants": 2, "ranking_timeout_s": 60, "profile_timeout_s": 60}
        quiet["searches"] = {"min_shoppers": 1}
        self.together, self.apart = self._service("together", quiet), {}
        await self.together.declare(
            self.bundle_uris[DEFAULT], {name: {"bundle": self.bundle_uris[name]} for name in (A, B)}
        )
        for name in TENANTS:
            # All are in memory from the start: scores of a bundle that is loaded after edits of its catalog
            # may differ a little from those of one that was there before, with or without tenants.
            async with self.together.ranking.shop_of(name):
                pass
            self.apart[name] = self._service(f"apart-{name}", quiet)
            await self.apart[name].declare(self.bundle_uris[name], {})

    def _service(self, name, more):
        (self.folder / name).mkdir()
        self.recorders.append(metrics.InMemoryMetricsRecorder())
        if self.server is not None:
            prefix = f"{name}-{uuid.uuid4().hex}"
            store = {"kind": "redis", "url_variable": self.server.variable, "prefix": prefix}
            more = more | {"store": store}
        made = Service(self.folder / name, **more)
        made.recorder = self.recorders[-1]
        for host in made.hosts:
            # The ends of the logs are fetched whenever they are wanted.
            host._ends._max_age_s = -1.0
        return made

    def both(self, owner, method, path, content=None, headers=None, alone=None):
        """Return both sides' replies to a request, which have to be the same; `alone` is the other's body."""
        self.number += 1
        headers = {"x-request-id": f"r{self.number}"} | (headers or {})

        async def send():
            sides = ((self.together, owner, content), (self.apart[owner], DEFAULT, alone or content))
            for service, tenant, body in sides:
                async with service.ranking.shop_of(tenant) as shop:
                    await shop._follow()
                self.logged.clear()
                yield await service.send(tenant, method, path, body, headers)
                # Batches go on and log behind, for whoever started them.
                assert self.batch or {getattr(one, "tenant", DEFAULT) for one in self.logged} <= {tenant}

        async def collect():
            return [one async for one in send()]

        here, alone = self.runner.run(collect())
        assert here.status == alone.status, (here.body, alone.body)
        assert here.headers.pop("x-vrec-tenant", DEFAULT) == owner
        if here.headers.get("content-type") == "application/json":
            pages = (here.json.get("next_cursor"), alone.json.get("next_cursor"))
            assert (pages[0] is None) == (pages[1] is None)
            assert same(steady(here.json), steady(alone.json)), (here.json, alone.json)
        return here, alone

    def of_all(self, method, path, content=None):
        """Return all tenants' replies to a request, each the same as that of its service of one shop."""
        return {owner: self.both(owner, method, path, content)[0] for owner in TENANTS}

    def see(self, user):
        """Look at a shopper in all tenants, whichever of them has just changed something."""
        for path in (f"/v1/profiles/{user}", f"/v1/users/{user}?limit=5"):
            self.of_all("GET", path)

    def event_of_all(self, **visitor):
        """Send one event with the same new id to all tenants, and return the id."""
        event = f"all-{self.number}"
        one = {"event_id": event, "video_id": self.videos[0], "kind": "like", "at": AT} | visitor
        for reply in self.of_all("POST", "/v1/events", one).values():
            assert reply.status == 202, reply.body
        return event

    @rule(owner=OWNERS, user=USERS, event=EVENTS, kind=KINDS, video=st.integers(0, 3))
    def event(self, owner, user, event, kind, video):
        one = {"event_id": event, "user_id": user, "video_id": self.videos[video], "kind": kind, "at": AT}
        extra = {"impression": {"position": 0}, "purchase": {"value": 2.0}}.get(kind, {})
        reply, _ = self.both(owner, "POST", "/v1/events", one | extra)
        assert reply.status == 202, reply.body
        self.see(user)

    @rule(owner=OWNERS, user=USERS, whole=st.booleans())
    def take_back(self, owner, user, whole):
        """Erase in one tenant a shopper, or an event, that all tenants have."""
        event = self.event_of_all(user_id=user)
        self.see(user)
        self.both(owner, "DELETE", f"/v1/profiles/{user}" if whole else f"/v1/events/{event}")
        self.see(user)
        # What the other tenants' parts have in memory must not hide what their stores have lost.
        for other in set(TENANTS) - {owner}:
            assert self.both(other, "GET", f"/v1/profiles/{user}")[0].status == 200

    @rule(owner=OWNERS, user=USERS)
    def join(self, owner, user):
        self.event_of_all(session_id="s")
        self.both(owner, "POST", f"/v1/users/{user}/sessions", {"session_id": "s"})
        self.see("session:s")
        self.see(user)

    @rule(owner=OWNERS, user=USERS)
    def pages(self, owner, user):
        """The next page of a list is its tenant's alone."""
        body = {"user_id": user, "k": 6}
        here, alone = self.both(owner, "POST", "/v1/recommend", body)
        assert not here.json["degraded"], here.json["why"]
        nexts = [
            body | {"page": {"request_id": one.json["request_id"], "cursor": one.json["next_cursor"]}}
            for one in (here, alone)
        ]
        for other in set(TENANTS) - {owner}:
            reply = self.runner.run(self.together.send(other, "POST", "/v1/recommend", nexts[0]))
            assert (reply.status, reply.json["errors"][0]["where"]) == (422, "page.cursor")
        reply, _ = self.both(owner, "POST", "/v1/recommend", nexts[0], alone=nexts[1])
        assert reply.status == 200, reply.body

    @rule(owner=OWNERS, text=st.sampled_from(["red mug", "hat", "zzz"]), video=st.integers(0, 3))
    def lists(self, owner, text, video):
        self.both(owner, "POST", "/v1/search", {"text": text, "k": 5, "user_id": "u0"})
        self.both(owner, "GET", f"/v1/videos/{self.videos[video]}/similar?k=5")
        self.both(owner, "GET", "/v1/trending?k=5")
        for service, tenant in ((self.together, owner), (self.apart[owner], DEFAULT)):
            searches = service.api.all_shops()[tenant].searches
            searches._read_at = float("-inf")
            self.runner.run(searches.write())
        self.of_all("GET", "/v1/searches/popular")

    @rule(owner=OWNERS)
    def log_a_failure(self, owner):
        """A line of the log about a failure has the tenant whose request failed."""

        async def broken(*_):
            raise RuntimeError("ranking broke")

        shops = []
        for service, tenant in ((self.together, owner), (self.apart[owner], DEFAULT)):
            shop = self.runner.run(anext(aiter(self._shops(service, tenant))))
            shop.recommend = broken
            shops.append(shop)
        here, _ = self.both(owner, "POST", "/v1/recommend", {"user_id": "u0", "k": 3})
        assert here.json["degraded"]
        assert any("ranking broke" in one.getMessage() for one in self.logged)
        for shop in shops:
            del shop.recommend

    @rule(owner=OWNERS)
    def run_a_batch(self, owner):
        """A batch is of one tenant: another cannot read its state or result, nor cancel it."""
        self.batch = True
        body = {"user_ids": ["u0", "u1"], "k": 5}
        started = self.both(owner, "POST", "/v1/batches", body)
        ids = [reply.json["batch_id"] for reply in started]
        for other in TENANTS:
            for method, path in (("GET", ""), ("GET", "/result"), ("DELETE", "")):
                if other != owner:
                    # Also to the other service, whose audit log has the calls as well.
                    reply, _ = self.both(other, method, f"/v1/batches/{ids[0]}{path}")
                    assert reply.status == 404, reply.body
        sides = ((self.together, owner, ids[0]), (self.apart[owner], DEFAULT, ids[1]))
        lists = [self.runner.run(self._lists(*side)) for side in sides]
        assert lists[0] == lists[1]
        self.batch = False

    async def _lists(self, service, tenant, batch_id):
        # Not over HTTP, as each look would be in the audit log.
        batches = service.api.all_shops()[tenant].batches
        for _ in range(600):
            if (await batches.state(batch_id)).state not in ("queued", "running"):
                break
            await asyncio.sleep(0.05)
        # Both services' audit logs have these calls, with the same request ids.
        ids = {"x-request-id": f"b{self.number}"}
        state = (await service.send(tenant, "GET", f"/v1/batches/{batch_id}", headers=ids)).json
        assert state["state"] == "done", state
        result = await service.send(tenant, "GET", f"/v1/batches/{batch_id}/result", headers=ids)
        return pq.read_table(io.BytesIO(result.body), columns=["user_id", "rank", "video_id"]).to_pylist()

    @staticmethod
    async def _shops(service, tenant):
        async with service.ranking.shop_of(tenant) as shop:
            yield shop

    @rule(
        owner=OWNERS, video=st.integers(0, 3), change=st.sampled_from(["available", "title", "title", None])
    )
    def edit(self, owner, video, change):
        path, title = f"/v1/videos/{self.videos[video]}", f"title {self.number}"
        self.of_all("GET", path)
        if change is None:
            self.both(owner, "DELETE", path)
        else:
            values = {"available": {"available": False}, "title": {"title": title}}
            changed, _ = self.both(owner, "PATCH", path, values[change])
        for other, card in self.of_all("GET", path).items():
            if change == "title" and changed.status == 200:
                # Said outright: what all services of this process share is wrong on both sides alike.
                assert (card.status == 200 and card.json["title"] == title) == (other == owner)

    @rule(owner=OWNERS, video=st.integers(0, 3), kind=st.sampled_from(["ban", "pin"]))
    def put_rule(self, owner, video, kind):
        name = self.videos[video]
        body = (
            {"kind": "ban", "videos": {"video_ids": [name]}}
            if kind == "ban"
            else {"kind": "pin", "video_id": name, "position": 0}
        )
        headers = {"if-match": self.etags[owner]} if owner in self.etags else {}
        here, _ = self.both(owner, "PUT", "/v1/rules/one", body, headers)
        self.etags[owner] = here.headers["etag"]
        for path in ("/v1/rules", "/v1/rules/one/history"):
            self.of_all("GET", path)

    @rule(owner=OWNERS)
    def read(self, owner):
        for path in ("/v1/audit", "/v1/videos?limit=50", "/readyz"):
            self.both(owner, "GET", path)
        here, alone = self.both(owner, "GET", "/v1/events?after=0&limit=100")
        assert pq.read_table(io.BytesIO(here.body)).equals(pq.read_table(io.BytesIO(alone.body)))

    @invariant()
    def metrics_are_of_their_tenant(self):
        # Not in `teardown`, where a difference would hide what an earlier step found.
        for owner in TENANTS:
            label = (f"tenant={owner}",) if owner else ()
            of_all = self.together.recorder.counts
            here = {
                key[: len(key) - len(label)]: count
                for key, count in of_all.items()
                if key[0] in METRICS
                and key[len(key) - len(label) :] == label
                and (owner or not key[-1].startswith("tenant="))
            }
            alone = {k: n for k, n in self.apart[owner].recorder.counts.items() if k[0] in METRICS}
            assert here == alone

    def teardown(self):
        self.runner.run(self.together.close())
        for one in self.apart.values():
            self.runner.run(one.close())
        self.runner.close()
        shutil.rmtree(self.folder)


@pytest.mark.timeout(500)
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_no_tenant_sees_another(shop_bundle, monkeypatch, request, logged, kind):
    monkeypatch.setenv("VREC_API_KEYS", key_entries(*TENANTS))
    recorders = []
    monkeypatch.setattr(metrics, "metrics_recorder", lambda: recorders[-1])
    monkeypatch.setattr(recommendations, "now_us", lambda: NOW)

    class Machine(Shops):
        pass

    Machine.recorders, Machine.logged = recorders, logged
    Machine.server = request.getfixturevalue("server") if kind == "redis" else None
    Machine.bundle_uris = dict.fromkeys(TENANTS, shop_bundle.uri)
    Machine.videos = tuple(shop_bundle.parts.videos.column("video_id").to_pylist()[:4])
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=4,
            stateful_step_count=25,
            deadline=None,
            # Shrinking would take minutes.
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
