"""Windows of a fingerprint's pictures, and the cosine transforms by which they are compared."""

from functools import cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from vrec.media.duplicates.fingerprint import GRID, area_weights

Floats = npt.NDArray[np.float32]
ScalarT = TypeVar("ScalarT", bound=np.generic)
Rect = tuple[float, float, float, float]
"""Top, bottom, left and right in shares of the picture's sides."""
WHOLE: Rect = (0.0, 1.0, 0.0, 1.0)

FREQUENCIES = 8
"""Frequencies of a picture's cosine transform, along each side."""
SIZE = FREQUENCIES**2 - 1
"""Length of a picture's vector: its frequencies without the mean."""
CROPS = (1.0, 0.9, 0.8, 0.7)
"""Shares of a side that are compared, at its start, middle and end."""


def axis_windows() -> list[tuple[float, float]]:
    """Return the spans of a side that are compared; the first is the whole."""
    places = (0.0, 0.5, 1.0)
    return [
        ((1 - share) * place, (1 - share) * place + share)
        for share in CROPS
        for place in (places if share < 1 else (0.0,))
    ]


def axis_transform(low: float, high: float) -> Floats:
    """Return (FREQUENCIES, GRID): the cosine transform of a part of an axis."""
    points = 2 * FREQUENCIES
    moments = np.pi * np.arange(FREQUENCIES)[:, None] * (2 * np.arange(points) + 1) / (2 * points)
    return (np.cos(moments) @ area_weights(low * GRID, high * GRID, GRID, points) / points).astype(np.float32)


EMPHASIS = np.hypot(np.arange(FREQUENCIES)[:, None], np.arange(FREQUENCIES)).astype(np.float32)
_AXES = np.stack([axis_transform(*span) for span in axis_windows()])
"""(spans, FREQUENCIES, GRID): a window is a span of rows and one of columns; the first span is the whole."""


def window_transform(top: float, bottom: float, left: float, right: float) -> Floats:
    """Return (SIZE, GRID²): cells to the vector of a window, given in shares of the picture's sides.

    A frequency counts in proportion to itself, as natural pictures have ever less of the higher ones
    (Field 1987); without it most unrelated pictures would be alike.
    """
    return _transform(axis_transform(top, bottom), axis_transform(left, right))


def _transform(rows: Floats, columns: Floats) -> Floats:
    full = EMPHASIS[..., None, None] * rows[:, None, :, None] * columns[None, :, None, :]
    return full.reshape(FREQUENCIES**2, GRID**2)[1:].astype(np.float32)


SIDE = 0.6
"""Share of a side in the halves that are compared with each other."""
SIDES = ((0.0, SIDE, 0.0, 1.0), (1 - SIDE, 1.0, 0.0, 1.0), (0.0, 1.0, 0.0, SIDE), (0.0, 1.0, 1 - SIDE, 1.0))
"""Top, bottom, left and right of the halves."""
SIDE_TRANSFORMS = [window_transform(*side) for side in SIDES]


@cache
def window(rows: int, columns: int) -> Floats:
    """Return the transform of the window of two of the spans, by their numbers."""
    return _transform(_AXES[rows], _AXES[columns])


def window_likeness(cropped: Floats, whole: Floats) -> Floats:
    """Return the (spans, spans) cosines of the windows of a mean picture, (GRID²,), with all of another."""
    flat = _AXES.reshape(-1, GRID)
    vectors = (flat @ cropped.reshape(GRID, GRID) @ flat.T).reshape(len(_AXES), FREQUENCIES, len(_AXES), -1)
    vectors = vectors * EMPHASIS[:, None]
    target = window(0, 0) @ whole
    products = np.einsum("akbl,kl->ab", vectors, np.append(0, target).reshape(FREQUENCIES, -1), optimize=True)
    norms = np.sqrt(np.einsum("akbl,akbl->ab", vectors, vectors, optimize=True))
    return products / (norms * np.linalg.norm(target) + 1e-6)


def part_of(rect: Rect, part: Rect) -> Rect:
    """Return a part of a window, given in shares of the window, in shares of the picture."""
    height, width = rect[1] - rect[0], rect[3] - rect[2]
    return (
        rect[0] + part[0] * height,
        rect[0] + part[1] * height,
        rect[2] + part[2] * width,
        rect[2] + part[3] * width,
    )


def flip(pictures: npt.NDArray[ScalarT]) -> npt.NDArray[ScalarT]:
    """Return (..., GRID²) pictures with left and right exchanged."""
    cells = pictures.reshape(*pictures.shape[:-1], GRID, GRID)
    return np.ascontiguousarray(cells[..., ::-1]).reshape(pictures.shape)
