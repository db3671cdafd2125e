"""Bundles in the console: the list, its figures, and moves that cannot begin."""

import json
import shutil
import time
from dataclasses import replace

import pytest

from tests.serving.console.conftest import Reader, text
from vrec.core.tables import MANIFEST
from vrec.serving.bundle_moves import BundleMove, write_move


@pytest.fixture
def reader(made, tmp_path, shop_bundle):
    """A reader of a console with two bundles and a folder without one; `reader.shop` is the shop."""
    folder = tmp_path / "bundles"
    for name, made_at in (("summer", 1), ("winter", 1_760_000_000_000_000)):
        shutil.copytree(shop_bundle.uri, folder / name)
        file = folder / name / MANIFEST
        manifest = json.loads(file.read_text())
        manifest["data"]["made_at"], manifest["metrics"] = made_at, {"ranker": {"test": {"auc": 0.75}}}
        file.write_text(json.dumps(manifest))
    (folder / "broken").mkdir()
    app, shop = made(bundles=str(folder), data=str(tmp_path / "data"))
    reader = Reader(app)
    reader.shop = shop
    return reader


def test_the_page_lists_bundles_with_their_figures(reader, shop_bundle):
    page = reader.get("/console/bundles")
    assert page.status == 200
    words = text(page)
    assert words.index("winter") < words.index("summer") < words.index("broken")
    assert "2025-10-09" in words
    assert "cannot be read" in words
    assert words.count("test.auc") == 2
    assert page.body.count(b'action="/console/bundles/move"') == 2, "none for the broken one"
    # The one in service has no button, the one before it rolls back.
    state = replace(reader.shop.state, version=shop_bundle.version)
    reader.shop.state = state
    assert reader.get("/console/bundles").body.count(b'action="/console/bundles/move"') == 1
    reader.shop.state = replace(state, version="other", previous=shop_bundle.version)
    assert "Roll back" in text(reader.get("/console/bundles"))
    assert "数据" not in text(reader.get("/console/bundles", **{"accept-language": "zh"}))
    assert "回退" in text(reader.get("/console/bundles", **{"accept-language": "zh"}))


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("winter", 409, "was not started by"),
        ("broken", 422, "cannot be read"),
        ("none", 404, "no bundle of this"),
    ],
)
def test_a_move_that_cannot_begin_is_said_on_the_page(reader, name, status, words):
    reply = reader.post("/console/bundles/move", {"bundle": name}, page="/console/bundles")
    assert (reply.status, words in text(reply)) == (status, True), text(reply)


def test_a_move_that_failed_says_why(reader, tmp_path):
    move = BundleMove("winter", "failed", time.time_ns() // 1000, 5, "<b>no room</b>")
    write_move(str(tmp_path / "data"), move)
    page = reader.get("/console/bundles")
    assert b"&lt;b&gt;no room" in page.body
    assert "The move to winter" in text(page)


def test_without_a_folder_the_page_names_the_setting(made):
    app, _ = made()
    assert "serve.bundles" in text(Reader(app).get("/console/bundles"))


def test_a_folder_that_does_not_exist_is_not_called_empty(made, tmp_path):
    app, _ = made(bundles=str(tmp_path / "none"))
    words = text(Reader(app).get("/console/bundles"))
    assert "does not exist (serve.bundles)" in words
    assert "is empty" not in words
    (tmp_path / "none").mkdir()
    assert "is empty" in text(Reader(app).get("/console/bundles"))
