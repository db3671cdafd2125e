"""A second, coarser view of a video's frames, in which small changes of pixels are lost."""

import hashlib
import io

import numpy as np
from PIL import Image

from vrec.core.types import Frames
from vrec.robustness.content.config import ContentChecksConfig


def second_view(frames: Frames, config: ContentChecksConfig, key: str) -> Frames:
    """Return frames made smaller, compressed as JPEG and enlarged again.

    Side and quality are drawn for each video, so that an attack cannot be prepared for one of them (Guo et
    al. 2018). Who knows how they are drawn can still prepare for their mean (Athalye et al. 2018).

    Args:
        frames: (T, S, S, 3) uint8.
        config: Ranges and seed.
        key: Id of the video's content; the same key gives the same view.

    Returns:
        (T, S, S, 3) uint8.
    """
    drawn = hashlib.sha256(f"{config.seed}|{key}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(drawn[:8], "big"))
    side = max(1, round(rng.uniform(config.least_side, config.most_side) * frames.shape[1]))
    quality = int(rng.integers(config.least_quality, config.most_quality + 1))
    return np.stack([_coarse(frame, side, quality) for frame in frames])


def _coarse(frame: Frames, side: int, quality: int) -> Frames:
    height, width = frame.shape[:2]
    small = Image.fromarray(frame).resize((side, side), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=quality)
    file.seek(0)
    with Image.open(file) as read:
        return np.asarray(read.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))
