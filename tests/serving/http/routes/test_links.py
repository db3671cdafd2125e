"""Links to accounts in other domains over HTTP, and the events of these accounts."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.serving.http.client import call, call_json
from tests.serving.http.routes.test_events import event, logged


def link(app, user="ann", domain="social", headers=None, **body):
    given = {"other_user_id": "a-1", "consent": True} | body
    return call_json(app, "PUT", f"/v1/links/{domain}/{user}", given, headers)


def revoke(app, user="ann", domain="social"):
    return call(app, "DELETE", f"/v1/links/{domain}/{user}")


def listed(app, query=""):
    return call(app, "GET", f"/v1/links{query}").json["links"]


def test_a_link_holds_until_it_is_revoked_and_both_may_be_said_again(made):
    app, _ = made()
    first = link(app)
    assert first.status == 201
    assert first.json["revoked_at"] is None
    assert (link(app).status, link(app).json) == (200, first.json)
    assert listed(app, "?user_id=ann") == [first.json]
    ended = revoke(app)
    assert ended.status == 200
    assert ended.json["revoked_at"] >= ended.json["consented_at"] == first.json["consented_at"]
    assert revoke(app).json == ended.json
    assert listed(app, "?user_id=ann") == [ended.json]
    again = link(app)
    assert (again.status, again.json["revoked_at"]) == (201, None)


@pytest.mark.parametrize(
    "consent", [{}, {"consent": False}, {"consent": None}, {"consent": 1}, {"consent": "yes"}]
)
def test_a_link_without_consent_is_refused_with_the_reason(made, consent):
    app, _ = made()
    reply = call_json(app, "PUT", "/v1/links/social/ann", {"other_user_id": "a-1"} | consent)
    assert (reply.status, [one["where"] for one in reply.json["errors"]]) == (422, ["consent"])
    if consent:
        assert "without the shopper's consent" in reply.json["errors"][0]["detail"]
    assert listed(app) == []


def test_an_account_has_one_shopper_and_a_shopper_one_account_in_a_domain(made):
    app, _ = made()
    link(app)
    taken = link(app, "bob")
    assert (taken.status, taken.json["type"]) == (409, "urn:vrec:problem:link-taken")
    assert taken.json["errors"][0]["where"] == "other_user_id"
    assert "ann" not in taken.body.decode()
    own = link(app, other_user_id="a-2")
    assert (own.status, own.json["errors"][0]["where"]) == (409, "domain")
    assert link(app, "bob", "games").status == 201
    revoke(app)
    assert link(app, "bob").status == 201
    assert link(app, other_user_id="a-2").status == 201
    assert {(one["user_id"], one["other_domain"], one["other_user_id"]) for one in listed(app)} == {
        ("bob", "social", "a-1"), ("bob", "games", "a-1"), ("ann", "social", "a-2"),
    }  # fmt: skip


def test_what_was_never_linked_cannot_be_revoked(made):
    app, _ = made()
    link(app)
    for reply in (revoke(app, "bob"), revoke(app, "ann", "games")):
        assert (reply.status, reply.json["type"]) == (404, "urn:vrec:problem:unknown-link")


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("social/ann", {"other_user_id": ""}, "other_user_id"),
        ("social/ann", {"other_user_id": "x" * 81}, "other_user_id"),
        ("social/ann", {"consented_at": 5}, "consented_at"),
        ("so:cial/ann", {}, "domain"),
        ("social/session:ann", {}, "user_id"),
        ("social/domain:games:ann", {}, "user_id"),
        ("social/a%0Ab", {}, "user_id"),
        ("social/a%0A", {}, "user_id"),
        ("social/", {}, "user_id"),
        ("social/ann", {"surprise": 1}, "surprise"),
    ],
)
def test_invalid_fields_are_named(made, path, body, where):
    app, _ = made()
    reply = call_json(app, "PUT", f"/v1/links/{path}", {"other_user_id": "a", "consent": True} | body)
    assert reply.status == 422
    assert [one["where"].split(".")[-1] for one in reply.json["errors"]] == [where]


def test_the_time_of_consent_is_kept_and_never_lies_ahead(made):
    app, _ = made()
    assert link(app, consented_at="2026-01-02T03:04:05Z").json["consented_at"] == "2026-01-02T03:04:05+00:00"
    ahead = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    assert link(app, "bob", "games", consented_at=ahead).json["consented_at"] < ahead


def test_pages_have_every_link_once(made):
    app, _ = made()
    for number in range(23):
        link(app, f"u{number}", other_user_id=f"a{number}")
    seen, query = [], "?limit=7"
    while query:
        page = call(app, "GET", f"/v1/links{query}").json
        seen += [one["user_id"] for one in page["links"]]
        query = page["next_cursor"] and f"?limit=7&cursor={page['next_cursor']}"
    assert sorted(seen) == sorted(f"u{number}" for number in range(23))


def test_events_of_an_account_are_stored_apart_and_those_that_no_list_can_use_are_counted(made):
    app, shop = made()
    rows = [
        event("a", user_id="a-1", domain="social"),
        event("b", user_id="a-1", domain="social", video_id="social/1"),
        event("c", user_id="a-1", domain="social", video_id="social/unknown"),
        event("d", user_id="a-1", domain="games"),
        event("e", user_id="a-1"),
    ]
    reply = call_json(app, "POST", "/v1/events", {"events": rows})
    assert reply.json == {"new": 5, "repeated": 0, "unused": 2, "refused": 0}
    users = {row["event_id"]: row["user_id"] for row in logged(shop)}
    assert users == {
        "a": "domain:social:a-1", "b": "domain:social:a-1", "c": "domain:social:a-1", "d": "domain:games:a-1",
        "e": "a-1",
    }  # fmt: skip
    assert call(app, "GET", "/v1/users/domain:social:a-1").json["counts"] == {"click": 3}
    assert call(app, "GET", "/v1/users/a-1").json["counts"] == {"click": 1}


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({"domain": "so:cial"}, "domain"),
        ({"domain": ""}, "domain"),
        ({"domain": "social", "user_id": "x" * 81}, "body"),
        ({"user_id": "domain:social:a-1"}, "user_id"),
    ],
)
def test_events_of_no_account_are_refused(made, more, where):
    app, shop = made()
    reply = call_json(app, "POST", "/v1/events", event() | more)
    assert (reply.status, [one["where"] for one in reply.json["errors"]]) == (422, [where])
    body = {name: value for name, value in event(domain="social").items() if name != "user_id"}
    assert call_json(app, "POST", "/v1/events", body | {"session_id": "s"}).status == 422
    assert logged(shop) == []


def linked(event_id, user="ann", domain="social", **more):
    return event(event_id, user_id=user, domain=domain, linked=True) | more


def test_a_linked_event_is_one_of_the_account_which_it_does_not_reveal(made):
    app, shop = made()
    link(app)
    rows = [linked("a"), event("b", user_id="ann"), linked("c", kind="watch", value=3.5)]
    assert call_json(app, "POST", "/v1/events", {"events": rows}).json["new"] == 3
    assert call_json(app, "POST", "/v1/events", linked("a")).json == {
        "new": 0,
        "repeated": 1,
        "unused": 0,
        "refused": 0,
    }
    users = {row["event_id"]: row["user_id"] for row in logged(shop)}
    assert users == {"a": "domain:social:a-1", "b": "ann", "c": "domain:social:a-1"}
    assert call(app, "GET", "/v1/users/ann").json["counts"] == {"click": 1}


def test_the_domains_of_a_shopper_s_links_come_without_the_accounts(made):
    app, _ = made()
    link(app)
    link(app, domain="games")
    found = call(app, "GET", "/v1/linked-domains?user_id=ann")
    # Only what is watched on the social network has a weight in the bundle.
    domains = [{"domain": "games", "counts": False}, {"domain": "social", "counts": True}]
    assert found.json == {"user_id": "ann", "domains": domains}
    assert call(app, "GET", "/v1/linked-domains?user_id=bob").json == {"user_id": "bob", "domains": []}


def test_linked_events_without_a_link_that_holds_are_refused_and_nothing_is_stored(made):
    app, shop = made()
    link(app)
    for user, domain in (("bob", "social"), ("ann", "games")):
        reply = call_json(app, "POST", "/v1/events", linked("a", user, domain))
        assert (reply.status, reply.json["type"]) == (404, "urn:vrec:problem:unknown-link")
        assert [one["where"] for one in reply.json["errors"]] == ["linked"]
    revoke(app)
    reply = call_json(app, "POST", "/v1/events", {"events": [event("a"), linked("b"), linked("c", "bob")]})
    assert (reply.status, [one["where"] for one in reply.json["errors"]]) == (
        404, ["events.1.linked", "events.2.linked"],
    )  # fmt: skip
    assert logged(shop) == []
    assert call(app, "GET", "/v1/linked-domains?user_id=ann").json["domains"] == []


def test_a_linked_event_names_its_domain_and_may_have_a_long_shopper_id(made):
    app, shop = made()
    reply = call_json(app, "POST", "/v1/events", event("a", linked=True))
    assert (reply.status, [one["where"] for one in reply.json["errors"]]) == (422, ["body"])
    long = "x" * 128
    link(app, long)
    assert call_json(app, "POST", "/v1/events", linked("a", long)).status == 202
    assert [row["user_id"] for row in logged(shop)] == ["domain:social:a-1"]


def test_the_scopes_of_linked_events_and_of_the_names_of_domains(keyed):
    app, _, headers = keyed
    link(app, headers=headers["manage"])
    path = "/v1/linked-domains?user_id=ann"
    replies = {scope: call(app, "GET", path, headers=headers[scope]).status for scope in headers}
    assert replies == {scope: 200 if scope == "read" else 403 for scope in headers}
    sent = {
        scope: call_json(app, "POST", "/v1/events", linked("a"), headers[scope]).status for scope in headers
    }
    assert sent == {scope: 202 if scope == "events" else 403 for scope in headers}


def test_erasure_of_a_shopper_or_an_account_removes_their_links_and_no_others(made, tmp_path):
    app, _ = made()
    for user, other in (
        ("shopper-ann", "secret-1"),
        ("shopper-bob", "secret-2"),
        ("shopper-eve", "secret-3"),
    ):
        link(app, user, other_user_id=other)
    link(app, "shopper-bob", "games", other_user_id="secret-4")
    assert call(app, "DELETE", "/v1/profiles/shopper-ann").json["erased"] == 0
    assert {one["user_id"] for one in listed(app)} == {"shopper-bob", "shopper-eve"}
    call_json(app, "POST", "/v1/events", event("a", user_id="secret-2", domain="social"))
    assert call(app, "DELETE", "/v1/profiles/domain:social:secret-2").json["erased"] == 1
    assert {one["other_user_id"] for one in listed(app)} == {"secret-3", "secret-4"}
    assert link(app, "shopper-eve", "games", other_user_id="secret-1").status == 201
    call(app, "DELETE", "/v1/profiles/shopper-eve")
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("store.db*"))
    assert b"secret-4" in files
    gone = [b"shopper-ann", b"shopper-eve", b"secret-1", b"secret-2", b"secret-3"]
    assert [name for name in gone if name in files] == []


def test_links_need_manage_and_are_in_the_audit_log_without_names(keyed):
    app, _, headers = keyed
    for scope in ("read", "events"):
        assert link(app, headers=headers[scope]).status == 403
    assert link(app, headers=headers["manage"]).status == 201
    call(app, "DELETE", "/v1/links/social/ann", headers=headers["manage"])
    found = call(app, "GET", "/v1/audit", headers=headers["manage"])
    shown = [(one["operation"], one["target"], one["status"]) for one in found.json["entries"]]
    assert shown == [
        ("revoke_link", {"domain": "social"}, 200),
        ("put_link", {"domain": "social"}, 201),
        ("put_link", {"domain": "social"}, 403),
        ("put_link", {"domain": "social"}, 403),
    ]
    assert "ann" not in found.body.decode()
    assert "a-1" not in found.body.decode()
