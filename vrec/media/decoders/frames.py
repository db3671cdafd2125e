"""Decode settings, decoded frames and the scaling geometry of a picture."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.types import Frames
from vrec.media.frame_sampling import Indices

DecoderName = Literal["decord", "pyav"]


class DecodeConfig(BaseConfig):
    """Settings for decoding pictures, and their limits."""

    decoder: Literal["auto", "decord", "pyav"] = "auto"
    """Decoder: `pyav`, `auto`, which is PyAV, or `decord`: decord for the files that it is known to read
    correctly, PyAV for the others. PyAV needs less CPU time and is correct on more files."""
    frame_px: int = Field(default=224, ge=16, le=1024)
    """S, the side in pixels of the square frames passed to encoders."""
    fit: Literal["crop", "squash"] = "squash"
    """Fit of the picture into the square: `squash` changes its aspect ratio and gives better neighbors than
    `crop`, which scales the short side to S and cuts out the center."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Limit in seconds of CPU time per video, of all its threads, after which its process is killed
    (DecodeTimeout). It does not depend on what else the machine does."""
    wall_timeout_s: float = Field(default=600.0, gt=0)
    """Limit in seconds of wall time per video, for a decode that waits for a disk or a processor."""
    max_memory_mb: int = Field(default=2048, ge=512)
    """Address space limit of the decoding process in MiB; videos that need more fail as DecodeCrashed."""
    max_pixels: int = Field(default=4096 * 2304, gt=0)
    """Largest frame in pixels, width × height; larger ones fail as TooLarge. The default allows 4K."""
    max_bytes: int = Field(default=4 * 1024**3, gt=0)
    """Limit in bytes of one file; larger files fail as TooLarge before they are opened."""
    threads: int = Field(default=1, ge=1)
    """Threads per video. More than one helps only when fewer videos than cores are decoded at a time."""


class ScaleAndCrop(NamedTuple):
    """Geometry that scales the coded picture to width × height and crops it to S × S at (left, top)."""

    width: int
    height: int
    left: int
    top: int


@dataclass(frozen=True, slots=True)
class DecodedFrames:
    """Frames that a decoder read, and their indices."""

    frames: Frames
    """(K, S, S, 3) uint8 RGB upright; K is less than requested where frames are damaged."""
    indices: Indices
    """(K,) int64, rising."""
    thumbnails: npt.NDArray[np.uint8]
    """(M, THUMBNAIL_PX, THUMBNAIL_PX) uint8 gray, upright, squashed; M is less than requested where
    frames are damaged."""
    thumbnail_indices: Indices
    """(M,) int64, rising."""
    swaps_sides: bool = False
    """Whether the upright picture swaps the coded width and height."""


def scale_and_crop(width: float, height: float, config: DecodeConfig) -> ScaleAndCrop:
    """Return the geometry that fits a picture of this display size into S × S, also if rotated by 90°."""
    side = config.frame_px
    if config.fit == "squash":
        return ScaleAndCrop(side, side, 0, 0)
    factor = side / min(width, height)
    wide, high = max(side, round(width * factor)), max(side, round(height * factor))
    return ScaleAndCrop(wide, high, (wide - side) // 2, (high - side) // 2)


def crop_square(picture: npt.NDArray[np.uint8], geometry: ScaleAndCrop, side: int) -> npt.NDArray[np.uint8]:
    """Return the S × S part of scaled pictures, (..., height, width, 3)."""
    top, left = geometry.top, geometry.left
    return picture[..., top : top + side, left : left + side, :]
