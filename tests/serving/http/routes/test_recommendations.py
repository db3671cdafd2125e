"""Lists over HTTP: contents, degraded responses and refused requests."""

import asyncio
import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest

from tests.serving.http.client import acall, call, call_json
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.experiments import assign_arm


def click(video_id, user="u", event_id="e"):
    return {"event_id": event_id, "user_id": user, "video_id": video_id, "kind": "click"}


def test_a_click_that_was_acknowledged_turns_the_next_list(made):
    app, _ = made()
    ask = {"user_id": "u", "k": 2}
    before = call_json(app, "POST", "/v1/recommend", ask).json
    assert [item["video_id"] for item in before["items"]] == ["hats/1", "hats/2"]
    assert call_json(app, "POST", "/v1/events", click("mugs/1")).status == 202
    reply = call_json(app, "POST", "/v1/recommend", ask)
    said = reply.json
    assert reply.status == 200
    assert [(item["video_id"], item["position"]) for item in said["items"]] == [("mugs/1", 0), ("mugs/2", 1)]
    first = said["items"][0]
    assert first["title"] == "A blue mug"
    assert first["reasons"] == [
        {"code": "watched:mugs/1", "text": "because you watched A blue mug"},
        {"code": "popular", "text": "because it is popular"},
    ]
    assert (said["degraded"], said["why"], said["bundle"], said["arm"]) == (False, [], "shop-1", "ranked")
    assert said["request_id"] == reply.headers["x-request-id"]
    assert said["spent_ms"]["total"] >= 0


def test_a_visit_without_an_account_has_a_profile_of_its_own(made):
    app, shop = made()
    event = {"event_id": "1", "session_id": "s", "video_id": "mugs/1", "kind": "click"}
    assert call_json(app, "POST", "/v1/events", event).status == 202
    said = call_json(app, "POST", "/v1/recommend", {"session_id": "s", "k": 1}).json
    assert said["items"][0]["video_id"] == "mugs/1"
    assert shop.asks[-1].user_id == "session:s"
    assert call(app, "GET", "/v1/profiles/session%3As").json["history"][0]["video_id"] == "mugs/1"


def test_all_that_a_request_says_reaches_the_ranking(made):
    app, shop = made(arms={"arms": [{"name": "plain", "share": 1, "order": "popular"}]})
    ask = {
        "user_id": "u", "surface": "cart", "k": 3, "kinds": ["product", "clip"], "exclude": ["hats/1"],
        "context": {"age": 17},
        "filters": {
            "categories": ["mugs", "hats"], "creators": ["ann"], "tags": ["red"], "languages": ["en"],
            "most_price": 9.5, "blocked_creators": ["bob"], "blocked_categories": ["toys"],
        },
    }  # fmt: skip
    assert call_json(app, "POST", "/v1/recommend", ask, {"x-request-id": "r.1"}).status == 200
    got = shop.asks[0]
    assert (got.request_id, got.surface, got.k, got.age, got.order) == ("r.1", "cart", 3, 17, "popular")
    assert got.filters.kinds == {"product", "clip"}
    assert got.filters.exclude == {"hats/1"}
    assert got.filters.categories == {"mugs", "hats"}
    assert (got.filters.creators, got.filters.tags, got.filters.languages) == ({"ann"}, {"red"}, {"en"})
    assert (got.filters.most_price, got.filters.blocked_creators) == (9.5, {"bob"})
    assert got.filters.blocked_categories == {"toys"}
    call_json(app, "POST", "/v1/recommend", {"user_id": "u"})
    assert (shop.asks[1].filters.kinds, shop.asks[1].filters.categories) == (None, None)


@pytest.mark.parametrize(
    "fault", [BackendUnavailable("killed"), TimeoutError(), RuntimeError("a bug"), "slow"]
)
def test_where_ranking_is_away_the_answer_is_a_popular_list(made, fault):
    app, shop = made(ranking_timeout_s=0.05)
    shop.away, shop.slow_s = (None, 5) if fault == "slow" else (fault, None)
    reply = call_json(app, "POST", "/v1/recommend", {"user_id": "u", "filters": {"categories": ["mugs"]}})
    assert reply.status == 200
    assert (reply.json["degraded"], reply.json["why"]) == (True, ["ranking"])
    assert [item["video_id"] for item in reply.json["items"]] == ["mugs/1", "mugs/2"]
    for reply in (
        call_json(app, "POST", "/v1/search", {"text": "red"}),
        call(app, "GET", "/v1/videos/mugs%2F1/similar"),
    ):
        if isinstance(fault, RuntimeError):
            assert reply.status == 500
            continue
        assert (reply.status, reply.headers["retry-after"]) == (503, "2")
        assert reply.json["type"] == "urn:vrec:problem:busy"


def test_similar_videos_and_searches(made):
    app, _ = made()
    said = call(app, "GET", "/v1/videos/mugs%2F1/similar?k=2").json
    assert len(said["items"]) == 2
    assert "mugs/1" not in [item["video_id"] for item in said["items"]]
    reply = call(app, "GET", "/v1/videos/none/similar")
    assert (reply.status, reply.json["type"]) == (404, "urn:vrec:problem:unknown-video")
    assert "POST /v1/uploads" in reply.json["detail"]
    found = call_json(app, "POST", "/v1/search", {"text": "a red hat", "k": 5, "filters": {"most_price": 60}})
    assert found.json["items"][0]["video_id"] == "hats/1"
    assert found.json["found"] == len(found.json["items"]) > 0
    none = call_json(app, "POST", "/v1/search", {"text": "nothing like it"}).json
    assert none["found"] == 0
    assert {item["source"] for item in none["items"]} == {"popular"}


def test_a_search_that_finds_something_counts_for_the_shopper_that_it_names(made):
    app, shop = made()

    async def run():
        bodies = [
            {"text": "a red mug", "session_id": "s"},
            {"text": "a red mug"},  # of nobody
            {"text": "nothing like it", "session_id": "s"},
        ]
        for number, body in enumerate(bodies):
            headers = {"content-type": "application/json", "x-request-id": f"r{number}"}
            reply = await acall(app, "POST", "/v1/search", json.dumps(body).encode(), headers)
            assert reply.status == 200
        await shop.learned_searches.settle()

    asyncio.run(run())
    (event,) = shop.store.export(0, 100)[0].to_pylist()
    assert (event["user_id"], event["kind"], event["request_id"]) == ("session:s", "search", "r0")
    assert event["video_id"] == "search:category=mugs&tag=red"


def test_lists_name_the_currency_of_the_settings(made):
    for settings, currency in (({}, "USD"), ({"currency": "EUR"}, "EUR")):
        app, _ = made(**settings)
        for path, body in (("/v1/recommend", {"user_id": "u"}), ("/v1/search", {"text": "red"})):
            assert call_json(app, "POST", path, body).json["currency"] == currency


def test_scores_that_json_cannot_say_are_null(made):
    app, shop = made()
    shop.vectors = {name: np.full(3, math.nan, np.float32) for name in ("mugs/1", "mugs/2")}
    said = call(app, "GET", "/v1/videos/mugs%2F1/similar").json
    assert None in [item["score"] for item in said["items"]]


@pytest.mark.parametrize(
    ("ask", "where"),
    [
        ({"user_id": "u", "k": 0}, "k"),
        ({"user_id": "u", "k": 10**6}, "k"),
        ({"user_id": "u", "k": "5"}, "k"),
        ({"user_id": "u", "k": True}, "k"),
        ({"user_id": ""}, "user_id"),
        ({"user_id": "x" * 129}, "user_id"),
        ({"user_id": "a\nb"}, "user_id"),
        ({"user_id": "u", "kinds": ["film"]}, "kinds.0"),
        ({"user_id": "u", "context": {"age": -1}}, "context.age"),
        ({"user_id": "u", "exclude": ["v"] * 1001}, "exclude"),
        ({"user_id": "u", "filters": {"most_price": -1}}, "filters.most_price"),
        ({"user_id": "u", "filters": {"category": ["mugs"]}}, "filters.category"),
        ({"user_id": "u", "surface": "Feed/.."}, "surface"),
        ({"user_id": "u", "session_id": "s"}, "session_id"),
        ({"k": 5}, "body"),
        ([], "body"),
    ],
)
def test_what_is_wrong_is_named_with_its_field(made, ask, where):
    app, _ = made()
    reply = call_json(app, "POST", "/v1/recommend", ask)
    assert (reply.status, reply.headers["content-type"]) == (422, "application/problem+json")
    said = reply.json
    assert [one["where"] for one in said["errors"]] == [where]
    assert (said["status"], said["type"]) == (422, "urn:vrec:problem:invalid-request")
    assert said["request_id"] == reply.headers["x-request-id"]


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        *(("/v1/recommend", body, "body: must be a JSON object") for body in ([], "x", 5)),
        *(("/v1/events", body, "body: must be a JSON object") for body in ([], "x")),
        ("/v1/events", {"events": [5]}, "events.0: must be a JSON object"),
        ("/v1/search", [], "body: must be a JSON object"),
        ("/v1/recommend", {}, "body: give either user_id or session_id"),
        (
            "/v1/recommend",
            {"user_id": "u", "session_id": "s"},
            "session_id: give only one of user_id and session_id",
        ),
    ],
)
def test_what_is_wrong_with_a_body_is_said(made, path, body, error):
    app, _ = made()
    reply = call_json(app, "POST", path, body)
    assert reply.status == 422
    assert [f"{one['where']}: {one['detail']}" for one in reply.json["errors"]] == [error]


def test_every_wrong_field_is_named_at_once(made):
    app, _ = made()
    reply = call_json(app, "POST", "/v1/recommend", {"user_id": "", "k": 0, "extra": 1})
    assert {one["where"] for one in reply.json["errors"]} == {"user_id", "k", "extra"}


def test_arms_share_shoppers_as_configured_and_always_alike(made):
    shares = {"ranked": 0.7, "popular": 0.3}
    arms = [{"name": name, "share": share, "order": name} for name, share in shares.items()]
    app, shop = made(arms={"arms": arms})
    given = [assign_arm(f"user-{n}", shop.arm_counts._config).name for n in range(20_000)]
    assert abs(given.count("popular") / 20_000 - 0.3) < 0.01
    for n in range(20):
        said = call_json(app, "POST", "/v1/recommend", {"user_id": f"user-{n}"}).json
        assert (said["arm"], said["arm_share"]) == (given[n], shares[given[n]])
        assert shop.asks[-1].order == given[n]


def test_times_are_in_microseconds_and_the_total_in_milliseconds(made):
    app, shop = made()
    seen = []
    for name in ("similar", "search"):
        whole = getattr(shop, name)

        async def call_with(*arguments, whole=whole):
            seen.append(arguments[-1])
            return await whole(*arguments)

        setattr(shop, name, call_with)
    before = time.time()
    call(app, "GET", "/v1/videos/mugs%2F1/similar")
    call_json(app, "POST", "/v1/search", {"text": "red"})
    shop.slow_s = 0.05
    spent = call_json(app, "POST", "/v1/recommend", {"user_id": "u"}).json["spent_ms"]
    after = time.time()
    assert all(before <= at / 1e6 <= after for at in [*seen, shop.asks[0].at])
    assert 50 <= spent["total"] <= (after - before) * 1e3
    assert spent["ranker"] == 1.0


@pytest.mark.parametrize("degraded", [(), ("profiles",)])
def test_a_list_without_cards_says_so_after_what_else_was_unavailable(made, degraded):
    app, shop = made()
    whole = shop.recommend

    async def recommend(query):
        return replace(await whole(query), degraded=degraded)

    async def cards(video_ids):
        raise BackendUnavailable("killed")

    shop.recommend, shop.cards = recommend, cards
    reply = call_json(app, "POST", "/v1/recommend", {"user_id": "u", "k": 2})
    assert (reply.status, reply.json["why"]) == (200, [*degraded, "cards"])
    assert [item["title"] for item in reply.json["items"]] == [None, None]
    found = call_json(app, "POST", "/v1/search", {"text": "red"}).json
    assert (found["degraded"], found["why"]) == (True, ["cards"])


def test_a_fallback_that_says_what_failed_keeps_its_word_and_another_says_ranking(made):
    app, shop = made()
    shop.away = BackendUnavailable("killed")
    whole = shop.fallback
    for degraded, why in (((), ["ranking"]), (("ranking", "profiles"), ["ranking", "profiles"])):
        shop.fallback = lambda query, degraded=degraded: replace(whole(query), degraded=degraded)
        assert call_json(app, "POST", "/v1/recommend", {"user_id": "u"}).json["why"] == why


def test_k_limits_similar_videos_and_has_bounds(made):
    app, _ = made()
    counts = [len(call(app, "GET", f"/v1/videos/mugs%2F1/similar?k={k}").json["items"]) for k in (1, 3, 100)]
    assert counts == [1, 3, 3]
    for k in ("0", "101", "x"):
        reply = call(app, "GET", f"/v1/videos/mugs%2F1/similar?k={k}")
        assert (reply.status, reply.json["errors"][0]["where"]) == (422, "k")


def test_no_cards_are_requested_for_an_empty_list(made):
    app, shop = made()

    async def cards(video_ids):
        raise AssertionError(video_ids)

    shop.cards = cards
    body = {"text": "red", "exclude": list(shop.cards_now)}
    assert call_json(app, "POST", "/v1/search", body).json["items"] == []
