"""Records and erasures of shoppers over the real deployments, and their receipts."""

import hashlib
import json

from tests.serving.http.test_links_whole import liked
from tests.serving.http.test_whole import over

PARTS = {
    "profile", "follows", "sessions", "consents", "links", "conversation", "hand_overs", "searches", "events",
}  # fmt: skip


async def fill(send, graph, user="anna"):
    """Leave something in every part of a shopper's record."""
    await send("POST", "/v1/events", liked(user, ["v0", "v1", "v2"]))
    follow = {"event_id": f"{user}-f", "user_id": user, "video_id": "creator:creator-1", "kind": "follow"}
    await send("POST", "/v1/events", follow)
    visit = {"event_id": f"{user}-s", "session_id": f"visit-{user}", "video_id": "v3", "kind": "click"}
    await send("POST", "/v1/events", visit)
    await send("POST", f"/v1/users/{user}/sessions", {"session_id": f"visit-{user}"})
    await send("PUT", f"/v1/users/{user}/consent", {"train": True})
    await send("PUT", f"/v1/links/social/{user}", {"other_user_id": f"acc-{user}", "consent": True})
    await send("POST", "/v1/assistant", {"user_id": user, "message": "let me talk to a person"})
    graph.api.searches.count("hats", user, 10**15)
    await graph.api.searches.write()


async def record_of(send, user="anna"):
    reply = await send("GET", f"/v1/users/{user}/export")
    assert reply.status == 200, reply.body
    told, separator, _ = reply.body.rpartition(b',"receipt":')
    assert separator
    receipt = reply.json["receipt"]
    assert receipt["what"] == "access"
    assert receipt["sha256"] == hashlib.sha256(told).hexdigest()
    return reply.json


def is_empty(part):
    return part in (None, [], {})


def test_a_record_has_all_that_is_held_and_nothing_of_it_is_left_after_an_erasure(tmp_path, shop_bundle):
    async def scenario(send, graph):
        await fill(send, graph)
        await fill(send, graph, "bob")
        record = await record_of(send)
        assert record.keys() >= PARTS
        assert {name for name in PARTS if is_empty(record[name])} == set()
        assert [one["event_id"] for one in record["events"]][-3:] == ["anna-v2", "anna-v1", "anna-v0"]
        assert record["sessions"] == ["session:visit-anna"]
        assert record["follows"] == ["creator-1"]
        assert record["links"][0]["consented_at"].endswith("+00:00")
        assert record["experiment"]["arm"] == "ranked"
        counts = record["receipt"]["counts"]
        assert counts["events"] == len(record["events"])
        erased = (await send("DELETE", "/v1/profiles/anna")).json
        receipt = erased["receipt"]
        assert (receipt["what"], erased["erased"], receipt["counts"]) == ("erasure", counts["events"], counts)
        assert receipt["sha256"] == hashlib.sha256(f"{receipt['salt']}:anna".encode()).hexdigest()
        after = await record_of(send)
        assert {name for name in PARTS if not is_empty(after[name])} == set()
        assert not any(after["receipt"]["counts"].values())
        # Whoever is not erased keeps all.
        rest = await record_of(send, "bob")
        assert {name for name in PARTS - {"searches"} if is_empty(rest[name])} == set()
        kept = (await send("GET", "/v1/receipts?limit=2")).json
        assert [one["what"] for one in kept["receipts"]] == ["access", "access"]
        more = (await send("GET", f"/v1/receipts?cursor={kept['next_cursor']}")).json
        salted = {name: value for name, value in receipt.items() if name != "salt"}
        assert more["receipts"][0] == salted
        assert more["next_cursor"] is None
        # A receipt tells neither who it is of nor what proves it.
        receipts = b"".join(
            record for _, record in await graph.profiles.records_after.remote("receipts", 0, 9)
        )
        assert b"anna" not in receipts
        assert receipt["salt"].encode() not in receipts

    over(tmp_path, shop_bundle, scenario)


def test_a_record_is_told_page_by_page(tmp_path, shop_bundle, monkeypatch):
    monkeypatch.setattr("vrec.serving.http.routes.records.EVENTS_PER_READ", 3)

    async def scenario(send, graph):
        await send("POST", "/v1/events", liked("anna", [f"v{n}" for n in range(10)]))
        record = await record_of(send)
        assert [one["event_id"] for one in record["events"]] == [f"anna-v{n}" for n in reversed(range(10))]
        assert json.dumps(record["profile"])
        assert (await record_of(send, "nobody"))["receipt"]["counts"]["events"] == 0

    over(tmp_path, shop_bundle, scenario)
