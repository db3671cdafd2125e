"""The console over a small shop, and a browser of plain requests with cookies."""

import html
import re
from urllib.parse import urlencode

import pytest

from tests.serving.http.client import call
from tests.serving.http.conftest import made  # noqa: F401  a fixture
from vrec.serving.http.keys import create_key


class Reader:
    """Sends requests with the cookies that the console has set, as a browser does."""

    def __init__(self, app, **headers):
        self.app, self.cookies, self.headers = app, {}, headers

    def get(self, path, **more):
        return self._send("GET", path, b"", more)

    def post(self, path, fields, page=None, **more):
        """Send a form with the token of a page; without one, with that of the console's first page."""
        given = dict(fields)
        if "token" not in given:
            given["token"] = self.token(page or "/console/sign-in")
        kind = {"content-type": "application/x-www-form-urlencoded", "origin": "http://shop.test"}
        return self._send("POST", path, urlencode(given).encode(), kind | more)

    def token(self, page):
        found = re.search(rb'name="token" value="([^"]*)"', self.get(page).body)
        if found is None:
            found = re.search(rb'name="token" value="([^"]*)"', self.get("/console").body)
        return found[1].decode()

    def _send(self, method, path, body, headers):
        cookies = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        reply = call(
            self.app, method, path, body, {**self.headers, **(cookies if self.cookies else {}), **headers}
        )
        if "set-cookie" in reply.headers:
            name, _, value = reply.headers["set-cookie"].partition(";")[0].partition("=")
            self.cookies[name] = value
        return reply


def text(reply):
    """The page without its tags."""
    return html.unescape(re.sub(r"<[^>]*>", " ", reply.body.decode()))


@pytest.fixture
def keyed_console(made):  # noqa: F811
    """Return the app, its shop and the secrets of two keys by name: `ann` may manage, `shop` may not."""
    (ann, ann_entry), (shop_key, shop_entry) = create_key("ann:manage"), create_key("shop:read+events")
    app, shop = made({"VREC_API_KEYS": f"{ann_entry},{shop_entry}"})
    return app, shop, {"ann": ann, "shop": shop_key}


@pytest.fixture
def reader(keyed_console):
    """A reader who is signed in."""
    app, _, secrets = keyed_console
    reader = Reader(app)
    assert reader.post("/console/sign-in", {"key": secrets["ann"]}).status == 303
    return reader
