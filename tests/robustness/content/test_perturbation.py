"""Attacks on frames stay within their bounds and reach what they are aimed at, on a linear encoder."""

import numpy as np
import pytest

from vrec.robustness.content.doctored import with_tone
from vrec.robustness.content.perturbation import (
    PerturbationBudget,
    perturb_frames,
    universal_patch,
    with_patch,
)

RNG = np.random.default_rng(0)
DIRECTION = RNG.normal(size=(16, 16, 3)).astype(np.float32)
DIRECTION /= np.linalg.norm(DIRECTION)
CLIP = RNG.integers(0, 256, (3, 16, 16, 3), np.uint8)


def linear(pixels):
    """Similarity that grows along one direction, with its gradient."""
    slope = np.broadcast_to(DIRECTION / len(pixels), pixels.shape).astype(np.float32)
    return float((pixels * slope).sum()) / 255, slope / 255


def value(frames):
    return linear(frames.astype(np.float32))[0]


@pytest.mark.parametrize("epsilon", [1.0, 4.0, 8.0])
def test_the_bound_holds_and_the_linear_optimum_is_reached(epsilon):
    attacked = perturb_frames(CLIP, linear, PerturbationBudget(epsilon, steps=30))
    assert attacked.dtype == np.uint8
    assert np.abs(attacked.astype(int) - CLIP).max() <= epsilon
    optimum = np.clip(CLIP + epsilon * np.sign(DIRECTION), 0, 255).astype(np.uint8)
    assert value(attacked) == pytest.approx(value(optimum), abs=1e-3)


def test_an_attack_through_a_channel_counts_what_arrives():
    """A channel that loses all but multiples of 16 loses an attack on the frames, and not one through it."""

    def coarse(frames):
        return (np.round(frames / 16.0) * 16).clip(0, 255).astype(np.uint8)

    budget = PerturbationBudget(4, steps=30)
    blind, through = (perturb_frames(CLIP, linear, budget, channels) for channels in ((), [coarse]))
    assert value(coarse(through)) >= value(coarse(blind)) > value(coarse(CLIP))
    assert np.abs(through.astype(int) - CLIP).max() <= 4


def test_the_mean_over_channels_counts():
    dark, bright = (lambda frames: frames // 2), (lambda frames: frames)
    attacked = perturb_frames(CLIP, linear, PerturbationBudget(4, steps=20), [dark, bright])
    assert value(dark(attacked)) > value(dark(CLIP))
    assert value(bright(attacked)) > value(bright(CLIP))


def test_the_same_seed_gives_the_same_attack_and_no_steps_may_give_the_clip():
    budget = PerturbationBudget(4, steps=3)
    first, second = (perturb_frames(CLIP, linear, budget, seed=5) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.array_equal(perturb_frames(CLIP, linear, PerturbationBudget(0, steps=3)), CLIP)


def test_a_patch_covers_its_corner_alone_and_draws_other_clips_too():
    others = [RNG.integers(0, 256, (2, 16, 16, 3), np.uint8) for _ in range(3)]
    patch = universal_patch(others, linear, area=0.25, steps=60)
    assert patch.shape == (1, 8, 8, 3)
    attacked = with_patch(CLIP, patch)
    assert np.array_equal(attacked[:, :8], CLIP[:, :8])
    assert np.array_equal(attacked[:, :, :8], CLIP[:, :, :8])
    noise = RNG.integers(0, 256, patch.shape, np.uint8)
    assert value(attacked) > max(value(CLIP), value(with_patch(CLIP, noise)))


def test_a_tone_has_its_frequency_and_level_and_sound_stays_in_range():
    tone = with_tone(np.zeros(16_000, np.float32), hz=50, level=0.1)
    spectrum = np.abs(np.fft.rfft(tone)) / len(tone) * 2
    assert (np.argmax(spectrum), spectrum.max()) == (50, pytest.approx(0.1, rel=1e-3))
    assert np.abs(with_tone(np.ones(100, np.float32), level=0.5)).max() <= 1
