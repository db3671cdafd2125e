"""What browsers and watching machines get."""

import pytest

from tests.serving.http.client import call
from vrec.serving.http.routes import pages


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A folder of a page, beside something that is no part of it."""
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
