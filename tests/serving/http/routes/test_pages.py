"""The page, media, health and metrics."""

import pytest

from tests.serving.http.client import call
from vrec.serving.deployments.service_state import ServiceReadiness
from vrec.serving.http.routes import pages


@pytest.fixture
def web(tmp_path, monkeypatch):
    """Folder of a page beside files that do not belong to it."""
    folder = tmp_path / "web"
    (folder / "lib").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>shop</title>")
    (folder / "lib" / "app.js").write_text("let a = 1")
    (folder / "style.css").write_text("body {}")
    (folder / "notes.py").write_text("secret = 1")
    (folder / ".hidden").write_text("secret")
    (tmp_path / "outside.js").write_text("secret")
    (folder / "link.js").symlink_to(tmp_path / "outside.js")
    monkeypatch.setattr(pages, "WEB", folder)
    return folder


def test_the_page_is_given_with_types_and_a_policy(web, made):
    app, _ = made()
    kinds = {
        "/": "text/html",
        "/index.html": "text/html",
        "/lib/app.js": "text/javascript",
        "/style.css": "text/css",
    }
    for path, kind in kinds.items():
        reply = call(app, "GET", path)
        assert reply.status == 200
        assert reply.headers["content-type"].startswith(kind)
        policy = reply.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert call(app, "HEAD", path).headers["content-length"] == reply.headers["content-length"]
    assert call(app, "GET", "/").body.startswith(b"<!doctype html>")


@pytest.mark.parametrize(
    "path", ["/lib", "/lib/", "/notes.py", "/.hidden", "/link.js", "/../outside.js", "/%2e%2e/outside.js",
             "/lib/../notes.py", "//etc/passwd", "/lib%5c..%5cnotes.py"],
)  # fmt: skip
def test_nothing_but_the_page_is_given(web, made, path):
    app, _ = made()
    reply = call(app, "GET", path)
    assert reply.status == 404 or reply.headers.get("location")
    assert b"secret" not in reply.body


def test_metrics_are_what_the_service_says(made):
    app, _ = made()
    reply = call(app, "GET", "/metrics")
    assert (reply.status, reply.body) == (200, b"vrec_up 1\n")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_ready_says_which_part_is_not(made):
    app, shop = made()
    assert call(app, "GET", "/readyz").json == {
        "ready": True,
        "bundle": "shop-1",
        "parts": {"ranking": None},
        "refused": None,
    }
    shop.away = OSError("gone")
    reply = call(app, "GET", "/readyz")
    assert (reply.status, reply.json["ready"], reply.json["parts"]) == (
        503,
        False,
        {"ranking": "gone in /srv"},
    )


def test_a_refused_bundle_is_ready_and_its_reason_is_for_callers_with_a_key(keyed):
    app, shop, headers = keyed

    async def ready():
        return ServiceReadiness("shop-1", {"ranking": None}, "bundle /srv/new is damaged")

    shop.ready = ready
    reply = call(app, "GET", "/readyz")
    assert (reply.status, reply.json["ready"], reply.json["refused"]) == (200, True, "refused")
    reply = call(app, "GET", "/readyz", headers=headers["read"])
    assert reply.json["refused"] == "bundle /srv/new is damaged"


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"\0\0\0\x18ftypmp42", "video/mp4"),
        (b"\0\0\0\x14ftypqt  ", "video/quicktime"),
        (b"\x1aE\xdf\xa3\0\0webm", "video/webm"),
        (b"RIFF\0\0\0\0AVI ", "video/x-msvideo"),
    ],
)
def test_media_have_the_type_of_their_bytes_and_may_be_cached_by_the_browser(
    made, tmp_path, head, media_type
):
    app, shop = made()
    path = tmp_path / "file.bin"
    path.write_bytes(head + b"\0" * 9_000)
    shop.cards_now["mugs/1"]["uri"] = str(path)
    reply = call(app, "GET", "/media/mugs%2F1")
    assert (reply.status, reply.headers["content-type"]) == (200, media_type)
    assert reply.headers["cache-control"] == "private, max-age=3600"
    assert reply.headers["content-security-policy"].startswith("default-src 'none'; media-src 'self'")
    path.write_bytes(b"")
    assert call(app, "GET", "/media/mugs%2F1").json["type"] == "urn:vrec:problem:no-media"


def test_an_unknown_video_has_no_media(made):
    app, _ = made()
    assert call(app, "GET", "/media/none").json["type"] == "urn:vrec:problem:no-media"


def test_every_file_of_the_page_is_served_and_loads_nothing_from_elsewhere(made):
    app, _ = made()
    files = [path for path in pages.WEB.iterdir() if path.is_file()]
    assert {"index.html", "main.js", "style.css", "icon.svg"} <= {path.name for path in files}
    for path in files:
        reply = call(app, "GET", f"/{path.name}")
        assert (reply.status, reply.body) == (200, path.read_bytes())
        assert reply.headers["cache-control"] == "no-cache"
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text
