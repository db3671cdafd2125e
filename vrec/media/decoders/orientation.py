"""Display orientation of a frame: quarter turns and a horizontal flip from its display matrix."""

import sys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame


@dataclass(frozen=True, slots=True)
class DisplayOrientation:
    """Orientation: a horizontal flip (if `mirrored`), then `quarters` counterclockwise turns of 90°."""

    quarters: int = 0
    mirrored: bool = False

    def apply(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the picture upright, (..., S, S, 3) uint8."""
        if self.mirrored:
            picture = picture[..., ::-1, :]
        return np.rot90(picture, self.quarters, axes=(-3, -2))

    @property
    def upright(self) -> bool:
        """True where the picture is upright as coded."""
        return not self.quarters and not self.mirrored

    @property
    def swaps_sides(self) -> bool:
        """True where the orientation swaps width and height."""
        return self.quarters % 2 == 1


# Row vectors: (x, y) goes to (x, y) @ M, with y pointing down, as ISO/IEC 14496-12 has it.
_QUARTER = np.array([[0, -1], [1, 0]])
_MIRROR = np.array([[-1, 0], [0, 1]])


def frame_orientation(frame: VideoFrame) -> DisplayOrientation:
    """Return the orientation in a frame's display matrix, to the nearest quarter turn."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return DisplayOrientation()
    cells = np.frombuffer(bytes(data), np.int32 if sys.byteorder == "little" else ">i4")
    return nearest_orientation(cells[[0, 1, 3, 4]].reshape(2, 2))


def nearest_orientation(matrix: npt.NDArray[np.int32]) -> DisplayOrientation:
    """Return the nearest of the eight orientations to a 2 × 2 matrix of any scale."""
    best_score, best = -np.inf, DisplayOrientation()
    for mirrored in (False, True):
        for quarters in range(4):
            start = _MIRROR if mirrored else np.eye(2)
            score = float((start @ np.linalg.matrix_power(_QUARTER, quarters) * matrix).sum())
            if score > best_score:
                best_score, best = score, DisplayOrientation(quarters, mirrored)
    return best
