"""A perceptual hash of a video, and the search for videos that share their content."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from vrec.core.types import Frames

MOMENTS = 4
"""How many moments of a video are hashed; 64 bits each."""
BITS = MOMENTS * 64
GRID = 32
"""A frame is reduced to GRID × GRID grey cells before its cosine transform."""
MARGIN = 6
"""One part in so many is left out at each edge: bars lie there, and what all shots of one room share."""
MAX_DISTANCE = 24
"""Of 256 bits: videos nearer than this are near duplicates (see docs/decisions/decoder.md)."""
BANDS = 12
"""Pairs are verified only where one of this many bands of bits is equal (Indyk and Motwani 1998)."""
MAX_BUCKET_NEIGHBORS = 32
"""Among more distinct hashes than this with an equal band, only the nearest in order are verified."""


def _cosines() -> npt.NDArray[np.float32]:
    rows = np.arange(1, 9)[:, None]
    return np.cos(np.pi * rows * (2 * np.arange(GRID) + 1) / (2 * GRID)).astype(np.float32)


_DCT = _cosines()


def phash(frames: Frames) -> str:
    """256 bits as 64 hex digits: the DCT hash (Zauner 2010) of 4 evenly spaced moments.

    `frames` is (T, S, S, 3) uint8, T ≥ 1. Videos of fewer than 4 frames repeat theirs. The hash
    survives another encoding, size or frame rate of the same content, not another cut.
    """
    count, margin = len(frames), frames.shape[1] // MARGIN
    moments = [int((i + 0.5) * count / MOMENTS) for i in range(MOMENTS)]
    inner = frames[moments, margin : frames.shape[1] - margin, margin : frames.shape[2] - margin]
    grey = _grey(inner)
    low = _DCT @ grey @ _DCT.T  # (MOMENTS, 8, 8), without the constant row and column
    bits = low > np.median(low, axis=(1, 2), keepdims=True)
    return np.packbits(bits.reshape(-1)).tobytes().hex()


def _grey(frames: Frames) -> npt.NDArray[np.float32]:
    count, side = frames.shape[0], frames.shape[1]
    if side < GRID:
        repeat = -(-GRID // side)
        frames = frames.repeat(repeat, axis=1).repeat(repeat, axis=2)
        side *= repeat
    size = side // GRID
    cut = frames[:, : GRID * size, : GRID * size]
    return cut.reshape(count, GRID, size, GRID, size * 3).mean(axis=(2, 4), dtype=np.float32)


def hamming_distance(one: str, other: str) -> int:
    """In how many of 256 bits two hashes differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def near_duplicates(video_ids: Sequence[str], phashes: Sequence[str]) -> list[list[str]]:
    """Groups of two or more videos that share their content, each sorted, the groups in order.

    Two hashes within MAX_DISTANCE bits join their groups. Candidates come from equal bands, so
    the time is near linear in the number of videos; a pair near the limit may be missed, a pair
    beyond it is never joined directly. The order of the input does not matter. Raises ValueError
    where the two sequences differ in length or a hash is not of 256 bits.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for video_id, code in zip(video_ids, phashes, strict=True):
        members[code].append(video_id)
    codes = sorted(members)
    if any(len(code) != BITS // 4 for code in codes):
        raise ValueError(f"a perceptual hash has {BITS // 4} hex digits")
    packed = np.frombuffer(bytes.fromhex("".join(codes)), np.uint8).reshape(len(codes), BITS // 8)
    labels = np.arange(len(codes))
    for pairs in _candidates(packed):
        apart = np.bitwise_count(packed[pairs[:, 0]] ^ packed[pairs[:, 1]]).sum(axis=1, dtype=np.int64)
        labels = _joined(labels, pairs[apart <= MAX_DISTANCE])
    groups: dict[int, list[str]] = defaultdict(list)
    for code, label in zip(codes, labels.tolist(), strict=True):
        groups[label].extend(members[code])
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def _candidates(packed: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.int64]]:
    """Pairs (P, 2) of rows that agree in a band, batch by batch."""
    bits = np.unpackbits(packed, axis=1).astype(np.int64)
    for band in range(BANDS):
        mine = bits[:, band::BANDS]
        keys = mine @ (1 << np.arange(mine.shape[1], dtype=np.int64))
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        # Neighbours at every step up to CROWD within a run of equal keys: all pairs of a small run,
        # and a bounded number of a crowd's, whose members are in the order of their hashes.
        for step in range(1, MAX_BUCKET_NEIGHBORS + 1):
            together = np.flatnonzero(keys[step:] == keys[:-step])
            if not len(together):
                break
            yield np.stack([order[together], order[together + step]], axis=1)


def _joined(labels: npt.NDArray[np.int64], pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Labels in which both of every pair, and all that hang on them, carry the smallest of theirs."""
    one, other = pairs[:, 0], pairs[:, 1]
    while True:
        apart = labels[one] != labels[other]
        if not apart.any():
            return labels
        a, b = labels[one[apart]], labels[other[apart]]
        labels = labels.copy()
        np.minimum.at(labels, np.maximum(a, b), np.minimum(a, b))
        while (shorter := labels[labels]).tobytes() != labels.tobytes():
            labels = shorter
