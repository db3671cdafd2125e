"""Detection of files that end before their own structure says they do."""

import os
from collections.abc import Callable

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_SYNC = 0x47
_TRANSPORT_PACKETS = ((188, 0), (192, 4), (204, 0))
"""Bytes of a transport stream's packet, and of what precedes its sync byte."""
_UNKNOWN_RIFF_SIZES = {0, 0xFFFFFFFF}
_MP4_BOXES = frozenset(
    b"ftyp moov mdat free skip wide moof mfra styp sidx ssix uuid meta udta pnot prft emsg".split()
)
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
"""Object that states an ASF file's size, 0 where it was streamed."""


def missing_end(source: str | bytes) -> str | None:
    """Return what is missing at the end of a file, or None where its structure is whole or says nothing.

    MP4 boxes, Matroska's segment, RIFF and ASF state their sizes; transport streams have packets of one size,
    and look whole where they were cut between two of them.
    """
    total = len(source) if isinstance(source, bytes) else os.path.getsize(source)
    if isinstance(source, bytes):
        return _missing_end(lambda at, count: source[at : at + count], total)
    with open(source, "rb") as file:

        def read(at: int, count: int) -> bytes:
            file.seek(at)
            return file.read(count)

        return _missing_end(read, total)


def _missing_end(read: Callable[[int, int], bytes], total: int) -> str | None:
    head = read(0, 5 * 204)
    if head[4:8] in _MP4_BOXES:
        declared = _end_of_boxes(read, total)
    elif head.startswith(_EBML):
        declared = _end_of_segment(head)
    elif head.startswith(_ASF_HEADER):
        at = head.find(_ASF_FILE)
        declared = int.from_bytes(head[at + 40 : at + 48], "little") if at > 0 else None
    elif head.startswith(b"RIFF"):
        size = int.from_bytes(head[4:8], "little")
        declared = None if size in _UNKNOWN_RIFF_SIZES else size + 8
    else:
        return "its last packet is incomplete" if _has_partial_packet(head, total) else None
    if declared is None or declared <= total:
        return None
    return f"{total:,} of {declared:,} bytes are there"


def _end_of_boxes(read: Callable[[int, int], bytes], total: int) -> int | None:
    """Return where the last top-level box of an MP4 file ends (ISO/IEC 14496-12)."""
    at = 0
    while at + 8 <= total:
        header = read(at, 16)
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        # Size 0 is "to the end of the file"; other bytes behind the boxes are no sign of a cut.
        if size < 8 or header[4:8] not in _MP4_BOXES:
            return None
        at += size
    return at


def _end_of_segment(head: bytes) -> int | None:
    """Return where Matroska's segment ends, or None where its size is unknown, as in a live recording."""
    header = _element_size(head, 4)
    if header is None:
        return None
    size, at = header
    at += size
    if head[at : at + 4] != _SEGMENT:
        return None
    segment = _element_size(head, at + 4)
    return None if segment is None else segment[0] + segment[1]


def _element_size(data: bytes, at: int) -> tuple[int, int] | None:
    """Return an EBML size and where it ends (RFC 8794); None where it is unknown or not there."""
    first = data[at] if at < len(data) else 0
    length = 9 - first.bit_length()
    if not first or at + length > len(data):
        return None
    unmarked = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return None if unmarked == (1 << 7 * length) - 1 else (unmarked, at + length)


def _has_partial_packet(head: bytes, total: int) -> bool:
    for size, start in _TRANSPORT_PACKETS:
        marks = head[start::size]
        if len(marks) >= 3 and all(mark == _SYNC for mark in marks):
            return total % size != 0
    return False
