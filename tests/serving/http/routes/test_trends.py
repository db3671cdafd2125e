"""Trending videos and popular searches over HTTP."""

import asyncio

import pytest

from tests.serving.http.client import call, call_json


def choose(app, user, video, kind="click"):
    body = {"event_id": f"{user}-{video}-{kind}", "user_id": user, "video_id": video, "kind": kind}
    assert call_json(app, "POST", "/v1/events", body).status == 202


def listed(app, query=""):
    answer = call(app, "GET", f"/v1/trending{query}")
    assert answer.status == 200, answer.body
    return [item["video_id"] for item in answer.json["items"]]


def test_what_shoppers_choose_now_is_listed_with_its_numbers(made):
    app, _ = made()
    for n in range(4):
        choose(app, f"u{n}", "mugs/1")
    for n in range(2):
        choose(app, f"u{n}", "hats/1", "like")
    choose(app, "u9", "mugs/2")
    answer = call(app, "GET", "/v1/trending?window=1h").json
    assert (answer["window"], answer["complete"], answer["degraded"]) == ("1h", True, False)
    first, second = answer["items"]
    assert (first["video_id"], first["position"], first["title"]) == ("mugs/1", 0, "A blue mug")
    assert first["scores"] == {"shoppers": 4.0, "expected": 0.0}
    assert first["score"] == pytest.approx(4 / 10**0.5)
    assert (second["video_id"], second["source"]) == ("hats/1", "trending")
    assert listed(app, "?k=1") == ["mugs/1"]
    assert listed(app, "?categories=hats&categories=jars") == ["hats/1"]
    assert listed(app, "?kinds=clip") == ["hats/1"]
    assert listed(app, "?most_price=20") == ["mugs/1"]
    choose(app, "u0", "hats/1", "unlike")
    assert listed(app) == ["mugs/1"]
    assert call(app, "DELETE", "/v1/profiles/u1").json["erased"] == 2
    assert call(app, "GET", "/v1/trending").json["items"][0]["scores"]["shoppers"] == 3.0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("window=2h", "window"), ("window=", "window"), ("k=0", "k"), ("k=101", "k"), ("k=x", "k"),
        ("kinds=film", "kinds.0"), ("expression=price", "expression"), ("most_price=-1", "most_price"),
        ("windows=1h", "windows"), ("window=1h&window=7d", "window"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(made, query, field):
    app, _ = made()
    answer = call(app, "GET", f"/v1/trending?{query}")
    assert answer.status == 422
    assert answer.json["type"] == "urn:vrec:problem:invalid-request"
    assert [one["where"] for one in answer.json["errors"]] == [field]


def test_reading_needs_the_scope(keyed):
    app, _, headers = keyed
    assert call(app, "GET", "/v1/trending", headers=headers["read"]).status == 200
    assert call(app, "GET", "/v1/trending", headers=headers["events"]).status == 403
    assert call(app, "GET", "/v1/trending").status == 401


def search(app, text, shopper):
    return call_json(app, "POST", "/v1/search", {"text": text} | shopper)


def popular(app, query=""):
    answer = call(app, "GET", f"/v1/searches/popular{query}")
    assert answer.status == 200, answer.body
    return [(one["text"], one["shoppers"]) for one in answer.json["searches"]]


def test_what_many_shoppers_search_and_find_is_listed(made):
    app, shop = made(searches={"min_shoppers": 2})
    for n in range(3):
        assert search(app, "Red MUG", {"user_id": f"u{n}"}).status == 200
        search(app, "hat", {"session_id": f"s{n % 2}"})
        search(app, "mug", {})  # of nobody
        search(app, "rhinoceros", {"user_id": f"u{n}"})  # found nothing
        search(app, "a blue mug", {"user_id": "u1"})  # of one shopper
    asyncio.run(shop.searches.write())
    assert popular(app) == [("red mug", 3), ("hat", 2)]
    assert popular(app, "?k=1&window=1h") == [("red mug", 3)]
    assert popular(made()[0]) == []


def test_an_account_counts_before_a_session(made):
    app, shop = made(searches={"min_shoppers": 2})
    for session in "abc":
        assert search(app, "mug", {"user_id": "u", "session_id": session}).status == 200
        search(app, "hat", {"user_id": session, "session_id": "s"})
    asyncio.run(shop.searches.write())
    assert popular(app) == [("hat", 3)]


@pytest.mark.parametrize(
    ("query", "field"), [("window=2h", "window"), ("k=0", "k"), ("window=1h&windows=1h", "windows")]
)
def test_what_is_wrong_with_a_question_for_searches_is_named(made, query, field):
    answer = call(made()[0], "GET", f"/v1/searches/popular?{query}")
    assert (answer.status, [one["where"] for one in answer.json["errors"]]) == (422, [field])
