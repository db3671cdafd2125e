"""Rules over HTTP: versions, conditions, who and when, previews, and bad input."""

import pytest

from tests.serving.http.client import call, call_json
from tests.serving.http.test_whole import ids, over

PIN = {"kind": "pin", "video_id": "mugs/2", "position": 0}
BAN = {"kind": "ban", "videos": {"video_ids": ["mugs/1"]}}
CAMPAIGN = {
    "kind": "campaign", "videos": {"expression": 'category = "mugs"'}, "share": 0.25,
    "starts_at": "2026-12-01T00:00:00Z", "ends_at": "2026-12-24T00:00:00+01:00",
}  # fmt: skip


def test_rules_are_created_read_replaced_and_removed(keyed):
    app, _, headers = keyed
    manage = headers["manage"]
    made = call_json(app, "PUT", "/v1/rules/hello", PIN, manage)
    assert (made.status, made.headers["etag"]) == (201, '"1"')
    assert made.json["changed_by"] == "manage-key"
    assert made.json["state"] == "active"
    assert made.json["rule"] | PIN == made.json["rule"]
    read = call(app, "GET", "/v1/rules/hello", headers=manage)
    assert (read.json, read.headers["etag"]) == (made.json, '"1"')
    # The rule that is read can be sent back as it is.
    same = call_json(app, "PUT", "/v1/rules/hello", read.json["rule"], manage | {"if-match": '"1"'})
    assert (same.status, same.headers["etag"]) == (200, '"2"')
    assert call_json(app, "PUT", "/v1/rules/hello", BAN, manage | {"if-match": "*"}).status == 200
    assert [one["rule_id"] for one in call(app, "GET", "/v1/rules", headers=manage).json["rules"]] == [
        "hello"
    ]
    assert call(app, "DELETE", "/v1/rules/hello", headers=manage | {"if-match": '"3"'}).status == 204
    assert call(app, "GET", "/v1/rules/hello", headers=manage).status == 404
    versions = call(app, "GET", "/v1/rules/hello/history", headers=manage).json["versions"]
    assert [one["version"] for one in versions] == [4, 3, 2, 1]
    assert [one["rule"] and one["rule"]["kind"] for one in versions] == [None, "ban", "pin", "pin"]
    assert {one["changed_by"] for one in versions} == {"manage-key"}
    assert all(one["changed_at"] and one["request_id"] for one in versions)
    assert not any(secret["authorization"].split()[1] in str(versions) for secret in headers.values())


def test_a_rule_is_not_replaced_or_removed_by_one_who_does_not_know_it(made):
    app, _ = made()
    assert call_json(app, "PUT", "/v1/rules/x", PIN).status == 201
    for headers, status, kind in (
        ({}, 428, "precondition-required"),
        ({"if-match": '"7"'}, 412, "precondition-failed"),
        ({"if-match": '"else"'}, 412, "precondition-failed"),
        ({"if-none-match": "*"}, 412, "precondition-failed"),
        ({"if-match": "1"}, 422, "invalid-request"),
        ({"if-none-match": '"1"'}, 422, "invalid-request"),
    ):
        reply = call_json(app, "PUT", "/v1/rules/x", BAN, headers)
        assert (reply.status, reply.json["type"]) == (status, f"urn:vrec:problem:{kind}"), headers
        if status == 422:
            assert reply.json["errors"][0]["where"].lower() == next(iter(headers))
        if "if-none-match" not in headers:
            assert call(app, "DELETE", "/v1/rules/x", headers=headers).status == status
    assert call_json(app, "PUT", "/v1/rules/y", BAN, {"if-match": '"1"'}).status == 412
    assert call(app, "DELETE", "/v1/rules/y", headers={"if-match": "*"}).status == 404
    assert call(app, "DELETE", "/v1/rules/y").status == 404
    assert call(app, "GET", "/v1/rules/x").json["version"] == 1


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "body"),
        ({"kind": "wish"}, "body"),
        ({"kind": "pin"}, "video_id"),
        (PIN | {"position": -1}, "position"),
        (PIN | {"position": 100}, "position"),
        (PIN | {"factor": 2}, "factor"),
        ({"kind": "boost", "videos": {"video_ids": ["a"]}, "factor": 0}, "factor"),
        ({"kind": "ban", "videos": {}}, "videos"),
        ({"kind": "ban", "videos": {"video_ids": []}}, "videos.video_ids"),
        ({"kind": "ban", "videos": {"expression": "pric < 2"}}, "videos.expression"),
        ({"kind": "ban", "videos": {"expression": "price < 2", "video_ids": ["a"]}}, "videos"),
        (CAMPAIGN | {"share": 1.1}, "share"),
        (CAMPAIGN | {"ends_at": CAMPAIGN["starts_at"]}, "ends_at"),
        (CAMPAIGN | {"ends_at": None}, "ends_at"),
        ({k: v for k, v in CAMPAIGN.items() if k != "starts_at"}, "starts_at"),
        (CAMPAIGN | {"starts_at": "0001-01-01T00:00:00+10:00"}, "starts_at"),
        (BAN | {"surfaces": ["A B"]}, "surfaces.0"),
    ],
)
def test_a_bad_rule_is_refused_by_the_name_of_its_field(made, body, where):
    app, _ = made()
    reply = call_json(app, "PUT", "/v1/rules/x", body)
    assert reply.status == 422
    assert where in [error["where"] for error in reply.json["errors"]], reply.json
    assert call(app, "GET", "/v1/rules").json["rules"] == []


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ([], "body: must be a JSON object"),
        (BAN | {"videos": {}}, "videos: give either video_ids or expression"),
        (
            BAN | {"videos": {"video_ids": ["a"], "expression": "price < 2"}},
            "videos: give either video_ids or expression",
        ),
        (BAN | {"videos": ["a"]}, "videos: must be a JSON object"),
    ],
)
def test_what_is_wrong_with_a_rule_is_said(made, body, error):
    app, _ = made()
    reply = call_json(app, "PUT", "/v1/rules/bad", body)
    assert [f"{one['where']}: {one['detail']}" for one in reply.json["errors"]] == [error]


def test_a_rule_names_its_videos_that_the_catalog_lacks(made):
    app, _ = made()
    pin = {"kind": "pin", "video_id": "nowhere", "position": 0}
    boost = {"kind": "boost", "videos": {"video_ids": ["gone", "mugs/1", "away"]}, "factor": 2.0}
    ban = {"kind": "ban", "videos": {"expression": 'category = "mugs"'}}
    for name, rule, unknown in (("p", pin, ["nowhere"]), ("b", boost, ["gone", "away"]), ("x", ban, [])):
        reply = call_json(app, "PUT", f"/v1/rules/{name}", rule)
        assert (reply.status, reply.json["unknown"]) == (201, unknown)
        assert call(app, "GET", f"/v1/rules/{name}").json["unknown"] == unknown
    listed = call(app, "GET", "/v1/rules").json["rules"]
    assert {one["rule_id"]: one["unknown"] for one in listed} == {
        "p": ["nowhere"], "b": ["gone", "away"], "x": []
    }  # fmt: skip


def test_states_and_other_bad_input(made):
    app, _ = made()
    for name, dates, state in (
        ("past", {"starts_at": "2020-01-01T00:00:00Z", "ends_at": "2021-01-01T00:00:00Z"}, "ended"),
        ("future", {"starts_at": "2190-01-01T00:00:00Z", "ends_at": "2191-01-01T00:00:00Z"}, "scheduled"),
        ("now", {"starts_at": "2020-01-01T00:00:00Z", "ends_at": "2191-01-01T00:00:00Z"}, "active"),
    ):
        assert call_json(app, "PUT", f"/v1/rules/{name}", CAMPAIGN | dates).json["state"] == state
    assert call_json(app, "PUT", "/v1/rules/Not%20One", BAN).status == 422
    assert call(app, "PUT", "/v1/rules/x", b"kind=ban").status == 415
    assert call(app, "GET", "/v1/rules/none/history").status == 404
    assert call(app, "PATCH", "/v1/rules/now").status == 405
    for body, where in (
        ({"rule_id": "x", "rule": BAN}, "shoppers"),
        ({"rule_id": "x", "rule": BAN, "shoppers": []}, "shoppers"),
        ({"rule_id": "x", "rule": BAN, "shoppers": ["u"] * 101}, "shoppers"),
        ({"rule_id": "x", "rule": {"kind": "pin"}, "shoppers": ["u"]}, "rule.video_id"),
    ):
        reply = call_json(app, "POST", "/v1/rules:preview", body)
        assert (reply.status, reply.json["errors"][0]["where"]) == (422, where)
    assert call_json(app, "POST", "/v1/rules:preview", {"rule_id": "x", "shoppers": ["u"]}).status == 404


def test_rules_need_the_scope_manage(keyed):
    app, _, headers = keyed
    for method, path in (
        ("GET", "/v1/rules"), ("GET", "/v1/rules/x"), ("GET", "/v1/rules/x/history"),
        ("PUT", "/v1/rules/x"), ("DELETE", "/v1/rules/x"), ("POST", "/v1/rules:preview"),
    ):  # fmt: skip
        assert call_json(app, method, path, BAN).status == 401
        assert call_json(app, method, path, BAN, headers["read"]).status == 403


def test_a_merchandiser_s_day(tmp_path, shop_bundle):
    async def scenario(send, graph):
        usual = ids(await send("POST", "/v1/recommend", {"user_id": "u", "k": 10}))
        everything = ids(await send("POST", "/v1/recommend", {"user_id": "u", "k": 100}))
        rule = {"kind": "pin", "video_id": everything[-1], "position": 2}
        preview = await send(
            "POST",
            "/v1/rules:preview",
            {"rule_id": "p", "rule": rule, "shoppers": ["u", "session:s"], "k": 10},
        )
        assert preview.json["changed"] == 2
        mine = preview.json["lists"][0]
        assert mine["before"] == usual
        assert (mine["entered"], len(mine["left"])) == ([everything[-1]], 1)
        assert set(mine["left"]) == set(usual) - set(mine["after"])
        assert (await send("PUT", "/v1/rules/p", rule)).status == 201
        ban = {"kind": "ban", "videos": {"video_ids": [usual[0]]}}
        assert (await send("PUT", "/v1/rules/b", ban)).status == 201
        answer = await send("POST", "/v1/recommend", {"user_id": "u", "k": 10, "explain": True})
        item = answer.json["items"][2]
        assert (item["video_id"], item["rules"], item["propensity"]) == (everything[-1], ["pin:p"], 1.0)
        assert item["reasons"][-1] == {"code": "featured:p", "text": "as a pick of the shop"}
        assert {"video_id": usual[0], "rule": "ban:b"} in answer.json["barred"]
        # Positions go on over pages, and so do pins.
        first = await send("POST", "/v1/recommend", {"user_id": "u", "k": 2})
        page = {"request_id": first.json["request_id"], "cursor": first.json["next_cursor"]}
        second = await send("POST", "/v1/recommend", {"user_id": "u", "k": 2, "page": page})
        assert everything[-1] not in ids(first)
        assert (ids(second)[0], second.json["items"][0]["position"]) == (everything[-1], 2)

    over(tmp_path, shop_bundle, scenario)
