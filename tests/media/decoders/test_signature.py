import struct

import pytest

from vrec.media.decoders.signature import broken_reason, is_rotated_or_mirrored, non_video_kind


def box(kind: bytes, content: bytes = b"", *, size: int | None = None) -> bytes:
    return struct.pack(">I", 8 + len(content) if size is None else size) + kind + content


def track(matrix: tuple[int, int, int, int], version: int = 0) -> bytes:
    a, b, c, d = matrix
    head = bytes([version]) + b"\0" * (39 if version == 0 else 51)
    return box(b"trak", box(b"tkhd", head + struct.pack(">5i", a, b, 0, c, d)))


ONE = 1 << 16
UPRIGHT = (ONE, 0, 0, ONE)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "a picture (JPEG)"),
        (b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
        (b"RIFF\0\0\0\0WEBP", "a picture (WebP)"),
        (b"\0\0\0\x18ftypheic", "a picture (HEIC or AVIF)"),
        (b"%PDF-1.7", "a PDF document"),
        (b"PK\x03\x04", "a ZIP archive or an office document"),
        (b"PAR1", "a Parquet table"),
        (b"<!DOCTYPE html>", "HTML"),
        (b"  \n<HTML>", "HTML"),
        (b"<?xml version='1.0'?><html>", "HTML"),
        (b"<?xml version='1.0'?><svg>", "XML"),
        (b"\xef\xbb\xbf#EXTM3U", "a playlist"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        ("Größe, größer".encode(), "text"),
        (b"", "text"),
    ],
)
def test_what_is_no_video_is_named(head, kind):
    assert non_video_kind(head) == kind


@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\0\x18ftypisom\0\0",
        b"RIFF\0\0\0\0AVI LIST",
        b"\x1aE\xdf\xa3\x01\0",
        b"abc\0def",
        b"\xff\xfe text in another encoding",
    ],
)
def test_what_may_be_a_video_is_not(head):
    assert non_video_kind(head) is None


def test_a_character_cut_off_by_the_end_is_still_text():
    assert non_video_kind("a long text ü".encode()[:-1]) == "text"
    assert non_video_kind(b"a\xfc" + b"b" * 9) is None


def test_an_mp4_s_reason_tells_a_missing_index_from_a_damaged_one():
    start = box(b"ftyp", b"isom")
    assert broken_reason(start, start) == "cut short: its index (the moov box) is missing"
    cut = start + box(b"moov", b"", size=999)
    assert broken_reason(cut, cut) == "cut short: its index (the moov box) is missing"
    whole = start + box(b"moov", b"junk")
    assert broken_reason(whole, whole) == "its MP4 index is damaged"
    large = start + struct.pack(">I4sQ", 1, b"moov", 20) + b"junk"
    assert broken_reason(large, large) == "its MP4 index is damaged"
    to_the_end = start + box(b"moov", b"junk", size=0)
    assert broken_reason(to_the_end, to_the_end) == "its MP4 index is damaged"


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"\x1aE\xdf\xa3....", "its Matroska or WebM header is damaged"),
        (b"RIFF....AVI ", "its AVI header is damaged"),
        (b"FLV\x01", "its FLV header is damaged"),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08", None),
    ],
)
def test_other_containers_have_their_reason(head, reason):
    assert broken_reason(head, head) == reason


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        (UPRIGHT, False),
        ((2 * ONE, 0, 0, 2 * ONE), False),
        ((0, ONE, -ONE, 0), True),
        ((-ONE, 0, 0, -ONE), True),
        ((-ONE, 0, 0, ONE), True),
        ((ONE, 0, 0, -ONE), True),
        ((ONE, 0, 0, 2 * ONE), True),
    ],
)
def test_a_track_s_matrix_says_whether_it_is_turned(tmp_path, version, matrix, turned):
    content = box(b"ftyp", b"isom") + box(b"moov", box(b"mvhd", b"x" * 9) + track(matrix, version))
    assert is_rotated_or_mirrored(content) is turned
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    assert is_rotated_or_mirrored(str(path)) is turned


def test_any_turned_track_counts_and_no_index_is_upright():
    assert is_rotated_or_mirrored(box(b"moov", track(UPRIGHT) + track((0, ONE, -ONE, 0))))
    assert not is_rotated_or_mirrored(box(b"moov", track(UPRIGHT) + track(UPRIGHT)))
    assert not is_rotated_or_mirrored(box(b"ftyp", b"isom"))
    assert not is_rotated_or_mirrored(b"")
