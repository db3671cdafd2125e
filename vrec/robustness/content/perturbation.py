"""Attacks on the frames of a video within a bound per pixel, for tests of encoders.

The network and the codec are callables, so that nothing here depends on either.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vrec.core.types import Frames

Pixels = npt.NDArray[np.float32]
"""(T, S, S, 3) in [0, 255]."""
Gradient = Callable[[Pixels], tuple[float, Pixels]]
"""Function from pixels to the similarity with the target, in [-1, 1], and its gradient."""
Channel = Callable[[Frames], Frames]
"""What happens to frames on the way to the encoder, such as a video codec: (T, S, S, 3) to the same."""


@dataclass(frozen=True, slots=True)
class PerturbationBudget:
    """Bound of an attack, and the work that it may take."""

    epsilon: float = 4.0
    """Largest change of a pixel, of 255."""
    steps: int = 40
    step_size: float = 1.0
    """Change of a pixel per step, of 255."""
    momentum: float = 0.9
    """Share of the gradients before in a step; with momentum an attack survives a channel better."""


def perturb_frames(
    frames: Frames,
    gradient: Gradient,
    budget: PerturbationBudget,
    channels: Sequence[Channel] = (),
    *,
    seed: int = 0,
) -> Frames:
    """Change frames so that they become similar to a target, by projected gradient descent.

    The attack of Madry et al. (2018) with the momentum of Dong et al. (2018). Through a channel the gradient
    is that at what arrives, passed back as if the channel changed nothing (Athalye et al. 2018): codecs
    change little, and have no gradient. With several channels each step takes the mean over them, so that the
    attack survives each.

    Args:
        frames: (T, S, S, 3) uint8.
        gradient: Similarity with the target, and its gradient.
        budget: Bound and steps.
        channels: Channels that the attack has to survive; none attacks the frames themselves.
        seed: Seed of the start within the bound.

    Returns:
        (T, S, S, 3) uint8 within the bound, the best of all steps.
    """
    clean = frames.astype(np.float32)
    rng = np.random.default_rng(seed)
    change = rng.uniform(-budget.epsilon, budget.epsilon, clean.shape).astype(np.float32)
    velocity = np.zeros_like(clean)
    best, best_value = frames, -np.inf
    for _ in range(budget.steps + 1):
        attacked = _rounded(clean, change, budget.epsilon)
        value, slope = _through(attacked, gradient, channels)
        if value > best_value:
            best, best_value = attacked, value
        velocity = budget.momentum * velocity + slope / (np.abs(slope).mean() + 1e-12)
        change = np.clip(change + budget.step_size * np.sign(velocity), -budget.epsilon, budget.epsilon)
    return best


def universal_patch(
    clips: Sequence[Frames],
    gradient: Gradient,
    *,
    area: float = 0.05,
    steps: int = 40,
    step_size: float = 8.0,
    seed: int = 0,
) -> Frames:
    """Return a square picture that draws any clip to a target when it is laid over a corner.

    The patch of Brown et al. (2017): its pixels are free, and only its place and size are bounded. It is
    fitted on some clips, one per step in turn, and is then laid over others by `with_patch`.

    Args:
        clips: (T, S, S, 3) uint8 each, of one size.
        gradient: Similarity with the target, and its gradient.
        area: Share of the picture that it covers.
        steps: Steps in all.
        step_size: Change of a pixel per step, of 255.
        seed: Seed of the start.

    Returns:
        (1, P, P, 3) uint8.
    """
    size = clips[0].shape[1]
    side = max(1, round(size * area**0.5))
    rng = np.random.default_rng(seed)
    patch = rng.uniform(0, 255, (1, side, side, 3)).astype(np.float32)
    velocity = np.zeros_like(patch)
    for step in range(steps):
        attacked = with_patch(clips[step % len(clips)], patch.astype(np.uint8))
        _, slope = gradient(attacked.astype(np.float32))
        own = slope[:, -side:, -side:].sum(axis=0, keepdims=True)
        velocity = 0.9 * velocity + own / (np.abs(own).mean() + 1e-12)
        patch = np.clip(patch + step_size * np.sign(velocity), 0, 255)
    return patch.astype(np.uint8)


def with_patch(frames: Frames, patch: Frames) -> Frames:
    """Return frames with a (1, P, P, 3) patch over their lower right corner."""
    side = patch.shape[1]
    attacked = frames.copy()
    attacked[:, -side:, -side:] = patch
    return attacked


def _rounded(clean: Pixels, change: Pixels, epsilon: float) -> Frames:
    """Return whole pixels within the bound."""
    low, high = np.ceil(np.maximum(clean - epsilon, 0)), np.floor(np.minimum(clean + epsilon, 255))
    return np.clip(np.rint(clean + change), low, high).astype(np.uint8)


def _through(attacked: Frames, gradient: Gradient, channels: Sequence[Channel]) -> tuple[float, Pixels]:
    arrived = [channel(attacked) for channel in channels] or [attacked]
    found = [gradient(frames.astype(np.float32)) for frames in arrived]
    return float(np.mean([value for value, _ in found])), np.mean([slope for _, slope in found], axis=0)
