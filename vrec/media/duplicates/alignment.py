"""Comparison of two fingerprints over crops, offsets in time and playing speeds."""

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vrec.media.duplicates.fingerprint import Pictures
from vrec.media.duplicates.registration import register
from vrec.media.duplicates.windows import (
    SIDE_TRANSFORMS,
    SIDES,
    SIZE,
    Floats,
    Rect,
    axis_windows,
    flip,
    part_of,
    window,
    window_likeness,
    window_transform,
)

MIN_SHARED = 0.6
"""Least share of the longer fingerprint that a copy shares."""
WINDOWS_TRIED = 4
"""Number of the most similar pairs of a window and a whole picture that are aligned in time."""
SPEEDS = tuple(1.05**step for step in (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5))
"""Playing speeds, against the other video's, beyond those that offsets absorb."""
NOISE = 0.01
"""Energy per frequency of a still picture's noise, in squared gray levels: what moves less is no evidence."""

MIN_MOTION = 0.45
"""Least correlation of the motion of copies over many pictures; of other clips of 4 s it is .31 at most."""
SHORT_MOTION = 0.75
"""Addition to it, divided by the root of the number of pictures: within 2 s other motion may agree to .6."""
MIN_SUM = 1.05
"""Least sum of the two correlations of copies."""
CLEAR_LOOK = 0.97
"""Correlation of pictures, once one is put in its place in the other, with which less motion is enough."""
CLEAR_MOTION = 0.3
"""The same as MIN_MOTION for such pictures ..."""
CLEAR_SHORT_MOTION = 0.95
"""... and as SHORT_MOTION: signs by one signer before one wall agree to .62 within 7 pictures."""
CLEAR_MOST_MOTION = 0.8
"""Correlation of motion that is enough for such pictures however few they are: a copy of .5 s has .84."""
EQUAL_LOOK = 0.99
"""Correlation of pictures that are equal but for noise."""
STILL_ACTIVITY = 0.003
"""Share of changing energy below which a video is still, so that motion is no evidence."""
MIN_CUT = 0.4
"""Least distance of the unit vectors of two pictures in a row between which there is a cut."""
CUT_RATIO = 3.0
"""Least such distance against the median one of the video."""
TELLING_CUTS = 5
"""Number of cuts from which on they count as motion: fewer may be title cards that many videos share."""
RETRY_SUM = 0.7
"""Least sum of the correlations with which other speeds and offsets of half a step are tried."""


class Alignment(NamedTuple):
    """Likeness of two videos in the best window, offset and speed."""

    look: float
    """Correlation of the pictures, in [-1, 1]."""
    motion: float
    """Correlation of what changes in them over time, in [-1, 1]; near 0 where nothing moves."""
    activity: float
    """Share of the pictures' energy, in [0, 1], that changes over time, of the video where it is less."""
    pictures: int
    """Number of pictures that lie over each other."""


def is_copy(found: Alignment) -> bool:
    """Return whether two videos so alike show the same recording.

    Motion tells copies from other clips of the same scene: ten signs by one signer before one wall look alike
    to .99. Two videos in which nothing moves are copies only if their pictures are equal but for noise.
    """
    root = found.pictures**0.5
    if found.look >= EQUAL_LOOK and found.activity < STILL_ACTIVITY:
        return True
    enough = min(CLEAR_MOTION + CLEAR_SHORT_MOTION / root, CLEAR_MOST_MOTION)
    if found.look >= CLEAR_LOOK and found.motion >= enough:
        return True
    return found.motion >= MIN_MOTION + SHORT_MOTION / root and found.look + found.motion >= MIN_SUM


@dataclass(frozen=True)
class FingerprintPictures:
    """Decoded fingerprint in the form in which it is compared."""

    cells: Floats
    """(T, GRID²) gray levels."""
    mean: Floats
    """(GRID²,) mean over time."""
    shots: npt.NDArray[np.int64]
    """(S,) first picture of each shot, from 0 on."""

    @classmethod
    def of(cls, pictures: Pictures) -> "FingerprintPictures":
        """Return the decoded form of a fingerprint's pictures."""
        cells = pictures.reshape(len(pictures), -1).astype(np.float32)
        return cls(cells, cells.mean(axis=0), _shots(cells @ window(0, 0).T))

    @cached_property
    def mirrored(self) -> "FingerprintPictures":
        """The same with left and right exchanged."""
        cells, mean = (flip(pictures) for pictures in (self.cells, self.mean))
        return FingerprintPictures(cells, mean, self.shots)

    def vectors(self, transform: Floats) -> "WindowVectors":
        """Return the vectors of a window, given its (SIZE, GRID²) transform."""
        vectors = self.cells @ transform.T
        energy = np.square(vectors).sum(axis=1) + SIZE * NOISE
        unit = vectors / np.sqrt(energy)[:, None]
        lengths = np.diff(self.shots, append=len(unit))
        means = np.add.reduceat(unit, self.shots) / lengths[:, None]
        noise = SIZE * NOISE / energy
        return WindowVectors(unit, unit - means.repeat(lengths, axis=0), noise.astype(np.float32))


class WindowVectors(NamedTuple):
    """A window's pictures as vectors."""

    unit: Floats
    """(T, SIZE) of unit length, so that fading in and out is no motion; near 0 for an even picture."""
    moving: Floats
    """(T, SIZE) the same without their shot's mean: a title card before two clips is no common motion."""
    noise: Floats
    """(T,) energy of the noise in a unit vector."""


def _shots(vectors: Floats) -> npt.NDArray[np.int64]:
    """Return the first picture of each shot; only 0 where cuts are so many that their times are evidence."""
    unit = vectors / np.sqrt(np.square(vectors).sum(axis=1, keepdims=True) + SIZE * NOISE)
    steps = np.linalg.norm(np.diff(unit, axis=0), axis=1)
    if not len(steps):
        return np.zeros(1, np.int64)
    cuts = 1 + np.flatnonzero(steps > max(MIN_CUT, CUT_RATIO * float(np.median(steps))))
    return np.concatenate([[0], cuts]) if len(cuts) < TELLING_CUTS else np.zeros(1, np.int64)


def align(one: FingerprintPictures, other: FingerprintPictures) -> Alignment | None:
    """Return the likeness of two videos, None where one is too short for the other to be its copy.

    Either may be a crop of the other. The windows whose mean pictures are most alike are tried, then the best
    one with its edges in place, also at other speeds and offsets of half a step, and each half with the same
    half, of which subtitles or a logo spoil only some. Mirrored videos are alike once one is `mirrored`.
    """
    found = _best_window(one, other)
    if found is None or is_copy(found[0]):
        return None if found is None else found[0]
    best, (cropped, whole, rect) = found
    placed = rect
    if best.look + best.motion >= RETRY_SUM:
        placed = register(cropped.mean, whole.mean, rect)
        speed, phase = 1.0, 0.0
        shown, target = cropped.vectors(window_transform(*placed)), whole.vectors(window(0, 0))
        for tried in itertools.product(SPEEDS, (0.0, 0.5)):
            found = _better(_align_times(shown, _resample(target, *tried)), best)
            if found is not best:
                best, (speed, phase) = found, tried
            if is_copy(best):
                return best
        for side, transform in zip(SIDES, SIDE_TRANSFORMS, strict=True):
            half = cropped.vectors(window_transform(*part_of(placed, side)))
            best = _better(_align_times(half, _resample(whole.vectors(transform), speed, phase)), best)
            if is_copy(best):
                return best
    for transform in SIDE_TRANSFORMS:
        best = _better(_align_times(one.vectors(transform), other.vectors(transform)), best)
    return best


def _better(found: Alignment | None, best: Alignment) -> Alignment:
    """Return the likeness that is greater in sum; the second where both are equal."""
    if found is None or found.look + found.motion <= best.look + best.motion:
        return best
    return found


def _best_window(
    one: FingerprintPictures, other: FingerprintPictures
) -> tuple[Alignment, tuple[FingerprintPictures, FingerprintPictures, Rect]] | None:
    """Return the likeness in the best of the windows in fixed places; None where one video is too short.

    With it come the video of which the window is, the other one, and the window.
    """
    spans = axis_windows()
    best: tuple[Alignment, tuple[FingerprintPictures, FingerprintPictures, Rect]] | None = None
    forward, backward = window_likeness(one.mean, other.mean), window_likeness(other.mean, one.mean)
    backward[0, 0] = -1  # the whole of both: the same as forward
    likeness = np.stack([forward, backward])
    for place in np.argsort(-likeness, axis=None)[:WINDOWS_TRIED]:
        way, rows, columns = (int(i) for i in np.unravel_index(place, likeness.shape))
        cropped, whole = (other, one) if way else (one, other)
        found = _align_times(cropped.vectors(window(rows, columns)), whole.vectors(window(0, 0)))
        if found is None:
            return None
        if best is None or found.look + found.motion > best[0].look + best[0].motion:
            best = found, (cropped, whole, (*spans[rows], *spans[columns]))
    return best


def _resample(vectors: WindowVectors, speed: float, phase: float) -> WindowVectors:
    """Return vectors at every `speed` steps from `phase` on, interpolated in time."""
    count = len(vectors.noise)
    at = np.arange(phase, count - 1 + 1e-6, speed)
    before = np.minimum(at.astype(np.int64), count - 1)
    after = np.minimum(before + 1, count - 1)
    share = (at - before)[:, None].astype(np.float32)
    unit, moving = (part[before] * (1 - share) + part[after] * share for part in vectors[:2])
    return WindowVectors(unit.astype(np.float32), moving.astype(np.float32), vectors.noise[before])


def _align_times(one: WindowVectors, other: WindowVectors) -> Alignment | None:
    """Return the likeness at the best offset; all are tried at once."""
    count, others = len(one.noise), len(other.noise)
    shared = int(np.ceil(MIN_SHARED * max(count, others)))
    if min(count, others) < shared:
        return None
    offset = np.arange(shared - count, others - shared + 1)  # other[t + offset] lies over one[t]
    spans = np.maximum(0, -offset), np.minimum(count, others - offset)
    other_spans = spans[0] + offset, spans[1] + offset
    energy_one, energy_other = _span_energy(one.unit, *spans), _span_energy(other.unit, *other_spans)
    look = _products(one.unit, other.unit, offset) / np.sqrt(energy_one * energy_other + 1e-6)
    moving_one, moving_other = _span_energy(one.moving, *spans), _span_energy(other.moving, *other_spans)
    noise_one, noise_other = _span_sums(one.noise, *spans), _span_sums(other.noise, *other_spans)
    common = _products(one.moving, other.moving, offset)
    motion = common / np.sqrt((moving_one + noise_one) * (moving_other + noise_other) + 1e-6)
    best = int(np.argmax(look + motion))
    active = min(
        moving_one[best] / (energy_one[best] + 1e-6), moving_other[best] / (energy_other[best] + 1e-6)
    )
    return Alignment(
        float(look[best]), float(motion[best]), float(active), int(spans[1][best] - spans[0][best])
    )


def _products(one: Floats, other: Floats, offset: npt.NDArray[np.int64]) -> Floats:
    """Return the sum of products of the vectors that lie over each other, at each offset."""
    # Sums along the diagonals: with one element more per row, they become columns.
    count, others = len(one), len(other)
    products = np.zeros((count, others + count), np.float32)
    products[:, :others] = one[::-1] @ other.T
    columns = products.ravel()[: count * (others + count - 1)].reshape(count, -1).sum(axis=0)
    return columns[offset + count - 1]


def _span_energy(vectors: Floats, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> Floats:
    return _span_sums(np.square(vectors).sum(axis=1), start, end)


def _span_sums(values: Floats, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> Floats:
    """Return the sums, (spans,), of spans of (T,) values."""
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    return (sums[end] - sums[start]).astype(np.float32)
