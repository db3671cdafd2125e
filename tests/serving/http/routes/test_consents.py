"""Consents over HTTP: what is asked and answered, who may, and bad input."""

import pytest

from tests.serving.http.client import call, call_json

PATH = "/v1/users/ann/consent"


def test_answers_have_who_and_when_and_others_the_default(keyed):
    app, _, headers = keyed
    reply = call_json(
        app, "PUT", PATH, {"train": False, "at": "2024-05-01T10:00:00+02:00"}, headers["events"]
    )
    assert reply.status == 200
    assert reply.json == call(app, "GET", PATH, headers=headers["read"]).json
    assert reply.json == {
        "user_id": "ann",
        "consents": [
            {"purpose": "personalise", "given": True, "at": None, "by": None},
            {"purpose": "train", "given": False, "at": "2024-05-01T08:00:00+00:00", "by": "events-key"},
            {"purpose": "link", "given": True, "at": None, "by": None},
        ],
    }
    page = call(app, "GET", "/v1/consents?limit=1", headers=headers["manage"]).json
    row = {"user_id": "ann", "purpose": "train", "given": False, "at": "2024-05-01T08:00:00+00:00"}
    assert page["consents"] == [row]
    rest = call(app, "GET", f"/v1/consents?cursor={page['next_cursor']}", headers=headers["manage"]).json
    assert rest == {"consents": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [("GET", PATH, "read"), ("PUT", PATH, "events"), ("GET", "/v1/consents", "manage")],
)
def test_each_operation_has_its_scope(keyed, method, path, scope):
    app, _, headers = keyed
    for name, given in headers.items():
        body = {"train": True} if method == "PUT" else None
        reply = call_json(app, method, path, body, given)
        assert (reply.status == 200) == (name == scope), (name, reply.body)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"train": "yes"}, "train"), ({"ads": True}, "ads"), ({"train": True, "at": "soon"}, "at"),
    ],
)  # fmt: skip
def test_bad_answers_change_nothing(made, body, where):
    app, _ = made()
    before = call(app, "GET", PATH).json
    reply = call_json(app, "PUT", PATH, body)
    assert (reply.status, [one["where"] for one in reply.json["errors"]]) == (422, [where])
    assert call(app, "GET", PATH).json == before


@pytest.mark.parametrize("body", [{}, {"at": "2024-05-01T10:00:00Z"}, {"train": None}])
def test_no_answers_change_nothing(made, body):
    app, _ = made()
    before = call(app, "GET", PATH).json
    assert call_json(app, "PUT", PATH, body).json == before


def test_an_answer_from_the_future_is_of_now_and_accounts_elsewhere_have_none(made):
    app, _ = made()
    reply = call_json(app, "PUT", PATH, {"train": True, "at": "9000-01-01T00:00:00Z"})
    assert reply.json["consents"][1]["at"] < "3000"
    refused = call_json(app, "PUT", "/v1/users/domain:social:a/consent", {"train": True})
    assert refused.status == 422
    assert "linked" in refused.json["errors"][0]["detail"]


def test_an_erased_shopper_s_answers_are_gone(made):
    app, _ = made()
    call_json(app, "PUT", PATH, {"personalise": False})
    call(app, "DELETE", "/v1/profiles/ann")
    assert call(app, "GET", "/v1/consents").json["consents"] == []
    assert all(one["at"] is None for one in call(app, "GET", PATH).json["consents"])


def test_a_session_without_an_id_has_no_consents(made):
    app, _ = made()
    path = "/v1/users/session:/consent"
    for reply in (call_json(app, "PUT", path, {"train": False}), call(app, "GET", path)):
        assert (reply.status, [one["where"] for one in reply.json["errors"]]) == (422, ["user_id"])
    assert call_json(app, "PUT", "/v1/users/session:s/consent", {"train": False}).status == 200
