"""Moving layers: a sprite, its pose over time, and its composition into a frame."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vrec.synthetic.videos.shapes import Rgb


@dataclass(frozen=True, slots=True)
class SpritePose:
    """Position and rotation of a sprite.

    `x` and `y` place its pivot, in shares of the frame's shorter side from the frame's center.
    """

    x: float = 0.0
    y: float = 0.0
    degrees: float = 0.0
    scale_x: float = 1.0
    scale_y: float = 1.0
    lean: float = 0.0
    """Horizontal shear: a point above the pivot moves right by this share of its height above it."""
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class SpriteLayer:
    """Sprite and its motion."""

    sprite: Image.Image
    """RGBA, square."""
    pivot: tuple[float, float]
    """Point that `SpritePose` places and rotates about, in shares of the sprite's side."""
    motion: Callable[[float], SpritePose]
    """Function from a time in seconds to the pose."""


@dataclass(frozen=True, slots=True)
class ProductScene:
    """Properties that vary between the products of one class."""

    rgb: Rgb
    side: int
    """Side of sprites in pixels."""
    x: float
    """Position of the product, as in `SpritePose`."""
    y: float
    tempo: float
    """Rotations, swings or beats per second."""
    phase: float
    """Phase of the motion in radians."""
    rng: np.random.Generator

    def wave(self, t: float, rate: float = 1.0, shift: float = 0.0) -> float:
        """Return a sine in [-1, 1] at `rate` times the tempo."""
        return float(np.sin(2 * np.pi * self.tempo * rate * t + self.phase + shift))


def composite_layer(frame: Image.Image, layer: SpriteLayer, t: float) -> None:
    """Draw the layer into the frame, in place, in its pose at `t` seconds."""
    pose = layer.motion(t)
    side = layer.sprite.width
    short = min(frame.size)
    angle = np.radians(pose.degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    forward = (
        np.array([[cos, -sin], [sin, cos]])
        @ np.array([[1.0, -pose.lean], [0.0, 1.0]])
        @ np.diag([pose.scale_x, pose.scale_y])
    )
    center = np.array([frame.width / 2 + pose.x * short, frame.height / 2 + pose.y * short])
    pivot = np.array(layer.pivot) * side
    corners = (np.array([[0, 0], [side, 0], [0, side], [side, side]]) - pivot) @ forward.T + center
    left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)).astype(int), frame.size)
    if right <= left or bottom <= top:
        return
    # Only the part of the frame that the sprite covers is computed, because this takes most of the time.
    inverse = np.linalg.inv(forward)
    origin = pivot + inverse @ (np.array([left, top]) - center)
    matrix = (inverse[0, 0], inverse[0, 1], origin[0], inverse[1, 0], inverse[1, 1], origin[1])
    patch = layer.sprite.transform(
        (int(right - left), int(bottom - top)), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    mask = patch.getchannel("A")
    if pose.opacity < 1:
        mask = mask.point(lambda a: int(a * max(pose.opacity, 0)))
    frame.paste(patch, (int(left), int(top)), mask)
