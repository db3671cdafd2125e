"""Checks that reject videos without useful content."""

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import BlackVideo, FrozenVideo, TooShort
from vrec.core.types import Frames

CELL = 16
"""Side in pixels of the cells whose mean brightness is compared, which averages out coding noise."""


class QualityConfig(BaseConfig):
    """Settings of the checks that reject videos although they decode."""

    min_duration_s: float = Field(default=0.0, ge=0)
    """Minimum duration in seconds; shorter videos fail as TooShort. 0 accepts even a single frame."""
    min_frames: int = Field(default=1, ge=1)
    """Minimum number of frames; videos with fewer fail as TooShort."""
    refuse_black: bool = True
    """Reject a video whose sampled frames are all black, or all of one flat color, as BlackVideo."""
    refuse_frozen: bool = True
    """Reject a video whose sampled frames, two or more, are all the same picture, as FrozenVideo."""
    black_level: int = Field(default=20, ge=0, le=255)
    """Highest cell brightness (0 to 255) of a black frame."""
    flat_range: int = Field(default=8, ge=0, le=255)
    """Largest range of values (0 to 255) in any color channel of a flat frame, without the extreme 0.5 %."""
    frozen_change: float = Field(default=1.0, ge=0)
    """Smallest change of a cell's mean brightness (0 to 255) that makes a frame another picture."""


def check_length(config: QualityConfig, frames: int, duration_s: float | None) -> None:
    """Raise TooShort where the whole video has too few frames or too short a duration."""
    if frames < config.min_frames:
        raise TooShort(f"it has {frames} frames; at least {config.min_frames} are required")
    if duration_s is not None and duration_s < config.min_duration_s:
        raise TooShort(f"it lasts {duration_s:.2f} s; at least {config.min_duration_s:g} s are required")


def check_picture(config: QualityConfig, frames: Frames) -> None:
    """Raise BlackVideo or FrozenVideo for sampled frames that show nothing.

    A single frame is never frozen.

    Args:
        config: Which checks to make, and their thresholds.
        frames: (T, S, S, 3) uint8.
    """
    if not (config.refuse_black or config.refuse_frozen):
        return
    cells = cell_brightness(frames)
    if config.refuse_black:
        if bool((cells <= config.black_level).all()):
            raise BlackVideo(f"all {len(frames)} sampled frames are black")
        if all(_is_flat(frame, config.flat_range) for frame in frames):
            raise BlackVideo(f"all {len(frames)} sampled frames are of one flat color")
    if config.refuse_frozen and len(frames) > 1:
        change = np.abs(cells[1:] - cells[:1]).max()
        if change < config.frozen_change:
            raise FrozenVideo(f"all {len(frames)} sampled frames are the same picture")


def cell_brightness(frames: Frames) -> npt.NDArray[np.float32]:
    """Return the mean brightness of each CELL × CELL cell, (T, cells, cells) float32 from 0 to 255."""
    count, side = frames.shape[0], frames.shape[1]
    cells = max(1, side // CELL)
    size = side // cells
    cropped = frames[:, : cells * size, : cells * size]
    return cropped.reshape(count, cells, size, cells, size * 3).mean(axis=(2, 4), dtype=np.float32)


def _is_flat(frame: npt.NDArray[np.uint8], limit: int) -> bool:
    pixels = frame.reshape(-1, 3)
    low, high = np.percentile(pixels, (0.5, 99.5), axis=0)
    return bool((high - low <= limit).all())
