"""Routes of moments: what they answer, and each bad input."""

import io

import pytest
from PIL import Image

from tests.serving.http.client import call as call_raw
from tests.serving.http.client import call_json as call
from tests.serving.http.client import form

PICTURE = io.BytesIO()
Image.new("RGB", (64, 48), (200, 10, 10)).save(PICTURE, "PNG")
PICTURE = PICTURE.getvalue()


def by_file(app, content=PICTURE, **fields):
    return call_raw(app, "POST", "/v1/moments:by-file", *form(list(fields.items()), content))


def test_moments_of_a_video_by_words(made):
    app, shop = made()
    name, card = next((n, c) for n, c in shop.cards_now.items() if c["title"])
    word = card["title"].split()[0]
    reply = call(app, "GET", f"/v1/videos/{name.replace('/', '%2F')}/moments?q={word}")
    assert reply.status == 200
    (moment,) = reply.json["moments"]
    assert (moment["video_id"], moment["source"], moment["title"]) == (name, "words", card["title"])
    assert (moment["start_s"], moment["end_s"]) == (1.0, 2.5)
    assert call(app, "GET", f"/v1/videos/{name.replace('/', '%2F')}/moments?q=qqq").json["moments"] == []


def test_moments_like_some_seconds_of_a_video(made):
    app, shop = made()
    name = next(iter(shop.cards_now))
    reply = call(app, "POST", "/v1/moments:search", {"video_id": name, "start_s": 0, "end_s": 2, "k": 3})
    assert reply.status == 200
    assert len(reply.json["moments"]) == 3
    assert name not in [moment["video_id"] for moment in reply.json["moments"]]


def test_moments_like_a_picture(made):
    reply = by_file(made()[0], k="2")
    assert reply.status == 200
    assert [moment["source"] for moment in reply.json["moments"]] == ["picture"] * 2


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "name"),
    [
        ("GET", "/v1/videos/none/moments?q=zip", None, 404, "unknown-video"),
        ("GET", "/v1/videos/mugs%2F1/moments", None, 422, "invalid-request"),
        ("GET", "/v1/videos/mugs%2F1/moments?q=zip&k=0", None, 422, "invalid-request"),
        ("POST", "/v1/moments:search", {"video_id": "none", "start_s": 0, "end_s": 1}, 404, "unknown-video"),
        (
            "POST",
            "/v1/moments:search",
            {"video_id": "mugs/1", "start_s": 3, "end_s": 1},
            422,
            "invalid-request",
        ),
        (
            "POST",
            "/v1/moments:search",
            {"video_id": "mugs/1", "start_s": -1, "end_s": 1},
            422,
            "invalid-request",
        ),
        ("POST", "/v1/moments:search", {"video_id": "mugs/1"}, 422, "invalid-request"),
    ],
)
def test_bad_input_is_named(made, method, path, body, status, name):
    reply = call(made()[0], method, path, body)
    assert (reply.status, reply.json["type"]) == (status, f"urn:vrec:problem:{name}")


@pytest.mark.parametrize(
    ("content", "fields", "status", "name"),
    [
        (PICTURE[:60], {}, 422, "unusable-video"),
        (b"", {}, 422, "invalid-form"),
        (PICTURE, {"k": "0"}, 422, "invalid-request"),
        (PICTURE, {"k": "many"}, 422, "invalid-request"),
        (PICTURE, {"by": "smell"}, 422, "invalid-request"),
        (PICTURE, {"expression": "and and"}, 422, "invalid-request"),
        (b"\x00" * 40_000, {}, 413, "too-large"),
    ],
)
def test_bad_files_are_named(made, content, fields, status, name):
    app, _ = made(security={"most_example_bytes": 20_000})
    reply = by_file(app, content, **fields)
    assert (reply.status, reply.json["type"]) == (status, f"urn:vrec:problem:{name}")


def test_json_is_no_file(made):
    assert call(made()[0], "POST", "/v1/moments:by-file", {"k": 1}).status == 415


def test_a_bundle_without_moments_says_so(made):
    app, shop = made()
    shop.has_moments = False
    for reply in (
        call(app, "GET", "/v1/videos/mugs%2F1/moments?q=zip"),
        call(app, "POST", "/v1/moments:search", {"video_id": "mugs/1", "start_s": 0, "end_s": 2}),
        by_file(app),
    ):
        assert (reply.status, reply.json["type"]) == (404, "urn:vrec:problem:no-moments")
        assert "--moments" in reply.json["detail"]


def test_a_search_has_moments_if_they_are_wanted(made):
    app, shop = made()
    title = next(card["title"] for card in shop.cards_now.values() if card["title"])
    plain = call(app, "POST", "/v1/search", {"text": title})
    assert all("moments" not in item for item in plain.json["items"])
    reply = call(app, "POST", "/v1/search", {"text": title, "moments": True})
    assert [item["video_id"] for item in reply.json["items"]] == [i["video_id"] for i in plain.json["items"]]
    assert reply.json["items"][0]["moments"] == [
        {"start_s": 1.0, "end_s": 2.5, "source": "words", "score": 0.5, "text": title}
    ]
    shop.has_moments = False
    reply = call(app, "POST", "/v1/search", {"text": title, "moments": True})
    assert all(item["moments"] == [] for item in reply.json["items"])
