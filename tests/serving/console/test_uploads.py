"""Refused uploads: in the audit log and in the console, with video, time and reason, without bodies."""

import json

import pytest

from tests.films import numbered, write_video
from tests.serving.console.conftest import Reader, text
from tests.serving.http.client import call, call_json, form
from vrec.serving.console.pages import uploads as module

PAGE = "/console/catalog/uploads"


@pytest.fixture
def shop(made, tmp_path):
    """An app without keys whose shop reads videos from a folder, and the folder."""
    folder = tmp_path / "media"
    folder.mkdir()
    app, _ = made(security={"media_roots": [str(folder)]})
    return app, folder


def upload(app, data, **fields):
    body, headers = form([("creator_id", "me"), *fields.items()], data)
    return call(app, "POST", "/v1/uploads", body, headers)


def reasons(app):
    entries = call(app, "GET", "/v1/audit?limit=100").json["entries"]
    return [
        (one["target"].get("video_id"), one["status"], one["reason"])
        for one in entries
        if one["operation"] in ("upload_video", "add_video")
    ]


def test_each_refusal_is_listed_with_its_video_and_reason(shop):
    app, folder = shop
    write_video(folder / "good.mp4", [numbered(n) for n in range(4)])
    assert (
        upload(app, (folder / "good.mp4").read_bytes(), video_id="good", title="secret title").status == 201
    )
    assert upload(app, b"%PDF-1.7 " * 20, video_id="pdf", title="secret title").status == 422
    body = {"uri": str(folder / "none.mp4"), "creator_id": "me", "video_id": "none", "title": "secret title"}
    assert call_json(app, "POST", "/v1/videos", body).status == 422
    elsewhere = body | {"uri": "https://user:password@host/x.mp4?token=abc", "video_id": "far"}
    assert call_json(app, "POST", "/v1/videos", elsewhere).status == 422
    assert upload(app, (folder / "good.mp4").read_bytes(), video_id="good").status == 409
    assert call_json(app, "POST", "/v1/videos", {"creator_id": "me", "price": "secret"}).status == 422
    found = reasons(app)
    assert [(name, status) for name, status, _ in found] == [
        (None, 422), ("good", 409), ("far", 422), ("none", 422), ("pdf", 422), ("good", 201),
    ]  # fmt: skip
    invalid, taken, far, missing, pdf, good = (reason for _, _, reason in found)
    assert invalid.startswith("invalid-request: price: ")
    assert "uri: Field required" in invalid
    assert taken.startswith("id-taken: ")
    assert far.startswith("unreachable-video: ")
    assert missing.startswith("unusable-video: UnreachableVideo")
    assert pdf.startswith("unusable-video: WrongContainer: the file is ")
    assert good is None
    assert not [word for word in ("secret", "password", "abc") if word in json.dumps(found)]
    page = Reader(app).get(PAGE)
    words = text(page)
    assert page.body.count(b'<th scope="row">') == 5
    assert words.index("without an id") < words.index("far") < words.index("pdf")
    assert "WrongContainer" in words
    assert "secret" not in words


def test_other_refusals_have_no_reason(shop):
    app, _ = shop
    assert call(app, "DELETE", "/v1/rules/none").status == 404
    entry = call(app, "GET", "/v1/audit?limit=1").json["entries"][0]
    assert (entry["operation"], entry["reason"]) == ("remove_rule", None)
    call_json(app, "POST", "/v1/bundles:move", {"bundle": "none"})
    assert "unknown-bundle" in call(app, "GET", "/v1/audit?limit=1").json["entries"][0]["reason"]


def test_only_the_last_ones_are_shown_and_the_search_ends(shop, monkeypatch):
    app, _ = shop
    monkeypatch.setattr(module, "MAX_UPLOADS", 3)
    monkeypatch.setattr(module, "ENTRIES_AT_ONCE", 2)
    monkeypatch.setattr(module, "MAX_ENTRIES", 8)
    reader = Reader(app)
    assert "No upload was refused lately" in text(reader.get(PAGE))
    for number in range(5):
        call_json(app, "POST", "/v1/videos", {"creator_id": "me", "uri": "/x.mp4", "video_id": f"v{number}"})
    words = text(reader.get(PAGE))
    assert [f"v{n}" in words for n in range(5)] == [False, False, True, True, True]
    for _ in range(8):
        call(app, "GET", "/v1/rules")
    assert "No upload was refused lately" in text(reader.get(PAGE))


def test_a_reason_is_a_text_and_no_code(shop):
    app, _ = shop
    hostile = "<script>alert(1)</script>"
    call_json(app, "POST", "/v1/videos", {"creator_id": "me", "uri": f"/{hostile}.mp4", "video_id": hostile})
    page = Reader(app).get(PAGE)
    assert b"<script>alert" not in page.body
    assert hostile in text(page)
