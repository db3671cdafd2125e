"""Route of the conversations that a person takes over, and whose orders are asked for."""

import json
import time

import pytest
from json_tool import answers, json_tool

from tests.serving.http.client import call, call_json
from vrec.serving.http.keys import create_key
from vrec.serving.http.shopper_tokens import sign_shopper

SECRET = "x" * 40
ORDERS = {"orders": [{"order_id": "A-1", "status": "packed", "items": [{"title": "Mug"}],
                      "ordered_at": "2026-11-26T09:00:00Z"}]}  # fmt: skip


def say(app, message, headers=None, **who):
    return call_json(
        app, "POST", "/v1/assistant", {**(who or {"user_id": "ann"}), "message": message}, headers
    )


def pages(app, limit, cursor=None):
    query = f"?limit={limit}" + (f"&cursor={cursor}" if cursor else "")
    reply = call(app, "GET", f"/v1/hand-overs{query}")
    assert reply.status == 200, reply.body
    return reply.json["hand_overs"], reply.json["next_cursor"]


def test_hand_overs_are_read_in_pages_and_later_ones_from_the_last_cursor(made):
    app, _ = made()
    say(app, "mugs", session_id="s")
    answer = say(app, "talk to a person", session_id="s").json
    assert (answer["hand_over"], answer["hand_over_reason"]) == (True, "asked")
    say(app, "cancel my order")
    say(app, "转人工", user_id="bob")
    first, cursor = pages(app, 2)
    assert [(one["user_id"], one["session_id"], one["reason"]) for one in first] == [
        (None, "s", "asked"),
        ("ann", None, "order"),
    ]
    assert [turn["message"] for turn in first[0]["turns"]] == ["mugs", "talk to a person"]
    assert first[0]["turns"][1]["answer"] == answer["text"]
    rest, cursor = pages(app, 2, cursor)
    assert [(one["user_id"], one["language"]) for one in rest] == [("bob", "zh")]
    none, cursor = pages(app, 2, cursor)
    assert none == []
    say(app, "human please", user_id="eve")
    later, _ = pages(app, 2, cursor)
    assert [one["user_id"] for one in later] == ["eve"]


def test_a_message_that_is_sent_again_hands_over_once(made):
    app, _ = made()
    for _ in range(3):
        body = {"user_id": "ann", "message": "talk to a person", "message_id": "m"}
        assert call_json(app, "POST", "/v1/assistant", body).json["hand_over"]
    assert len(pages(app, 10)[0]) == 1


def test_erasure_removes_the_hand_over_and_login_moves_it(made):
    app, _ = made()
    say(app, "talk to a person", session_id="s")
    assert call_json(app, "POST", "/v1/users/ann/sessions", {"session_id": "s"}).status == 200
    assert [one["user_id"] for one in pages(app, 10)[0]] == ["ann"]
    assert call(app, "DELETE", "/v1/profiles/ann").status == 200
    assert pages(app, 10)[0] == []


@pytest.mark.parametrize("scope", ["read", "events", "manage"])
def test_only_keys_that_manage_read_them(keyed, scope):
    app, _, headers = keyed
    assert call(app, "GET", "/v1/hand-overs").status == 401
    status = call(app, "GET", "/v1/hand-overs", headers=headers[scope]).status
    assert status == (200 if scope == "manage" else 403)


def test_a_cursor_of_another_list_is_refused(made):
    app, _ = made()
    assert call(app, "GET", "/v1/hand-overs?cursor=abc").status == 422
    assert call(app, "GET", "/v1/hand-overs?limit=0").status == 422


def orders_of(handler):
    answers({"user_id": handler.got.path.rpartition("=")[2], **ORDERS})(handler)


def test_orders_are_asked_for_with_a_servers_key_or_a_shopper_token_alone(made):
    (server, server_entry), (browser, browser_entry) = create_key("shop:read"), create_key("page:browser")
    environment = {"VREC_API_KEYS": f"{server_entry},{browser_entry}", "VREC_SHOPPER_SECRETS": SECRET}
    expires = int(time.time()) + 60
    signed = {"authorization": f"Bearer {browser}", "x-shopper-token": sign_shopper("ann", SECRET, expires)}
    session = {**signed, "x-shopper-token": sign_shopper("session:s", SECRET, expires)}
    with json_tool(orders_of) as tool:
        app, _ = made(environment, assistant={"orders": {"url": tool.url, "timeout_s": 20}})
        told = "Order A-1 (Mug): packed, not shipped yet."
        assert say(app, "where is my order", {"authorization": f"Bearer {server}"}).json["text"] == told
        assert say(app, "where is my order", signed).json["text"] == told
        assert [request.path for request in tool.requests] == ["/tool?user_id=ann"] * 2
        # Another shopper's token, a session, and a service without keys.
        assert say(app, "where is my order", signed, user_id="bob").status == 403
        assert "signed in" in say(app, "where is my order", session, session_id="s").json["text"]
        server_session = say(app, "where is my order", {"authorization": f"Bearer {server}"}, session_id="s")
        assert "signed in" in server_session.json["text"]
        open_app, _ = made(assistant={"orders": {"url": tool.url, "timeout_s": 20}})
        assert "signed in" in say(open_app, "where is my order").json["text"]
        assert len(tool.requests) == 2
        assert "Bearer" not in json.dumps(server_session.json)
