"""User-based neighbors against the same arithmetic on dense arrays."""

import numpy as np
from hypothesis import given, settings

from tests.retrieval.dense_similarity import CONFIGS, PLAIN, similarities, weigh
from tests.retrieval.matrices import dense_scores, ids, matrices, random_matrix, to_interactions
from vrec.retrieval.config import SimilarityConfig
from vrec.retrieval.interaction_matrix import IdVocabulary, build_interaction_matrix
from vrec.retrieval.models.user_knn import UserKnn


@given(matrices(), CONFIGS)
@settings(deadline=None, max_examples=150)
def test_user_scores_are_sums_over_the_nearest(matrix: np.ndarray, options: dict) -> None:
    config = SimilarityConfig(**options | {"neighbours": 100})
    model = UserKnn(config).fit(to_interactions(matrix))
    found = dense_scores(model.recommend(ids("u", len(matrix)), 100), matrix.shape)
    weighed = weigh(matrix, config.weighting, matrix)
    alike = similarities(weighed, weighed, config)
    twins = ((matrix[:, None] > 0) == (matrix[None] > 0)).all(axis=2)
    want = np.where(twins, 0, np.maximum(alike, 0)) @ matrix
    opinion = np.isfinite(found)
    np.testing.assert_allclose(found[opinion], want[opinion], rtol=1e-3, atol=1e-5)
    assert (want[~opinion & (matrix == 0)] < 1e-5).all()


def test_users_keep_only_the_nearest() -> None:
    matrix = random_matrix(0, 40, 25)
    model = UserKnn(SimilarityConfig(neighbours=4, **PLAIN)).fit(to_interactions(matrix))
    found = dense_scores(model.recommend(ids("u", 40), 100), matrix.shape)
    alike = similarities(matrix, matrix, model.config)
    np.fill_diagonal(alike, 0)
    alike[alike < np.sort(alike, axis=1)[:, [-4]]] = 0
    want = alike @ matrix
    want[(matrix > 0) | (want == 0)] = -np.inf
    np.testing.assert_allclose(found, want, rtol=1e-5)


def test_nobody_is_their_own_neighbour_nor_is_a_twin() -> None:
    matrix = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]], np.float32)
    model = UserKnn(SimilarityConfig(neighbours=1, **PLAIN)).fit(to_interactions(matrix))
    found = model.recommend(["u00000", "u00001"], 5).to_pylist()
    assert [(row["user_id"], row["video_id"]) for row in found] == [
        ("u00000", "v00002"),
        ("u00001", "v00002"),
    ]


def test_nobody_is_alike_without_a_shared_video() -> None:
    # v0 is everyone's, so that TF-IDF gives it a weight below 0, and whoever has only it a mean below 0.
    matrix = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 1]], np.float32)
    model = UserKnn(SimilarityConfig(**{**PLAIN, "similarity": "pearson", "weighting": "tfidf"})).fit(
        to_interactions(matrix)
    )
    of_v1 = to_interactions(np.array([[0, 1, 0, 0]], np.float32))
    newcomer = build_interaction_matrix(of_v1, IdVocabulary.from_columns(of_v1["user_id"]), model.videos)
    assert np.flatnonzero(model.nearest_users(newcomer).toarray()).tolist() == [1]
