"""Clips of a moving scene, and what a repost does to them."""

from collections.abc import Callable

import numpy as np

HEIGHT, WIDTH, RATE, SECONDS = 120, 160, 16, 6
Clip = np.ndarray
"""(T, height, width, 3) uint8 at RATE frames per second."""


def smooth(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A soft random picture in [0, 255]."""
    small = rng.uniform(0, 255, (height // 16, width // 16, 3))
    rows, columns = np.linspace(0, len(small) - 1, height), np.linspace(0, small.shape[1] - 1, width)
    by_row = np.stack([np.interp(rows, np.arange(len(small)), c) for c in small.reshape(len(small), -1).T], 1)
    by_row = by_row.reshape(height, -1, 3)
    index = np.arange(by_row.shape[1])
    return np.stack([[np.interp(columns, index, row[:, c]) for row in by_row] for c in range(3)], axis=-1)


def scene(seed: int, motion: int | None = None, seconds: float = SECONDS) -> Clip:
    """Two soft spots that wander over a still background; the same seed is the same place.

    Another `motion` is another recording of it.
    """
    background = smooth(np.random.default_rng(seed), HEIGHT, WIDTH)
    rng = np.random.default_rng([seed, 0 if motion is None else motion + 1])
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    moments = np.arange(int(seconds * RATE)) / RATE
    frames = np.repeat(background[None], len(moments), axis=0)
    for _ in range(2):
        speed, phase, color = rng.uniform(0.3, 0.9, 2), rng.uniform(0, 6, 2), rng.uniform(0, 255, 3)
        for number, at in enumerate(moments):
            place = 0.5 + 0.35 * np.sin(speed * at * 2 + phase)
            near = np.exp(-((y - place[0] * HEIGHT) ** 2 + (x - place[1] * WIDTH) ** 2) / 350)[..., None]
            frames[number] = frames[number] * (1 - near) + color * near
    return frames.astype(np.uint8)


def padded(clip: Clip, rows: int, columns: int, color: int) -> Clip:
    """With bars at top and bottom, and left and right."""
    return np.pad(clip, ((0, 0), (rows, rows), (columns, columns), (0, 0)), constant_values=color)


def with_box(clip: Clip, top: int, left: int, height: int, width: int) -> Clip:
    """With an opaque logo."""
    made = clip.copy()
    made[:, top : top + height, left : left + width] = (230, 20, 20)
    return made


def with_subtitles(clip: Clip) -> Clip:
    """With white marks on black near the bottom, others each second."""
    made = clip.copy()
    for second in range(0, len(made), RATE):
        marks = np.random.default_rng(second).integers(0, 2, 12, np.uint8).repeat(8) * 255
        made[second : second + RATE, 100:110, 32:128] = marks[:, None]
    return made


def at_speed(clip: Clip, speed: float) -> Clip:
    """Played faster or slower."""
    return clip[np.arange(0, len(clip), speed).astype(int)]


def longer(clip: Clip) -> Clip:
    """With a title card of 1.5 s before it."""
    card = np.full((int(1.5 * RATE), *clip.shape[1:]), (20, 120, 60), np.uint8)
    return np.concatenate([card, clip])


ALTERED: dict[str, Callable[[Clip], Clip]] = {
    "smaller": lambda clip: clip[:, ::2, ::2],
    "other aspect": lambda clip: clip.repeat(2, axis=1),
    "letterbox": lambda clip: padded(clip, 24, 0, 0),
    "white pillars": lambda clip: padded(clip, 0, 30, 255),
    "bars all around": lambda clip: padded(clip, 20, 20, 128),
    "crop": lambda clip: clip[:, 12:-12, 16:-16],
    "crop of a corner": lambda clip: clip[:, 10:, :-26],
    "logo": lambda clip: with_box(clip, 6, 110, 30, 40),
    "subtitles": with_subtitles,
    "brighter": lambda clip: np.clip(clip * 1.3 + 20.0, 0, 255).astype(np.uint8),
    "gray": lambda clip: clip.mean(axis=-1, keepdims=True).repeat(3, axis=-1).astype(np.uint8),
    "faster": lambda clip: at_speed(clip, 1.05),
    "slower": lambda clip: at_speed(clip, 1 / 1.05),
    "fewer frames": lambda clip: clip[np.arange(len(clip)) // 2 * 2],
    "cut at both ends": lambda clip: clip[int(1.3 * RATE) : -int(0.9 * RATE)],
    "longer": longer,
    "mirrored": lambda clip: clip[:, :, ::-1],
    "mirrored, cropped and faster": lambda clip: at_speed(clip[:, 9:-5, ::-1][:, :, 8:-12], 1.15),
    "much faster": lambda clip: at_speed(clip, 1.25),
    "much slower": lambda clip: at_speed(clip, 0.8),
    "crop, logo, bars and cut": lambda clip: padded(
        with_box(clip[20:, 6:-6, 8:-8], 4, 100, 24, 34), 20, 0, 0
    ),
}
