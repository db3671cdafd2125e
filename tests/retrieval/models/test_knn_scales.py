"""Neighborhood models on weights of any size: faded, uniformly tiny or huge, and mixed within a history."""

import numpy as np
import pytest

from tests.retrieval.dense_similarity import PLAIN, similarities
from tests.retrieval.matrices import ids, random_matrix, to_interactions
from vrec.retrieval.config import ItemKnnConfig, SimilarityConfig
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.retrieval.models.user_knn import UserKnn

USERS, VIDEOS, K = 40, 25, 8
MODELS = {"item_knn": (ItemKnn, ItemKnnConfig), "user_knn": (UserKnn, SimilarityConfig)}
SCALES = [1e-37, 1e-30, 1e-23, 1e-15, 1e-8, 1.0, 1e8, 1e15, 1e23, 1e30, 1e37]


def lists(matrix, name, **options):
    model, config = MODELS[name]
    found = (
        model(config(**{**PLAIN, **options})).fit(to_interactions(matrix)).recommend(ids("u", len(matrix)), K)
    )
    scores = np.asarray(found["score"])
    assert np.isfinite(scores).all()
    assert (scores > 0).all()
    return list(zip(found["user_id"].to_pylist(), found["video_id"].to_pylist(), strict=True)), scores


@pytest.mark.parametrize("similarity", ["cosine", "pearson"])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("scale", SCALES)
def test_uniform_weights_of_any_size_give_the_same_lists(scale: float, name: str, similarity: str):
    # A power of two near the scale, so that rounding is the same too.
    factor = np.float32(2.0 ** np.round(np.log2(scale)))
    matrix = random_matrix(0, USERS, VIDEOS)
    plain, _ = lists(matrix, name, similarity=similarity)
    found, _ = lists(matrix * factor, name, similarity=similarity)
    assert found == plain
    assert len(plain) == USERS * K


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("age", [0, 10, 60, 75, 100, 120])
def test_a_faded_history_loses_no_recommendation(age: int, name: str):
    """Half of the users, with videos of their own, have weights of 2^-age."""
    matrix = random_matrix(1, USERS, VIDEOS)
    matrix[: USERS // 2, VIDEOS // 2 :] = 0
    matrix[USERS // 2 :, : VIDEOS // 2] = 0
    plain, _ = lists(matrix, name)
    matrix[: USERS // 2] *= np.float32(2.0**-age)
    assert lists(matrix, name)[0] == plain


@pytest.mark.parametrize("span", [1, 20, 60, 100, 120])
@pytest.mark.parametrize("similarity", ["cosine", "pearson"])
def test_similarities_of_mixed_weights_are_those_of_float64(span: int, similarity: str):
    rng = np.random.default_rng(span)
    matrix = random_matrix(2, USERS, VIDEOS)
    matrix = (matrix * 2.0 ** -rng.integers(0, span + 1, matrix.shape)).astype(np.float32)
    config = ItemKnnConfig(similarity=similarity, neighbours=VIDEOS, **PLAIN)
    model = ItemKnn(config).fit(to_interactions(matrix))
    columns = matrix.T.astype(float)
    want = similarities(columns, columns, config)
    np.fill_diagonal(want, 0)
    found = model.similarities.toarray()
    clear = np.abs(want) > 1e-5
    np.testing.assert_allclose(found[clear], np.maximum(want, 0)[clear], rtol=2e-4)
    if similarity == "cosine":
        assert np.array_equal(found > 0, want > 0)


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
def test_a_row_does_not_depend_on_the_sizes_of_the_others(scale: float):
    matrix = random_matrix(3, USERS, VIDEOS)
    matrix[0] *= np.float32(scale)
    model = UserKnn(SimilarityConfig(**PLAIN)).fit(to_interactions(matrix))
    together = model.recommend(ids("u", USERS), K)
    for user in (0, 1, 7):
        alone = model.recommend([f"u{user:05d}"], K)
        rows = [r for r in together.to_pylist() if r["user_id"] == f"u{user:05d}"]
        assert alone.to_pylist() == rows
