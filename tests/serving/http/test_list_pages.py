"""Pages of a list: no repeat and no gap, whatever the shopper does between pages."""

import random

import pytest

from tests.serving.http.client import call_json
from tests.serving.http.test_whole import ids, over
from vrec.serving.http import list_pages

ASK = {"user_id": "ann", "k": 2}


def refused(reply, where):
    assert (reply.status, reply.json["type"]) == (422, "urn:vrec:problem:invalid-request"), reply.body
    assert [one["where"] for one in reply.json["errors"]] == [where]


def next_page(reply):
    return {"request_id": reply.json["request_id"], "cursor": reply.json["next_cursor"]}


@pytest.mark.parametrize(
    "sessions",
    [10, pytest.param(1_000, marks=[pytest.mark.slow, pytest.mark.timeout(3_600)])],
)
def test_sessions_with_events_between_pages_see_every_eligible_video_once(tmp_path, shop_bundle, sessions):
    rng = random.Random(5)
    everything = shop_bundle.parts.videos.column("video_id").to_pylist()

    async def session(send, number):
        ask = {"user_id": f"u{number}", "k": rng.choice([7, 20, 33]), "context": {"age": 30}}
        seen, barred, request_id, turn = [], set(), None, 0
        reply = await send("POST", "/v1/recommend", ask)
        eligible = set(ids(await send("POST", "/v1/recommend", ask | {"k": 100})))
        while ids(reply):
            request_id = request_id or reply.json["request_id"]
            assert (reply.json["request_id"], reply.json["degraded"]) == (request_id, False)
            assert [one["position"] for one in reply.json["items"]] == list(
                range(len(seen), len(seen) + len(ids(reply)))
            )
            seen += ids(reply)
            events = []
            for kind in rng.choices(["click", "like", "purchase", "hide", "watch"], k=rng.randrange(6)):
                video_id, turn = rng.choice([*ids(reply), *everything]), turn + 1
                barred |= {video_id} if kind in ("purchase", "hide") else set()
                events.append({"event_id": f"{number}-{turn}", "user_id": f"u{number}", "video_id": video_id,
                               "kind": kind, "value": 30.0})  # fmt: skip
            if events:
                assert (await send("POST", "/v1/events", {"events": events})).json["new"] == len(events)
            if reply.json["next_cursor"] is None:
                break
            reply = await send("POST", "/v1/recommend", ask | {"page": next_page(reply)})
        assert reply.json["next_cursor"] is None
        assert len(seen) == len(set(seen))
        assert eligible - barred <= set(seen)
        return len(seen)

    async def scenario(send, graph):
        lengths = [await session(send, number) for number in range(sessions)]
        assert min(lengths) > 40

    security = {"requests_per_second": 1e6, "burst": 1_000_000}
    over(tmp_path, shop_bundle, scenario, security=security)


def test_a_page_that_is_sent_again_is_the_same_and_pages_go_on_without_ranking(tmp_path, shop_bundle):
    async def scenario(send, graph):
        ask = {"user_id": "u", "k": 10}
        first = await send("POST", "/v1/recommend", ask)
        page = ask | {"page": next_page(first)}
        second = await send("POST", "/v1/recommend", page)
        assert ids(await send("POST", "/v1/recommend", page)) == ids(second)
        graph.ranking.broken = RuntimeError("dead")
        third = await send("POST", "/v1/recommend", ask | {"page": next_page(second)})
        assert third.json["degraded"]
        assert len({*ids(first), *ids(second), *ids(third)}) == 30

    over(tmp_path, shop_bundle, scenario)


def test_a_cursor_of_another_list_is_refused_by_name(made):
    app, _ = made()
    first = call_json(app, "POST", "/v1/recommend", ASK)
    page = next_page(first)
    assert call_json(app, "POST", "/v1/recommend", ASK | {"k": 1, "page": page}).status == 200
    # What other parts of the page show by now can be left out of the next page.
    more = call_json(app, "POST", "/v1/recommend", ASK | {"k": 9, "exclude": ["mugs/2"], "page": page})
    assert ids(more) == [name for name in ("hats/1", "hats/2", "mugs/1") if name not in ids(first)]
    for change in (
        {"user_id": "bob"},
        {"surface": "home"},
        {"kinds": ["clip"]},
        {"filters": {"most_price": 3}},
        {"candidates": ["mugs/1"]},
        {"for": {"cart": ["mugs/1"]}},
        {"page": page | {"request_id": "another"}},
        {"page": page | {"cursor": page["cursor"][:-3]}},
        {"page": page | {"cursor": "x" * 20}},
        {"page": page | {"cursor": ""}},
    ):
        refused(call_json(app, "POST", "/v1/recommend", ASK | {"page": page} | change), "page.cursor")
    refused(
        call_json(app, "POST", "/v1/recommend", ASK | {"page": {"cursor": page["cursor"]}}), "page.request_id"
    )


def test_a_list_ends_after_the_most_videos(made, monkeypatch):
    app, _ = made()
    monkeypatch.setattr(list_pages, "MAX_PAGED", 4)
    first = call_json(app, "POST", "/v1/recommend", ASK)
    second = call_json(app, "POST", "/v1/recommend", ASK | {"page": next_page(first)})
    assert len({*ids(first), *ids(second)}) == 4
    assert second.json["next_cursor"] is None


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"candidates": []}, "candidates"),
        ({"candidates": ["a"] * 501}, "candidates"),
        ({"candidates": ["a\nb"]}, "candidates.0"),
        ({"for": {"video_ids": ["a"] * 51}}, "for.video_ids"),
        ({"for": {"cart": "a"}}, "for.cart"),
        ({"for": {"user": "a"}}, "for.user"),
        ({"related": {}}, "related"),
        ({"explain": 1}, "explain"),
        ({"page": {"request_id": "r", "cursor": "x" * 65_537}}, "page.cursor"),
    ],
)
def test_bad_fields_are_refused_by_name(made, fields, where):
    refused(call_json(made()[0], "POST", "/v1/recommend", ASK | fields), where)


def test_the_query_has_what_the_body_names(made):
    app, shop = made()
    body = ASK | {"candidates": ["mugs/1", "none"], "for": {"video_ids": ["hats/1"], "cart": ["hats/2"]},
                  "explain": True, "exclude": ["mugs/2"]}  # fmt: skip
    call_json(app, "POST", "/v1/recommend", body)
    asked = shop.asks[-1]
    assert (asked.candidates, asked.seeds, asked.cart) == (("mugs/1", "none"), ("hats/1",), ("hats/2",))
    assert (asked.explain, asked.shown) == (True, ())
    assert asked.filters.exclude == {"mugs/2", "hats/1", "hats/2"}


def test_waiting_requests_do_not_share_pages(made):
    """Two shoppers with one request id have lists of their own."""
    app, _ = made()
    headers = {"x-request-id": "same"}
    cursors = {
        call_json(app, "POST", "/v1/recommend", ASK | {"user_id": user}, headers).json["next_cursor"]
        for user in ("ann", "bob")
    }
    assert len(cursors) == 2
