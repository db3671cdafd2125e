"""Several slots in one call: no video in two of them, each with its own surface, rules and pages."""

import random

import pytest

from tests.serving.http.client import call_json
from tests.serving.http.test_whole import ids, over

SLOTS = "/v1/recommend:slots"


def slots_of(reply):
    assert reply.status == 200, reply.body
    return {slot["name"]: slot for slot in reply.json["slots"]}


def names_in(slot):
    return [item["video_id"] for item in slot["items"]]


def test_slots_share_no_video_and_each_goes_on_by_its_cursor(tmp_path, shop_bundle):
    rng = random.Random(3)
    categories = sorted(set(shop_bundle.parts.videos.column("category").to_pylist()) - {None})

    async def scenario(send, graph):
        videos = shop_bundle.parts.videos.column("video_id").to_pylist()
        for number in (0, 5):
            user = {"user_id": f"u{number}"}
            likes = [
                {"event_id": f"{number}-{n}", "kind": "like", "video_id": rng.choice(videos), **user}
                for n in range(number)
            ]
            if likes:
                assert (await send("POST", "/v1/events", {"events": likes})).status == 202
            wanted = [
                {"name": "top", "k": rng.choice([3, 8])},
                {"name": "more", "k": 10, "surface": "home", "filters": {"categories": categories[:3]}},
                {"name": "near", "k": 5, "for": {"video_ids": [rng.choice(videos)]}},
                {"name": "rest", "k": 20, "explain": True},
            ]
            answer = await send("POST", SLOTS, user | {"slots": wanted})
            found = slots_of(answer)
            assert list(found) == ["top", "more", "near", "rest"]
            everywhere = [name for slot in found.values() for name in names_in(slot)]
            assert len(everywhere) == len(set(everywhere)) > 20
            assert all(item["category"] in categories[:3] for item in found["more"]["items"])
            assert {item["source"].partition(":")[0] for item in found["near"]["items"]} <= {"seed", "cf"} | {
                "content", "popular", "new"
            }  # fmt: skip
            assert found["rest"]["items"][0]["scores"]
            for slot in wanted:
                await _follow_pages(send, user, slot, found, everywhere)

    over(tmp_path, shop_bundle, scenario)


async def _follow_pages(send, user, slot, found, everywhere):
    """A slot's pages to the end: positions go on, and neither it nor another slot's videos come again."""
    page = found[slot["name"]]
    own, fields = names_in(page), {name: value for name, value in slot.items() if name != "name"}
    assert [item["position"] for item in page["items"]] == list(range(len(own)))
    request_id = page["request_id"]
    while page["next_cursor"] is not None:
        body = {**user, **fields, "k": 50, "page": {"request_id": request_id, "cursor": page["next_cursor"]}}
        reply = await send("POST", "/v1/recommend", body)
        assert reply.status == 200, reply.body
        page = reply.json
        assert [item["position"] for item in page["items"]] == list(
            range(len(own), len(own) + len(ids(reply)))
        )
        assert not {*ids(reply)} & {*own, *everywhere}
        own += ids(reply)


def test_a_slot_that_has_all_videos_has_no_further_page(tmp_path, shop_bundle):
    cards = shop_bundle.parts.videos.select(["video_id", "category", "available"]).to_pylist()
    category = next(card["category"] for card in cards if card["category"] is not None)
    wanted = {card["video_id"] for card in cards if card["category"] == category and card["available"]}

    async def scenario(send, graph):
        filters = {"categories": [category]}
        for k in (len(wanted) - 2, len(wanted), len(wanted) + 2):
            slots = [{"name": "all", "k": k, "filters": filters}]
            page = slots_of(await send("POST", SLOTS, {"user_id": "u", "slots": slots}))["all"]
            shown = names_in(page)
            assert len(set(shown)) == len(shown) == min(k, len(wanted))
            assert (page["next_cursor"] is None) == (k > len(wanted))
            while page["next_cursor"] is not None:
                more = {"request_id": page["request_id"], "cursor": page["next_cursor"]}
                body = {"user_id": "u", "k": k, "filters": filters, "page": more}
                page = (await send("POST", "/v1/recommend", body)).json
                shown += names_in(page)
            assert sorted(shown) == sorted(wanted)

    over(tmp_path, shop_bundle, scenario)


def test_rules_hold_in_the_slots_of_their_surface(tmp_path, shop_bundle):
    async def scenario(send, graph):
        ask = {"user_id": "u", "slots": [{"name": "a", "k": 4}, {"name": "b", "k": 4, "surface": "home"}]}
        before = slots_of(await send("POST", SLOTS, ask))
        pinned = names_in(before["a"])[3]
        rule = {"kind": "pin", "video_id": pinned, "position": 2, "surfaces": ["home"]}
        assert (await send("PUT", "/v1/rules/p", rule)).status == 201
        one = {"user_id": "u", "slots": [ask["slots"][1]]}
        assert names_in(slots_of(await send("POST", SLOTS, one))["b"])[2] == pinned
        # The slot before has it: there it is not pinned, and it comes once.
        both = slots_of(await send("POST", SLOTS, ask))
        assert pinned in names_in(both["a"])
        assert pinned not in names_in(both["b"])
        graph.ranking.broken = RuntimeError("dead")
        degraded = slots_of(await send("POST", SLOTS, ask))
        assert all(slot["degraded"] for slot in degraded.values())
        assert len({*names_in(degraded["a"]), *names_in(degraded["b"])}) == 8

    over(tmp_path, shop_bundle, scenario)


def test_each_slot_has_an_id_of_its_own_for_its_draws_and_events(made):
    app, shop = made()
    ask = {"session_id": "visit", "context": {"age": 30}, "slots": [{"name": "a", "k": 1}, {"name": "b"}]}
    reply = call_json(app, "POST", SLOTS, ask, {"x-request-id": "page-7"})
    found = slots_of(reply)
    assert reply.json["request_id"] == "page-7"
    assert [slot["request_id"] for slot in found.values()] == ["page-7-a", "page-7-b"]
    assert [one.request_id for one in shop.asks] == ["page-7-a", "page-7-b"]
    assert [one.user_id for one in shop.asks] == ["session:visit"] * 2
    assert [one.age for one in shop.asks] == [30, 30]
    assert shop.asks[1].filters.exclude == {*names_in(found["a"])}
    assert len(names_in(found["b"])) == 3


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"slots": []}, "slots"),
        ({}, "slots"),
        ({"slots": [{"name": "a"}] * 2}, "slots"),
        ({"slots": [{"name": str(n)} for n in range(11)]}, "slots"),
        ({"slots": [{}]}, "slots.0.name"),
        ({"slots": [{"name": "A b"}]}, "slots.0.name"),
        ({"slots": [{"name": "a", "k": 0}]}, "slots.0.k"),
        ({"slots": [{"name": "a", "page": {}}]}, "slots.0.page"),
        ({"slots": [{"name": "a", "filters": {"expression": "price"}}]}, "slots.0.filters.expression"),
        ({"slots": [{"name": "a"}], "k": 3}, "k"),
        ({"slots": [{"name": "a"}], "session_id": "s"}, "session_id"),
        ({"slots": [{"name": "a"}], "user_id": None}, "body"),
    ],
)
def test_what_is_wrong_is_named(made, body, where):
    reply = call_json(made()[0], "POST", SLOTS, {"user_id": "ann"} | body)
    assert (reply.status, reply.json["type"]) == (422, "urn:vrec:problem:invalid-request"), reply.body
    assert [one["where"] for one in reply.json["errors"]] == [where]
