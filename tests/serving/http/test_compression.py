"""Compression of JSON and page, and conditional requests."""

import gzip
import os
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.serving.http.client import call, call_json
from vrec.serving.http.compression import MIN_BYTES, accepts_gzip
from vrec.serving.http.routes import pages

GZIP = {"accept-encoding": "gzip, deflate, br, zstd"}
LIST = ("POST", "/v1/recommend", {"user_id": "u"})


@pytest.mark.parametrize(
    ("values", "accepted"),
    [
        ([], False), ([""], False), (["gzip"], True), (["GZIP"], True), (["x-gzip"], True), (["*"], True),
        (["br, gzip;q=0.1"], True), (["gzip;q=0"], False), (["gzip; q=0.0, *"], False), (["*;q=0"], False),
        (["br"], False), (["br", "gzip"], True), (["gzip;q=x"], False), (["identity;q=1, *;q=0"], False),
        (["notgzip"], False), (["gzipped"], False),
    ],
)  # fmt: skip
def test_gzip_is_used_where_it_is_accepted(made, values, accepted):
    assert accepts_gzip(values) is accepted
    app, _ = made()
    plain = call_json(app, *LIST)
    reply = call_json(app, *LIST, {"accept-encoding": ", ".join(values)})
    assert (reply.headers.get("content-encoding") == "gzip") is accepted
    assert reply.headers["vary"] == "Accept-Encoding"
    body = gzip.decompress(reply.body) if accepted else reply.body
    assert int(reply.headers["content-length"]) == len(reply.body)
    assert len(body) > MIN_BYTES
    assert len(reply.body) < len(plain.body) / 2 or not accepted


def test_json_the_page_and_large_problems_are_compressed(made):
    app, _ = made()
    for name in ("main.js", "style.css", "index.html"):
        reply = call(app, "GET", f"/{name}", headers=GZIP)
        assert reply.headers["content-encoding"] == "gzip"
        assert gzip.decompress(reply.body) == (pages.WEB / name).read_bytes()
        assert reply.headers["etag"].startswith('W/"')
    events = {"events": [{"kind": "x"}] * 20}
    reply = call_json(app, "POST", "/v1/events", events, GZIP)
    assert (reply.status, reply.headers["content-encoding"]) == (422, "gzip")
    assert call(app, "GET", "/openapi.json", headers=GZIP).headers["content-encoding"] == "gzip"
    assert "content-encoding" not in call(app, "GET", "/healthz", headers=GZIP).headers


def test_media_and_tables_are_sent_as_they_are(made, film):
    app, path = film
    for headers in (GZIP, GZIP | {"range": "bytes=0-4999"}):
        reply = call(app, "GET", "/media/mugs%2F1", headers=headers)
        assert "content-encoding" not in reply.headers
        assert reply.body == path.read_bytes()[: len(reply.body)]
    for kind in ("parquet", "arrow"):
        assert "content-encoding" not in call(app, "GET", f"/v1/events?format={kind}", headers=GZIP).headers
    part = call(app, "GET", "/main.js", headers=GZIP | {"range": "bytes=0-1999"})
    assert (part.status, part.body) == (206, (pages.WEB / "main.js").read_bytes()[:2_000])
    assert "content-encoding" not in part.headers


@pytest.fixture
def film(made, tmp_path):
    """Return an app and the file of its video mugs/1."""
    app, shop = made()
    path = tmp_path / "film.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42" + os.urandom(9_000))
    shop.cards_now["mugs/1"]["uri"] = str(path)
    return app, path


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("address", ["/media/mugs%2F1", "/main.js", "/"])
def test_a_client_that_has_the_file_gets_304(film, method, address):
    app, _ = film
    first = call(app, method, address)
    tag, modified = first.headers["etag"], first.headers["last-modified"]
    later = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    same = [
        {"if-none-match": tag},
        {"if-none-match": f"W/{tag}"},
        {"if-none-match": f'"other, with comma", {tag}'},
        {"if-none-match": "*"},
        {"if-none-match": tag, "range": "bytes=0-9"},
        {"if-modified-since": modified},
        {"if-modified-since": later},
        {
            "if-none-match": tag,
            "if-modified-since": format_datetime(datetime(2000, 1, 1, tzinfo=UTC), usegmt=True),
        },
    ]
    for headers in same:
        reply = call(app, method, address, headers=headers)
        assert (reply.status, reply.body) == (304, b""), headers
        assert (reply.headers["etag"], reply.headers["last-modified"]) == (tag, modified)
        assert reply.headers["cache-control"] == first.headers["cache-control"]
        assert reply.headers["content-security-policy"] == first.headers["content-security-policy"]
        assert "content-length" not in reply.headers or reply.headers["content-length"] != "0"
    compressed = call(app, method, address, headers=GZIP).headers["etag"]
    assert call(app, method, address, headers=GZIP | {"if-none-match": compressed}).status == 304


@pytest.mark.parametrize("address", ["/media/mugs%2F1", "/main.js"])
def test_a_client_that_has_another_file_gets_it_whole(film, address):
    app, _ = film
    first = call(app, "GET", address)
    others = [
        {"if-none-match": '"other"'},
        {"if-none-match": first.headers["etag"].strip('"')},
        {"if-none-match": '"other"', "if-modified-since": first.headers["last-modified"]},
        {"if-modified-since": format_datetime(datetime(2000, 1, 1, tzinfo=UTC), usegmt=True)},
        {"if-modified-since": "yesterday"},
        {"if-modified-since": ""},
    ]
    for headers in others:
        reply = call(app, "GET", address, headers=headers)
        assert (reply.status, reply.body) == (200, first.body), headers


def test_another_file_has_another_tag_and_ranges_stay_right(film):
    app, path = film
    tag = call(app, "GET", "/media/mugs%2F1").headers["etag"]
    content = path.read_bytes()
    for given, part in (
        ("0-0", content[:1]),
        ("100-199", content[100:200]),
        ("-7", content[-7:]),
        ("9000-", content[9000:]),
    ):
        for condition in ({}, {"if-none-match": '"other"'}, {"if-range": tag}):
            reply = call(app, "GET", "/media/mugs%2F1", headers={"range": f"bytes={given}"} | condition)
            assert (reply.status, reply.body) == (206, part)
            assert reply.headers["etag"] == tag
    path.write_bytes(content[:12] + os.urandom(9_001))
    reply = call(app, "GET", "/media/mugs%2F1", headers={"if-none-match": tag})
    assert (reply.status, reply.headers["etag"] == tag) == (200, False)
    reply = call(app, "GET", "/media/mugs%2F1", headers={"range": "bytes=0-9", "if-range": tag})
    assert (reply.status, len(reply.body)) == (200, 9_013)
    assert call(app, "GET", "/media/mugs%2F1", headers={"range": "bytes=99999-"}).status == 416
