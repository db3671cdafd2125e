"""Routes of the assistant: answers, events, repeated messages, conversations that are kept and forgotten."""

import io
import json

import pytest
from PIL import Image

from tests.serving.http.client import call, call_json, form
from vrec.serving.deployments.protocol import BackendUnavailable

EVENTS = {"accept": "text/event-stream"}


def say(app, message, user="ann", headers=None, **more):
    return call_json(app, "POST", "/v1/assistant", {"user_id": user, "message": message, **more}, headers)


def events(reply):
    """Return name and data of each event of a stream, comments left out."""
    found = []
    for block in reply.body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_an_answer_has_cards_and_what_was_understood(made):
    app, _ = made()
    reply = say(app, "red mugs under 10")
    assert reply.status == 200
    answer = reply.json
    assert (answer["kind"], answer["language"], answer["turn"]) == ("cards", "en", 1)
    assert [(card["video_id"], card["title"]) for card in answer["cards"]] == [
        ("mugs/1", "A blue mug"),
        ("mugs/2", "A red mug"),
    ]
    assert answer["query"]["wanted"]["category"] == ["mugs"]
    assert answer["query"]["price"] == {"least": None, "most": 10.0, "above": False, "below": True}
    assert {one["key"] for one in answer["constraints"]} >= {"category:mugs", "color:red", "price"}
    assert answer["request_id"] == reply.headers["x-request-id"]


def test_events_have_the_text_in_pieces_the_cards_and_then_all_of_the_same_answer(made):
    app, _ = made()
    plain = say(app, "mugs", message_id="m").json
    reply = say(app, "mugs", message_id="m", headers=EVENTS)
    assert (reply.status, reply.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
    found = events(reply)
    assert [name for name, _ in found if name != "text"] == ["cards", "done"]
    assert "".join(data["text"] for name, data in found if name == "text") == plain["text"]
    assert dict(found)["cards"]["cards"] == plain["cards"]
    assert dict(found)["done"] == plain


def test_a_failure_is_an_event_or_a_problem_and_leaves_no_turn(made):
    app, shop = made()
    shop.away = BackendUnavailable("ranking restarts in /srv/secret")
    assert say(app, "mugs").status == 503
    ((name, problem),) = events(say(app, "mugs", headers=EVENTS))
    assert (name, problem["type"], problem["status"]) == ("error", "urn:vrec:problem:busy", 503)
    assert "secret" not in json.dumps(problem)
    shop.away = None
    assert call(app, "GET", "/v1/assistant/ann").json["turns"] == []
    assert say(app, "mugs").json["turn"] == 1


def test_bad_requests_are_problems_also_where_events_are_wanted(made):
    app, _ = made(assistant={"message_chars": 5})
    for headers in ({}, EVENTS):
        reply = say(app, "longer", headers=headers)
        assert (reply.status, reply.json["errors"][0]["where"]) == (422, "message")
        assert call_json(app, "POST", "/v1/assistant", {"message": "a"}, headers).status == 422
        both = {"message": "a", "user_id": "u", "session_id": "s"}
        assert call_json(app, "POST", "/v1/assistant", both, headers).status == 422
    assert say(app, "mugs").status == 200


def test_a_repeated_message_is_answered_once(made):
    app, shop = made()
    first = say(app, "mugs", headers={"x-request-id": "r-1"}).json
    del shop.cards_now["mugs/2"]
    again = say(app, "mugs", headers={"x-request-id": "r-1"}).json
    assert (again["turn"], again["text"], again["request_id"]) == (1, first["text"], "r-1")
    # The card is gone, as the video is.
    assert [card["video_id"] for card in again["cards"]] == ["mugs/1"]
    assert say(app, "mugs", message_id="r-1").json["turn"] == 1
    # Another message with the same id is a new one.
    assert say(app, "hats", headers={"x-request-id": "r-1"}).json["turn"] == 2


def test_a_conversation_can_be_read_and_forgotten_and_is_its_shoppers_alone(made):
    app, _ = made()
    say(app, "red mugs")
    last = say(app, "not red").json
    say(app, "hats", user="bob")
    found = call(app, "GET", "/v1/assistant/ann").json
    assert [turn["message"] for turn in found["turns"]] == ["red mugs", "not red"]
    assert found["last"] == last
    assert call(app, "DELETE", "/v1/assistant/ann").status == 204
    assert call(app, "DELETE", "/v1/assistant/ann").status == 204
    assert call(app, "GET", "/v1/assistant/ann").json["turns"] == []
    assert [turn["message"] for turn in call(app, "GET", "/v1/assistant/bob").json["turns"]] == ["hats"]


def test_a_session_takes_its_conversation_into_the_account(made):
    app, _ = made()
    body = {"session_id": "s", "message": "red mugs"}
    assert call_json(app, "POST", "/v1/assistant", body).json["turn"] == 1
    assert call_json(app, "POST", "/v1/users/ann/sessions", {"session_id": "s"}).status == 200
    after = say(app, "under 10").json
    assert after["turn"] == 2
    assert {"category:mugs", "price"} <= {one["key"] for one in after["constraints"]}
    # What the session says later belongs to the account too.
    assert call_json(app, "POST", "/v1/assistant", body).json["turn"] == 3
    assert call(app, "DELETE", "/v1/profiles/ann").status == 200
    for name in ("ann", "session:s"):
        assert call(app, "GET", f"/v1/assistant/{name}").json["turns"] == []


def test_events_are_sent_one_by_one_and_never_compressed(made):
    app, _ = made()
    gzip = EVENTS | {"accept-encoding": "gzip"}
    reply = say(app, "mugs", headers=gzip)
    assert "content-encoding" not in reply.headers
    assert reply.headers["x-accel-buffering"] == "no"
    assert reply.headers["cache-control"] == "no-store"
    assert "content-length" not in reply.headers
    assert [name for name, _ in events(reply)][-1] == "done"


@pytest.mark.parametrize("scope", ["read", "events", "manage"])
def test_a_key_needs_the_scope_to_read(keyed, scope):
    app, _, headers = keyed
    assert say(app, "mugs").status == 401
    assert say(app, "mugs", headers=headers[scope]).status == (200 if scope == "read" else 403)


def picture(color=(200, 10, 10)):
    file = io.BytesIO()
    Image.new("RGB", (64, 48), color).save(file, "PNG")
    return file.getvalue()


def show(app, content=None, headers=None, **fields):
    body, kind = form(list(fields.items()), picture() if content is None else content)
    return call(app, "POST", "/v1/assistant:by-file", body, {**kind, **(headers or {})})


def test_a_picture_is_answered_with_what_looks_like_it(made):
    app, _ = made()
    reply = show(app, user_id="ann")
    assert (reply.status, reply.json["kind"], reply.json["turn"]) == (200, "cards", 1)
    assert reply.json["cards"]
    assert show(app, session_id="s-1").json["turn"] == 1
    assert call(app, "GET", "/v1/assistant/session:s-1").json["turns"][0]["message"] == ""


def test_a_picture_is_answered_in_events_too(made):
    found = events(show(made()[0], user_id="ann", headers=EVENTS))
    assert [name for name, _ in found if name != "text"] == ["cards", "done"]


def test_a_picture_that_is_sent_again_is_no_second_turn_and_another_one_is(made):
    app, _ = made()
    first = show(app, user_id="ann", message_id="m")
    assert show(app, user_id="ann", message_id="m").json == first.json
    assert show(app, picture((0, 200, 0)), user_id="ann", message_id="m").json["turn"] == 2


@pytest.mark.parametrize(
    ("fields", "status", "name"),
    [
        ({}, 422, "invalid-request"),
        ({"user_id": "a", "session_id": "s"}, 422, "invalid-request"),
        ({"user_id": "domain:a"}, 422, "invalid-request"),
        ({"user_id": "ann", "like": "mugs/1"}, 422, "invalid-request"),
        ({"user_id": "ann", "expression": "and and"}, 422, "invalid-request"),
        ({"user_id": "ann", "message": "x" * 1_001}, 422, "invalid-request"),
        ({"user_id": "ann", "content": b"no picture"}, 422, "unusable-video"),
        ({"user_id": "ann", "content": b"\x00" * 40_000}, 413, "too-large"),
    ],
)
def test_a_bad_form_is_named_and_leaves_no_turn(made, fields, status, name):
    app, _ = made(security={"most_example_bytes": 20_000}, assistant={"message_chars": 1_000})
    reply = show(app, **fields)
    assert (reply.status, reply.json["type"]) == (status, f"urn:vrec:problem:{name}")
    assert call(app, "GET", "/v1/assistant/ann").json["turns"] == []


def test_json_is_no_file_and_a_bundle_without_moments_says_so(made):
    app, shop = made()
    assert call_json(app, "POST", "/v1/assistant:by-file", {"user_id": "ann"}).status == 415
    shop.has_moments = False
    reply = show(app, user_id="ann")
    assert (reply.status, reply.json["type"]) == (404, "urn:vrec:problem:no-moments")
