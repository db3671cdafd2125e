"""Requests with the shop's own ids over a service that keeps pseudonyms: answers name what was sent, files
do not."""

import io
import time

import pyarrow.parquet as pq
import pytest

from tests.serving.http.client import call, call_json
from vrec.config.serve import ServeConfig
from vrec.core.errors import PrivacyError
from vrec.privacy.pseudonyms import Pseudonymizer
from vrec.serving.door.backend import open_door
from vrec.serving.http.app import create_app
from vrec.serving.http.keys import create_key
from vrec.serving.http.shopper_tokens import sign_shopper

KEY, OLD, SECRET = "n" * 32, "o" * 32, "s" * 32
ENVIRONMENT = {"NEW": KEY, "OLD": OLD}
RAW = ("raw-ann", "raw-visit", "raw-acc", "raw-event", "raw-message", "raw@mail.example", "13812345678")
PRIVATE = {"key": "NEW", "fields": {"at": {"kind": "round"}, "value": {"kind": "bands", "edges": [10, 50]}}}


def kept(user_id, key=KEY):
    return Pseudonymizer(key.encode(), "default", "shop")(user_id)


def post(app, path, body, method="POST", headers=None):
    return call_json(app, method, path, body, headers)


def event(number, user="raw-ann", **more):
    who = {"session_id": user} if user == "raw-visit" else {"user_id": user}
    return {"event_id": f"raw-event-{number}", "video_id": "mugs/1", "kind": "click", **who, **more}


def use_all(app):
    """Send every kind of request that names a shopper, and return the replies by name."""
    events = [event(1), event(2, "raw-visit"), event(3, "raw-acc", domain="social")]
    link = {"other_user_id": "raw-acc", "consent": True}
    say = {"user_id": "raw-ann", "message_id": "raw-message"}
    mail = "show me mugs, mail raw@mail.example or call 13812345678"
    ban = {"kind": "ban", "videos": {"expression": 'category = "mugs"'}}
    preview = {"rule_id": "no-mugs", "shoppers": ["raw-ann"], "rule": ban}
    person = say | {"message": f"talk to a person: {mail}", "message_id": "raw-message-2"}
    return {
        "events": post(app, "/v1/events", {"events": events}),
        "purchase": post(app, "/v1/events", event(4, kind="purchase", value=23.5)),
        "link": post(app, "/v1/links/social/raw-ann", link, "PUT"),
        "linked": post(app, "/v1/events", event(5, domain="social", linked=True)),
        "list": post(app, "/v1/recommend", {"user_id": "raw-ann", "k": 2, "context": {"age": 30}}),
        "slots": post(app, "/v1/recommend:slots", {"user_id": "raw-ann", "slots": [{"name": "top", "k": 1}]}),
        "search": post(app, "/v1/search", {"text": mail, "user_id": "raw-ann"}),
        "answer": post(app, "/v1/assistant", say | {"message": mail}),
        "person": post(app, "/v1/assistant", person),
        "joined": post(app, "/v1/users/raw-ann/sessions", {"session_id": "raw-visit"}),
        "batch": post(app, "/v1/batches", {"user_ids": ["raw-ann"], "k": 1}),
        "preview": post(app, "/v1/rules:preview", preview),
        "user": call(app, "GET", "/v1/users/raw-ann"),
        "profile": call(app, "GET", "/v1/profiles/raw-ann"),
        "talk": call(app, "GET", "/v1/assistant/raw-ann"),
        "links": call(app, "GET", "/v1/links?user_id=raw-ann"),
        "domains": call(app, "GET", "/v1/linked-domains?user_id=raw-ann"),
        "hand_overs": call(app, "GET", "/v1/hand-overs"),
        "export": call(app, "GET", "/v1/events"),
    }  # fmt: skip


def leaks(folder, words=RAW):
    """Return the words that stand in any file below a folder, and where."""
    found = set()
    for path in folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        found |= {(word, path.name) for word in words if word.encode() in data}
    return found


def test_answers_name_what_was_sent_and_files_have_nothing_of_it(made, tmp_path):
    app, shop = made(ENVIRONMENT, privacy=PRIVATE)
    replies = use_all(app)
    assert {name: reply.status for name, reply in replies.items() if reply.status >= 300} == {}
    assert replies["link"].json["user_id"] == "raw-ann"
    assert replies["link"].json["other_user_id"] == "raw-acc"
    assert replies["answer"].json["message_id"] == "raw-message"
    assert replies["preview"].json["lists"][0]["user_id"] == "raw-ann"
    for name in ("joined", "user", "profile", "talk", "domains"):
        assert replies[name].json["user_id"] == "raw-ann"
    assert replies["joined"].json["events"] == 1
    assert replies["user"].json["events"] == 4
    assert replies["talk"].json["turns"][0]["message"] == "show me mugs, mail [email] or call [phone]"
    hand_over = replies["hand_overs"].json["hand_overs"][0]
    assert hand_over["user_id"] == kept("raw-ann")
    assert "[email]" in hand_over["turns"][-1]["message"]
    rows = pq.read_table(io.BytesIO(replies["export"].body)).to_pylist()
    account = Pseudonymizer(KEY.encode(), "default", "social")("raw-acc")
    assert {row["user_id"] for row in rows if row["kind"] != "search"} == {
        kept("raw-ann"), f"domain:social:{account}",
    }  # fmt: skip
    assert [row["value"] for row in rows if row["kind"] == "purchase"] == [10.0]
    sent = [row for row in rows if row["kind"] != "search"]
    assert {(row["at"].minute, row["at"].second) for row in sent} == {(0, 0)}
    assert {ask.user_id for ask in shop.asks} == {kept("raw-ann")}
    shop.store.check()
    assert leaks(tmp_path) == set()


def test_the_search_for_leaks_finds_them_where_nothing_is_kept_apart(made, tmp_path):
    app, _ = made(ENVIRONMENT)
    use_all(app)
    words = {word for word, _ in leaks(tmp_path)}
    assert words >= {"raw-ann", "raw-visit", "raw-acc", "raw-event", "raw-message", "raw@mail.example"}


def test_an_event_counts_once_and_is_removed_by_the_id_that_was_sent(made):
    app, _ = made(ENVIRONMENT, privacy=PRIVATE)
    assert post(app, "/v1/events", event(1)).json["new"] == 1
    assert post(app, "/v1/events", event(1)).json["repeated"] == 1
    assert call(app, "DELETE", "/v1/events/raw-event-1").status == 204
    assert call(app, "GET", "/v1/profiles/raw-ann").status == 404
    assert post(app, "/v1/events", event(1)).json["new"] == 0


def test_a_shopper_is_erased_by_the_id_that_was_sent(made):
    app, _ = made(ENVIRONMENT, privacy=PRIVATE)
    use_all(app)
    erased = call(app, "DELETE", "/v1/profiles/raw-ann").json
    assert (erased["user_id"], erased["erased"]) == ("raw-ann", 4)
    assert call(app, "GET", "/v1/profiles/raw-ann").status == 404
    assert call(app, "GET", "/v1/assistant/raw-ann").json["turns"] == []
    assert call(app, "GET", "/v1/hand-overs").json["hand_overs"] == []
    assert call(app, "GET", "/v1/links?user_id=raw-ann").json["links"] == []


def test_tenants_have_pseudonyms_of_their_own():
    tenants = {"shop-b": {"bundle": "b"}}
    config = ServeConfig.model_validate({"privacy": PRIVATE, "tenants": tenants})
    own = open_door(config, "", ENVIRONMENT)
    other = open_door(config.of_tenant("shop-b"), "shop-b", ENVIRONMENT)
    assert own.shopper("raw-ann") == kept("raw-ann")
    assert other.shopper("raw-ann") == Pseudonymizer(KEY.encode(), "shop-b", "shop")("raw-ann")


def test_a_pseudonym_opens_nothing_of_its_shopper(made):
    app, _ = made(ENVIRONMENT, privacy=PRIVATE)
    post(app, "/v1/events", event(1))
    assert call(app, "GET", f"/v1/profiles/{kept('raw-ann')}").status == 404


def test_pages_go_on_and_tokens_are_signed_for_the_id_that_is_sent(made):
    key, entry = create_key("page:browser")
    environment = {**ENVIRONMENT, "VREC_API_KEYS": entry, "VREC_SHOPPER_SECRETS": SECRET}
    app, _ = made(environment, privacy=PRIVATE)
    token = sign_shopper("raw-ann", SECRET, int(time.time()) + 60)
    headers = {"x-api-key": key, "x-shopper-token": token}
    first = post(app, "/v1/recommend", {"user_id": "raw-ann", "k": 1}, headers=headers).json
    page = {"request_id": first["request_id"], "cursor": first["next_cursor"]}
    second = post(app, "/v1/recommend", {"user_id": "raw-ann", "k": 1, "page": page}, headers=headers).json
    assert first["items"][0]["video_id"] != second["items"][0]["video_id"]
    assert post(app, "/v1/recommend", {"user_id": "raw-bob", "k": 1}, headers=headers).status == 403
    pseudonym = kept("raw-ann")
    assert post(app, "/v1/recommend", {"user_id": pseudonym, "k": 1}, headers=headers).status == 403


@pytest.mark.parametrize("environment", [{}, {"NEW": "short"}, {"NEW_FILE": "/nowhere/key"}])
def test_a_service_without_its_key_does_not_start(made, environment):
    with pytest.raises(PrivacyError, match="NEW"):
        made(environment, privacy=PRIVATE)


def test_a_shopper_under_the_old_key_is_found_and_moved_by_the_first_request(made, tmp_path):
    app, shop = made(ENVIRONMENT, privacy={"key": "OLD"})
    use_all(app)
    talk, user = (call(app, "GET", f"/v1/{part}/raw-ann").json for part in ("assistant", "users"))
    config = ServeConfig.model_validate(
        {"data": str(tmp_path / "data"), "privacy": {"key": "NEW", "old_key": "OLD"}}
    )
    both = create_app(shop, config, environment=ENVIRONMENT)
    assert call(both, "GET", "/v1/users/raw-ann").json | {"recent": []} == user | {"recent": []}
    assert call(both, "GET", "/v1/assistant/raw-ann").json == talk
    assert post(both, "/v1/events", event(1)).json["repeated"] == 1
    assert post(both, "/v1/events", event(9)).json["new"] == 1
    # The session stays joined, and the link holds.
    assert post(both, "/v1/events", event(10, "raw-visit")).json["new"] == 1
    assert post(both, "/v1/events", event(11, domain="social", linked=True)).json["new"] == 1
    assert call(both, "GET", "/v1/users/raw-ann").json["events"] == user["events"] + 2
    table, _ = shop.store.export(0, 100)
    users = set(table.column("user_id").to_pylist())
    assert kept("raw-ann") in users
    assert kept("raw-ann", OLD) not in users
    new = create_app(shop, ServeConfig.model_validate({"privacy": {"key": "NEW"}}), environment=ENVIRONMENT)
    assert call(new, "GET", "/v1/users/raw-ann").json["events"] == user["events"] + 2
    assert len(call(new, "GET", "/v1/links?user_id=raw-ann").json["links"]) == 1
    assert call(new, "DELETE", "/v1/profiles/raw-ann").json["erased"] > 0
