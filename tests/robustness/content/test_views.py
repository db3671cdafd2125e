"""The coarser view of frames, and the agreement of modalities."""

import numpy as np
import pytest

from vrec.robustness.content.agreement import modality_agreement
from vrec.robustness.content.config import ContentChecksConfig
from vrec.robustness.content.views import second_view

CONFIG = ContentChecksConfig()


def soft(seed, count=2, size=64):
    """Frames of a soft random picture."""
    small = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), np.uint8)
    return small.repeat(size // 4, axis=1).repeat(size // 4, axis=2)


def test_a_view_keeps_the_picture_and_loses_small_noise():
    frames = soft(0)
    noise = np.random.default_rng(1).integers(-8, 9, frames.shape)
    noisy = np.clip(frames + noise, 0, 255).astype(np.uint8)
    view, other = (second_view(one, CONFIG, "a") for one in (frames, noisy))
    assert view.shape == frames.shape
    assert view.dtype == np.uint8
    assert np.abs(view.astype(int) - frames).mean() < 12
    left = np.abs(other.astype(int) - view).mean()
    assert left < 0.75 * np.abs(noisy.astype(int) - frames).mean()


def test_views_are_drawn_by_key_and_seed():
    frames, noise = soft(0), np.random.default_rng(2).integers(0, 256, (1, 64, 64, 3), np.uint8)
    assert np.array_equal(second_view(frames, CONFIG, "a"), second_view(frames, CONFIG, "a"))
    views = [second_view(noise, ContentChecksConfig(seed=s), k) for s, k in ((0, "a"), (0, "b"), (1, "a"))]
    assert not np.array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])


def test_ranges_are_checked():
    with pytest.raises(ValueError, match="must not be above"):
        ContentChecksConfig(least_side=0.8, most_side=0.6)


def rows(directions, seed, spread=0.2):
    noise = np.random.default_rng(seed).normal(size=directions.shape)
    vectors = directions + spread * noise
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_a_video_with_the_look_of_others_and_its_own_title_agrees_least():
    groups = np.repeat(np.eye(4), 10, axis=0)
    looks, titles = rows(groups, 0), rows(groups, 1)
    looks[7] = looks[25]  # of the first group, and now looks like the third
    agreement = modality_agreement(looks, titles)
    assert int(np.argmin(agreement)) == 7
    assert agreement[7] + 0.1 < np.delete(agreement, 7).min()


def test_unrelated_modalities_agree_by_half():
    rng = np.random.default_rng(3)
    looks, titles = (rows(rng.normal(size=(300, 8)), seed) for seed in (4, 5))
    agreement = modality_agreement(looks, titles)
    assert agreement.mean() == pytest.approx(0.5, abs=0.05)
    assert modality_agreement(looks[:1], titles[:1]).tolist() == [0.5]
    assert np.isfinite(modality_agreement(looks[:2], titles[:2])).all()
