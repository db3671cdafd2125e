"""What a decoder is asked for and what it gives: the decode settings and the picture's geometry."""

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
    """How pictures are decoded, and what they may cost."""

    decoder: Literal["auto", "decord", "pyav"] = "auto"
    """`auto` takes decord where it is known to be right and PyAV for the rest; a name takes that one only."""
    frame_px: int = Field(default=224, ge=16, le=1024)
    """S, the side in pixels of the square frames handed to encoders."""
    fit: Literal["crop", "squash"] = "squash"
    """`squash` presses the whole picture in, and finds better neighbours than `crop`, which scales the
    short side to S and keeps the centre."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Seconds of wall time for one video, after which its process is killed (DecodeTimeout)."""
    max_memory_mb: int = Field(default=2048, ge=512)
    """Address space in MiB of the decoding process; a video that needs more fails as DecodeCrashed."""
    max_pixels: int = Field(default=4096 * 2304, gt=0)
    """Pixels of one frame, width × height; larger pictures are refused as TooLarge. Lets 4K through."""
    max_bytes: int = Field(default=4 * 1024**3, gt=0)
    """Bytes of one file; larger files are refused as TooLarge before they are opened."""
    threads: int = Field(default=1, ge=1)
    """Threads of one decode. More than one only helps where fewer videos than cores are under way."""


class ScaleAndCrop(NamedTuple):
    """The coded picture scaled to width × height, then cut to S × S from (left, top)."""

    width: int
    height: int
    left: int
    top: int


@dataclass(frozen=True, slots=True)
class DecodedFrames:
    """What a decoder read: the frames, and which of the asked indices they are."""

    frames: Frames
    """(K, S, S, 3) uint8 RGB upright; K may be less than was asked where frames are damaged."""
    indices: Indices
    """(K,) int64, rising."""
    swaps_sides: bool = False
    """Standing upright, width and height are the other way round than coded."""


def scale_and_crop(width: float, height: float, config: DecodeConfig) -> ScaleAndCrop:
    """How to bring a picture of this display size to S × S; rotation by quarters changes nothing."""
    side = config.frame_px
    if config.fit == "squash":
        return ScaleAndCrop(side, side, 0, 0)
    factor = side / min(width, height)
    wide, high = max(side, round(width * factor)), max(side, round(height * factor))
    return ScaleAndCrop(wide, high, (wide - side) // 2, (high - side) // 2)


def crop_square(picture: npt.NDArray[np.uint8], to: ScaleAndCrop, side: int) -> npt.NDArray[np.uint8]:
    """The S × S part of a scaled picture, (height, width, 3) or (T, height, width, 3)."""
    return picture[..., to.top : to.top + side, to.left : to.left + side, :]
