"""The A/B test over HTTP: started, watched and stopped, over the real deployments."""

import asyncio
import json

import pytest

from tests.serving.http.client import acall, call, call_json
from tests.serving.http.test_whole import JSON, over
from vrec.config.serve import ExperimentConfig
from vrec.core.errors import StoreError
from vrec.serving.experiments import assign_arm

PATH = "/v1/experiment"
TWO = [{"name": "ranked", "share": 0.5}, {"name": "popular", "share": 0.5, "order": "popular"}]
USERS = [f"u{n}" for n in range(24)]


async def put(graph, method, path, etag, body=None):
    content = b"" if body is None else json.dumps(body).encode()
    condition = {} if etag is None else {"if-match": etag}
    return await acall(graph.app, method, path, content, (JSON if content else {}) | condition)


async def arms_of(send):
    found = {}
    for user in USERS:
        answer = (await send("POST", "/v1/recommend", {"user_id": user, "k": 5})).json
        assert not answer["degraded"]
        found[user] = answer["arm"]
    return found


def assigned(salt, arms):
    config = ExperimentConfig.model_validate({"salt": salt, "arms": arms})
    return {user: assign_arm(user, config).name for user in USERS}


async def counted(send, wanted):
    """The figures, once they are of arms of these names and all events are counted."""
    for _ in range(200):
        found = (await send("GET", "/v1/arms")).json
        if [arm["name"] for arm in found["arms"]] == wanted and found["complete"]:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(found)


async def see(send, name):
    """Send an impression of each shopper, and wait until all are counted."""
    events = [
        {"event_id": f"{name}-{user}", "user_id": user, "video_id": "video-01", "kind": "impression",
         "request_id": f"{name}-{user}"} for user in USERS
    ]  # fmt: skip
    assert (await send("POST", "/v1/events", {"events": events})).status == 202
    for _ in range(200):
        if sum(arm["impressions"] for arm in (await send("GET", "/v1/arms")).json["arms"]) == len(USERS):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the events are not counted")


def test_a_test_is_started_watched_and_stopped(tmp_path, shop_bundle):
    async def scenario(send, graph):
        before = await send("GET", PATH)
        assert before.json | {"version": ""} == {
            "salt": "vrec", "arms": [{"name": "ranked", "share": 1.0, "order": "ranked"}],
            "is_running": False, "source": "settings", "changed_at": None, "changed_by": None, "version": "",
        }  # fmt: skip
        assert before.headers["etag"] == f'"{before.json["version"]}"'
        assert set((await arms_of(send)).values()) == {"ranked"}
        await counted(send, ["ranked"])
        await see(send, "first")
        started = await put(graph, "PUT", PATH, before.headers["etag"], {"salt": "one", "arms": TWO})
        assert (started.status, started.json["is_running"], started.json["source"]) == (200, True, "change")
        assert await arms_of(send) == assigned("one", TWO)
        figures = await counted(send, ["ranked", "popular"])
        assert sum(arm["impressions"] for arm in figures["arms"]) == 0, "figures begin with the test"
        await see(send, "second")
        shares = (await send("GET", "/v1/arms")).json
        assert {arm["name"]: arm["users"] for arm in shares["arms"]} == {
            name: list(assigned("one", TWO).values()).count(name) for name in ("ranked", "popular")
        }
        days = await graph.api.arm_days(30)
        assert [(one.arm, one.impressions) for one in days if one.since < shares["since"]] == [
            ("ranked", len(USERS))
        ]
        # The same again changes nothing, so that a repeated request does no harm.
        same = await put(graph, "PUT", PATH, started.headers["etag"], {"salt": "one", "arms": TWO})
        assert same.json == started.json
        stopped = await put(graph, "DELETE", f"{PATH}?winner=popular", same.headers["etag"])
        assert (stopped.status, stopped.json["is_running"]) == (200, False)
        assert stopped.json["arms"] == [{"name": "popular", "share": 1.0, "order": "popular"}]
        assert stopped.json["salt"] == "one"
        assert set((await arms_of(send)).values()) == {"popular"}
        assert (await counted(send, ["popular"]))["since"] > shares["since"]
        assert sum(one.impressions for one in await graph.api.arm_days(30)) == 2 * len(USERS)

    over(tmp_path, shop_bundle, scenario)


def test_of_two_editors_the_second_is_refused(tmp_path, shop_bundle):
    async def scenario(send, graph):
        etag = (await send("GET", PATH)).headers["etag"]
        body = {"salt": "one", "arms": TWO}
        missing = await put(graph, "PUT", PATH, None, body)
        assert (missing.status, missing.json["type"]) == (428, "urn:vrec:problem:precondition-required")
        assert (await put(graph, "DELETE", f"{PATH}?winner=ranked", None)).status == 428
        replies = await asyncio.gather(
            *(put(graph, "PUT", PATH, etag, body | {"salt": f"s{number}"}) for number in range(4))
        )
        assert sorted(reply.status for reply in replies) == [200, 412, 412, 412]
        late = await put(graph, "DELETE", f"{PATH}?winner=ranked", etag)
        assert (late.status, late.json["type"]) == (412, "urn:vrec:problem:experiment-changed")
        assert (await put(graph, "PUT", PATH, "*", body)).status == 200
        assert (await send("GET", PATH)).json["salt"] == "one"

    over(tmp_path, shop_bundle, scenario)


def test_settings_that_stay_do_not_undo_a_change_and_settings_that_change_do(tmp_path, shop_bundle):
    async def start(send, graph):
        etag = (await send("GET", PATH)).headers["etag"]
        assert (await put(graph, "PUT", PATH, etag, {"salt": "one", "arms": TWO})).status == 200
        await counted(send, ["ranked", "popular"])
        await graph.profiles.node.close()

    async def again(send, graph):
        assert (await send("GET", PATH)).json["salt"] == "one"
        assert await arms_of(send) == assigned("one", TWO)
        await counted(send, ["ranked", "popular"])
        await graph.profiles.node.close()

    async def others(send, graph):
        assert (await send("GET", PATH)).json["source"] == "settings"
        assert set((await arms_of(send)).values()) == {"plain"}
        await counted(send, ["plain"])
        await graph.profiles.node.close()

    async def as_before(send, graph):
        assert (await send("GET", PATH)).json | {"version": ""} == {
            "salt": "vrec", "arms": [{"name": "ranked", "share": 1.0, "order": "ranked"}],
            "is_running": False, "source": "settings", "changed_at": None, "changed_by": None, "version": "",
        }  # fmt: skip
        await counted(send, ["ranked"])
        await graph.profiles.node.close()

    over(tmp_path, shop_bundle, start)
    over(tmp_path, shop_bundle, again)
    over(tmp_path, shop_bundle, others, arms={"arms": [{"name": "plain", "share": 1.0}]})
    # The settings of the start again: what was changed under them is over.
    over(tmp_path, shop_bundle, as_before)


def test_settings_change_while_it_runs(tmp_path, shop_bundle):
    async def scenario(send, graph):
        arms = ExperimentConfig.model_validate({"salt": "two", "arms": TWO}).model_dump(mode="json")
        for node in (graph.profiles.node, graph.ranking.node, graph.api):
            await node.reconfigure({"bundle": shop_bundle.uri, "arms": arms})
        assert await arms_of(send) == assigned("two", TWO)
        await counted(send, ["ranked", "popular"])
        # A batch has the order of the arm at its start.
        assert graph.api._batch_context().experiment.salt == "two"

    over(tmp_path, shop_bundle, scenario)


def test_without_the_store_lists_go_on_and_a_change_is_refused(tmp_path, shop_bundle):
    async def scenario(send, graph):
        etag = (await send("GET", PATH)).headers["etag"]
        graph.profiles.broken = StoreError("no room")
        assert (await put(graph, "PUT", PATH, etag, {"salt": "one", "arms": TWO})).status == 503
        assert (await send("POST", "/v1/recommend", {"user_id": "u", "k": 3})).json["arm"] == "ranked"

    over(tmp_path, shop_bundle, scenario)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"salt": "s", "arms": []}, "arms"),
        ({"salt": "", "arms": TWO}, "salt"),
        ({"salt": "a\nb", "arms": TWO}, "salt"),
        ({"arms": TWO}, "salt"),
        ({"salt": "s", "arms": [TWO[0]]}, "body"),
        ({"salt": "s", "arms": [TWO[0], TWO[0]]}, "body"),
        ({"salt": "s", "arms": [TWO[0] | {"name": "A B"}, TWO[1]]}, "arms.0.name"),
        ({"salt": "s", "arms": [TWO[0] | {"share": 0}, TWO[1]]}, "arms.0.share"),
        ({"salt": "s", "arms": [TWO[0], TWO[1] | {"order": "random"}]}, "arms.1.order"),
        ({"salt": "s", "arms": [TWO[0] | {"window": 3}, TWO[1]]}, "arms.0.window"),
        ({"salt": "s", "arms": [{"name": f"a{n}", "share": 1 / 11} for n in range(11)]}, "arms"),
    ],
)
def test_what_is_wrong_is_named(made, body, where):
    reply = call_json(made()[0], "PUT", PATH, body, {"if-match": "*"})
    assert reply.status == 422, reply.body
    assert [one["where"] for one in reply.json["errors"]] == [where]


def test_the_winner_is_an_arm_and_both_are_in_the_audit_log(keyed):
    app, _, headers = keyed
    manage = headers["manage"] | {"if-match": "*"}
    reply = call(app, "DELETE", f"{PATH}?winner=none", headers=manage)
    assert [one["where"] for one in reply.json["errors"]] == ["winner"]
    assert call(app, "DELETE", PATH, headers=manage).status == 422
    assert call(app, "DELETE", f"{PATH}?winner=ranked", headers=manage).status == 200
    entry = call(app, "GET", "/v1/audit?limit=1", headers=headers["manage"]).json["entries"][0]
    assert (entry["operation"], entry["target"]) == ("stop_experiment", {"winner": "ranked"})
    started = call_json(app, "PUT", PATH, {"salt": "x", "arms": TWO}, manage)
    assert started.json["changed_by"] == "manage-key"
    for scope in ("read", "events"):
        assert call(app, "GET", PATH, headers=headers[scope]).status == 403
        assert call_json(app, "PUT", PATH, {"salt": "s", "arms": TWO}, headers[scope]).status == 403
        assert call(app, "DELETE", f"{PATH}?winner=ranked", headers=headers[scope]).status == 403
