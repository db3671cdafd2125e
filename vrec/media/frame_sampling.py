"""Which frames of a video to look at. Pure: times and keyframes in, indices out."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig

Strategy = Literal["uniform", "segment", "keyframes"]
Indices = npt.NDArray[np.int64]


class FrameSamplingConfig(BaseConfig):
    """Which frames stand for a video."""

    strategy: Strategy = "uniform"
    """`uniform` takes the middle of T equal spans of time. `segment` takes one frame from each of T
    equal spans, drawn at random under `seed` (the TSN sampler, Wang et al. 2016, for training);
    without a seed it is `uniform`. `keyframes` takes only frames that decode alone, the cheapest."""
    frames: int = Field(default=8, ge=1, le=256)
    """T, the number of frames taken. A video with fewer frames gives each of them once."""
    seed: int | None = None
    """Of `segment`: the draw's seed. The same seed and video give the same frames; None draws nothing."""


def sample_indices(
    config: FrameSamplingConfig, times_s: npt.NDArray[np.float64], keyframes: Sequence[int]
) -> Indices:
    """The indices of the frames to take: (≤ T,) int64, strictly rising.

    `times_s` is every frame's time in seconds, (N,) rising; `keyframes` are the indices that
    decode alone. Time, not count, is divided evenly, so that a variable frame rate does not
    overweight a busy second. With fewer than T frames each is taken once. Raises ValueError
    where N is 0.
    """
    count = len(times_s)
    if count == 0:
        raise ValueError("no frames to pick from")
    want = config.frames
    if count <= want:
        return np.arange(count, dtype=np.int64)
    match config.strategy:
        case "uniform":
            offsets = np.full(want, 0.5)
        case "segment":
            offsets = np.full(want, 0.5) if config.seed is None else _draw(config.seed, want)
        case "keyframes":
            # Fewer keyframes than T say too little of the video, and repeating them says nothing
            # more: seek exactly instead.
            keys = np.asarray(sorted(set(keyframes)), dtype=np.int64)
            if len(keys) >= want:
                return keys[sample_indices(FrameSamplingConfig(frames=want), times_s[keys], ())]
            offsets = np.full(want, 0.5)
    return _nearest(times_s, (np.arange(want) + offsets) / want)


def _draw(seed: int, want: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).random(want)


def _nearest(times_s: npt.NDArray[np.float64], fractions: npt.NDArray[np.float64]) -> Indices:
    """The frame on screen at each fraction of the video, made strictly rising."""
    count, want = len(times_s), len(fractions)
    # The last frame stays on screen for about one frame's time.
    span = (times_s[-1] - times_s[0]) * count / (count - 1)
    at = times_s[0] + fractions * span
    found = np.searchsorted(times_s, at, side="right") - 1
    # Where one long-standing frame covers several spans, its neighbours fill in, so that T distinct
    # frames come out: first push up, then pull the tail back below the end.
    steps = np.arange(want)
    rising = np.maximum.accumulate(found - steps) + steps
    ceiling = count - want + steps
    return np.minimum(rising, ceiling).astype(np.int64)
