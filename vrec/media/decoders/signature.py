"""Detection of files that are no video, and of MP4 rotation, from a file's bytes."""

import os
import struct
from collections.abc import Iterator

HEAD_BYTES = 4096

_PICTURE = "a picture"
_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", f"{_PICTURE} (JPEG)"),
    (b"\x89PNG\r\n\x1a\n", f"{_PICTURE} (PNG)"),
    (b"BM", f"{_PICTURE} (BMP)"),
    (b"II*\x00", f"{_PICTURE} (TIFF)"),
    (b"MM\x00*", f"{_PICTURE} (TIFF)"),
    (b"8BPS", f"{_PICTURE} (PSD)"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"PAR1", "a Parquet table"),
)
_TEXTS: tuple[tuple[str, str], ...] = (
    ("<!doctype html", "HTML"),
    ("<html", "HTML"),
    ("#extm3u", "a playlist"),
    ("version https://git-lfs", "a Git LFS pointer"),
    ("<", "XML"),
)
_STILL_BRANDS = {b"heic", b"heix", b"mif1", b"avif"}


def non_video_kind(head: bytes) -> str | None:
    """Return a description of bytes that are clearly no video ("HTML", "a picture (PNG)"), else None."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return f"{_PICTURE} (WebP)"
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        return f"{_PICTURE} (HEIC or AVIF)"
    for mark, kind in _KINDS:
        if head.startswith(mark):
            return kind
    return _text_kind(head)


def _text_kind(head: bytes) -> str | None:
    text = _text(head)
    if text is None:
        return None
    start = text.lstrip().lower()
    for mark, kind in _TEXTS:
        if start.startswith(mark) or (kind == "HTML" and mark in start[:512]):
            return kind
    return "text"


def _text(head: bytes) -> str | None:
    try:
        text = head.decode("utf-8-sig", errors="strict")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # a character cut by the end of the head is still text
            return None
        text = head[: error.start].decode("utf-8-sig")
    if any(ord(letter) < 32 and letter not in "\t\r\n\f\x1b" for letter in text):
        return None
    return text


def broken_reason(source: str | bytes, head: bytes) -> str | None:
    """Return why a file that starts like a video cannot be opened; None where it does not start like one."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
        if all(kind != b"moov" for kind, _, _ in _boxes(source)):
            return "cut short: its index (the moov box) is missing"
        return "its MP4 index is damaged"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "its Matroska or WebM header is damaged"
    if head[:4] == b"RIFF" and head[8:11] == b"AVI":
        return "its AVI header is damaged"
    if head[:3] == b"FLV":
        return "its FLV header is damaged"
    return None


def is_rotated_or_mirrored(source: str | bytes) -> bool:
    """Return whether any track of an MP4 file is displayed rotated or mirrored."""
    moov = next((_read_at(source, at, size) for kind, at, size in _boxes(source) if kind == b"moov"), b"")
    for kind, at, size in _inner_boxes(moov):
        if kind != b"trak":
            continue
        track = moov[at : at + size]
        header = next((track[a : a + n] for k, a, n in _inner_boxes(track) if k == b"tkhd"), b"")
        # The matrix follows 40 bytes of the header's version 0, or 52 of its version 1.
        start = 52 if header[:1] == b"\x01" else 40
        a, b, _, c, d = struct.unpack(">5i", header[start : start + 20].ljust(20, b"\0"))
        if a <= 0 or (a, b, c, d) != (a, 0, 0, a):
            return True
    return False


def _boxes(source: str | bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, start, size) of the complete top-level boxes of an MP4 file (ISO/IEC 14496-12)."""
    total = len(source) if isinstance(source, bytes) else os.path.getsize(source)
    at = 0
    while at + 8 <= total:
        header = _read_at(source, at, 16)
        skip, size = 8, int.from_bytes(header[:4], "big")
        if size == 1:
            skip, size = 16, int.from_bytes(header[8:16], "big")
        elif size == 0:
            size = total - at
        if size < skip or at + size > total:
            return
        yield header[4:8], at + skip, size - skip
        at += size


def _inner_boxes(box: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 0
    while at + 8 <= len(box):
        size = int.from_bytes(box[at : at + 4], "big")
        if size < 8:
            return
        yield box[at + 4 : at + 8], at + 8, size - 8
        at += size


def _read_at(source: str | bytes, at: int, count: int) -> bytes:
    if isinstance(source, bytes):
        return source[at : at + count]
    with open(source, "rb") as file:
        file.seek(at)
        return file.read(count)
