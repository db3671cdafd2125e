"""Training-time changes to a clip: the same crop, flip, turn, scale and colour for all its frames."""

from typing import NamedTuple

import numpy as np
import torch
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.types import Frames


class AugmentConfig(BaseConfig):
    """How far a clip may be changed; every 0 (and `min_area` 1) switches its change off."""

    min_area: float = Field(default=0.6, gt=0, le=1)
    """Smallest share of the picture that a random crop keeps before it is scaled back to full size."""
    max_stretch: float = Field(default=1.2, ge=1, le=3)
    """Largest ratio of a crop's sides, either way."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Chance of a mirror image. Set 0 where writing or sides matter."""
    rotate_deg: float = Field(default=8.0, ge=0, le=180)
    """Largest turn in degrees, either way; the corners this uncovers are black."""
    scale: float = Field(default=0.1, ge=0, lt=1)
    """Largest zoom in or out, as a share: 0.1 is 90 to 110 %."""
    brightness: float = Field(default=0.2, ge=0, lt=1)
    """Largest change of brightness, as a share."""
    contrast: float = Field(default=0.2, ge=0, lt=1)
    """Largest change of contrast, as a share."""
    saturation: float = Field(default=0.2, ge=0, lt=1)
    """Largest change of saturation, as a share."""
    hue: float = Field(default=0.02, ge=0, le=0.5)
    """Largest turn of the colour wheel, as a share of it. Keep small: colour sells."""


class _AugmentParams(NamedTuple):
    top: int
    left: int
    height: int
    width: int
    mirrored: bool
    angle_deg: float
    scale: float
    brightness: float
    contrast: float
    saturation: float
    hue: float


def augment(frames: Frames, config: AugmentConfig, seed: int) -> Frames:
    """A changed copy of a clip: (T, S, S, 3) uint8, the same change for every frame.

    The same frames, config and seed give the same result. The crop follows Szegedy et al. 2015
    (random area and ratio).
    """
    # Settings hold the config above, and every command reads them: this library takes over a second to load.
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as ops

    side = frames.shape[1]
    drawn = _sample_params(config, side, np.random.default_rng(seed))
    clip = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)  # (T, 3, S, S)
    if (drawn.height, drawn.width) != (side, side):
        clip = ops.resized_crop(
            clip, drawn.top, drawn.left, drawn.height, drawn.width, [side, side], antialias=True
        )
    if drawn.mirrored:
        clip = ops.horizontal_flip(clip)
    if drawn.angle_deg or drawn.scale != 1:
        clip = ops.affine(
            clip, drawn.angle_deg, [0, 0], drawn.scale, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR
        )
    clip = _adjust_color(clip, drawn)
    return clip.permute(0, 2, 3, 1).contiguous().numpy()


def _adjust_color(clip: torch.Tensor, drawn: _AugmentParams) -> torch.Tensor:
    from torchvision.transforms.v2 import functional as ops

    if drawn.brightness != 1:
        clip = ops.adjust_brightness(clip, drawn.brightness)
    if drawn.contrast != 1:
        clip = ops.adjust_contrast(clip, drawn.contrast)
    if drawn.saturation != 1:
        clip = ops.adjust_saturation(clip, drawn.saturation)
    return ops.adjust_hue(clip, drawn.hue) if drawn.hue else clip


def _sample_params(config: AugmentConfig, side: int, random: np.random.Generator) -> _AugmentParams:
    # Every number is drawn whatever the config, so that switching one change off leaves the others.
    area = side * side * random.uniform(config.min_area, 1)
    ratio = float(np.exp(random.uniform(-1, 1) * np.log(config.max_stretch)))
    height = min(side, max(1, round((area / ratio) ** 0.5)))
    width = min(side, max(1, round((area * ratio) ** 0.5)))
    top, left = (int(random.random() * (side - length + 1)) for length in (height, width))
    mirrored = bool(random.random() < config.flip)
    angle_deg, scale, brightness, contrast, saturation, hue = random.uniform(-1, 1, 6).tolist()
    return _AugmentParams(
        top=top,
        left=left,
        height=height,
        width=width,
        mirrored=mirrored,
        angle_deg=angle_deg * config.rotate_deg,
        scale=1 + scale * config.scale,
        brightness=1 + brightness * config.brightness,
        contrast=1 + contrast * config.contrast,
        saturation=1 + saturation * config.saturation,
        hue=hue * config.hue,
    )
