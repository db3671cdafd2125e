"""Tests of lists whose shares of popular and rare videos follow the user's history."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from vrec.retrieval.interaction_matrix import InteractionMatrix
from vrec.retrieval.popularity_calibration import (
    HEAD,
    MID,
    PRIOR_VIDEOS,
    TAIL,
    calibrate_popularity,
    history_shares,
    popularity_groups,
)


def test_groups_have_a_third_of_the_interactions_each():
    assert popularity_groups(np.array([5, 30, 20, 0, 30, 5, 5, 5])).tolist() == [
        TAIL, HEAD, MID, TAIL, HEAD, TAIL, TAIL, TAIL
    ]  # fmt: skip
    # Of 90 interactions, exactly a third is above 15, and exactly two thirds are above 10.
    assert popularity_groups(np.array([10, 15, 30, 0, 10, 15, 10])).tolist() == [
        TAIL, MID, HEAD, TAIL, TAIL, MID, TAIL
    ]  # fmt: skip


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40))
def test_a_more_popular_video_is_never_in_a_lower_group(counts):
    support = np.array(counts)
    groups = popularity_groups(support)
    for more in range(len(support)):
        assert (groups[support <= support[more]] >= groups[more]).all()
    assert (groups[support == 0] == TAIL).all()
    if support.any():
        assert groups[support.argmax()] == HEAD


def test_shares_of_a_history_are_smoothed_to_the_average():
    groups = np.array([HEAD, MID, TAIL, TAIL], np.int8)
    matrix = sparse.csr_matrix(np.array([[9.0, 0, 2, 1], [0, 0, 0, 0]], np.float32))
    shares = history_shares(InteractionMatrix(matrix, np.arange(3)), groups)
    counts = np.array([1, 0, 2]) + PRIOR_VIDEOS / 3
    assert shares[0] == pytest.approx(counts / counts.sum())
    assert shares[1] == pytest.approx([1 / 3] * 3)


def sainte_lague(slots: int, shares: np.ndarray) -> list[int]:
    """Seats by the highest quotients, one after the other."""
    seats = [0] * len(shares)
    for _ in range(slots):
        quotients = [share / (seat + 0.5) for share, seat in zip(shares, seats, strict=True)]
        seats[int(np.argmax(quotients))] += 1
    return seats


def random_histories(rng: np.random.Generator, rows: int, videos: int, share: float) -> InteractionMatrix:
    matrix = sparse.csr_matrix((rng.random((rows, videos)) < share).astype(np.float32))
    return InteractionMatrix(matrix, np.zeros(matrix.nnz, np.int64))


@given(st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_every_beginning_of_a_list_of_new_videos_is_an_apportionment(seed, slots):
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.array([HEAD, MID, TAIL], np.int8), 50))
    scores = rng.permutation(150).astype(np.float32)[None]
    histories = random_histories(rng, 1, 150, 0.1)
    shares = history_shares(histories, groups)[0]
    out = calibrate_popularity(scores, histories, groups, 1.0)[0]
    seen = histories.weights.toarray()[0] > 0
    ranked = np.argsort(-out)
    first = groups[ranked[~seen[ranked]][:slots]]
    counts = np.bincount(first, minlength=3)
    # The quotients of the videos taken are no lower than those of the next ones; equal shares may tie.
    assert min(s / (c - 0.5) for s, c in zip(shares, counts, strict=True) if c) >= max(
        s / (c + 0.5) for s, c in zip(shares, counts, strict=True)
    ) * (1 - 1e-9)
    for group in (HEAD, MID, TAIL):
        inside = groups == group
        assert (np.argsort(scores[0, inside]) == np.argsort(out[inside])).all(), "order within a group"


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_places_have_no_ties_and_unscored_videos_stay_so(seed, strength):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 5, (3, 17)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    groups, histories = rng.integers(0, 3, 17).astype(np.int8), random_histories(rng, 3, 17, 0.3)
    out = calibrate_popularity(scores, histories, groups, strength)
    assert (np.isneginf(out) == np.isneginf(scores)).all()
    for row in out:
        assert len(set(row[np.isfinite(row)])) == np.isfinite(row).sum()
    unchanged = calibrate_popularity(scores, histories, groups, 0.0)
    by_score = np.argsort(-scores, axis=1, kind="stable")
    assert (np.argsort(-unchanged, axis=1, kind="stable") == by_score).all(), "ties in the order of columns"


def test_shares_move_towards_the_history_with_the_strength():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.array([HEAD, MID, TAIL], np.int8), [10, 50, 200])
    scores = (rng.normal(size=(50, 260)) - groups).astype(np.float32)
    histories = random_histories(rng, 50, 260, 0.1)
    shares, gaps = history_shares(histories, groups), []
    scores[histories.weights.nonzero()] = 9
    for strength in (0.0, 0.3, 0.6, 1.0):
        out = calibrate_popularity(scores, histories, groups, strength)
        out[histories.weights.nonzero()] = -np.inf
        top = groups[np.argsort(-out, axis=1)[:, :20]]
        got = np.stack([(top == group).mean(axis=1) for group in (HEAD, MID, TAIL)], axis=1)
        gaps.append(np.abs(got - shares).sum(axis=1).mean())
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.06
