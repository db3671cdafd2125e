"""Tenants against separate services: with the same ids for everything, each answers as if it were alone."""

import asyncio
import io
import shutil
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.serving.tenants.service import DEFAULT, Service, key_entries
from vrec.serving.http.routes import recommendations
from vrec.serving.observability import metrics

A, B = "shop-a", "shop-b"
TENANTS = (DEFAULT, A, B)
NOW = 1_750_000_000_000_000
"""µs since 1970 that all lists are asked for at."""
VOLATILE = {"spent_ms", "at", "changed_at", "next_cursor"}
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
        return {key: steady(one) for key, one in value.items() if key not in VOLATILE}
    return [steady(one) for one in value] if isinstance(value, list) else value


class Shops(RuleBasedStateMachine):
    """A service of three tenants beside three services of one shop each, which are sent the same."""

    bundle_uris: dict
    videos: tuple
    recorders: list

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="vrec-tenants-"))
        self.runner = asyncio.Runner()
        self.number, self.cursors, self.etags = 0, {}, {}
        self.runner.run(self._begin())

    async def _begin(self):
        # No loop looks for changes by itself, so that both sides know the same at every step.
        quiet = {"refresh_s": 1e6, "warm_tenants": 2, "ranking_timeout_s": 60, "profile_timeout_s": 60}
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
        made = Service(self.folder / name, **more)
        made.recorder = self.recorders[-1]
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
                yield await service.send(tenant, method, path, body, headers)

        async def collect():
            return [one async for one in send()]

        here, alone = self.runner.run(collect())
        assert here.status == alone.status, (here.body, alone.body)
        assert here.headers.pop("x-vrec-tenant", DEFAULT) == owner
        if here.headers.get("content-type") == "application/json":
            pages = (here.json.get("next_cursor"), alone.json.get("next_cursor"))
            assert (pages[0] is None) == (pages[1] is None)
            assert steady(here.json) == steady(alone.json)
        return here, alone

    @rule(owner=OWNERS, user=USERS, event=EVENTS, kind=KINDS, video=st.integers(0, 3))
    def event(self, owner, user, event, kind, video):
        one = {"event_id": event, "user_id": user, "video_id": self.videos[video], "kind": kind, "at": NOW}
        extra = {"impression": {"position": 0}, "purchase": {"value": 2.0}}.get(kind, {})
        self.both(owner, "POST", "/v1/events", one | {"at": "2025-06-15T10:00:00Z"} | extra)

    @rule(owner=OWNERS, user=USERS)
    def recommend(self, owner, user):
        body = {"user_id": user, "k": 6}
        replies = self.both(owner, "POST", "/v1/recommend", body)
        assert not replies[0].json["degraded"], replies[0].json["why"]
        if replies[0].json["next_cursor"]:
            self.cursors[owner] = [
                body | {"page": {"request_id": one.json["request_id"], "cursor": one.json["next_cursor"]}}
                for one in replies
            ]

    @precondition(lambda self: self.cursors)
    @rule(owner=OWNERS, data=st.data())
    def go_on(self, owner, data):
        whose = data.draw(st.sampled_from(sorted(self.cursors)))
        body, alone = self.cursors[whose]
        if whose == owner:
            assert self.both(owner, "POST", "/v1/recommend", body, alone=alone)[0].status == 200
        else:
            reply = self.runner.run(self.together.send(owner, "POST", "/v1/recommend", body))
            assert (reply.status, reply.json["errors"][0]["where"]) == (422, "page.cursor")

    @rule(owner=OWNERS, text=st.sampled_from(["red mug", "hat", "zzz"]))
    def search(self, owner, text):
        self.both(owner, "POST", "/v1/search", {"text": text, "k": 5})

    @rule(owner=OWNERS, video=st.integers(0, 3))
    def similar(self, owner, video):
        self.both(owner, "GET", f"/v1/videos/{self.videos[video]}/similar?k=5")

    @rule(
        owner=OWNERS,
        video=st.integers(0, 3),
        change=st.sampled_from([{"available": False}, {"price": 3.5}, {"title": "new"}, None]),
    )
    def edit(self, owner, video, change):
        method = "DELETE" if change is None else "PATCH"
        self.both(owner, method, f"/v1/videos/{self.videos[video]}", change)
        self.both(owner, "GET", f"/v1/videos/{self.videos[video]}")

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

    @rule(owner=OWNERS)
    def read(self, owner):
        for path in ("/v1/rules", "/v1/rules/one/history", "/v1/audit", "/v1/videos?limit=50", "/readyz"):
            self.both(owner, "GET", path)
        here, alone = self.both(owner, "GET", "/v1/events?after=0&limit=100")
        assert pq.read_table(io.BytesIO(here.body)).equals(pq.read_table(io.BytesIO(alone.body)))

    @rule(owner=OWNERS, user=USERS)
    def shopper(self, owner, user):
        self.both(owner, "GET", f"/v1/profiles/{user}")
        self.both(owner, "GET", f"/v1/users/{user}?limit=5")

    @rule(owner=OWNERS, user=USERS)
    def join(self, owner, user):
        self.both(owner, "POST", f"/v1/users/{user}/sessions", {"session_id": "s"})

    @rule(owner=OWNERS, user=USERS)
    def erase(self, owner, user):
        self.both(owner, "DELETE", f"/v1/profiles/{user}")

    @rule(owner=OWNERS, event=EVENTS)
    def remove_event(self, owner, event):
        self.both(owner, "DELETE", f"/v1/events/{event}")

    def teardown(self):
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
        self.runner.run(self.together.close())
        for one in self.apart.values():
            self.runner.run(one.close())
        self.runner.close()
        shutil.rmtree(self.folder)


@pytest.mark.timeout(500)
def test_no_tenant_sees_another(shop_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("VREC_API_KEYS", key_entries(*TENANTS))
    recorders = []
    monkeypatch.setattr(metrics, "metrics_recorder", lambda: recorders[-1])
    monkeypatch.setattr(recommendations, "now_us", lambda: NOW)

    class Machine(Shops):
        pass

    Machine.recorders = recorders
    Machine.bundle_uris = dict.fromkeys(TENANTS, shop_bundle.uri)
    Machine.videos = tuple(shop_bundle.parts.videos.column("video_id").to_pylist()[:4])
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=6,
            stateful_step_count=25,
            deadline=None,
            # Shrinking would take minutes.
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
