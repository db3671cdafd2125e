"""The streaming parser of uploads: any cut of the bytes gives the same file and fields."""

import asyncio

import pytest
from starlette.requests import Request

from tests.serving.http.client import form
from vrec.serving.catalog.uploads import UploadStore
from vrec.serving.http.errors import HttpProblem
from vrec.serving.http.multipart import FIELD_BYTES, FLUSH_BYTES, read_form

HEAD = b"\0\0\0\x18ftypmp42"


def read(folder, body, headers, size):
    """(fields, bytes of the stored file) of a form that arrives in pieces of this size."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]

    async def receive():
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    request = Request({"type": "http", "method": "POST", "headers": raw}, receive)
    fields, uri = asyncio.run(read_form(request, UploadStore(str(folder), 10_000_000)))
    with open(uri, "rb") as file:
        return fields, file.read()


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
def test_a_form_is_the_same_however_it_is_cut(tmp_path, size):
    file = HEAD + bytes(range(256)) * 4 + b"\r\n--cut-her\r\n--\r\n"
    fields = [("creator_id", "me é"), ("title", "A mug"), ("tags", "a"), ("tags", ""), ("tags", "b"),
              ("price", "2.5"), ("available", "false"), ("category", "")]  # fmt: skip
    given, stored = read(tmp_path, *form(fields, file), size)
    assert stored == file
    assert (given.creator_id, given.title, given.tags, given.price) == ("me é", "A mug", ["a", "b"], 2.5)
    assert (given.available, given.category, given.video_id) == (False, None, None)


def test_a_file_larger_than_the_buffer_is_stored_whole(tmp_path):
    file = HEAD + bytes(range(251)) * (2 * FLUSH_BYTES // 251 + 9)
    _, stored = read(tmp_path, *form([("creator_id", "me")], file), 300_001)
    assert stored == file


def test_fields_after_the_file_count_and_the_file_name_does_not(tmp_path):
    body, headers = form([], HEAD + b"\0" * 9_000)
    more, _ = form([("creator_id", "me"), ("video_id", "v/1")])
    given, _ = read(tmp_path, body.replace(b"--cut-here--\r\n", b"") + more, headers, 50)
    assert (given.creator_id, given.video_id) == ("me", "v/1")
    (stored,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert "clip" not in stored.name
    assert stored.suffix == ".mp4"


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ([("creator_id", "a"), ("title", "x"), ("title", "y")], "title"),
        ([("creator_id", "a"), ("nonsense", "x")], "nonsense"),
        ([("creator_id", "")], "creator_id"),
        ([("creator_id", "a"), ("available", "perhaps")], "available"),
    ],
)
def test_invalid_fields_are_named_and_no_file_is_left(tmp_path, fields, where):
    with pytest.raises(HttpProblem) as raised:
        read(tmp_path, *form(fields, HEAD + b"\0" * 9_000), 999)
    assert raised.value.status_code == 422
    assert [field.where for field in raised.value.errors] == [where]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(("extra", "status"), [(0, None), (1, 413)])
def test_fields_and_headers_count_together_towards_their_limit(tmp_path, extra, status):
    fields, file = [("creator_id", "a"), ("product_ids", "")], HEAD + b"\0" * 9_000
    body, headers = form(fields, file)
    names = ["Content-Disposition", 'form-data; name="creator_id"', "Content-Disposition",
             'form-data; name="product_ids"', "Content-Disposition",
             'form-data; name="file"; filename="../../etc/clip.mp4"', "Content-Type",
             "video/mp4"]  # fmt: skip
    room = FIELD_BYTES - sum(map(len, names)) - len("a") + extra
    filler = b'name="product_ids"\r\n\r\n' + b"\xff" * room
    body = body.replace(b'name="product_ids"\r\n\r\n', filler)
    with pytest.raises(HttpProblem) as raised:
        read(tmp_path, body, headers, 5_000)
    # The filler is no valid product id, so a form within the limit fails by its field instead.
    assert raised.value.status_code == (status or 422)


@pytest.mark.parametrize("boundary", ["", "x" * 201])
def test_a_boundary_has_1_to_200_characters(tmp_path, boundary):
    with pytest.raises(HttpProblem, match="boundary"):
        read(tmp_path, b"x", {"content-type": f"multipart/form-data; boundary={boundary}"}, 10)
