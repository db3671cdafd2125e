"""Single shoppers over HTTP: profile, pages of events, removal of events, sessions that join an account."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.serving.http.client import call, call_json
from tests.serving.http.routes.test_events import event, logged


def send(app, *rows):
    assert call_json(app, "POST", "/v1/events", {"events": list(rows)}).status == 202


def join(app, user_id, session_id, **more):
    return call_json(app, "POST", f"/v1/users/{user_id}/sessions", {"session_id": session_id}, **more)


def visit(event_id, **more):
    row = event(event_id, session_id="s", **more)
    del row["user_id"]
    return row


def test_a_shopper_s_events_come_once_each_in_pages_the_last_first(made):
    app, _ = made()
    at = datetime(2026, 11, 1, tzinfo=UTC)
    rows = [event(f"e{n}", at=(at + timedelta(hours=n % 5)).isoformat(), value=1.5) for n in range(25)]
    send(app, *rows[:20], event("other", user_id="w"), *rows[20:])
    found, path = [], "/v1/users/u?limit=10"
    while path:
        reply = call(app, "GET", path)
        assert reply.status == 200
        found += reply.json["recent"]
        more = reply.json["next_cursor"]
        path = more and f"/v1/users/u?limit=10&cursor={more}"
    assert [row["event_id"] for row in found] == [f"e{n}" for n in range(24, -1, -1)]
    first = found[-1]
    assert (first["kind"], first["value"], first["surface"], first["video_id"]) == (
        "click",
        1.5,
        "feed",
        "mugs/1",
    )
    assert datetime.fromisoformat(first["at"]) == at
    assert reply.json["events"] == 25


def test_an_unknown_shopper_is_404_and_stays_unknown(made):
    app, shop = made()
    for _ in range(2):
        reply = call(app, "GET", "/v1/users/nobody")
        assert (reply.status, reply.json["type"]) == (404, "urn:vrec:problem:unknown-profile")
    assert shop.store.get("user", ["nobody"]) == {}
    assert call(app, "HEAD", "/v1/users/nobody").status == 404


def test_head_is_as_get(made):
    app, _ = made()
    send(app, event("a"))
    asked, headed = (call(app, method, "/v1/users/u") for method in ("GET", "HEAD"))
    assert (headed.status, headed.headers["content-length"]) == (200, asked.headers["content-length"])


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("cursor=x", "cursor"),
        ("cursor=", "cursor"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("curser=1", "curser"),
    ],
)
def test_a_wrong_parameter_is_named(made, query, where):
    app, _ = made()
    send(app, event("a"))
    reply = call(app, "GET", f"/v1/users/u?{query}")
    assert (reply.status, reply.json["errors"][0]["where"].split(".")[-1]) == (422, where)


def test_a_cursor_of_another_shopper_is_refused(made):
    app, _ = made()
    send(app, event("a"), event("b"), event("c", user_id="w"))
    cursor = call(app, "GET", "/v1/users/u?limit=1").json["next_cursor"]
    reply = call(app, "GET", f"/v1/users/w?cursor={cursor}")
    assert (reply.status, reply.json["errors"][0]["where"]) == (422, "cursor")


def test_a_removed_event_was_never_there_and_does_not_come_back(made):
    app, shop = made()
    send(app, event("a"), event("b", kind="like"))
    before = call(app, "GET", "/v1/profiles/u").json
    send(app, event("x/1", kind="purchase", value=3.0))
    for _ in range(2):
        assert call(app, "DELETE", "/v1/events/x%2F1").status == 204
    assert call(app, "GET", "/v1/profiles/u").json == before
    assert [row["event_id"] for row in logged(shop)] == ["a", "b"]
    reply = call_json(app, "POST", "/v1/events", event("x/1", kind="purchase", value=3.0))
    assert reply.json == {"new": 0, "repeated": 1, "unused": 0, "refused": 0}
    assert call(app, "GET", "/v1/profiles/u").json == before
    reply = call(app, "DELETE", "/v1/events/never")
    assert (reply.status, reply.json["type"]) == (404, "urn:vrec:problem:unknown-event")
    assert "never" in reply.json["detail"]
    for name in ("a", "b"):
        call(app, "DELETE", f"/v1/events/{name}")
    assert call(app, "GET", "/v1/users/u").status == 404


def test_a_joined_session_is_the_account_before_and_after(made):
    app, shop = made()
    send(app, visit("s1", kind="like"), event("u1"))
    assert join(app, "u", "s").json == {"user_id": "u", "session_id": "s", "events": 1}
    assert join(app, "u", "s").json["events"] == 0
    send(app, visit("s2", kind="cart"))
    reply = call(app, "GET", "/v1/users/u").json
    assert reply["counts"] == {"cart": 1, "click": 1, "like": 1}
    assert [row["event_id"] for row in reply["recent"]] == ["s2", "u1", "s1"]
    assert {row["user_id"] for row in logged(shop)} == {"u"}
    assert call(app, "GET", "/v1/users/session:s").json["user_id"] == "u"
    send(app, event("u2", kind="unlike"))
    assert "like" not in call(app, "GET", "/v1/users/u").json["counts"]
    assert call(app, "DELETE", "/v1/profiles/u").json["erased"] == 4
    assert logged(shop) == []
    send(app, visit("s3"))
    assert call(app, "GET", "/v1/users/u").status == 404
    assert call(app, "GET", "/v1/users/session:s").json["user_id"] == "session:s"


def test_a_session_of_another_account_is_refused(made):
    app, _ = made()
    send(app, visit("s1"))
    join(app, "u", "s")
    reply = join(app, "w", "s")
    assert (reply.status, reply.json["type"]) == (409, "urn:vrec:problem:session-taken")
    assert "session:s" in reply.json["detail"]
    assert call(app, "GET", "/v1/users/w").status == 404


@pytest.mark.parametrize(
    ("user_id", "body", "where"),
    [
        ("u", {}, "session_id"),
        ("u", {"session_id": ""}, "session_id"),
        ("u", {"session_id": 7}, "session_id"),
        ("u", {"session_id": "s", "user_id": "u"}, "user_id"),
        ("session:s", {"session_id": "t"}, "user_id"),
        ("u" * 129, {"session_id": "t"}, "user_id"),
    ],
)
def test_a_wrong_field_of_a_join_is_named(made, user_id, body, where):
    app, _ = made()
    reply = call_json(app, "POST", f"/v1/users/{user_id}/sessions", body)
    assert (reply.status, reply.json["errors"][0]["where"]) == (422, where)


def test_each_operation_needs_its_scope(keyed):
    app, _, headers = keyed
    assert call_json(app, "POST", "/v1/events", event("a"), headers["events"]).status == 202
    body = {"session_id": "s"}
    for scope in ("read", "events", "manage"):
        expected = {
            ("GET", "/v1/users/u"): 200 if scope == "read" else 403,
            ("DELETE", "/v1/events/a"): 204 if scope == "manage" else 403,
        }
        for (method, path), status in expected.items():
            assert call(app, method, path, b"", headers[scope]).status == status, (method, scope)
        reply = call_json(app, "POST", "/v1/users/u/sessions", body, headers[scope])
        assert reply.status == (200 if scope == "events" else 403)
    assert call(app, "GET", "/v1/users/u").status == 401
