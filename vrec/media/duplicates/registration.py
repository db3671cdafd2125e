"""Registration of a picture with the part of another that shows the same."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vrec.media.duplicates.fingerprint import GRID
from vrec.media.duplicates.windows import EMPHASIS, FREQUENCIES, Floats, Rect, axis_transform, window

STEPS = (0.04, 0.02, 0.01, 0.005)
"""Shares of a side by which edges of a window are moved, one step size after the other."""
MIN_SIDE = 0.5
"""Least share of a side that a window keeps."""
MIN_GAIN = 1e-4
"""Least gain in likeness for which a window is moved."""
_EDGES = np.eye(4)
_DIRECTIONS = (*_EDGES, _EDGES[0] + _EDGES[1], _EDGES[2] + _EDGES[3], np.array([1.0, -1.0, 1.0, -1.0]))
"""Movements of top, bottom, left and right: single edges, shifts, and both axes at once."""


def register(cropped: Floats, whole: Floats, rect: Rect) -> Rect:
    """Return the window of a mean picture that is most like the whole of another, found from `rect` on.

    A coordinate ascent on the cosine of their transforms. Windows in fixed places are too coarse for the
    motion of a copy to agree, in which a cell shifted by half is another cell.

    Args:
        cropped: (GRID²,) mean picture that shows more.
        whole: (GRID²,) mean picture whose whole is looked for in it.
        rect: Window to begin with.
    """
    picture = cropped.reshape(GRID, GRID)
    likeness = _likeness(whole)
    best = likeness(picture, rect)
    for step in STEPS:
        moved = True
        while moved:
            moved = False
            for direction in _DIRECTIONS:
                for sign in (step, -step):
                    other = _moved(rect, sign * direction)
                    if other is not None and (found := likeness(picture, other)) > best + MIN_GAIN:
                        best, rect, moved = found, other, True
    return rect


def _moved(rect: Rect, change: npt.NDArray[np.float64]) -> Rect | None:
    """Return a window after a change within the picture; None where it stays, or becomes too small."""
    top, bottom, left, right = np.clip(np.array(rect) + change, 0, 1).round(4).tolist()
    other = (top, bottom, left, right)
    return other if other != rect and min(bottom - top, right - left) >= MIN_SIDE else None


def _likeness(whole: Floats) -> Callable[[Floats, Rect], float]:
    """Return the function that gives the cosine of a picture's window and the whole of another picture."""
    target = np.append(np.float32(0), window(0, 0) @ whole).reshape(FREQUENCIES, FREQUENCIES)
    weights = target * EMPHASIS / (np.linalg.norm(target) + 1e-6)
    axes: dict[tuple[float, float], Floats] = {}

    def axis(low: float, high: float) -> Floats:
        if (low, high) not in axes:
            axes[low, high] = axis_transform(low, high)
        return axes[low, high]

    def likeness(picture: Floats, rect: Rect) -> float:
        planes = axis(*rect[:2]) @ picture @ axis(*rect[2:]).T
        planes[0, 0] = 0
        return float((planes * weights).sum() / (np.linalg.norm(planes * EMPHASIS) + 1e-6))

    return likeness
