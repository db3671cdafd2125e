"""Interactions held out at random: whose, how many, and that nothing is lost or shown twice."""

import numpy as np

from tests.retrieval.matrices import random_matrix, to_interactions
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix, build_interaction_matrix
from vrec.retrieval.random_holdout import hold_out_random


def histories(matrix: np.ndarray) -> InteractionMatrix:
    table = to_interactions(matrix)
    ids = [IdVocabulary.from_columns(table.column(name)) for name in ("user_id", "video_id")]
    return build_interaction_matrix(table, *ids)


def test_a_tenth_but_at_least_one_of_each_user_who_has_two() -> None:
    matrix = np.zeros((4, 40), np.float32)
    for user, count in enumerate((1, 2, 19, 40)):
        matrix[user, :count] = 1
    parts = hold_out_random(histories(matrix), 10, seed=0)
    assert parts.users.tolist() == [1, 2, 3]
    assert np.diff(parts.held_out.indptr).tolist() == [1, 1, 4]
    assert np.diff(parts.shown.weights.indptr).tolist() == [1, 1, 18, 36]


def test_shown_and_held_out_are_the_whole_and_draws_follow_the_seed() -> None:
    whole = histories(random_matrix(0, 50, 30))
    parts = hold_out_random(whole, 20, seed=1)
    assert len(parts.users) == 20
    together = parts.shown.weights.toarray()
    assert (together[parts.users] * parts.held_out.toarray() == 0).all()
    together[parts.users] += parts.held_out.toarray()
    np.testing.assert_array_equal(together, whole.weights.toarray())
    same, other = (hold_out_random(whole, 20, seed) for seed in (1, 2))
    assert same.users.tolist() == parts.users.tolist()
    np.testing.assert_array_equal(same.held_out.toarray(), parts.held_out.toarray())
    assert same.users.tolist() != other.users.tolist()
