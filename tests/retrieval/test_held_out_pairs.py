"""Interactions held out to choose settings, and the gain of ranking them."""

import numpy as np
import pytest
from scipy import sparse

from tests.retrieval.matrices import random_matrix
from vrec.retrieval import held_out_pairs as module
from vrec.retrieval.held_out_pairs import HeldOutPairs, hold_out_pairs


def test_kept_and_held_out_are_the_whole() -> None:
    weights = sparse.csr_matrix(random_matrix(0, 120, 60))
    held = hold_out_pairs(weights)
    whole = held.kept.toarray()
    assert (whole[held.users, held.videos] == 0).all()
    whole[held.users, held.videos] = weights.toarray()[held.users, held.videos]
    assert np.array_equal(whole, weights.toarray())
    assert (np.diff(held.users) >= 0).all()
    again = hold_out_pairs(weights)
    assert np.array_equal(again.users, held.users)
    assert np.array_equal(again.videos, held.videos)


def test_no_history_loses_more_than_a_fifth_or_its_only_video() -> None:
    rows = [1, 2, 5, 11, 40]
    dense = np.zeros((len(rows), 40), np.float32)
    for row, length in enumerate(rows):
        dense[row, :length] = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TOTAL_SHARE", 1.0)
        held = hold_out_pairs(sparse.csr_matrix(dense))
    assert np.bincount(held.users, minlength=len(rows)).tolist() == [0, 1, 1, 2, 8]


def test_at_most_a_tenth_and_so_many_are_held_out() -> None:
    weights = sparse.csr_matrix(random_matrix(1, 200, 50))
    assert len(hold_out_pairs(weights).users) == weights.nnz // 10
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_HELD_OUT", 30)
        assert len(hold_out_pairs(weights).users) == 30


def test_one_video_for_everyone_leaves_nothing_to_choose_by() -> None:
    held = hold_out_pairs(sparse.csr_matrix(np.ones((50, 1), np.float32)))
    assert not held.suffice
    assert held.kept.nnz == 50


@pytest.mark.parametrize("seed", range(5))
def test_gain_is_that_of_sorted_lists(seed: int) -> None:
    rng = np.random.default_rng(seed)
    held = hold_out_pairs(sparse.csr_matrix(random_matrix(seed, 80, 30, 0.4)))
    scores = (rng.integers(0, 4, (len(held.users), 30)) * (rng.random((len(held.users), 30)) < 0.6)).astype(
        np.float32
    )
    gains = []
    for row, user, video in zip(scores, held.users, held.videos, strict=True):
        open_ = np.setdiff1d(np.flatnonzero(row), held.kept[user].indices)
        order = sorted(open_.tolist(), key=lambda column: (-row[column], column))
        gains.append(1 / np.log2(2 + order.index(video)) if video in order else 0)
    assert held.mean_gain(sparse.csr_matrix(scores)) == pytest.approx(np.mean(gains))


def test_ranks_beyond_the_depth_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = sparse.csr_matrix((1, 3), dtype=np.float32)
    held = HeldOutPairs(kept, np.array([0]), np.array([2]))
    scores = np.array([[3, 2, 1]], np.float32)
    assert held.mean_gain(sparse.csr_matrix(scores)) == pytest.approx(0.5)
    monkeypatch.setattr(module, "DEPTH", 2)
    assert held.mean_gain(sparse.csr_matrix(scores)) == 0
    assert held.mean_gain(sparse.csr_matrix((1, 3), dtype=np.float32)) == 0
