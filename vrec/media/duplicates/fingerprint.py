"""Fingerprints of videos: small gray pictures, four per second, of what lies between a video's bars.

Pictures and not hash bits, so that two fingerprints can be compared at any crop and offset in time, and by
what moves in them (see `alignment`).
"""

import zlib

import numpy as np
import numpy.typing as npt

from vrec.media.frame_sampling import Indices

RATE_HZ = 4
"""Pictures per second."""
SPAN_S = 16.0
"""Seconds from the start of a video that its fingerprint covers, so that long videos need not be decoded."""
MAX_PICTURES = int(SPAN_S * RATE_HZ)
THUMBNAIL_PX = 64
"""Side in pixels of the squashed gray frames from which a fingerprint is made."""
GRID = 16
"""Side in cells of a fingerprint's pictures."""
LEVELS = 64
"""Number of gray levels of a cell."""
VERSION = 1
"""First byte of a fingerprint."""
FLAT_LEVELS = 6.0
"""Largest deviation, of 255, within a row or column of a bar: encoders leave some noise."""
MAX_BAR_SHARE = 0.4
"""Largest share of a side that one bar may take; if more seems flat, nothing is cut off there."""

Thumbnails = npt.NDArray[np.uint8]
"""(N, THUMBNAIL_PX, THUMBNAIL_PX) gray frames, squashed to a square."""
Pictures = npt.NDArray[np.uint8]
"""(T, GRID, GRID) cells in [0, LEVELS), T ≤ MAX_PICTURES."""


def fingerprint_indices(times_s: npt.NDArray[np.float64]) -> Indices:
    """Return the frame on screen at each moment of the fingerprint, (T,) int64, not falling.

    The moments are counted in seconds from the first frame, not in shares of the video, so that they agree
    between a video and a copy of another length.

    Args:
        times_s: (N,) time of every frame in seconds, rising; N ≥ 1.
    """
    moments = np.arange(MAX_PICTURES) / RATE_HZ
    moments = moments[moments <= times_s[-1] - times_s[0]]
    # Times are rounded in the file: a frame that starts at a moment is on screen then.
    return np.searchsorted(times_s - times_s[0], moments + 1e-3, side="right").astype(np.int64) - 1


def encode_fingerprint(thumbnails: Thumbnails) -> bytes:
    """Return the fingerprint of thumbnails at the moments of `fingerprint_indices`, about 100 bytes each."""
    top, bottom, left, right = _content_box(thumbnails)
    rows, columns = (
        area_weights(top, bottom, THUMBNAIL_PX, GRID),
        area_weights(left, right, THUMBNAIL_PX, GRID),
    )
    cells = rows @ thumbnails.astype(np.float32) @ columns.T
    levels = np.clip(np.rint(cells * (LEVELS / 256)), 0, LEVELS - 1).astype(np.uint8)
    changes = np.diff(levels, axis=0, prepend=np.uint8(0)) % LEVELS
    return bytes([VERSION]) + zlib.compress(changes.tobytes(), 6)


def decode_fingerprint(fingerprint: bytes) -> Pictures:
    """Return the pictures of a fingerprint.

    Raises:
        ValueError: The bytes are not a fingerprint.
    """
    limit = MAX_PICTURES * GRID * GRID
    try:
        cells = zlib.decompressobj().decompress(fingerprint[1:], limit + 1)
    except zlib.error:
        cells = b""
    whole = 0 < len(cells) <= limit and len(cells) % GRID**2 == 0
    if fingerprint[:1] != bytes([VERSION]) or not whole:
        raise ValueError(f"{len(fingerprint)} bytes that are not a fingerprint of version {VERSION}")
    changes = np.frombuffer(cells, np.uint8).reshape(-1, GRID, GRID)
    return np.cumsum(changes, axis=0, dtype=np.uint8) % LEVELS


def _content_box(thumbnails: Thumbnails) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of the picture between bars, of one color in every frame."""
    pictures = thumbnails.astype(np.float32)
    top, bottom = _inside(np.percentile(pictures.std(axis=2), 90, axis=0))
    left, right = _inside(np.percentile(pictures.std(axis=1), 90, axis=0))
    return top, bottom, left, right


def _inside(deviation: npt.NDArray[np.float32]) -> tuple[int, int]:
    """Return the first and the end of the lines that are not flat, from both sides."""
    busy = np.flatnonzero(deviation >= FLAT_LEVELS)
    size, most = len(deviation), int(MAX_BAR_SHARE * len(deviation))
    if not len(busy):
        return 0, size
    first, end = int(busy[0]), int(busy[-1]) + 1
    # One line more: the bar's edge lies within it.
    first = first + 1 if 0 < first < most else 0
    end = end - 1 if size - most < end < size else size
    return first, end


def area_weights(low: float, high: float, size: int, cells: int) -> npt.NDArray[np.float32]:
    """Return (cells, size) weights that average `size` pixels between `low` and `high` into cells by area."""
    edges = np.linspace(low, high, cells + 1)[:, None]
    pixels = np.arange(size)
    overlap = np.minimum(pixels + 1, edges[1:]) - np.maximum(pixels, edges[:-1])
    weights = np.clip(overlap, 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
