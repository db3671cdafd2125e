"""EASE against its closed form in NumPy, and against cornac's."""

import numpy as np
import pytest
from cornac.data import Dataset
from cornac.models import EASE
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.retrieval.matrices import dense_scores, ids, matrices, random_matrix, to_interactions
from vrec.core.errors import FitError
from vrec.retrieval.config import EaseConfig
from vrec.retrieval.models.ease import Ease


def closed_form(matrix: np.ndarray, regularization: float) -> np.ndarray:
    x = matrix.astype(np.float64)
    inverse = np.linalg.inv(x.T @ x + regularization * np.eye(x.shape[1]))
    return np.eye(x.shape[1]) - inverse / np.diag(inverse)


@given(matrices(30, 20), st.sampled_from([0.5, 10.0, 500.0]), st.booleans())
@settings(deadline=None, max_examples=50)
def test_it_is_its_closed_form(matrix: np.ndarray, regularization: float, binary: bool) -> None:
    model = Ease(EaseConfig(regularization=regularization, binary=binary)).fit(to_interactions(matrix))
    counted = (matrix > 0).astype(np.float32) if binary else matrix
    want = closed_form(counted, regularization)
    assert model.weights.dtype == np.float32
    np.testing.assert_allclose(model.weights, want, rtol=1e-4, atol=1e-6)
    found = dense_scores(model.recommend(ids("u", len(matrix)), 100), matrix.shape)
    np.testing.assert_allclose(found[matrix == 0], (counted @ want)[matrix == 0], rtol=1e-4, atol=1e-5)
    assert np.isneginf(found[matrix > 0]).all()


def test_it_is_that_of_cornac() -> None:
    # More videos than one block has rows.
    matrix = random_matrix(0, 200, 150)
    rows = [(user, video, matrix[user, video]) for user, video in zip(*np.nonzero(matrix), strict=True)]
    data = Dataset.from_uir(rows)
    oracle = EASE(lamb=30, posB=False, verbose=False).fit(data)
    users = [data.uid_map[user] for user in range(200)]
    videos = [data.iid_map[video] for video in range(150)]
    model = Ease(EaseConfig(regularization=30, binary=False)).fit(to_interactions(matrix))
    np.testing.assert_allclose(model.weights, oracle.B[np.ix_(videos, videos)], rtol=1e-4, atol=1e-6)
    scores = np.stack([np.asarray(oracle.score(user)).ravel()[videos] for user in users])
    found = dense_scores(model.recommend(ids("u", 200), 150), matrix.shape)
    np.testing.assert_allclose(found[matrix == 0], scores[matrix == 0], rtol=1e-4, atol=1e-5)


def test_a_catalogue_too_large_is_refused_with_the_memory_it_would_take() -> None:
    table = to_interactions(random_matrix(1, 5, 11))
    with pytest.raises(FitError, match=r"11 videos are more than max_videos, 10; .* GB") as caught:
        Ease(EaseConfig(max_videos=10)).fit(table)
    assert "item_knn" in caught.value.fix
    Ease(EaseConfig(max_videos=11)).fit(table)


@given(matrices())
@settings(deadline=None, max_examples=30)
def test_a_history_is_answered_as_its_fitted_user_is(matrix: np.ndarray) -> None:
    table = to_interactions(matrix)
    model = Ease(EaseConfig(regularization=2)).fit(table)
    assert model.recommend(ids("u", len(matrix)), 4).equals(model.recommend_from(table, 4))


@pytest.mark.parametrize("weight", [1e10, 1e30])
@pytest.mark.filterwarnings("ignore:overflow")
def test_weights_beyond_floating_point_are_refused(weight: float) -> None:
    matrix = np.full((2, 2), weight)
    with pytest.raises(FitError, match="positive definite"):
        Ease(EaseConfig(regularization=1e-6, binary=False)).fit(to_interactions(matrix))


def test_the_memory_of_a_fit_is_that_of_both_matrices() -> None:
    """5,000 videos: 25 million entries of 8 and 4 bytes are 0.3 GB."""
    table = to_interactions(np.ones((1, 5000)))
    with pytest.raises(FitError, match=r"5,000 videos .* max_videos, 4,999; the fit would take 0\.3 GB"):
        Ease(EaseConfig(max_videos=4999)).fit(table)


def test_two_videos_by_hand() -> None:
    """XᵀX + λI = [[2 + 2, 1], [1, 1 + 2]], so that B₁₂ = 1 / 4 and B₂₁ = 1 / 3."""
    model = Ease(EaseConfig(regularization=2)).fit(to_interactions(np.array([[1, 1], [9, 0]])))
    np.testing.assert_allclose(model.weights, [[0, 1 / 4], [1 / 3, 0]], rtol=1e-6)
    assert EaseConfig().binary
