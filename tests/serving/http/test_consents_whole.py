"""Consents over the real deployments: what is kept, and whom lists and answers are for."""

import asyncio
import io

import pyarrow.parquet as pq
import pytest

from tests.serving.http.test_links_whole import liked
from tests.serving.http.test_whole import ids, over


async def put(send, user, **answers):
    reply = await send("PUT", f"/v1/users/{user}/consent", answers)
    assert reply.status == 200, reply.body
    return {one["purpose"]: one["given"] for one in reply.json["consents"]}


async def exported(send):
    reply = await send("GET", "/v1/events")
    return pq.read_table(io.BytesIO(reply.body)).column("event_id").to_pylist()


@pytest.mark.parametrize(
    ("within", "reads"), [(False, "from the store"), (True, "from the store"), (False, "from its deployment")]
)
def test_without_personalise_answers_are_a_stranger_s_and_nothing_is_kept(
    tmp_path, shop_bundle, within, reads, monkeypatch
):
    if reads == "from its deployment":
        monkeypatch.setattr("vrec.serving.deployments.ranking.deployment.is_owned_by", lambda *_: False)

    async def scenario(send, graph):
        async def listed():
            await asyncio.sleep(0.3)  # until the counts of videos are those of all events
            videos = await send("POST", "/v1/recommend", {"user_id": "anna", "k": 20, "explain": True})
            return [(one["video_id"], one["source"]) for one in videos.json["items"]]

        first = liked("anna", ids(await send("POST", "/v1/recommend", {"user_id": "anna", "k": 6})))
        assert (await send("POST", "/v1/events", first)).json["new"] == 6
        personal = await listed()
        assert await put(send, "anna", personalise=False) == {
            "personalise": False, "train": True, "link": True,
        }  # fmt: skip
        stranger = await listed()
        assert stranger != personal
        kept = await exported(send)
        more = {"events": [one | {"event_id": f"{one['event_id']}-2"} for one in first["events"]]}
        reply = await send("POST", "/v1/events", more)
        assert reply.json == {"new": 0, "repeated": 0, "unused": 0, "refused": 6}
        said = await send("POST", "/v1/assistant", {"user_id": "anna", "message": "hats under 50"})
        assert said.status == 200
        assert (await send("GET", "/v1/assistant/anna")).json["turns"] == []
        graph.api.searches.count("hats", "anna", 10**15)
        await graph.api.searches.write()
        assert await graph.profiles.records_after.remote("searches", 0, 10) == []
        assert await exported(send) == kept
        assert not (await put(send, "anna"))["personalise"]
        assert await listed() == stranger
        await put(send, "anna", personalise=True)
        assert await listed() == personal
        # What a stranger gets is what the same shopper gets of whom nothing is known.
        await send("DELETE", "/v1/profiles/anna")
        assert await listed() == stranger
        # Others in the same request are not affected.
        await put(send, "anna", personalise=False)
        other = {"event_id": "p", "user_id": "bob", "video_id": "v0", "kind": "like"}
        mine = {"event_id": "q", "user_id": "anna", "video_id": "v0", "kind": "like"}
        reply = await send("POST", "/v1/events", {"events": [mine, other]})
        assert (reply.json["new"], reply.json["refused"]) == (1, 1)
        assert await exported(send) == ["p"]

    over(tmp_path, shop_bundle, scenario, within=within)


def test_a_conversation_of_before_is_removed_and_a_hand_over_still_goes_to_a_person(tmp_path, shop_bundle):
    async def scenario(send, graph):
        await send("POST", "/v1/assistant", {"user_id": "anna", "message": "hats under 50"})
        assert len((await send("GET", "/v1/assistant/anna")).json["turns"]) == 1
        await put(send, "anna", personalise=False)
        assert (await send("GET", "/v1/assistant/anna")).json["turns"] == []
        reply = await send(
            "POST", "/v1/assistant", {"user_id": "anna", "message": "I want to talk to a person"}
        )
        assert reply.status == 200
        turns = [one["turns"] for one in (await send("GET", "/v1/hand-overs")).json["hand_overs"]]
        assert [len(one) for one in turns] == [1] * len(turns)

    over(tmp_path, shop_bundle, scenario)


def test_a_shop_may_ask_first(tmp_path, shop_bundle):
    async def scenario(send, graph):
        reply = await send("POST", "/v1/events", liked("anna", ["v0", "v1"]))
        assert (reply.json["new"], reply.json["refused"]) == (0, 2)
        assert (
            await send("PUT", "/v1/links/social/anna", {"other_user_id": "a", "consent": True})
        ).status == 409
        assert await put(send, "session:s1", personalise=True) == {
            "personalise": True, "train": False, "link": False,
        }  # fmt: skip
        event = {"event_id": "e", "session_id": "s1", "video_id": "v0", "kind": "click"}
        assert (await send("POST", "/v1/events", event)).json["new"] == 1
        assert await exported(send) == []
        await send("POST", "/v1/users/anna/sessions", {"session_id": "s1"})
        reply = (await send("GET", "/v1/users/anna/consent")).json["consents"]
        assert [(one["purpose"], one["given"]) for one in reply] == [
            ("personalise", True), ("train", False), ("link", False),
        ]  # fmt: skip
        assert await put(send, "anna", train=True) == {"personalise": True, "train": True, "link": False}
        assert await exported(send) == ["e"]

    over(tmp_path, shop_bundle, scenario, consent={"default": "refused"})


def test_a_session_s_refusal_holds_for_the_account_that_it_joins(tmp_path, shop_bundle):
    async def scenario(send, graph):
        await put(send, "anna", personalise=True, train=True)
        await put(send, "session:s1", train=False)
        await send("POST", "/v1/events", liked("anna", ["v0"]))
        await send("POST", "/v1/users/anna/sessions", {"session_id": "s1"})
        assert await exported(send) == []
        assert await put(send, "session:s1", train=True) == {"personalise": True, "train": True, "link": True}
        assert await exported(send) == ["anna-v0"]

    over(tmp_path, shop_bundle, scenario)


def test_exports_leave_out_shoppers_without_train_and_their_accounts(tmp_path, shop_bundle):
    async def scenario(send, graph):
        for user in ("anna", "bob", "eve"):
            await send("POST", "/v1/events", liked(user, ["v0", "v1", "v2"]))
        await send("POST", "/v1/events", liked("acc", ["v3"], domain="social"))
        await send("PUT", "/v1/links/social/anna", {"other_user_id": "acc", "consent": True})
        assert len(await exported(send)) == 10
        await put(send, "anna", train=False)
        assert await exported(send) == [f"{user}-v{n}" for user in ("bob", "eve") for n in range(3)]
        # A page without rows is the end, also where all of the next events are left out.
        reply = await send("GET", "/v1/events?limit=2")
        assert pq.read_table(io.BytesIO(reply.body)).column("user_id").to_pylist() == ["bob"]
        await put(send, "anna", train=True)
        assert len(await exported(send)) == 10

    over(tmp_path, shop_bundle, scenario)


def test_a_refusal_of_links_ends_those_that_hold(tmp_path, shop_bundle):
    async def scenario(send, graph):
        body = {"other_user_id": "acc", "consent": True}
        assert (await send("PUT", "/v1/links/social/anna", body)).status == 201
        await put(send, "anna", link=False)
        assert [one["revoked_at"] is None for one in (await send("GET", "/v1/links")).json["links"]] == [
            False
        ]
        refused = await send("PUT", "/v1/links/social/anna", body)
        assert (refused.status, refused.json["type"]) == (409, "urn:vrec:problem:consent-missing")
        assert "ask the shopper" in refused.json["detail"]
        assert (await send("GET", "/v1/linked-domains?user_id=anna")).json["domains"] == []
        await put(send, "anna", link=True)
        assert (await send("GET", "/v1/linked-domains?user_id=anna")).json["domains"] == []
        assert (await send("PUT", "/v1/links/social/anna", body)).status == 201

    over(tmp_path, shop_bundle, scenario)
