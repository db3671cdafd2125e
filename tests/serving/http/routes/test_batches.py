"""Batches over the real deployments: equal to single requests, cancelled half-way, and their files."""

import asyncio
import io
import json
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.serving.http.client import acall, call, call_json
from tests.serving.http.test_whole import over
from vrec.core.schema import RANKED, conform
from vrec.serving.batches import run as module
from vrec.serving.batches.folder import LOST_AFTER_S, BatchFolder, UnknownBatch

BATCHES = "/v1/batches"


@pytest.fixture(autouse=True)
def without_ray(monkeypatch):
    """Tests of another file may have left this process connected to a cluster, which would run them."""
    monkeypatch.setattr("ray.is_initialized", lambda: False)


async def finished(send, batch_id):
    for _ in range(600):
        state = (await send("GET", f"{BATCHES}/{batch_id}")).json
        if state["state"] not in ("queued", "running"):
            return state
        await asyncio.sleep(0.05)
    raise AssertionError(state)


async def lists_of(send, batch_id):
    reply = await send("GET", f"{BATCHES}/{batch_id}/result")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/vnd.apache.parquet")
    assert int(reply.headers["content-length"]) == len(reply.body)
    table = pq.read_table(io.BytesIO(reply.body))
    conform(table, RANKED, stage="test", extra=True)
    lists = {}
    for row in table.to_pylist():
        lists.setdefault(row["user_id"], []).append(row)
    assert all([row["rank"] for row in rows] == list(range(1, len(rows) + 1)) for rows in lists.values())
    return lists


async def like(send, bundle, users):
    videos = bundle.parts.videos.column("video_id").to_pylist()
    events = [
        {"event_id": f"{user}-{n}", "video_id": videos[(7 * place + n) % len(videos)], "kind": "like"}
        | ({"session_id": user[8:]} if user.startswith("session:") else {"user_id": user})
        for place, user in enumerate(users)
        for n in range(place + 1)
    ]
    assert (await send("POST", "/v1/events", {"events": events})).status == 202


def test_each_list_is_the_one_that_the_shopper_gets_at_that_moment(tmp_path, shop_bundle):
    arms = {"arms": [{"name": "a", "share": 0.5}, {"name": "b", "share": 0.5, "order": "popular"}]}

    async def scenario(send, graph):
        users = [f"u{n}" for n in range(8)]
        await like(send, shop_bundle, [*users, "session:visit"])
        category = shop_bundle.parts.videos.column("category")[0].as_py()
        rule = {"kind": "ban", "videos": {"expression": f'category = "{category}"'}}
        assert (await send("PUT", "/v1/rules/b", rule)).status == 201
        gone = shop_bundle.parts.videos.column("video_id")[3].as_py()
        assert (await send("DELETE", f"/v1/videos/{gone}")).status == 204
        fields = {"k": 7, "surface": "mail", "filters": {"most_price": 30}, "kinds": ["product", "clip"]}
        named = await send("POST", BATCHES, {"user_ids": [*users, "stranger", "u1"], **fields})
        everybody = await send("POST", BATCHES, fields)
        for reply, wanted in ((named, [*users, "stranger"]), (everybody, users)):
            assert reply.status == 202, reply.body
            batch_id = reply.json["batch_id"]
            state = await finished(send, batch_id)
            assert (state["state"], state["users"], state["done"]) == ("done", len(wanted), len(wanted))
            lists = await lists_of(send, batch_id)
            assert list(lists) == wanted
            for user, rows in lists.items():
                body = json.dumps({"user_id": user, **fields}).encode()
                headers = {"content-type": "application/json", "x-request-id": batch_id}
                single = (await acall(graph.app, "POST", "/v1/recommend", body, headers)).json
                assert not single["degraded"]
                assert [row["video_id"] for row in rows] == [one["video_id"] for one in single["items"]]
                assert [row["propensity"] for row in rows] == [one["propensity"] for one in single["items"]]
                assert all(row["p_click"] == pytest.approx(one["p_click"], rel=1e-3) for row, one in zip(
                    rows, single["items"], strict=True))  # fmt: skip

    over(tmp_path, shop_bundle, scenario, arms=arms)


def test_a_batch_that_is_cancelled_half_way_leaves_nothing_of_a_result(tmp_path, shop_bundle, monkeypatch):
    monkeypatch.setattr(module, "REPORT_S", 0.02)

    async def scenario(send, graph):
        users = [f"u{n}" for n in range(20_000)]
        batch_id = (await send("POST", BATCHES, {"user_ids": users})).json["batch_id"]
        for _ in range(600):
            state = (await send("GET", f"{BATCHES}/{batch_id}")).json
            if state["done"] > 3:
                break
            await asyncio.sleep(0.02)
        assert (state["state"], state["users"]) == ("running", 20_000)
        early = await send("GET", f"{BATCHES}/{batch_id}/result")
        assert (early.status, early.json["type"]) == (409, "urn:vrec:problem:batch-not-done")
        assert (await send("DELETE", f"{BATCHES}/{batch_id}")).status == 204
        while graph.api.batches._tasks:
            await asyncio.sleep(0.02)
        state = (await send("GET", f"{BATCHES}/{batch_id}")).json
        assert state["state"] == "cancelled"
        assert 3 < state["done"] < 20_000
        assert not list(Path(tmp_path / "data" / "batches").glob("*.parquet"))
        assert not list(Path(tmp_path / "data" / "batches").glob(".*"))
        assert (await send("GET", f"{BATCHES}/{batch_id}/result")).status == 409
        # The result of one that is done goes likewise.
        done = (await send("POST", BATCHES, {"user_ids": ["u1"]})).json["batch_id"]
        assert (await finished(send, done))["state"] == "done"
        assert (await send("DELETE", f"{BATCHES}/{done}")).status == 204
        assert not list(Path(tmp_path / "data" / "batches").glob("*.parquet"))

    over(tmp_path, shop_bundle, scenario)


def test_what_cannot_be_done_is_the_state_of_the_batch(tmp_path, shop_bundle, monkeypatch):
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    monkeypatch.setattr(module, "RETRY_S", 0.01)

    async def scenario(send, graph):
        graph.profiles.broken = RuntimeError("dead")
        named = (await send("POST", BATCHES, {"user_ids": ["u1"]})).json["batch_id"]
        everybody = (await send("POST", BATCHES, {})).json["batch_id"]
        state = await finished(send, named)
        assert (state["state"], state["done"]) == ("failed", 0)
        assert "parts of the service are away: rules, streams, profiles" in state["why"]
        assert (await finished(send, everybody))["state"] == "failed"

    over(tmp_path, shop_bundle, scenario)


def test_no_more_batches_wait_than_are_allowed(tmp_path, shop_bundle):
    async def scenario(send, graph):
        users = {"user_ids": [f"u{n}" for n in range(20_000)]}
        first = await send("POST", BATCHES, users)
        second = await send("POST", BATCHES, users)
        assert (second.status, second.json["type"]) == (409, "urn:vrec:problem:too-many-batches")
        assert (await send("DELETE", f"{BATCHES}/{first.json['batch_id']}")).status == 204
        assert (await send("POST", BATCHES, {"user_ids": ["u1"]})).status == 202
        while graph.api.batches._tasks:
            await asyncio.sleep(0.02)

    over(tmp_path, shop_bundle, scenario, batches={"most_unfinished": 1})


def test_a_lost_worker_is_noticed_and_old_batches_go(tmp_path):
    folder, now = BatchFolder(str(tmp_path)), time.time_ns() // 1000
    made = folder.create(now)
    assert folder.state(made.batch_id, now + 10**12).state == "queued"
    running = module.replace(made, state="running", users=9, done=4, at=now)
    folder.report(running)
    assert folder.state(made.batch_id, now) == running
    lost = folder.state(made.batch_id, now + round(LOST_AFTER_S * 1e6) + 1)
    assert (lost.state, lost.done) == ("failed", 4)
    assert "lost" in lost.why
    folder.remove_older(now - 5_000_000)
    assert folder.unfinished() == 1
    folder.remove_older(now + 5_000_000)
    assert list((tmp_path / "batches").iterdir()) == []
    with pytest.raises(UnknownBatch):
        folder.cancel(made.batch_id)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"user_ids": []}, "user_ids"),
        ({"user_ids": "u1"}, "user_ids"),
        ({"user_ids": ["u1", ""]}, "user_ids.1"),
        ({"user_ids": ["session:s"]}, "user_ids.0"),
        ({"user_ids": ["u"] * 100_001}, "user_ids"),
        ({"k": 101}, "k"),
        ({"surface": "My Mail"}, "surface"),
        ({"filters": {"expression": "price <"}}, "filters.expression"),
        ({"out": "/etc"}, "out"),
    ],
)
def test_what_is_wrong_is_named(made, body, where):
    reply = call_json(made()[0], "POST", BATCHES, body)
    assert reply.status == 422, reply.body
    assert [one["where"] for one in reply.json["errors"]] == [where]


def test_only_managers_start_and_read_batches_and_ids_are_checked(keyed):
    app, _, headers = keyed
    for scope in ("read", "events"):
        assert call_json(app, "POST", BATCHES, {}, headers[scope]).status == 403
    none = f"{BATCHES}/0123456789-0123456789ab"
    for method, path in (("GET", none), ("DELETE", none), ("GET", f"{none}/result")):
        reply = call(app, method, path, headers=headers["manage"])
        assert (reply.status, reply.json["type"]) == (404, "urn:vrec:problem:unknown-batch")
        bad = call(app, method, path.replace("0123456789-", "..%2F..-"), headers=headers["manage"])
        assert bad.status in (404, 422)
