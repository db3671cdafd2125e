"""Catalog changes over HTTP: uploads, URIs, updates and removals, including hostile ones."""

import json
import os
import time

import numpy as np
import pytest

from tests.films import numbered, write_video
from tests.serving.http.client import call, call_json, form
from vrec.core.errors import OutputError
from vrec.core.schema import VIDEOS
from vrec.serving.deployments.protocol import BackendUnavailable, UnknownVideo, VideoIdTaken
from vrec.serving.messages import EmbeddedVideo, ListItem, ListResult

FIELDS = [("creator_id", "me"), ("title", "A new mug")]


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    """Return the bytes of a short valid video."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    return write_video(path, [numbered(n) for n in range(50)], options={"movflags": "faststart"}).read_bytes()


def kept(shop, tmp_path):
    """Return the file names in the folder of uploads."""
    folder = tmp_path / "data" / "uploads"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def upload(app, file, fields=FIELDS, **more):
    body, headers = form(fields, file)
    return call(app, "POST", "/v1/uploads", body, headers | more)


def test_an_upload_is_recommendable_and_playable_and_gone_with_its_entry(made, tmp_path, film):
    app, shop = made()
    shop.vectors["mugs/1"] = np.full(3, 3**-0.5, np.float32)
    fields = [*FIELDS, ("video_id", "new/mug é"), ("kind", "product"), ("category", "mugs"), ("price", "7.5"),
              ("tags", "blue"), ("tags", "big"), ("language", "")]  # fmt: skip
    reply = upload(app, film, fields)
    assert reply.status == 201, reply.body
    said = reply.json
    assert (said["video_id"], said["modalities"], said["recommendable"]) == ("new/mug é", ["frames"], True)
    assert said["duration_s"] == pytest.approx(2.0)
    assert said["neighbours"][0]["video_id"] == "mugs/1"
    assert said["neighbours"][0]["title"] == "A blue mug"
    card = shop.cards_now["new/mug é"]
    assert (card["price"], card["tags"], card["kind"], card["language"]) == (
        7.5,
        ["blue", "big"],
        "product",
        None,
    )
    assert (card["creator_id"], card["category"], card["available"]) == ("me", "mugs", True)
    assert card["published_at"] is not None
    (name,) = kept(shop, tmp_path)
    assert name.endswith(".mp4")
    assert "new" not in name
    assert (tmp_path / "data" / "uploads" / name).read_bytes() == film
    ask = {"user_id": "u", "k": 100}
    assert "new/mug é" in [
        item["video_id"] for item in call_json(app, "POST", "/v1/recommend", ask).json["items"]
    ]
    path = "/media/new%2Fmug%20%C3%A9"
    whole = call(app, "GET", path)
    assert (whole.status, whole.headers["content-type"], whole.body) == (200, "video/mp4", film)
    assert call(app, "DELETE", "/v1/videos/new%2Fmug%20%C3%A9").status == 204
    assert kept(shop, tmp_path) == []
    assert call(app, "GET", path).status == 404


def test_a_part_of_a_video_is_given_by_range(made, film):
    app, _ = made()
    name = upload(app, film).json["video_id"]
    reply = call(app, "GET", f"/media/{name}", headers={"range": "bytes=10-19"})
    assert (reply.status, reply.body) == (206, film[10:20])
    assert reply.headers["content-range"] == f"bytes 10-19/{len(film)}"
    reply = call(app, "GET", f"/media/{name}", headers={"range": "bytes=-5"})
    assert (reply.status, reply.body) == (206, film[-5:])
    assert call(app, "GET", f"/media/{name}", headers={"range": f"bytes={len(film)}-"}).status == 416
    head = call(app, "HEAD", f"/media/{name}")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(film)))


def test_media_are_not_given_out_where_that_is_switched_off_or_the_video_is_withdrawn(made, film):
    app, _ = made(security={"serve_media": False})
    name = upload(app, film).json["video_id"]
    assert call(app, "GET", f"/media/{name}").status == 404
    app, _ = made()
    name = upload(app, film).json["video_id"]
    assert call(app, "GET", f"/media/{name}").status == 200
    call_json(app, "PATCH", f"/v1/videos/{name}", {"available": False})
    assert call(app, "GET", f"/media/{name}").status == 404


def test_a_catalogue_that_names_what_is_no_video_gives_none_of_it_out(made, tmp_path):
    app, shop = made()
    secret = tmp_path / "passwd"
    secret.write_text("root:x:0:0")
    os.mkfifo(tmp_path / "pipe.mp4")
    uris = [str(secret), f"file://{secret}", str(tmp_path), str(tmp_path / "pipe.mp4"), "https://cdn.test/a.mp4",
            "s3://bucket/a.mp4", "/nowhere.mp4", "a\0b", "file://elsewhere/etc/passwd"]  # fmt: skip
    for uri in uris:
        shop.cards_now["mugs/1"]["uri"] = uri
        assert call(app, "GET", "/media/mugs%2F1").status == 404, uri


@pytest.mark.parametrize(
    ("file", "error"),
    [
        (b"", "EmptyVideo"),
        (b"<html><script>alert(1)</script></html>", "WrongContainer"),
        (b"#EXTM3U\nhttp://169.254.169.254/latest/meta-data\n", "WrongContainer"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 9_000, "WrongContainer"),
        (b"\x7fELF" + b"\0" * 9_000, "WrongContainer"),
        (bytes(range(256)) * 20, "WrongContainer"),
        (b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 20, "UnreadableVideo"),
    ],
)
def test_what_is_no_video_is_refused_by_name_and_leaves_nothing(made, tmp_path, file, error):
    app, shop = made()
    before = dict(shop.cards_now)
    reply = upload(app, file)
    assert (reply.status, reply.json["type"]) == (422, "urn:vrec:problem:unusable-video")
    assert error in reply.json["detail"]
    assert kept(shop, tmp_path) == []
    assert shop.cards_now == before


@pytest.mark.parametrize("said", [True, False])
def test_a_giant_upload_ends_as_soon_as_it_is_too_large(made, tmp_path, said):
    app, shop = made(security={"most_upload_bytes": 1_000_000})
    body, headers = form(FIELDS, b"\0\0\0\x18ftypmp42" + b"\0" * 9_000_000)
    pieces = [body[at : at + 65_536] for at in range(0, len(body), 65_536)]
    reply = call(app, "POST", "/v1/uploads", body if said else pieces, headers)
    if said:
        assert (reply.status, reply.json["type"]) == (413, "urn:vrec:problem:too-large")
    else:
        assert (reply.status, "TooLarge" in reply.json["detail"]) == (422, True)
        assert reply.left > 100  # most of it was never read
    assert kept(shop, tmp_path) == []


def test_a_file_just_above_the_limit_is_too_large(made, tmp_path, film):
    app, shop = made(security={"most_upload_bytes": len(film)})
    assert upload(app, film).status == 201
    app, shop = made(security={"most_upload_bytes": len(film) - 1})
    reply = upload(app, film)
    assert (reply.status, "TooLarge" in reply.json["detail"]) == (422, True)
    assert len(kept(shop, tmp_path)) == 1


def test_a_form_that_is_cut_or_odd_is_refused_and_leaves_nothing(made, tmp_path, film):
    app, shop = made()
    body, headers = form(FIELDS, film)
    twice = form(FIELDS, film)[0].replace(b"--cut-here--\r\n", b"") + form([], film)[0]
    large = form([("creator_id", "me"), ("title", "x" * 70_000)], film)[0]
    odd = {
        "cut": (body[:-20], headers, 422),
        "empty": (b"", headers, 422),
        "no boundary": (body, {"content-type": "multipart/form-data"}, 422),
        "other boundary": (body, {"content-type": "multipart/form-data; boundary=other"}, 422),
        "no file": (form(FIELDS)[0], headers, 422),
        "two files": (twice, headers, 422),
        "large field": (large, headers, 413),
        "no creator": (form([], film)[0], headers, 422),
        "creator twice": (form([*FIELDS, FIELDS[0]], film)[0], headers, 422),
        "unknown field": (form([*FIELDS, ("uri", "/etc/passwd")], film)[0], headers, 422),
        "price in words": (form([*FIELDS, ("price", "much")], film)[0], headers, 422),
        "id of control characters": (form([*FIELDS, ("video_id", "a\tb")], film)[0], headers, 422),
    }
    for name, (content, given, status) in odd.items():
        reply = call(app, "POST", "/v1/uploads", content, given)
        assert reply.status == status, (name, reply.body)
        assert reply.json["detail"], name
        assert kept(shop, tmp_path) == [], name


def test_a_sender_who_goes_away_leaves_nothing(made, tmp_path, film):
    app, shop = made()
    body, headers = form(FIELDS, film)

    assert call(app, "POST", "/v1/uploads", [body[:1_000]], headers, leaves=True) is None
    assert kept(shop, tmp_path) == []


def test_an_id_that_is_taken_is_kept_from_another_video(made, tmp_path, film):
    app, shop = made()
    reply = upload(app, film, [*FIELDS, ("video_id", "mugs/1")])
    assert (reply.status, reply.json["type"]) == (409, "urn:vrec:problem:id-taken")
    assert shop.cards_now["mugs/1"]["title"] == "A blue mug"
    assert kept(shop, tmp_path) == []


def test_a_data_folder_that_cannot_be_written_is_the_service_s_trouble(made, tmp_path, film):
    app, _ = made()
    (tmp_path / "data").write_text("a file where a folder should be")
    reply = upload(app, film)
    assert (reply.status, reply.json["type"]) == (503, "urn:vrec:problem:no-room")
    assert str(tmp_path) not in reply.body.decode()


def add_uri(app, uri):
    return call_json(app, "POST", "/v1/videos", {"uri": str(uri), "creator_id": "me"})


def test_a_video_is_taken_from_below_the_roots_and_from_nowhere_else(made, tmp_path, film):
    root, outside = tmp_path / "root", tmp_path / "root-outside"
    for folder in (root / "in", outside):
        folder.mkdir(parents=True)
        (folder / "a.mp4").write_bytes(film)
    (root / "link.mp4").symlink_to(outside / "a.mp4")
    (root / "folder").symlink_to(outside)
    (root / "inner.mp4").symlink_to(root / "in" / "a.mp4")
    app, shop = made(security={"media_roots": [str(root), "s3://bucket/clips"]})
    for uri in (
        root / "in" / "a.mp4",
        f"file://{root}/in/a.mp4",
        root / "inner.mp4",
        f"{root}/in/../in/a.mp4",
    ):
        reply = add_uri(app, uri)
        assert reply.status == 201, (uri, reply.body)
        assert shop.cards_now[reply.json["video_id"]]["uri"] == str(root / "in" / "a.mp4")
    refused = [
        outside / "a.mp4", root / "link.mp4", root / "folder" / "a.mp4", f"{root}/../root-outside/a.mp4",
        f"file://{root}/%2e%2e/root-outside/a.mp4", "in/a.mp4", "/etc/passwd", "/proc/self/environ",
        "http://169.254.169.254/latest/meta-data", f"http://localhost{root}/in/a.mp4", "https://a.test/a.mp4",
        f"file://other.test{root}/in/a.mp4", "s3://other/clips/a.mp4", "s3://bucket/clips-2/a.mp4",
        "s3://bucket/clips/../a.mp4", "s3://bucket/clips/%2e%2e/a.mp4", "s3://bucket/clips/a.mp4?region=x",
        "s3://user@bucket/clips/a.mp4", f"HTTP://a.test{root}", "data:video/mp4;base64,AA", f"\\\\host{root}",
    ]  # fmt: skip
    for uri in refused:
        reply = add_uri(app, uri)
        assert (reply.status, reply.json["type"]) == (422, "urn:vrec:problem:unreachable-video"), uri
        assert "media_roots" in reply.json["detail"]
    app, _ = made()
    assert "media_roots" in add_uri(app, root / "in" / "a.mp4").json["detail"]


def test_what_lies_below_a_root_must_be_a_video_too_and_stays_where_it_is(made, tmp_path, film):
    root = tmp_path / "root"
    root.mkdir()
    (root / "page.mp4").write_text("<html>")
    os.mkfifo(root / "pipe.mp4")
    (root / "noise.mp4").write_bytes(bytes(range(256)) * 20)
    (root / "a.mp4").write_bytes(film)
    app, _ = made(security={"media_roots": [str(root)], "most_upload_bytes": len(film)})
    for name in ("page.mp4", "pipe.mp4", "noise.mp4", "none.mp4", "."):
        reply = add_uri(app, root / name)
        assert (reply.status, reply.json["type"]) == (422, "urn:vrec:problem:unusable-video"), name
    name = add_uri(app, root / "a.mp4").json["video_id"]
    assert call(app, "DELETE", f"/v1/videos/{name}").status == 204
    assert (root / "noise.mp4").exists()
    assert (root / "a.mp4").exists()


def test_a_file_that_was_not_uploaded_with_the_request_is_not_removed_with_its_failure(made, tmp_path, film):
    uploads = tmp_path / "data" / "uploads"
    uploads.mkdir(parents=True)
    other = uploads / f"{'0' * 32}.mp4"
    other.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 20)
    app, _ = made(security={"media_roots": [str(uploads)]})
    assert add_uri(app, other).status == 422
    assert other.exists()


def test_an_entry_changes_in_what_is_given_and_in_nothing_else(made):
    app, shop = made()
    before = dict(shop.cards_now["mugs/1"])
    reply = call_json(app, "PATCH", "/v1/videos/mugs%2F1", {"available": False, "price": None})
    assert (reply.status, reply.json["available"], reply.json["price"]) == (200, False, None)
    assert shop.cards_now["mugs/1"] == before | {"available": False, "price": None}
    items = call_json(app, "POST", "/v1/recommend", {"user_id": "u"}).json["items"]
    assert "mugs/1" not in [item["video_id"] for item in items]
    call_json(app, "PATCH", "/v1/videos/mugs%2F1", {"title": "Another", "creator_id": None, "tags": []})
    assert shop.cards_now["mugs/1"]["title"] == "Another"
    assert (shop.cards_now["mugs/1"]["creator_id"], shop.cards_now["mugs/1"]["tags"]) == ("ann", [])
    for given, where in (
        ({"uri": "/etc/passwd"}, "uri"),
        ({"available": None}, "available"),
        ({"kind": "x"}, "kind"),
    ):
        assert call_json(app, "PATCH", "/v1/videos/mugs%2F1", given).json["errors"][0]["where"] == where


@pytest.mark.parametrize(
    "path", ["none", "..%2F..%2Fetc%2Fpasswd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "a%00b", "x" * 300]
)
def test_no_path_leads_anywhere_else(made, path):
    app, _ = made()
    assert call_json(app, "PATCH", f"/v1/videos/{path}", {"available": True}).status in (404, 422)
    assert call(app, "DELETE", f"/v1/videos/{path}").status in (404, 422)
    assert call(app, "GET", f"/media/{path}").status in (404, 422)
    assert call(app, "GET", f"/v1/videos/{path}/similar").status in (404, 422)
    assert call(app, "GET", f"/{path}").status == 404


def test_hostile_files_cost_an_answer_and_nothing_more(made, tmp_path, shared_data):
    app, shop = made(security={"most_upload_bytes": 20_000_000})
    names = ["random_bytes.mp4", "png_renamed.mp4", "trunc50_moov_missing.mp4", "zero_byte.mp4", "still.jpg",
             "audio.mp3", "real_1x1.mp4", "text_renamed.mp4"]  # fmt: skip
    for name in names:
        reply = upload(app, (shared_data / "hostile" / name).read_bytes())
        assert reply.status == 422, (name, reply.body)
        assert reply.json["type"] == "urn:vrec:problem:unusable-video"
    assert kept(shop, tmp_path) == []
    assert upload(app, (shared_data / "hostile" / "good_h264_aac.mp4").read_bytes()).status == 201


class Recorded:
    """Shop whose embedding is made up and whose changes are recorded, for exact cases without a decoder."""

    def __init__(self, shop, near=()):
        self.shop, self.near, self.changes = shop, list(near), []
        self.fail_change = self.fail_similar = self.copy_of = None
        self.looks = 0
        shop.embed, shop.change, shop.similar = self.embed, self.change, self.similar
        self._change = type(shop).change

    async def embed(self, path, title, tags):
        self.embedded = path, title, tags
        vector = np.ones((1, 3), np.float32)
        vectors = {"text": vector, "frames": vector}
        encoders = {"frames": "f@1", "text": "t@1"}
        return EmbeddedVideo(vectors, encoders, 2.5, 0.25, 0.5, self.copy_of)

    async def change(self, change, expected=None):
        if self.fail_change:
            raise self.fail_change
        self.changes.append(change)
        await self._change(self.shop, change)

    async def similar(self, video_id, k, filters, at):
        self.looks += 1
        self.asked = video_id, k, at
        if self.fail_similar:
            raise self.fail_similar
        items = tuple(ListItem(name, 0.5, 0, 0, 0, 0, (), "content", 1.0) for name in self.near)
        return ListResult(items, "b")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 9_000)
    return folder


def add(app, root, **more):
    body = {"uri": str(root / "a.mp4"), "creator_id": "me", "video_id": "v"} | more
    return call_json(app, "POST", "/v1/videos", body)


def test_a_new_video_has_the_facts_of_its_embedding_and_its_neighbors(made, root):
    app, shop = made(security={"media_roots": [str(root)]})
    recorded = Recorded(shop, near=["v", "mugs/1", "hats/2", "gone"])
    before = time.time()
    reply = add(app, root, title="T", tags=["a", "b"])
    after = time.time()
    assert (reply.status, reply.json) == (
        201,
        {
            "video_id": "v", "duration_s": 2.5, "modalities": ["frames", "text"], "decode_s": 0.25,
            "encode_s": 0.5, "recommendable": True, "copy_of": None,
            "neighbours": [
                {"video_id": "mugs/1", "score": 0.5, "title": "A blue mug"},
                {"video_id": "hats/2", "score": 0.5, "title": None},
                {"video_id": "gone", "score": 0.5, "title": None},
            ],
        },
    )  # fmt: skip
    assert recorded.embedded == (str(root / "a.mp4"), "T", ("a", "b"))
    assert recorded.asked[:2] == ("v", 5)
    (edit,) = recorded.changes
    assert before <= recorded.asked[2] / 1e6 <= after
    assert (set(edit.vectors), edit.encoders) == ({"frames", "text"}, {"frames": "f@1", "text": "t@1"})
    assert (edit.kind, edit.video_id) == ("add", "v")
    assert set(edit.fields) == {column.name for column in VIDEOS.columns} - {"video_id"}
    assert edit.fields["duration_s"] == 2.5
    assert before - 1 <= edit.fields["published_at"].timestamp() <= after
    assert (edit.fields["uri"], edit.fields["creator_id"]) == (str(root / "a.mp4"), "me")


@pytest.mark.parametrize("policy", ["note", "hold_back"])
@pytest.mark.parametrize("first", ["mugs/1", "gone"])
def test_a_copy_is_noted_and_held_back_if_the_settings_say_so(made, root, policy, first):
    app, shop = made(security={"media_roots": [str(root)], "copies": policy})
    recorded = Recorded(shop)
    recorded.copy_of = first
    reply = add(app, root, title="T")
    assert (reply.status, reply.json["copy_of"]) == (201, first)
    (edit,) = recorded.changes
    # One whose first was removed meanwhile is held back by nothing.
    is_held = policy == "hold_back" and first == "mugs/1"
    assert (edit.vectors == {}, edit.encoders == {}) == (is_held, is_held)
    is_new = time.time() - edit.fields["published_at"].timestamp() < 600
    assert is_new is not is_held
    assert edit.fields["title"] == "T"


def test_ids_are_generated_and_differ(made, root):
    app, shop = made(security={"media_roots": [str(root)]})
    Recorded(shop)
    ids = {add(app, root, video_id=None).json["video_id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(len(name) == 23 and name.startswith("upload-") for name in ids)


def test_a_new_id_in_the_namespace_of_creators_is_refused(made, root):
    app, shop = made(security={"media_roots": [str(root)]})
    Recorded(shop)
    reply = add(app, root, video_id="creator:ann")
    assert (reply.status, [one["where"] for one in reply.json["errors"]]) == (422, ["video_id"])
    assert "may not begin with creator:" in reply.json["errors"][0]["detail"]
    assert add(app, root, video_id="a-creator:ann").status == 201
    row = {"video_id": "creator:ann", "uri": str(root / "a.mp4"), "creator_id": "me"}
    headers = {"content-type": "application/x-ndjson"}
    done = call(app, "POST", "/v1/videos:bulk", json.dumps(row).encode(), headers).json
    assert (done["added"], done["failures"][0]["type"]) == (0, "urn:vrec:problem:invalid-request")
    assert "video_id: an id may not begin with creator:" in done["failures"][0]["detail"]


@pytest.mark.parametrize("error", [BackendUnavailable("killed"), TimeoutError(), UnknownVideo("v")])
def test_a_video_is_added_though_its_neighbors_cannot_be_found(made, root, error):
    app, shop = made(security={"media_roots": [str(root)]})
    recorded = Recorded(shop)
    recorded.fail_similar = error
    reply = add(app, root)
    assert (reply.status, reply.json["recommendable"], reply.json["neighbours"]) == (201, False, [])
    assert recorded.looks == 1
    assert "v" in shop.cards_now


def test_an_upload_whose_change_is_not_durable_leaves_no_file_and_a_video_by_uri_stays(made, tmp_path, root):
    app, shop = made(security={"media_roots": [str(root)]})
    recorded = Recorded(shop)
    recorded.fail_change = OutputError("the disk is full")
    reply = upload(app, (root / "a.mp4").read_bytes())
    assert (reply.status, reply.json["type"]) == (503, "urn:vrec:problem:no-room")
    assert kept(shop, tmp_path) == []
    assert add(app, root).status == 503
    assert (root / "a.mp4").exists()
    assert "v" not in shop.cards_now


def test_a_change_names_the_fields_of_the_request_and_no_others(made):
    app, shop = made()
    recorded = Recorded(shop)
    reply = call_json(app, "PATCH", "/v1/videos/hats%2F2", {"price": 3.5})
    assert reply.json == {
        "video_id": "hats/2", "title": None, "kind": "product", "creator_id": "bob", "category": "hats",
        "tags": ["red"], "product_ids": [], "language": "en", "price": 3.5, "duration_s": 12.0,
        "available": True, "expires_at": None,
    }  # fmt: skip
    assert call_json(app, "PATCH", "/v1/videos/hats%2F2", {}).json == reply.json
    assert call(app, "DELETE", "/v1/videos/hats%2F2").status == 204
    updated, removed = recorded.changes
    assert (updated.kind, updated.fields, updated.vectors) == ("update", {"price": 3.5}, {})
    assert (removed.kind, removed.video_id, removed.fields) == ("remove", "hats/2", {})


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [(VideoIdTaken("v"), 409, "id-taken"), (UnknownVideo("v"), 404, "unknown-video")],
)
def test_an_edit_that_another_replica_forbade_meanwhile_is_answered_for_what_it_is(
    made, root, error, status, kind
):
    app, shop = made(security={"media_roots": [str(root)]})
    Recorded(shop).fail_change = error
    reply = (
        add(app, root) if status == 409 else call_json(app, "PATCH", "/v1/videos/hats%2F2", {"price": 1.0})
    )
    assert (reply.status, reply.json["type"]) == (status, f"urn:vrec:problem:{kind}")


def test_a_change_can_name_the_version_that_its_editor_has_seen(made):
    app, _ = made()
    seen = call(app, "GET", "/v1/videos/mugs%2F1").headers["etag"]
    changed = call_json(app, "PATCH", "/v1/videos/mugs%2F1", {"price": 6.5}, {"if-match": seen})
    assert (changed.status, changed.json["price"]) == (200, 6.5)
    now = call(app, "GET", "/v1/videos/mugs%2F1").headers["etag"]
    assert changed.headers["etag"] == now != seen
    for body in ({"price": 9.0}, {}):
        late = call_json(app, "PATCH", "/v1/videos/mugs%2F1", body, {"if-match": seen})
        assert (late.status, late.json["type"]) == (412, "urn:vrec:problem:video-changed")
    assert call(app, "GET", "/v1/videos/mugs%2F1").json["price"] == 6.5
    for tag in ("*", f"W/{now}"):
        assert call_json(app, "PATCH", "/v1/videos/mugs%2F1", {}, {"if-match": tag}).status == 200
    bad = call_json(app, "PATCH", "/v1/videos/mugs%2F1", {}, {"if-match": "seen"})
    assert (bad.status, bad.json["errors"][0]["where"]) == (422, "If-Match")
