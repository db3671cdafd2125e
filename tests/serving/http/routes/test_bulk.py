"""Bulk changes: every line is in force or named, however the body is cut, and nothing else is lost."""

import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.http.client import acall, call, call_json
from vrec.core.errors import OutputError
from vrec.serving.http.routes import bulk
from vrec.serving.http.routes.bulk import MAX_LINE_BYTES, read_lines

LINES = {"content-type": "application/x-ndjson"}
PATH = "/v1/videos:bulk"


def send(app, *rows, **more):
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    reply = call(app, "POST", PATH, b"\n".join(lines), LINES, **more)
    assert reply.status == 200, reply.body
    return reply.json


def counts(done):
    return done["added"], done["updated"], done["failed"]


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 9_000)
    return folder


@pytest.mark.parametrize(
    ("field", "value"), [("creator_id", " ann"), ("creator_id", "ann "), ("product_ids", ["p1", "p2 "])]
)
def test_ids_of_creators_and_products_have_no_spaces_around_them(made, root, field, value):
    app, shop = made(security={"media_roots": [str(root)]})
    new = {"video_id": "new/1", "uri": str(root / "a.mp4"), "creator_id": "ann b"}
    done = send(app, {"video_id": "mugs/1", field: value}, new | {field: value}, new)
    assert counts(done) == (1, 0, 2)
    assert all(one["detail"].startswith(field) for one in done["failures"])
    for method, path, body in (
        ("PATCH", "/v1/videos/mugs%2F1", {field: value}), ("POST", "/v1/videos", new | {field: value}),
    ):  # fmt: skip
        reply = call_json(app, method, path, body)
        assert (reply.status, reply.json["errors"][0]["where"].partition(".")[0]) == (422, field)
    assert "new/1" in shop.cards_now


def test_every_line_is_in_force_or_named_with_its_number_and_reason(made, root):
    app, shop = made(security={"media_roots": [str(root)]})
    new = {"video_id": "new/1", "uri": str(root / "a.mp4"), "creator_id": "ann", "title": "New", "price": 3}
    done = send(
        app, {"video_id": "mugs/1", "price": 4.5, "available": False}, b"",
        {"video_id": "nowhere", "price": 1},
        b"{broken", new, {"video_id": "new/1", "tags": ["late"]}, {"price": 2}, b"  ",
        {"video_id": "mugs/2", "price": -1, "colour": "red"},
        {"video_id": "hats/1", "expires_at": "2026-12-24T18:00:00Z"},
        new | {"video_id": "new/2", "uri": "/etc/passwd"}, b"x" * (MAX_LINE_BYTES + 1), b"[1]", b"\xff\xfe",
    )  # fmt: skip
    assert counts(done) == (1, 3, 8)
    found = {one["line"]: (one["video_id"], one["type"].rpartition(":")[2]) for one in done["failures"]}
    assert found == {
        3: ("nowhere", "unknown-video"), 4: (None, "invalid-request"), 7: (None, "invalid-request"),
        9: ("mugs/2", "invalid-request"), 11: ("new/2", "unreachable-video"), 12: (None, "invalid-request"),
        13: (None, "invalid-request"), 14: (None, "invalid-request"),
    }  # fmt: skip
    details = {one["line"]: one["detail"] for one in done["failures"]}
    assert "price: " in details[9]
    assert "colour: " in details[9]
    assert "video_id: Field required" in details[7]
    assert (shop.cards_now["mugs/1"]["price"], shop.cards_now["mugs/1"]["available"]) == (4.5, False)
    assert shop.cards_now["mugs/2"]["price"] == 5.0
    assert (shop.cards_now["new/1"]["tags"], shop.cards_now["new/1"]["title"]) == (["late"], "New")
    assert shop.cards_now["hats/1"]["expires_at"].year == 2026
    assert "new/2" not in shop.cards_now


def test_a_byte_order_mark_before_the_first_line_is_no_part_of_it(made):
    """Spreadsheets and PowerShell write one."""
    app, _ = made()
    row = json.dumps({"video_id": "mugs/1", "price": 4}).encode()
    assert counts(send(app, b"\xef\xbb\xbf" + row, row)) == (0, 2, 0)
    assert counts(send(app, b"\xef\xbb\xbf", row)) == (0, 1, 0)
    assert [one["line"] for one in send(app, row, b"\xef\xbb\xbf" + row)["failures"]] == [2]


def test_a_known_video_keeps_its_file(made, root):
    app, shop = made()
    before = shop.cards_now["mugs/1"]["uri"]
    done = send(app, {"video_id": "mugs/1", "uri": "/etc/passwd", "creator_id": "eve"})
    assert counts(done) == (0, 1, 0)
    assert (shop.cards_now["mugs/1"]["uri"], shop.cards_now["mugs/1"]["creator_id"]) == (before, "eve")


def test_lines_beyond_the_most_are_named_and_those_before_are_in_force(made, monkeypatch):
    monkeypatch.setattr(bulk, "MAX_ROWS", 5)
    monkeypatch.setattr(bulk, "ROWS_AT_ONCE", 2)
    app, shop = made()
    done = send(app, *({"video_id": "mugs/1", "price": float(number)} for number in range(9)))
    assert counts(done) == (0, 5, 1)
    assert (done["failures"][0]["line"], done["failures"][0]["type"]) == (6, "urn:vrec:problem:too-large")
    assert shop.cards_now["mugs/1"]["price"] == 4.0
    assert counts(send(app, *({"video_id": "mugs/1", "price": float(number)} for number in range(5)))) == (
        0,
        5,
        0,
    )


def test_what_the_storage_refuses_is_named_line_by_line(made):
    app, shop = made()
    shop.away = OutputError("/srv: no room")
    done = send(app, {"video_id": "mugs/1", "price": 1}, {"video_id": "mugs/2", "price": 1})
    assert [one["type"] for one in done["failures"]] == ["urn:vrec:problem:no-room"] * 2
    assert "/srv" not in json.dumps(done)


def test_a_client_that_leaves_half_way_leaves_whole_batches_behind(made, monkeypatch):
    monkeypatch.setattr(bulk, "ROWS_AT_ONCE", 2)
    app, shop = made()
    pieces = [json.dumps({"video_id": "mugs/1", "price": float(n)}).encode() + b"\n" for n in range(5)]
    assert asyncio.run(acall(app, "POST", PATH, pieces, LINES, leaves=True)) is None
    assert shop.cards_now["mugs/1"]["price"] == 3.0


def test_other_types_and_no_lines(made):
    app, _ = made()
    assert call(app, "POST", PATH, b"{}", {"content-type": "application/json"}).status == 415
    assert counts(send(app)) == (0, 0, 0)


@settings(max_examples=150, deadline=None)
@given(
    body=st.lists(st.sampled_from([b"ab", b"\n", b" ", b"\r\n", b"x" * 9]), max_size=25).map(b"".join),
    data=st.data(),
)
def test_lines_do_not_depend_on_how_the_body_is_cut(body, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    ends = [0, *cuts, len(body)]

    async def pieces():
        for start, end in pairwise(ends):
            yield body[start:end]

    async def collect():
        return [line async for line in read_lines(pieces())]

    expected = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    assert asyncio.run(collect()) == expected


HOSTILE = {
    "nested": b"[" * 2_000,
    "nested in a field": b'{"video_id": ' + b"[" * 5_000,
    "a lone surrogate": b'{"video_id": "\\ud800"}',
    "too late in UTC": b'{"video_id": "mugs/2", "expires_at": "9999-12-31T23:59:59-05:00"}',
    "too early in UTC": b'{"video_id": "mugs/2", "expires_at": "0001-01-01T00:00:00+23:00"}',
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_line_costs_itself_alone(made, line):
    app, _ = made()
    done = send(app, {"video_id": "mugs/1", "price": 4.5}, line, {"video_id": "hats/1", "price": 5})
    assert counts(done) == (0, 2, 1)
    (failure,) = done["failures"]
    assert (failure["line"], failure["type"]) == (2, "urn:vrec:problem:invalid-request")
    assert call(app, "GET", "/v1/videos?limit=100").status == 200


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", None])
def test_the_first_and_the_last_expiry_date_can_be_read_again(made, at):
    app, _ = made()
    assert counts(send(app, {"video_id": "mugs/1", "expires_at": at})) == (0, 1, 0)
    assert call(app, "GET", "/v1/videos/mugs%2F1").status == 200
