"""Why a video is not worth embedding, said by the right VideoError."""

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import BlackVideo, FrozenVideo, TooShort
from vrec.core.types import Frames

CELL = 16
"""Side in pixels of the cells whose mean brightness is compared; averages out coding noise."""


class QualityConfig(BaseConfig):
    """Which videos are refused although they decode."""

    min_duration_s: float = Field(default=0.0, ge=0)
    """Videos shorter than this many seconds are refused as TooShort. 0 takes even a single frame."""
    min_frames: int = Field(default=1, ge=1)
    """Videos with fewer frames than this are refused as TooShort."""
    refuse_black: bool = True
    """Refuse a video all of whose sampled frames are black or of one flat colour: it has no look."""
    refuse_frozen: bool = True
    """Refuse a video whose sampled frames, two or more, are one and the same picture."""
    black_level: int = Field(default=20, ge=0, le=255)
    """Brightness (0 to 255) that no cell of a black frame rises above."""
    flat_range: int = Field(default=8, ge=0, le=255)
    """A frame is flat when its channels' values all lie within this range (extreme 0.5 % ignored)."""
    frozen_change: float = Field(default=1.0, ge=0)
    """Frames are the same picture when no cell's mean brightness changes by this much (0 to 255)."""


def check_length(config: QualityConfig, frames: int, duration_s: float | None) -> None:
    """None; raises TooShort where the whole video has too few frames or too short a time."""
    if frames < config.min_frames:
        raise TooShort(f"it has {frames} frames; at least {config.min_frames} are wanted")
    if duration_s is not None and duration_s < config.min_duration_s:
        raise TooShort(f"it lasts {duration_s:.2f} s; at least {config.min_duration_s:g} s are wanted")


def check_picture(config: QualityConfig, frames: Frames) -> None:
    """None; raises BlackVideo or FrozenVideo for sampled `frames`, (T, S, S, 3) uint8.

    One frame alone is never frozen: nothing shows that it should have moved.
    """
    if not (config.refuse_black or config.refuse_frozen):
        return
    cells = cell_brightness(frames)
    if config.refuse_black:
        if bool((cells <= config.black_level).all()):
            raise BlackVideo(f"all {len(frames)} sampled frames are black")
        if all(_is_flat(frame, config.flat_range) for frame in frames):
            raise BlackVideo(f"all {len(frames)} sampled frames are of one flat colour")
    if config.refuse_frozen and len(frames) > 1:
        change = np.abs(cells[1:] - cells[:1]).max()
        if change < config.frozen_change:
            raise FrozenVideo(f"all {len(frames)} sampled frames are the same picture")


def cell_brightness(frames: Frames) -> npt.NDArray[np.float32]:
    """Mean brightness of each CELL × CELL cell: (T, cells, cells) float32, 0 to 255."""
    count, side = frames.shape[0], frames.shape[1]
    cells = max(1, side // CELL)
    size = side // cells
    cut = frames[:, : cells * size, : cells * size]
    return cut.reshape(count, cells, size, cells, size * 3).mean(axis=(2, 4), dtype=np.float32)


def _is_flat(frame: npt.NDArray[np.uint8], limit: int) -> bool:
    pixels = frame.reshape(-1, 3)
    low, high = np.percentile(pixels, (0.5, 99.5), axis=0)
    return bool((high - low <= limit).all())
