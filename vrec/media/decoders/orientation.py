"""How a phone was held: the display matrix of a frame as quarter turns and a mirror."""

import sys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame


@dataclass(frozen=True, slots=True)
class DisplayOrientation:
    """Mirror left to right first (if `mirrored`), then `quarters` turns of 90° anticlockwise."""

    quarters: int = 0
    mirrored: bool = False

    def apply(self, picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The picture upright: (..., S, S, 3) uint8."""
        if self.mirrored:
            picture = picture[..., ::-1, :]
        return np.rot90(picture, self.quarters, axes=(-3, -2))

    @property
    def upright(self) -> bool:
        """True where there is nothing to turn."""
        return not self.quarters and not self.mirrored

    @property
    def swaps_sides(self) -> bool:
        """True where turning swaps width and height."""
        return self.quarters % 2 == 1


# Row vectors: (x, y) goes to (x, y) @ M, with y pointing down, as ISO/IEC 14496-12 has it.
_QUARTER = np.array([[0, -1], [1, 0]])
_MIRROR = np.array([[-1, 0], [0, 1]])


def frame_orientation(frame: VideoFrame) -> DisplayOrientation:
    """The orientation that a frame's display matrix asks for, to the nearest quarter turn."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return DisplayOrientation()
    cells = np.frombuffer(bytes(data), np.int32 if sys.byteorder == "little" else ">i4")
    return nearest_orientation(cells[[0, 1, 3, 4]].reshape(2, 2))


def nearest_orientation(matrix: npt.NDArray[np.int32]) -> DisplayOrientation:
    """The nearest of the eight orientations to a 2 × 2 matrix (any scale)."""
    best, choice = -np.inf, DisplayOrientation()
    for mirrored in (False, True):
        for quarters in range(4):
            start = _MIRROR if mirrored else np.eye(2)
            likeness = float((start @ np.linalg.matrix_power(_QUARTER, quarters) * matrix).sum())
            if likeness > best:
                best, choice = likeness, DisplayOrientation(quarters, mirrored)
    return choice
