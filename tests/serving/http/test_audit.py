"""The audit log: every call that needs `manage`, with who and what, and nothing personal."""

import asyncio
import json

import pytest

from tests.contracts.store_places import RedisServer
from tests.serving.deployments.test_graph import Graph
from tests.serving.deployments.test_profiles import config_in
from tests.serving.http.client import acall, call, call_json
from vrec.core.errors import StoreError
from vrec.serving.http.app import create_app
from vrec.serving.http.keys import create_key


def entries(app, headers, query=""):
    return call(app, "GET", f"/v1/audit{query}", headers=headers).json["entries"]


def test_calls_of_manage_are_listed_with_who_what_and_outcome(keyed):
    app, _, headers = keyed
    manage = headers["manage"] | {"x-request-id": "r-1"}
    call_json(app, "PATCH", "/v1/videos/mugs%2F1", {"title": "SECRET TITLE"}, manage)
    call_json(app, "PATCH", "/v1/videos/none", {"price": -1}, manage)
    call(app, "DELETE", "/v1/profiles/anna-smith", headers=manage)
    call_json(app, "PUT", "/v1/rules/x", {"kind": "wish"}, manage)
    call(app, "GET", "/v1/videos", headers=headers["read"])
    call(app, "GET", "/v1/videos")
    call_json(app, "POST", "/v1/search", {"text": "mug"}, headers["read"])
    call_json(app, "POST", "/v1/events", {}, headers["events"])
    found = entries(app, headers["manage"])
    assert [(one["operation"], one["by"], one["status"], one["target"]) for one in found] == [
        ("list_videos", "read-key", 403, {}),
        ("put_rule", "manage-key", 422, {"rule_id": "x"}),
        ("erase_profile", "manage-key", 200, {}),
        ("update_video", "manage-key", 422, {"video_id": "none"}),
        ("update_video", "manage-key", 200, {"video_id": "mugs/1"}),
    ]
    assert found[1]["request_id"] == "r-1"
    assert (found[2]["method"], found[2]["path"]) == ("DELETE", "/v1/profiles/{user_id}")
    text = json.dumps(found)
    secrets = [one["authorization"].split()[1] for one in headers.values()]
    assert not any(word in text for word in ("anna", "SECRET", *secrets))
    # Reading it is such a call too.
    assert entries(app, headers["manage"])[0]["operation"] == "audit_log"


def test_pages_of_it_repeat_and_miss_nothing(made):
    app, _ = made()
    for number in range(23):
        call_json(app, "PATCH", "/v1/videos/mugs%2F1", {"price": number}, {"x-request-id": f"r{number}"})
    seen, query = [], "?limit=5"
    while query:
        page = call(app, "GET", f"/v1/audit{query}").json
        seen += [one["request_id"] for one in page["entries"] if one["operation"] == "update_video"]
        query = page["next_cursor"] and f"?limit=5&cursor={page['next_cursor']}"
    assert seen == [f"r{number}" for number in range(22, -1, -1)]
    for query in ("limit=0", "limit=1001", "cursor=x", "page=1"):
        reply, where = call(app, "GET", f"/v1/audit?{query}"), query.partition("=")[0]
        assert (reply.status, reply.json["errors"][0]["where"]) == (422, where)


def test_it_needs_manage(keyed):
    app, _, headers = keyed
    assert call(app, "GET", "/v1/audit").status == 401
    assert call(app, "GET", "/v1/audit", headers=headers["read"]).status == 403


def test_without_the_log_the_call_is_answered_and_the_entry_is_in_the_service_s_log(made, caplog):
    app, shop = made()

    async def away(*_):
        raise StoreError("no room")

    shop.append_record = away
    reply = call_json(app, "PATCH", "/v1/videos/mugs%2F1", {"price": 3.0}, {"x-request-id": "lost-1"})
    assert reply.status == 200
    (record,) = [one for one in caplog.records if "audit" in one.message]
    assert (record.operation, record.status, record.request_id) == ("update_video", 200, "lost-1")


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_it_outlives_the_service(tmp_path, shop_bundle, kind):
    secret, entry = create_key("ann:manage")
    server = RedisServer(tmp_path) if kind == "redis" else None
    more = {} if server is None else {"store": {"kind": "redis", "url_variable": server.variable}}

    async def run():
        headers = {"x-api-key": secret}
        for turn in range(2):
            graph = await Graph(tmp_path, **more).started(shop_bundle)
            app = create_app(graph.api, config_in(tmp_path, **more), environment={"VREC_API_KEYS": entry})
            await acall(app, "GET", "/v1/rules", headers=headers)
            found = (await acall(app, "GET", "/v1/audit", headers=headers)).json["entries"]
            graph.profiles.node._store.close()
            calls = ["list_rules", "audit_log", "list_rules"][: 2 * turn + 1]
            assert [one["operation"] for one in found] == calls
            assert {one["by"] for one in found} == {"ann"}

    try:
        asyncio.run(run())
    finally:
        if server is not None:
            server.stop()
