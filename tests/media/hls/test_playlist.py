"""Playlists as ffmpeg writes them, as RFC 8216 describes them, and as nobody should write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.core.errors import PlaylistError
from vrec.media.hls.playlist import ByteSpan, HlsPart, MasterPlaylist, MediaPlaylist, parse_playlist

HEAD = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n"


def parse(text: str):
    return parse_playlist(text.encode())


def test_segments_have_their_numbers_places_lengths_and_sections():
    found = parse(
        "#EXTM3U\r\n#EXT-X-MEDIA-SEQUENCE:7\r\n"
        '#EXT-X-MAP:URI="a.mp4",BYTERANGE="10@5"\r\n'
        "#EXTINF:2.5,a title, with a comma\r\n#EXT-X-BYTERANGE:100@50\r\none.m4s\r\n"
        "#EXTINF:2,\r\n#EXT-X-BYTERANGE:30\r\none.m4s\r\n"
        "#EXT-X-DISCONTINUITY\r\n#EXT-X-PROGRAM-DATE-TIME:2026-01-01T00:00:00Z\r\n"
        '#EXT-X-MAP:URI="b.mp4"\r\n#EXTINF:4,\r\n#EXT-X-GAP\r\nmissing.m4s\r\n'
        "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\r\n#EXTINF:4,\r\nhttps://h/x?a=b,c\r\n"
        "#EXT-X-KEY:METHOD=NONE\r\n#EXTINF:4,\r\n../up.m4s\r\n#EXT-X-ENDLIST"
    )  # fmt: skip
    assert isinstance(found, MediaPlaylist)
    assert found.ended
    assert [one.sequence for one in found.segments] == [7, 8, 10, 11]
    assert [one.part for one in found.segments] == [
        HlsPart("one.m4s", ByteSpan(50, 100)),
        HlsPart("one.m4s", ByteSpan(150, 30)),
        HlsPart("https://h/x?a=b,c"),
        HlsPart("../up.m4s"),
    ]
    assert [one.duration_s for one in found.segments] == [2.5, 2, 4, 4]
    assert [one.init and one.init.uri for one in found.segments] == ["a.mp4", "a.mp4", "b.mp4", "b.mp4"]
    assert found.segments[0].init == HlsPart("a.mp4", ByteSpan(5, 10))
    assert [one.encrypted for one in found.segments] == [False, False, True, False]


VARIANTS = [
    ('BANDWIDTH=64000,CODECS="mp4a.40.2"', "sound"),
    ("BANDWIDTH=300000,RESOLUTION=160x90", "tiny"),
    ('BANDWIDTH=900000,CODECS="avc1.4d401e,mp4a.40.2",RESOLUTION=640x360', "small"),
    ("BANDWIDTH=800000,RESOLUTION=360x640", "cheap"),
    ("BANDWIDTH=5000000,RESOLUTION=1920x1080", "large"),
]


def master(*names: str) -> MasterPlaylist:
    lines = [f"#EXT-X-STREAM-INF:{about}\n{name}\n" for about, name in VARIANTS if name in names]
    found = parse("#EXTM3U\n" + "".join(lines))
    assert isinstance(found, MasterPlaylist)
    return found


def test_the_smallest_variant_that_is_large_enough_is_chosen():
    everything = master(*(name for _, name in VARIANTS))
    assert everything.smallest(224).uri == "cheap"
    assert everything.smallest(64).uri == "tiny"
    assert everything.smallest(720).uri == "large"
    assert everything.smallest(2000).uri == "large"
    unsized = parse("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\na\n#EXT-X-STREAM-INF:BANDWIDTH=2\nb\n")
    assert unsized.smallest(224).uri == "b"
    with pytest.raises(PlaylistError, match="no variant with a picture"):
        master("sound").smallest(224)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is empty, not a playlist"),
        ("<!doctype html><html>not found</html>", "it is HTML, not a playlist"),
        ("seg0.ts\nseg1.ts\n", "it is text, not a playlist"),
        (HEAD + "#EXTINF:two,\na.ts", "line 3: 'two' is no length"),
        (HEAD + "#EXTINF:nan,\na.ts", "line 3: 'nan' is no length"),
        (HEAD + "#EXTINF:-1,\na.ts", "line 3: '-1' is no length"),
        (HEAD + "#EXT-X-MEDIA-SEQUENCE:1e9", "line 3: '1e9' is not a whole number"),
        (HEAD + "#EXTINF:1,\n#EXT-X-BYTERANGE:0@0\na.ts", "line 4: '0@0' is no byte range"),
        (HEAD + "#EXTINF:1,\n#EXT-X-BYTERANGE:5\na.ts", "line 5: a byte range without a start"),
        (HEAD + "#EXT-X-MAP:BYTERANGE=1", "line 3: EXT-X-MAP has no URI"),
        (HEAD + "x" * 9_000, "line 3 is longer than 8,192 characters"),
        (HEAD + "#EXTINF:1,\na.ts\n#EXT-X-STREAM-INF:BANDWIDTH=1\nb", "it has variants and segments"),
    ],
)
def test_what_is_no_playlist_is_refused_with_the_place_and_the_reason(text, says):
    with pytest.raises(PlaylistError, match=says):
        parse(text)


@given(
    st.binary(max_size=300) | st.text('#EXTINFMAPKYSRU-:=,"@0123456789.\n ax', max_size=300).map(str.encode)
)
def test_whatever_comes_is_a_playlist_or_refused(content):
    for data in (content, b"#EXTM3U\n" + content):
        try:
            found = parse_playlist(data)
        except PlaylistError:
            continue
        numbers = [one.sequence for one in getattr(found, "segments", ())]
        assert numbers == sorted(set(numbers))
