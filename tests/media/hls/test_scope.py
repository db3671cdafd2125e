"""A stream never leads out of the places that the operator has named, by whatever playlist or redirect."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from vrec.core.errors import SourceRefused
from vrec.media.hls.scope import HlsScope

ROOTS = ("https://cdn.example/live", "http://127.0.0.1:8080/", "/srv/streams")
SOURCE = "https://cdn.example/live/a/main.m3u8"


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("seg0.ts", "https://cdn.example/live/a/seg0.ts"),
        ("../b/seg0.ts?token=x%2Fy", "https://cdn.example/live/b/seg0.ts?token=x%2Fy"),
        ("/live/c.ts", "https://cdn.example/live/c.ts"),
        ("//cdn.example:443/live/c.ts", "https://cdn.example/live/c.ts"),
    ],
)
def test_what_is_below_a_root_may_be_read(reference, found):
    assert URL(HlsScope(SOURCE, ROOTS).join(SOURCE, reference)) == URL(found)


@pytest.mark.parametrize(
    "reference",
    [
        "file:///etc/passwd", "FILE:///etc/passwd", "file:/etc/passwd", "concat:a.ts|/etc/passwd", "data:,x",
        "subfile:///etc/passwd", "ftp://cdn.example/live/a.ts", "gopher://cdn.example/live/", "s3://live/a",
        "http://cdn.example/live/a.ts", "http://127.0.0.1:8080/a.ts", "https://other.example/live/a.ts",
        "//169.254.169.254/latest", "/private/a.ts", "../../private.ts", "https://cdn.example/live/%2e%2e/x",
        "https://cdn.example/live/..%2fx", "https://cdn.example/live/..\\x", "https://cdn.example/livex/a",
        "https://cdn.example@other.example/live/a", "https://cdn.example:8443/live/a", "https://[bad/live/a",
        "https://cdn.example\\@other.example/live/a", "https://cdn.example.other/live/a",
    ],
)  # fmt: skip
def test_what_leaves_the_roots_or_the_scheme_is_refused(reference):
    with pytest.raises(SourceRefused):
        HlsScope(SOURCE, ROOTS).join(SOURCE, reference)


@given(
    st.sampled_from(["", "/", "//", "../", "https:", "http:", "file:", "https://", "\\\\", "%2e%2e/"]),
    st.text("./\\:@%2eE?#[]abc", max_size=30),
)
def test_whatever_stands_in_a_playlist_the_answer_is_below_a_root_of_its_scheme(start, rest):
    try:
        found = URL(HlsScope(SOURCE, ROOTS).join(SOURCE, start + rest))
    except SourceRefused:
        return
    assert (found.scheme, found.host, found.port) == ("https", "cdn.example", 443)
    assert found.path.startswith("/live/")
    assert ".." not in found.path.replace("\\", "/").split("/")


@pytest.mark.parametrize(
    "source",
    [
        "https://other.example/a.m3u8", "http://cdn.example/live/a.m3u8", "/etc/a.m3u8", "a.m3u8",
        "/srv/streamsx", "s3://bucket/a.m3u8", "file://host/srv/streams/a.m3u8",
        "concat:/srv/streams/a", "/srv/streams/../a",
        "/srv/streams/a\0b", "ftp://x/a.m3u8",
    ],
)  # fmt: skip
def test_a_source_below_no_root_is_refused(source):
    with pytest.raises(SourceRefused):
        HlsScope(source, ROOTS)
    with pytest.raises(SourceRefused):
        HlsScope(SOURCE, ())


def test_a_local_playlist_names_files_of_its_own_folder_alone(tmp_path):
    folder, outside = tmp_path / "a", tmp_path / "secret.ts"
    folder.mkdir()
    outside.write_text("secret")
    (folder / "link.ts").symlink_to(outside)
    (folder / "seg 1.ts").write_text("x")
    source = str(folder / "main.m3u8")
    scope = HlsScope(source, (str(tmp_path),))
    assert scope.join(scope.source, "seg 1.ts") == os.path.realpath(folder / "seg 1.ts")
    assert scope.join(scope.source, "deep/x.m3u8") == os.path.realpath(folder / "deep" / "x.m3u8")
    for reference in (
        *("../secret.ts", str(outside), "link.ts", "deep/../../secret.ts", "x\0"),
        *(f"file://{outside}", "http://127.0.0.1/x.ts", "concat:link.ts|link.ts", "c:x"),
    ):
        with pytest.raises(SourceRefused):
            scope.join(scope.source, reference)
    assert HlsScope(f"file://{source}", (str(tmp_path),)).source == scope.source
