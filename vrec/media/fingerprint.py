"""Perceptual hashes of videos, and near-duplicate detection."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from vrec.core.types import Frames

MOMENTS = 4
"""Number of moments of a video that are hashed, 64 bits each."""
BITS = MOMENTS * 64
GRID = 32
"""Side of the grid of gray cells to which a frame is reduced before its cosine transform."""
MARGIN = 6
"""1 / MARGIN of the frame is left out at each edge, where bars and shared backgrounds lie."""
MAX_DISTANCE = 24
"""Largest Hamming distance, of 256 bits, between near duplicates (see docs/decisions/decoder.md)."""
BANDS = 12
"""Number of bands of bits; pairs are compared only where a band is equal (Indyk and Motwani 1998)."""
MAX_BUCKET_NEIGHBORS = 32
"""Number of following hashes with an equal band, in sorted order, that each hash is compared with."""


def _dct_rows() -> npt.NDArray[np.float32]:
    rows = np.arange(1, 9)[:, None]
    return np.cos(np.pi * rows * (2 * np.arange(GRID) + 1) / (2 * GRID)).astype(np.float32)


_DCT = _dct_rows()


def phash(frames: Frames) -> str:
    """Return the DCT hash (Zauner 2010) of 4 evenly spaced moments of a video.

    The hash survives another encoding, size or frame rate of the same content, but not another cut.

    Args:
        frames: (T, S, S, 3) uint8, T ≥ 1; fewer than 4 frames are repeated.

    Returns:
        256 bits as 64 hex digits.
    """
    count, margin = len(frames), frames.shape[1] // MARGIN
    moments = [int((i + 0.5) * count / MOMENTS) for i in range(MOMENTS)]
    inner = frames[moments, margin : frames.shape[1] - margin, margin : frames.shape[2] - margin]
    gray = _gray_cells(inner)
    low = _DCT @ gray @ _DCT.T  # (MOMENTS, 8, 8), without the constant row and column
    bits = low > np.median(low, axis=(1, 2), keepdims=True)
    return np.packbits(bits.reshape(-1)).tobytes().hex()


def _gray_cells(frames: Frames) -> npt.NDArray[np.float32]:
    count, side = frames.shape[0], frames.shape[1]
    if side < GRID:
        repeat = -(-GRID // side)
        frames = frames.repeat(repeat, axis=1).repeat(repeat, axis=2)
        side *= repeat
    size = side // GRID
    cropped = frames[:, : GRID * size, : GRID * size]
    return cropped.reshape(count, GRID, size, GRID, size * 3).mean(axis=(2, 4), dtype=np.float32)


def hamming_distance(one: str, other: str) -> int:
    """Return the number of bits, of 256, in which two hashes differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def near_duplicates(video_ids: Sequence[str], phashes: Sequence[str]) -> list[list[str]]:
    """Group videos that share their content.

    Two hashes within MAX_DISTANCE bits join their groups. Candidate pairs come from equal bands, so the
    time is near linear in the number of videos; a pair near the limit may be missed, and a pair beyond it
    is never joined directly. The order of the input does not matter.

    Returns:
        Sorted groups of two or more sorted video ids.

    Raises:
        ValueError: The sequences differ in length, or a hash does not have 256 bits.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for video_id, code in zip(video_ids, phashes, strict=True):
        members[code].append(video_id)
    codes = sorted(members)
    if any(len(code) != BITS // 4 for code in codes):
        raise ValueError(f"a perceptual hash has {BITS // 4} hex digits")
    packed = np.frombuffer(bytes.fromhex("".join(codes)), np.uint8).reshape(len(codes), BITS // 8)
    labels = np.arange(len(codes))
    for pairs in _candidate_pairs(packed):
        distances = np.bitwise_count(packed[pairs[:, 0]] ^ packed[pairs[:, 1]]).sum(axis=1, dtype=np.int64)
        labels = _merge_labels(labels, pairs[distances <= MAX_DISTANCE])
    groups: dict[int, list[str]] = defaultdict(list)
    for code, label in zip(codes, labels.tolist(), strict=True):
        groups[label].extend(members[code])
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def _candidate_pairs(packed: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield batches of pairs of rows, (P, 2), that agree in a band."""
    bits = np.unpackbits(packed, axis=1).astype(np.int64)
    for band in range(BANDS):
        band_bits = bits[:, band::BANDS]
        keys = band_bits @ (1 << np.arange(band_bits.shape[1], dtype=np.int64))
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        # Neighbors up to MAX_BUCKET_NEIGHBORS steps apart within a run of equal keys: all pairs of a small
        # run, and a bounded number of a long one's, whose members are in the order of their hashes.
        for step in range(1, MAX_BUCKET_NEIGHBORS + 1):
            equal = np.flatnonzero(keys[step:] == keys[:-step])
            if not len(equal):
                break
            yield np.stack([order[equal], order[equal + step]], axis=1)


def _merge_labels(labels: npt.NDArray[np.int64], pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return labels in which the groups of every pair are merged under their smallest label."""
    first, second = pairs[:, 0], pairs[:, 1]
    while True:
        unequal = labels[first] != labels[second]
        if not unequal.any():
            return labels
        a, b = labels[first[unequal]], labels[second[unequal]]
        labels = labels.copy()
        np.minimum.at(labels, np.maximum(a, b), np.minimum(a, b))
        while (roots := labels[labels]).tobytes() != labels.tobytes():
            labels = roots
