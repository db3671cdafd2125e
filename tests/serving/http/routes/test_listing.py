"""Listing the catalog over HTTP: pages, filters, one video, and cursors that are not of this request."""

from urllib.parse import quote

import pytest

from tests.serving.http.client import call
from vrec.serving.http.cursors import decode_cursor, encode_cursor
from vrec.serving.http.errors import HttpProblem


def ids(reply):
    assert reply.status == 200, reply.body
    return [one["video_id"] for one in reply.json["videos"]]


def test_pages_follow_each_other_to_the_end(made):
    app, shop = made()
    first = call(app, "GET", "/v1/videos?limit=3")
    assert (ids(first), first.json["found"]) == (["hats/1", "hats/2", "mugs/1"], 4)
    del shop.cards_now["mugs/1"]
    cursor = first.json["next_cursor"]
    second = call(app, "GET", f"/v1/videos?limit=2&cursor={cursor}")
    assert (ids(second), second.json["next_cursor"]) == (["mugs/2"], None)


def test_filters_are_those_of_lists_and_unavailable_videos_are_there_too(made):
    app, shop = made()
    shop.cards_now["mugs/2"]["available"] = False
    assert ids(call(app, "GET", "/v1/videos?categories=mugs&categories=toys")) == ["mugs/1", "mugs/2"]
    assert ids(call(app, "GET", "/v1/videos?available=false")) == ["mugs/2"]
    assert ids(call(app, "GET", "/v1/videos?kinds=clip&most_price=60")) == ["hats/1"]
    assert ids(call(app, "GET", "/v1/videos?text=red%20HAT")) == ["hats/1"]


def test_one_video_comes_with_all_its_fields_and_why_no_list_has_it(made):
    app, shop = made()
    shop.cards_now["mugs/2"]["available"] = False
    found = call(app, "GET", "/v1/videos/mugs%2F2").json
    assert {name: found[name] for name in shop.cards_now["mugs/2"]} == shop.cards_now["mugs/2"]
    assert (found["recommendable"], found["why_not"]) == (False, ["unavailable"])
    assert call(app, "GET", "/v1/videos/mugs%2F1").json["recommendable"]
    missing = call(app, "GET", "/v1/videos/none")
    assert (missing.status, missing.json["type"]) == (404, "urn:vrec:problem:unknown-video")


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=x", "limit"),
        ("kinds=film", "kinds.0"),
        ("most_price=-1", "most_price"),
        ("most_price=nan", "most_price"),
        ("available=perhaps", "available"),
        ("text=", "text"),
        ("&".join(["tags=x"] * 51), "tags"),
        ("cursor=abc", "cursor"),
        ("cursor=", "cursor"),
        ("expression=kind%20%3D%20%22film%22", "expression"),
        ("cursor=%F0%9F%98%80", "cursor"),
        ("cursor=" + "A" * 65_537, "cursor"),
    ],
)
def test_a_bad_query_is_refused_by_the_name_of_its_field(made, query, where):
    reply = call(made()[0], "GET", f"/v1/videos?{query}")
    assert reply.status == 422, reply.body
    assert [one["where"] for one in reply.json["errors"]] == [where]


def test_a_cursor_of_another_request_is_refused(made):
    app, _ = made()
    cursor = call(app, "GET", "/v1/videos?limit=1&categories=mugs").json["next_cursor"]
    reply = call(app, "GET", f"/v1/videos?cursor={quote(cursor)}")
    assert (reply.status, reply.json["errors"][0]["where"]) == (422, "cursor")
    assert "another request" in reply.json["errors"][0]["detail"]
    # The size of a page may differ.
    assert ids(call(app, "GET", f"/v1/videos?limit=9&categories=mugs&cursor={quote(cursor)}")) == ["mugs/2"]


def test_a_cursor_gives_back_what_it_holds_and_refuses_what_is_not_one():
    cursor = encode_cursor(("list", 1), "mugs/ü")
    assert decode_cursor(cursor, ("list", 1), str, "cursor") == "mugs/ü"
    bomb = encode_cursor((), "x" * 5_000_000)
    for text, request, kind in ((cursor, ("list", 2), str), (cursor, ("list", 1), list), (bomb, (), str),
                                (cursor[:-4], ("list", 1), str), ("é", (), str)):  # fmt: skip
        with pytest.raises(HttpProblem) as found:
            decode_cursor(text, request, kind, "page.cursor")
        assert found.value.errors[0].where == "page.cursor"
