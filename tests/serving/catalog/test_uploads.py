"""Files on their way in, checked before anything decodes them, and URIs that may be read."""

import pytest

from vrec.core.errors import EmptyVideo, OutputError, SourceError, TooLarge, UnreachableVideo, WrongContainer
from vrec.core.uris import join_uri, local_path
from vrec.serving.catalog import uploads as module
from vrec.serving.catalog.uploads import UploadStore, detect_container, readable_uri

MP4 = b"\0\0\0\x18ftypmp42" + b"\0" * 9_000


def test_a_file_is_refused_by_its_first_bytes_before_more_is_read(tmp_path):
    incoming = UploadStore(str(tmp_path), 10**9).begin()
    incoming.write(b"<html>" + b"x" * 3_000)
    with pytest.raises(WrongContainer, match="HTML"):
        incoming.write(b"x" * 2_000)
    incoming.discard()
    assert list((tmp_path / "uploads").iterdir()) == []


@pytest.mark.parametrize(
    ("head", "error"), [(b"", EmptyVideo), (b"<html>", WrongContainer), (b"PK\x03\x04", WrongContainer)]
)
def test_a_short_file_that_is_no_video_is_refused_at_its_end(tmp_path, head, error):
    incoming = UploadStore(str(tmp_path), 10**9).begin()
    incoming.write(head)
    with pytest.raises(error):
        incoming.commit()
    incoming.discard()
    assert list((tmp_path / "uploads").iterdir()) == []


def test_a_kept_file_has_all_bytes_and_only_uploads_are_forgotten(tmp_path):
    uploads = UploadStore(str(tmp_path), 10**9)
    incoming = uploads.begin()
    for at in range(0, len(MP4), 100):
        incoming.write(MP4[at : at + 100])
    assert [path.name[0] for path in (tmp_path / "uploads").iterdir()] == ["."]
    uri = incoming.commit()
    incoming.discard()
    (name,) = (path.name for path in (tmp_path / "uploads").iterdir())
    assert (tmp_path / "uploads" / name).read_bytes() == MP4
    assert uri.endswith(".mp4")
    other = tmp_path / name
    other.write_bytes(MP4)
    for near in (str(other), f"{tmp_path}/uploads/../{name}", f"/elsewhere/{name}", f"{uri}.mp4", ""):
        uploads.delete(near)
    assert other.exists()
    assert (tmp_path / "uploads" / name).exists()
    uploads.delete(uri)
    assert list((tmp_path / "uploads").iterdir()) == []
    uploads.delete(uri)


def test_a_file_below_a_root_is_looked_at_before_it_is_read(tmp_path):
    (tmp_path / "a.mp4").write_bytes(MP4)
    (tmp_path / "b.mp4").write_bytes(b"#EXTM3U\n/etc/passwd")
    roots = [str(tmp_path)]
    assert readable_uri(str(tmp_path / "a.mp4"), roots, len(MP4)) == str((tmp_path / "a.mp4").resolve())
    with pytest.raises(TooLarge, match="9,012"):
        readable_uri(str(tmp_path / "a.mp4"), roots, len(MP4) - 1)
    with pytest.raises(WrongContainer, match="playlist"):
        readable_uri(str(tmp_path / "b.mp4"), roots, 10**6)
    with pytest.raises(SourceError):
        readable_uri("http://a.test/a.mp4", ["http://a.test/"], 10**6)


@pytest.mark.parametrize(
    ("uri", "path"),
    [("/a b", "/a b"), ("file:///a%20b", "/a b"), ("file://localhost/a", "/a"), ("file://other/a", None),
     ("s3://a/b", None), ("file:///a?x", "/a?x"),
     ("file:/a", "/a"), ("file:a", "file:a"), ("data:a", "data:a"), ("C:/a", "C:/a")],
)  # fmt: skip
def test_local_paths(uri, path):
    assert local_path(uri) == path


@pytest.mark.parametrize(
    ("head", "kind"),
    [(MP4, "video/mp4"), (b"\0\0\0\x14ftypqt  ", "video/quicktime"), (b"\x1aE\xdf\xa3..webm", "video/webm"),
     (b"\x1aE\xdf\xa3..matroska", "video/x-matroska"), (b"RIFF....AVI LIST", "video/x-msvideo"),
     (b"noise", "application/octet-stream"), (b"", "application/octet-stream")],
)  # fmt: skip
def test_containers(head, kind):
    assert detect_container(head).media_type == kind


def test_an_upload_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(tmp_path):
    uploads = UploadStore(str(tmp_path), len(MP4))
    incoming = uploads.begin()
    incoming.write(MP4)
    incoming.commit()
    more = uploads.begin()
    more.write(MP4)
    with pytest.raises(TooLarge, match=r"more than 9,012 bytes") as error:
        more.write(b"\0")
    assert "serve.security.most_upload_bytes" in (error.value.fix or "")
    more.discard()
    assert len(list((tmp_path / "uploads").iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_an_error_of_the_output(tmp_path):
    (tmp_path / "uploads").write_text("a file")
    with pytest.raises(OutputError, match="the data folder: "):
        UploadStore(str(tmp_path), 10).begin()


def test_only_files_below_a_root_may_be_read_however_the_uri_is_written(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "inside").mkdir()
    for folder in ("in", "inside"):
        (tmp_path / folder / "a.mp4").write_bytes(MP4)
    (tmp_path / "in" / "link.mp4").symlink_to(tmp_path / "inside" / "a.mp4")
    (tmp_path / "in" / "empty.mp4").write_bytes(b"")
    roots = [str(tmp_path / "in")]
    inside = str(tmp_path / "in" / "a.mp4")
    assert readable_uri(f"file://{inside}", roots, 10**6) == inside
    assert readable_uri(inside, ["s3://bucket/", f"file://{tmp_path}/in"], 10**6) == inside
    outside = [
        str(tmp_path / "inside" / "a.mp4"), f"{tmp_path}/in/../inside/a.mp4", f"{tmp_path}/in/link.mp4",
        "in/a.mp4", "s3://bucket/a.mp4", f"{inside}\\", f"{inside}\0", f"ftp://{inside}", f"file://{inside}%00",
        f"data:{inside}", f"http:{inside}",
    ]  # fmt: skip
    for uri in outside:
        with pytest.raises(SourceError, match="is not below a folder"):
            readable_uri(uri, roots, 10**6)
    with pytest.raises(SourceError):
        readable_uri(inside, [], 10**6)
    with pytest.raises(EmptyVideo):
        readable_uri(f"{tmp_path}/in/empty.mp4", roots, 10**6)
    for missing in ("none.mp4", "."):
        with pytest.raises(UnreachableVideo, match="no such file"):
            readable_uri(f"{tmp_path}/in/{missing}", roots, 10**6)


@pytest.fixture
def reached(monkeypatch) -> list[str]:
    """URIs that were looked up, none of which can be reached."""
    uris = []

    def resolve(uri):
        uris.append(uri)
        raise UnreachableVideo("offline")

    monkeypatch.setattr(module, "resolve", resolve)
    return uris


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [("s3://b/x/a.mp4", True), ("S3://b/x/y/a.mp4", True), ("s3://b/xa.mp4", False),
     ("s3://c/x/a.mp4", False), ("gs://b/x/a.mp4", False), ("s3://b/x/../a.mp4", False),
     ("s3://b/x/%2e%2e/a.mp4", False), ("s3://b/x//a.mp4", False), ("s3://b/x/./a.mp4", False),
     ("s3://b/x/a.mp4?v=1", False), ("s3://b/x/a.mp4#t", False), ("/b/x/a.mp4", False)],
)  # fmt: skip
def test_remote_uris_must_lie_below_a_root_of_their_scheme_and_host(reached, uri, allowed):
    with pytest.raises(UnreachableVideo if allowed else SourceError):
        readable_uri(uri, ["/srv", "s3://b/x/"], 10**6)
    assert reached == [uri] * allowed


@pytest.mark.parametrize("root", ["s3://K:S@b/x?endpoint_override=e", "s3://b/x/?endpoint_override=e"])
@pytest.mark.parametrize(
    ("uri", "allowed"),
    [("s3://b/x/a.mp4", True), ("s3://b/x/a.mp4?endpoint_override=e", True),
     ("s3://K:other@b/x/a.mp4", False),
     ("s3://b/x/a.mp4?endpoint_override=other", False), ("s3://b/y/a.mp4?endpoint_override=e", False)],
)  # fmt: skip
def test_endpoint_and_credentials_are_those_of_the_root(reached, root, uri, allowed):
    with pytest.raises(UnreachableVideo if allowed else SourceError):
        readable_uri(uri, [root], 10**6)
    assert reached == [join_uri(root, "a.mp4")] * allowed
