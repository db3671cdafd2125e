"""A student comes to see what its teacher sees, and ends with the weights that were best."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.compression.small import PX, SmallNetwork, features, missed, pictures
from vrec.compression.distill import (
    DistillationConfig,
    DistillationPictures,
    distill,
    held_out_videos,
    resize_pictures,
)
from vrec.compression.prune import PruneConfig, prune_channels
from vrec.core.errors import CompressError

QUICK = DistillationConfig(steps=40, batch=8, learning_rate=3e-3, check_every=10, validation=0.25)


def lessons(videos: int = 12, frames: int = 4) -> DistillationPictures:
    return DistillationPictures(pictures(videos * frames, seed=5), np.repeat(np.arange(videos), frames))


LARGE = SmallNetwork()


def teacher(given: np.ndarray) -> np.ndarray:
    return features(LARGE, given)


def judged(student: nn.Module, px: int, config: DistillationConfig = QUICK) -> float:
    """What the student misses of the videos that it did not learn from."""
    known = lessons()
    back = np.isin(known.videos, held_out_videos(known.videos, config))
    held = known.pictures[back]
    wrong = ((features(student, resize_pictures(held, px)) - teacher(held)) ** 2).sum(axis=1).mean()
    return float(wrong / teacher(known.pictures[~back]).var(axis=0).sum())


def test_a_pruned_network_learns_back_what_it_lost():
    student = prune_channels(SmallNetwork(), PruneConfig(share=0.5))
    before = judged(student, PX)
    done = distill(student, PX, teacher, lessons(), QUICK)
    after = judged(student, PX)
    assert after < 0.5 * before
    assert after == pytest.approx(done.best_loss, rel=1e-3)
    assert done.best_loss == min(step.held_out_loss for step in done.steps)
    assert [step.step for step in done.steps][-1] == QUICK.steps
    assert done.stopped is None
    assert not student.training


def test_a_student_learns_from_smaller_pictures():
    student = SmallNetwork()
    before = judged(student, 20)
    distill(student, 20, teacher, lessons(), QUICK)
    assert judged(student, 20) < 0.8 * before


def test_the_best_weights_are_kept_where_learning_only_harms():
    student = SmallNetwork()
    harmful = QUICK.model_copy(update={"learning_rate": 0.1})
    done = distill(student, PX, teacher, lessons(), harmful)
    assert done.steps[-1].held_out_loss > 0.1
    assert done.best_loss == pytest.approx(0, abs=1e-6)
    assert missed(features(student, pictures(4)), teacher(pictures(4))) == pytest.approx(0, abs=1e-6)


def test_videos_that_are_kept_back_are_never_learned_from():
    known = lessons()
    held = np.isin(known.videos, held_out_videos(known.videos, QUICK))
    known.pictures[held] = 255
    asked: list[bool] = []

    def watched(given: np.ndarray) -> np.ndarray:
        asked.append(bool((given == 255).all(axis=(1, 2, 3)).any()))
        return teacher(given)

    config = QUICK.model_copy(update={"steps": 30, "check_every": 30})
    distill(SmallNetwork(), PX, watched, known, config)
    assert asked == [False, True] + [False] * 30  # the scale, the videos kept back, and the steps


def test_the_same_seed_gives_the_same_student_and_another_another():
    found = []
    for seed in (0, 0, 1):
        student = prune_channels(SmallNetwork(), PruneConfig(share=0.5))
        distill(student, PX, teacher, lessons(), QUICK.model_copy(update={"seed": seed, "steps": 10}))
        found.append(features(student, pictures(2)))
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


class Breaks(nn.Module):
    """A network whose features are no numbers from one call on."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.inner, self.left = SmallNetwork(), after

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        return self.inner(pictures) * (1.0 if self.left >= 0 else math.nan)


def test_a_loss_that_is_no_number_ends_learning_with_the_last_good_weights():
    student = Breaks(after=30)
    done = distill(student, PX, teacher, lessons(), QUICK)
    assert done.stopped is not None
    assert "nan" in done.stopped
    assert math.isfinite(done.best_loss)
    assert all(torch.isfinite(weights).all() for weights in student.parameters())


def test_what_cannot_be_learned_from_is_refused():
    with pytest.raises(CompressError, match="learned nothing"):
        distill(Breaks(after=0), PX, teacher, lessons(), QUICK)
    with pytest.raises(CompressError, match="at least 2 videos"):
        distill(SmallNetwork(), PX, teacher, lessons(videos=1), QUICK)
    with pytest.raises(CompressError, match="gives 16 features and the teacher 8"):
        distill(SmallNetwork(), PX, lambda given: teacher(given)[:, :8], lessons(), QUICK)
    with pytest.raises(CompressError, match=r"teacher's features of .* are not finite"):
        distill(SmallNetwork(), PX, lambda given: teacher(given) * np.nan, lessons(), QUICK)


@given(st.sets(st.integers(0, 10**6), min_size=2, max_size=60), st.floats(0.01, 0.99), st.integers(0, 9))
def test_some_videos_are_kept_back_and_some_are_not(videos, share, seed):
    config = DistillationConfig(validation=share, seed=seed)
    every = np.repeat(np.array(sorted(videos)), 3)
    held = held_out_videos(every, config)
    assert set(held) < videos
    assert len(held) == min(len(videos) - 1, max(1, round(len(videos) * share)))
    np.testing.assert_array_equal(held_out_videos(every[::-1], config), held)


def test_pictures_are_smoothed_where_they_shrink():
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::4] = 200
    assert resize_pictures(stripes, 16).mean() == pytest.approx(50, abs=10)
    assert resize_pictures(stripes, 64).tobytes() == stripes.tobytes()
