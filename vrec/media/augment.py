"""Data augmentation of clips: the same crop, flip, rotation, scale and color change for all frames."""

from typing import NamedTuple

import numpy as np
import torch

from vrec.core.types import Frames
from vrec.media.augment_config import AugmentConfig


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
    """Return an augmented copy of a clip, with the same change for every frame.

    The same frames, config and seed give the same result. The crop has a random area and aspect ratio
    (Szegedy et al. 2015).

    Args:
        frames: (T, S, S, 3) uint8.
        config: Largest changes.
        seed: Seed of the random changes.

    Returns:
        (T, S, S, 3) uint8.
    """
    # Imported here: every command imports the config above, and torchvision takes over a second to load.
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as ops

    side = frames.shape[1]
    params = _sample_params(config, side, np.random.default_rng(seed))
    clip = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)  # (T, 3, S, S)
    if (params.height, params.width) != (side, side):
        clip = ops.resized_crop(
            clip, params.top, params.left, params.height, params.width, [side, side], antialias=True
        )
    if params.mirrored:
        clip = ops.horizontal_flip(clip)
    if params.angle_deg or params.scale != 1:
        clip = ops.affine(
            clip, params.angle_deg, [0, 0], params.scale, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR
        )
    clip = _adjust_color(clip, params)
    return clip.permute(0, 2, 3, 1).contiguous().numpy()


def _adjust_color(clip: torch.Tensor, params: _AugmentParams) -> torch.Tensor:
    from torchvision.transforms.v2 import functional as ops

    if params.brightness != 1:
        clip = ops.adjust_brightness(clip, params.brightness)
    if params.contrast != 1:
        clip = ops.adjust_contrast(clip, params.contrast)
    if params.saturation != 1:
        clip = ops.adjust_saturation(clip, params.saturation)
    return ops.adjust_hue(clip, params.hue) if params.hue else clip


def _sample_params(config: AugmentConfig, side: int, random: np.random.Generator) -> _AugmentParams:
    # All numbers are drawn whatever the config, so that switching one change off leaves the others.
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
