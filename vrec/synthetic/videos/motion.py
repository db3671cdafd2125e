"""Layers that move: a sprite, its place at each moment, and how it is set into a frame."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vrec.synthetic.videos.shapes import Rgb


@dataclass(frozen=True, slots=True)
class SpritePose:
    """Where a sprite's pivot lies and how the sprite is turned.

    `x` and `y` are shares of the frame's shorter side, from the frame's centre.
    """

    x: float = 0.0
    y: float = 0.0
    degrees: float = 0.0
    scale_x: float = 1.0
    scale_y: float = 1.0
    lean: float = 0.0
    """Sideways shear: what lies above the pivot moves right by this share of its height."""
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class SpriteLayer:
    """A sprite and its motion."""

    sprite: Image.Image
    """RGBA, square."""
    pivot: tuple[float, float]
    """The point that `Pose` places and turns about, in shares of the sprite's side."""
    motion: Callable[[float], SpritePose]
    """The pose at a time in seconds."""


@dataclass(frozen=True, slots=True)
class ProductScene:
    """What varies between the products of one class."""

    rgb: Rgb
    side: int
    """Sprites' side in pixels."""
    x: float
    """The product's place, as in `Pose`."""
    y: float
    tempo: float
    """Turns, swings or beats a second."""
    phase: float
    """Radians."""
    rng: np.random.Generator

    def wave(self, t: float, rate: float = 1.0, shift: float = 0.0) -> float:
        """A sine in [-1, 1] at `rate` times the tempo."""
        return float(np.sin(2 * np.pi * self.tempo * rate * t + self.phase + shift))


def composite_layer(frame: Image.Image, layer: SpriteLayer, t: float) -> None:
    """Set the layer into the frame, in place, as it stands at `t` seconds."""
    pose = layer.motion(t)
    side = layer.sprite.width
    short = min(frame.size)
    turn = np.radians(pose.degrees)
    cos, sin = np.cos(turn), np.sin(turn)
    forward = (
        np.array([[cos, -sin], [sin, cos]])
        @ np.array([[1.0, -pose.lean], [0.0, 1.0]])
        @ np.diag([pose.scale_x, pose.scale_y])
    )
    centre = np.array([frame.width / 2 + pose.x * short, frame.height / 2 + pose.y * short])
    pivot = np.array(layer.pivot) * side
    corners = (np.array([[0, 0], [side, 0], [0, side], [side, side]]) - pivot) @ forward.T + centre
    left, top = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)).astype(int), frame.size)
    if right <= left or bottom <= top:
        return
    # Only the part of the frame that the sprite covers is computed: most of a drawing's time goes here.
    back = np.linalg.inv(forward)
    origin = pivot + back @ (np.array([left, top]) - centre)
    matrix = (back[0, 0], back[0, 1], origin[0], back[1, 0], back[1, 1], origin[1])
    patch = layer.sprite.transform(
        (int(right - left), int(bottom - top)), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    mask = patch.getchannel("A")
    if pose.opacity < 1:
        mask = mask.point(lambda a: int(a * max(pose.opacity, 0)))
    frame.paste(patch, (int(left), int(top)), mask)
