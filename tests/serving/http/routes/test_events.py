"""Events over HTTP: durable once acknowledged, counted once; export, profiles and arms."""

import asyncio
import io
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.serving.http.client import acall, call, call_json
from vrec.core.errors import StoreError
from vrec.core.schema import EVENTS, conform
from vrec.profiles.stores.codec import NAMES, rows_from_table, table_from_rows
from vrec.serving.http.routes.events import parse_events
from vrec.serving.http.schemas.events import MAX_EVENTS


def event(event_id="e", **more):
    return {"event_id": event_id, "user_id": "u", "video_id": "mugs/1", "kind": "click"} | more


def logged(shop):
    return shop.store.export(0, 100_000)[0].to_pylist()


def test_every_field_of_an_event_is_in_the_log_once_it_is_acknowledged(made):
    app, shop = made()
    at = datetime.now(UTC) - timedelta(days=2)
    given = event(
        kind="watch", value=7.25, position=3, request_id="r-1", propensity=0.5, surface="cart",
        at=at.isoformat(),
    )  # fmt: skip
    reply = call_json(app, "POST", "/v1/events", given)
    assert (reply.status, reply.json) == (202, {"new": 1, "repeated": 0, "unused": 0, "refused": 0})
    (row,) = logged(shop)
    assert row == {
        "event_id": "e", "user_id": "u", "video_id": "mugs/1", "kind": "watch", "value": 7.25, "position": 3,
        "request_id": "r-1", "propensity": 0.5, "domain": "cart", "at": at,
    }  # fmt: skip


def test_nothing_is_acknowledged_before_the_store_has_it(made):
    app, shop = made()

    async def run():
        with closing(sqlite3.connect(shop.store._path, isolation_level=None)) as other:
            other.execute("begin immediate")
            body = json.dumps(event()).encode()
            headers = {"content-type": "application/json"}
            asked = asyncio.create_task(acall(app, "POST", "/v1/events", body, headers))
            done, _ = await asyncio.wait([asked], timeout=0.3)
            assert not done
            other.execute("rollback")
            return await asked

    assert asyncio.run(run()).status == 202
    assert len(logged(shop)) == 1


def test_an_event_counts_once_however_often_it_is_sent(made):
    app, _ = made()
    many = {"events": [event("a"), event("b"), event("a")]}
    assert call_json(app, "POST", "/v1/events", many).json == {
        "new": 2,
        "repeated": 1,
        "unused": 0,
        "refused": 0,
    }
    assert call_json(app, "POST", "/v1/events", many).json == {
        "new": 0,
        "repeated": 3,
        "unused": 0,
        "refused": 0,
    }
    assert call_json(app, "POST", "/v1/events", event("b")).json == {
        "new": 0,
        "repeated": 1,
        "unused": 0,
        "refused": 0,
    }


def test_a_time_that_is_absent_is_now_and_null_is_absent(made):
    app, shop = made()
    before = datetime.now(UTC)
    call_json(app, "POST", "/v1/events", {"events": [event("a"), event("b", at=None, value=None)]})
    assert all(before <= row["at"] <= datetime.now(UTC) for row in logged(shop))


def test_every_wrong_event_is_named_by_its_index_and_none_is_kept(made):
    app, shop = made()
    soon, old = (datetime.now(UTC) + timedelta(minutes=d) for d in (6, -367 * 24 * 60))
    wrong = [
        event("0"),
        event("1", kind="stare"),
        event("2", value=-1),
        event("3", at=soon.isoformat()),
        event("4", at=old.isoformat()),
        event("5", at="2026-05-04T12:00:00"),
        event("6", user_id="x" * 129),
        {"event_id": "7", "video_id": "v", "kind": "click"},
        event("8", propensity=0),
        event("9", position=40_000),
        event("10", colour="red"),
    ]
    reply = call_json(app, "POST", "/v1/events", {"events": wrong})
    assert reply.status == 422
    assert [one["where"] for one in reply.json["errors"]] == [
        "events.1.kind", "events.2.value", "events.3.at", "events.4.at", "events.5.at", "events.6.user_id",
        "events.7", "events.8.propensity", "events.9.position", "events.10.colour",
    ]  # fmt: skip
    future = reply.json["errors"][2]["detail"]
    assert "set the sender's clock" in future
    assert "more than 5 minutes after" in future
    assert logged(shop) == []


def test_a_clock_that_is_a_little_ahead_and_events_that_come_late_are_taken(made):
    app, shop = made()
    near, old = (datetime.now(UTC) + timedelta(minutes=d) for d in (4, -365 * 24 * 60))
    many = {"events": [event("a", at=near.isoformat()), event("b", at=old.isoformat(), video_id="unknown")]}
    assert call_json(app, "POST", "/v1/events", many).status == 202
    assert len(logged(shop)) == 2


def test_a_request_may_bring_so_many_events_and_no_more(made):
    app, _ = made()
    many = [event(str(n)) for n in range(MAX_EVENTS)]
    assert call_json(app, "POST", "/v1/events", {"events": many}).json["new"] == MAX_EVENTS
    assert call_json(app, "POST", "/v1/events", {"events": [*many, event("x")]}).status == 422
    assert call_json(app, "POST", "/v1/events", {"events": []}).status == 422


def test_where_the_store_is_away_the_sender_is_told_to_send_again(made):
    app, shop = made()
    shop.store.close()
    reply = call_json(app, "POST", "/v1/events", event())
    assert (reply.status, reply.headers["retry-after"]) == (503, "2")
    assert reply.json["type"] == "urn:vrec:problem:store-away"
    assert str(shop.store._path) not in reply.body.decode()
    with pytest.raises(StoreError):
        shop.store.apply(pa.Table.from_pylist([], schema=EVENTS.arrow()))


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data"]
)
def test_a_page_of_another_site_cannot_send_events_as_a_form(made, kind):
    app, shop = made()
    body = b'{"event_id": "e", "user_id": "u", "video_id": "v", "kind": "click"}'
    assert call(app, "POST", "/v1/events", body, {"content-type": kind} if kind else {}).status == 415
    assert logged(shop) == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b"\xff\xfe", b"[" * 5_000, b'{"events": {}}', b"1e999"]
)
def test_what_is_no_event_is_a_problem_and_no_crash(made, body):
    app, _ = made()
    reply = call(app, "POST", "/v1/events", body, {"content-type": "application/json"})
    assert (reply.status, reply.json["status"]) == (422, 422)


def test_a_shopper_is_forgotten_on_demand(made):
    app, shop = made()
    call_json(app, "POST", "/v1/events", {"events": [event("a"), event("b"), event("c", user_id="v")]})
    said = call(app, "GET", "/v1/profiles/u").json
    assert said["user_id"] == "u"
    assert said["events"] == 2
    assert said["counts"]["event:click"] == 2
    assert datetime.fromisoformat(said["history"][0]["at"]).tzinfo is not None
    assert call(app, "DELETE", "/v1/profiles/u").json["erased"] == 2
    reply = call(app, "GET", "/v1/profiles/u")
    assert (reply.status, reply.json["type"]) == (404, "urn:vrec:problem:unknown-profile")
    assert [row["user_id"] for row in logged(shop)] == ["v"]
    assert call_json(app, "POST", "/v1/events", event("a")).json == {
        "new": 0,
        "repeated": 1,
        "unused": 0,
        "refused": 0,
    }


def test_the_log_comes_out_whole_in_pages_of_either_format(made):
    app, _ = made()
    call_json(app, "POST", "/v1/events", {"events": [event(str(n)) for n in range(5)]})
    after, ids = 0, []
    for form in ("parquet", "arrow", "parquet", "arrow"):
        reply = call(app, "GET", f"/v1/events?after={after}&limit=2&format={form}")
        data = io.BytesIO(reply.body)
        table = pq.read_table(data) if form == "parquet" else pa.ipc.open_stream(data).read_all()
        ids += conform(table, EVENTS, stage="test").column("event_id").to_pylist()
        after = int(reply.headers["x-next-cursor"])
    assert ids == [str(n) for n in range(5)]
    assert table.num_rows == 0
    assert call(app, "GET", "/v1/events?after=-1").status == 422
    assert call(app, "GET", "/v1/events?limit=100001").status == 422
    assert call(app, "GET", "/v1/events?format=csv").json["errors"][0]["where"] == "format"


def test_arms_show_what_their_shoppers_did(made):
    app, _ = made()
    many = [
        event("a", kind="impression"),
        event("b"),
        event("c", kind="watch", value=4.5),
        event("d", kind="purchase", value=9),
    ]
    call_json(app, "POST", "/v1/events", {"events": many})
    (arm,) = call(app, "GET", "/v1/arms").json["arms"]
    assert (arm["impressions"], arm["clicks"], arm["watch_s"], arm["conversions"]) == (1, 1, 4.5, 1)
    assert arm["ctr"] == {"value": 1.0, "low": None, "high": None}
    assert sum(minute["clicks"] for minute in arm["minutes"]) == 1


def test_an_export_s_cursor_is_that_of_its_last_event_and_repeats_nothing(made):
    app, _ = made()
    call_json(app, "POST", "/v1/events", {"events": [event(str(n)) for n in range(3)]})
    first = call(app, "GET", "/v1/events?limit=2&format=arrow")
    assert first.headers["content-type"] == "application/vnd.apache.arrow.stream"
    after = first.headers["x-next-cursor"]
    rest = call(app, "GET", f"/v1/events?after={after}")
    assert rest.headers["content-type"] == "application/vnd.apache.parquet"
    assert pq.read_table(io.BytesIO(rest.body)).column("event_id").to_pylist() == ["2"]
    last = rest.headers["x-next-cursor"]
    empty = call(app, "GET", f"/v1/events?after={last}")
    assert (pq.read_table(io.BytesIO(empty.body)).num_rows, empty.headers["x-next-cursor"]) == (0, last)


def test_times_are_exact_to_the_microsecond_in_any_offset():
    at, now = "2026-05-04T14:00:00.123457+02:00", datetime(2026, 5, 4, 12, 1, 0, 7, tzinfo=UTC)
    body = {"events": [event("a", at=at), event("b")]}
    rows = parse_events(json.dumps(body).encode(), now)
    assert [row[NAMES.index("at")] for row in rows] == [1_777_896_000_123_457, 1_777_896_060_000_007]
    assert rows_from_table(table_from_rows(rows)) == rows


def test_a_session_with_the_id_of_a_user_or_of_a_video_is_another_shopper(made):
    app, shop = made()
    many = [event("a", user_id="mugs/1"), {**event("b"), "user_id": None, "session_id": "mugs/1"}]
    assert call_json(app, "POST", "/v1/events", {"events": many}).json["new"] == 2
    assert [row["user_id"] for row in logged(shop)] == ["mugs/1", "session:mugs/1"]
    assert call(app, "GET", "/v1/profiles/mugs%2F1").json["events"] == 1
    assert call(app, "DELETE", "/v1/profiles/session%3Amugs%2F1").json["erased"] == 1
    assert call(app, "GET", "/v1/profiles/mugs%2F1").json["user_id"] == "mugs/1"


def test_a_profile_s_history_has_weights_and_times_oldest_first(made):
    app, _ = made()
    now = datetime.now(UTC).replace(microsecond=123_456)
    times = [now - timedelta(hours=hours) for hours in (3, 2)]
    many = [event(str(n), at=at.isoformat(), kind="like") for n, at in enumerate(times)]
    call_json(app, "POST", "/v1/events", {"events": many})
    history = call(app, "GET", "/v1/profiles/u").json["history"]
    assert [datetime.fromisoformat(entry["at"]) for entry in history] == times
    assert all(entry["video_id"] == "mugs/1" and entry["weight"] > 0 for entry in history)


def test_erasing_an_unknown_shopper_erases_nothing(made):
    app, _ = made()
    assert call(app, "DELETE", "/v1/profiles/nobody").json["erased"] == 0


def test_events_of_searches_are_the_service_s_own(made):
    app, shop = made()
    many = {"events": [event("a"), event("b", kind="search"), event("c", video_id="search:category=mugs")]}
    reply = call_json(app, "POST", "/v1/events", many)
    assert reply.status == 422
    assert [one["where"] for one in reply.json["errors"]] == ["events.1.kind", "events.2.video_id"]
    assert all("POST /v1/search" in one["detail"] for one in reply.json["errors"])
    assert logged(shop) == []
