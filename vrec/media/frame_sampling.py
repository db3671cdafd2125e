"""Choice of the frames that represent a video, from frame times and keyframes."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig

Strategy = Literal["uniform", "segment", "keyframes"]
Indices = npt.NDArray[np.int64]


class FrameSamplingConfig(BaseConfig):
    """Settings for choosing the frames that represent a video."""

    strategy: Strategy = "uniform"
    """Sampling strategy. `uniform` takes the middle of T equal time spans. `segment` takes a random frame
    of each of T equal spans under `seed` (the TSN sampler, Wang et al. 2016, for training); without a seed
    it is `uniform`. `keyframes` takes only frames that decode alone, which is the fastest."""
    frames: int = Field(default=8, ge=1, le=256)
    """T, the number of frames per video. A video with fewer frames gives each of them once."""
    seed: int | None = None
    """Random seed of `segment`. The same seed and video give the same frames; None samples uniformly."""


def sample_indices(
    config: FrameSamplingConfig, times_s: npt.NDArray[np.float64], keyframes: Sequence[int]
) -> Indices:
    """Return the indices of the frames to decode.

    Time is divided evenly, not the frame count, so that a variable frame rate does not give a second with
    many frames more weight.

    Args:
        config: Strategy and number of frames T.
        times_s: (N,) time of every frame in seconds, rising.
        keyframes: Indices of the frames that decode alone.

    Returns:
        (min(T, N),) int64, strictly rising.

    Raises:
        ValueError: N is 0.
    """
    count = len(times_s)
    if count == 0:
        raise ValueError("no frames to pick from")
    wanted = config.frames
    if count <= wanted:
        return np.arange(count, dtype=np.int64)
    match config.strategy:
        case "uniform":
            offsets = np.full(wanted, 0.5)
        case "segment":
            seed = config.seed
            offsets = np.full(wanted, 0.5) if seed is None else np.random.default_rng(seed).random(wanted)
        case "keyframes":
            # Fewer than T keyframes represent the video poorly: seek exact frames instead.
            keys = np.asarray(sorted(set(keyframes)), dtype=np.int64)
            if len(keys) >= wanted:
                return keys[sample_indices(FrameSamplingConfig(frames=wanted), times_s[keys], ())]
            offsets = np.full(wanted, 0.5)
    return _frames_at(times_s, (np.arange(wanted) + offsets) / wanted)


def _frames_at(times_s: npt.NDArray[np.float64], fractions: npt.NDArray[np.float64]) -> Indices:
    """Return the frame on screen at each fraction of the video, made strictly rising."""
    count, wanted = len(times_s), len(fractions)
    # The last frame stays on screen for about one frame's time.
    span = (times_s[-1] - times_s[0]) * count / (count - 1)
    at = times_s[0] + fractions * span
    indices = np.searchsorted(times_s, at, side="right") - 1
    # Where one long frame covers several spans, its neighbors fill in, so that T distinct frames come
    # out: first push up, then pull the tail back below the end.
    steps = np.arange(wanted)
    rising = np.maximum.accumulate(indices - steps) + steps
    ceiling = count - wanted + steps
    return np.minimum(rising, ceiling).astype(np.int64)
