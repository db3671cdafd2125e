"""What is held out: counts by hand, and no pair on the wrong side."""

import numpy as np
import pytest

from vrec.core.errors import FitError
from vrec.encoders.learned import split as module
from vrec.encoders.learned.behavior import BehaviorSignals
from vrec.encoders.learned.split import split_videos


@pytest.mark.parametrize(
    ("count", "share", "held"),
    [
        (20, 0.1, 2),
        (20, 0.0, 0),
        (14, 0.1, 0),
        (15, 0.1, 2),
        (20, 0.9, 18),
        (20, 0.95, 0),
        (4, 0.5, 2),
        (3, 0.5, 0),
    ],
)
def test_a_share_is_held_out_unless_it_or_the_rest_is_less_than_two(count, share, held):
    usable = np.arange(count) * 3
    split = split_videos(usable, None, share, seed=0)
    assert len(split.held_out) == held
    assert sorted([*split.train, *split.held_out]) == usable.tolist()
    assert len(split.pairs) == len(split.held_out_pairs) == 0


@pytest.mark.parametrize("usable", [[], [4]])
def test_one_video_is_too_few(usable):
    with pytest.raises(FitError, match=f"{len(usable)} videos? with features, and training needs at least 2"):
        split_videos(np.array(usable, np.int64), None, 0.1, 0)


def every_pair(count: int, usable: np.ndarray) -> BehaviorSignals:
    left, right = np.nonzero(~np.eye(count, dtype=bool))
    return BehaviorSignals(left, right, np.ones(count))


def test_pairs_go_by_their_left_video_and_never_name_a_video_without_features():
    usable = np.arange(2, 12)
    behavior = every_pair(12, usable)
    split = split_videos(usable, behavior, 0.3, seed=1)
    train, held = set(split.train), set(split.held_out)
    assert len(held) == 3
    ends = list(zip(behavior.left.tolist(), behavior.right.tolist(), strict=True))
    wanted = [i for i, (left, right) in enumerate(ends) if {left, right} <= train]
    assert split.pairs.tolist() == wanted
    wanted = [i for i, (left, right) in enumerate(ends) if left in held and right in train | held]
    assert split.held_out_pairs.tolist() == wanted


def test_the_seed_draws_what_is_held_out():
    drawn = [tuple(split_videos(np.arange(50), None, 0.2, seed).held_out) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == tuple(sorted(drawn[0]))


def test_at_most_so_many_judge_and_the_others_are_not_trained_on_either(monkeypatch):
    monkeypatch.setattr(module, "MAX_HELD_OUT", 4)
    usable = np.arange(30)
    split = split_videos(usable, every_pair(30, usable), 0.3, seed=0)
    assert (len(split.train), len(split.held_out), len(split.held_out_pairs)) == (21, 4, 4)


def test_pairs_must_be_left_to_train_on():
    with pytest.raises(FitError, match="1 pairs of videos that one shopper watched are too few") as caught:
        split_videos(np.arange(5), BehaviorSignals(np.array([0]), np.array([1]), np.ones(5)), 0.0, 0)
    assert "self_supervised" in caught.value.fix
    two = BehaviorSignals(np.array([0, 1]), np.array([1, 2]), np.ones(5))
    assert split_videos(np.arange(5), two, 0.0, 0).pairs.tolist() == [0, 1]
