"""Response bodies: positions, missing cards, texts of reasons, and JSON without NaN."""

import json
import math

from vrec.serving.http.schemas.responses import (
    RecommendedItem,
    add_explanation,
    json_response,
    list_response,
    mentioned_video_ids,
)
from vrec.serving.messages import ListItem, ListResult


def item(video_id, *reasons, score=1.0):
    return ListItem(video_id, score, 0.1, 2.5, 0.02, 0.7, reasons, "cf", 0.25)


def card(title, **more):
    return {"title": title, "kind": "clip", "creator_id": "ann", "category": None, "tags": ["a"],
            "price": 2.0, "duration_s": 3.0} | more  # fmt: skip


def test_a_list_has_every_field_of_its_items_and_positions_from_zero():
    result = ListResult((item("v1"), item("v2")), "b-1", spent_ms={"ranker": 1.5})
    body = list_response(result, {"v1": card("One")}, "r-1", "EUR")
    assert (body["request_id"], body["bundle"], body["spent_ms"]) == ("r-1", "b-1", {"ranker": 1.5})
    assert (body["degraded"], body["why"]) == (False, [])
    assert body["items"][0] == {
        "video_id": "v1", "position": 0, "score": 1.0, "p_click": 0.1, "watch_s": 2.5, "p_conv": 0.02,
        "utility": 0.7, "propensity": 0.25, "source": "cf", "reasons": [], "rules": [], "title": "One",
        "kind": "clip", "creator_id": "ann", "category": None, "tags": ["a"], "price": 2.0, "duration_s": 3.0,
    }  # fmt: skip
    assert body["items"][1]["position"] == 1
    assert body["items"][1]["title"] is None
    assert body["items"][1]["tags"] == []
    optional = {"scores", "live", "moments"}
    assert all(set(one) == set(RecommendedItem.model_fields) - optional for one in body["items"])


def test_a_later_page_goes_on_with_positions_and_an_explanation_adds_scores_and_barred_videos():
    result = ListResult(
        (item("v1"), item("v2")), "b-1", scores=({"cf": 1.0}, {}), barred=(("v3", "seen"),) * 101
    )
    body = list_response(result, {}, "r-1", "EUR", 20)
    assert [one["position"] for one in body["items"]] == [20, 21]
    add_explanation(body, result)
    assert [one["scores"] for one in body["items"]] == [{"cf": 1.0}, {}]
    assert body["barred"] == [{"video_id": "v3", "rule": "seen"}] * 100


def test_a_degraded_list_says_why():
    body = list_response(ListResult((), "b", ("profiles", "cards")), {}, "r", "EUR")
    assert (body["degraded"], body["why"], body["items"]) == (True, ["profiles", "cards"], [])


def test_reasons_name_watched_videos_by_title_and_never_by_id():
    cards = {"v1": card("One"), "v2": card("Two"), "v3": card(None)}
    result = ListResult((item("v1", "watched:v2", "watched:v3", "watched:v4", "popular"),), "b")
    (one,) = list_response(result, cards, "r", "EUR")["items"]
    assert [reason["code"] for reason in one["reasons"]] == [
        "watched:v2", "watched:v3", "watched:v4", "popular",
    ]  # fmt: skip
    assert [reason["text"] for reason in one["reasons"]] == [
        "because you watched Two",
        "because of a video that you watched",
        "because of a video that you watched",
        "because it is popular",
    ]


def test_a_creator_with_the_id_of_a_video_is_not_named_by_its_title():
    result = ListResult((item("ann", "creator:ann"),), "b")
    (one,) = list_response(result, {"ann": card("A blue mug")}, "r", "EUR")["items"]
    assert one["reasons"][0]["text"] == "because you like this creator's videos"


def test_mentioned_videos_are_listed_once_in_order():
    result = ListResult((item("b", "watched:x:1", "creator:y"), item("a", "watched:b", "watched:x:1")), "v")
    assert mentioned_video_ids(result) == ["b", "a", "x:1"]
    assert mentioned_video_ids(ListResult((), "v")) == []


def test_numbers_that_json_lacks_are_null():
    response = json_response({"a": math.nan, "b": -math.inf, "c": 0.5}, 202, {"x-a": "1"})
    assert json.loads(response.body) == {"a": None, "b": None, "c": 0.5}
    assert (response.status_code, response.headers["x-a"]) == (202, "1")
    assert response.headers["content-type"] == "application/json"
