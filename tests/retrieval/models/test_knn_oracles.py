"""Neighbourhood models against `implicit` on the same matrix, and users' similarities against scikit-learn.

cornac's KNN is no oracle here: it divides by the lengths over shared columns alone, and averages over the
nearest of those who have the video, which are other definitions.
"""

import numpy as np
import pytest
from implicit.nearest_neighbours import (
    BM25Recommender,
    CosineRecommender,
    ItemItemRecommender,
    TFIDFRecommender,
    bm25_weight,
    normalize,
    tfidf_weight,
)
from scipy import sparse
from sklearn.metrics.pairwise import cosine_similarity

from tests.retrieval.dense_similarity import PLAIN
from tests.retrieval.matrices import ids, random_matrix, to_interactions
from vrec.retrieval.config import ItemKnnConfig
from vrec.retrieval.interaction_matrix import IdVocabulary, build_interaction_matrix
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.retrieval.models.user_knn import UserKnn
from vrec.retrieval.row_statistics import RowWeighting

K = 15
pytestmark = pytest.mark.filterwarnings("ignore:Method expects CSR")


@pytest.fixture(scope="module")
def matrix() -> sparse.csr_matrix:
    """Without ties: weights are whole numbers and a little more."""
    dense = random_matrix(0, 300, 120, density=0.1)
    noise = np.random.default_rng(1).uniform(0, 0.9, dense.shape)
    return sparse.csr_matrix(np.where(dense > 0, dense + noise, 0).astype(np.float32))


def others(similarity: sparse.csr_matrix) -> np.ndarray:
    """implicit counts the video itself among its neighbours."""
    found = similarity.toarray()
    np.fill_diagonal(found, 0)
    return found


def fitted(matrix: sparse.csr_matrix, **options) -> ItemKnn:
    return ItemKnn(ItemKnnConfig(**{"neighbours": K, **PLAIN, **options})).fit(
        to_interactions(matrix.toarray())
    )


@pytest.mark.parametrize(("weighting", "make"), [("none", CosineRecommender), ("tfidf", TFIDFRecommender)])
def test_similarities_and_answers_are_those_of_implicit(matrix, weighting: str, make: type) -> None:
    oracle = make(K=K + 1, num_threads=1)
    oracle.fit(matrix, show_progress=False)
    model = fitted(matrix, weighting=weighting)
    np.testing.assert_allclose(model.similarities.toarray(), others(oracle.similarity), rtol=1e-4)
    places, scores = oracle.recommend(np.arange(300), matrix, N=8)
    found = model.recommend(ids("u", 300), 8)
    assert found["video_id"].to_pylist() == [f"v{place:05d}" for place in places.ravel()]
    np.testing.assert_allclose(np.asarray(found["score"]), scores.ravel(), rtol=1e-4)


def test_bm25_cosines_are_those_of_implicit(matrix) -> None:
    oracle = ItemItemRecommender(K=K + 1, num_threads=1)
    oracle.fit(normalize(bm25_weight(matrix.T, 1.2, 0.75)).T, show_progress=False)
    found = fitted(matrix, weighting="bm25").similarities.toarray()
    np.testing.assert_allclose(found, others(oracle.similarity), rtol=1e-4)


def test_bm25_products_of_implicit_have_our_cosines(matrix) -> None:
    """BM25Recommender does not divide by the lengths, which are on its diagonal."""
    oracle = BM25Recommender(K=120, K1=1.2, B=0.75, num_threads=1)
    oracle.fit(matrix, show_progress=False)
    products = oracle.similarity.toarray()
    lengths = np.sqrt(products.diagonal())
    found = fitted(matrix, weighting="bm25").similarities.toarray()
    kept = found > 0
    np.testing.assert_allclose(found[kept], (products / np.outer(lengths, lengths))[kept], rtol=1e-4)


def test_inner_products_of_bm25_are_the_neighbours_and_answers_of_implicit(matrix) -> None:
    """Up to a factor, as similarities are relative to the usual squared length."""
    oracle = BM25Recommender(K=K + 1, K1=1.2, B=0.75, num_threads=1)
    oracle.fit(matrix, show_progress=False)
    model = fitted(matrix, similarity="product", weighting="bm25")
    # implicit counts the video itself, unless K + 1 others are nearer.
    other = ItemItemRecommender(K=matrix.shape[1], num_threads=1)
    other.fit(bm25_weight(matrix.T, 1.2, 0.75).T.tocsr(), show_progress=False)
    want = others(other.similarity)
    want[want < np.sort(want, axis=1)[:, [-K]]] = 0
    found = model.similarities.toarray()
    factor = want.max() / found.max()
    np.testing.assert_allclose(found * factor, want, rtol=1e-4)
    agree = (others(oracle.similarity) > 0) & (want > 0)
    np.testing.assert_allclose(others(oracle.similarity)[agree], want[agree], rtol=1e-4)
    assert agree.sum() > 0.9 * (want > 0).sum()


def test_cosines_of_bm25_are_those_of_tfidf_where_all_weights_are_equal(matrix) -> None:
    """Both divide by the length: what is BM25 in it cancels."""
    same = sparse.csr_matrix((matrix > 0).astype(np.float32))
    cosines = [fitted(same, weighting=kind).similarities.toarray() for kind in ("bm25", "tfidf")]
    kept = (cosines[0] > 0) & (cosines[1] > 0)
    assert kept.sum() > 0.98 * (cosines[1] > 0).sum()
    np.testing.assert_allclose(cosines[0][kept], cosines[1][kept], rtol=1e-4)


@pytest.mark.parametrize(("kind", "oracle"), [("tfidf", tfidf_weight), ("bm25", bm25_weight)])
def test_weights_are_those_of_implicit(matrix, kind: str, oracle) -> None:
    options = (1.2, 0.75) if kind == "bm25" else ()
    found = RowWeighting.fit(matrix, kind).apply(matrix)
    np.testing.assert_allclose(found.toarray(), oracle(matrix, *options).toarray(), rtol=1e-5)


def test_users_similarities_are_cosines_of_scikit_learn(matrix) -> None:
    table = to_interactions(matrix.toarray())
    model = UserKnn(UserKnn.Config(neighbours=K, **PLAIN)).fit(table)
    histories = build_interaction_matrix(table, IdVocabulary.from_columns(table["user_id"]), model.videos)
    found = model.nearest_users(histories).toarray()
    want = cosine_similarity(matrix)
    np.fill_diagonal(want, 0)
    want[want < np.sort(want, axis=1)[:, [-K]]] = 0
    np.testing.assert_allclose(found, want, rtol=1e-4)
    oracle = CosineRecommender(K=K + 1, num_threads=1)
    oracle.fit(matrix.T.tocsr(), show_progress=False)
    np.testing.assert_allclose(found, others(oracle.similarity), rtol=1e-4)
