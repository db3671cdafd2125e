"""Neighbourhood models against the same arithmetic on dense arrays."""

import pickle
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tests.retrieval.matrices import dense_scores, ids, matrices, random_matrix, to_interactions
from vrec.retrieval import similarity as module
from vrec.retrieval.interaction_matrix import IdVocabulary, build_interaction_matrix
from vrec.retrieval.models.item_knn import ItemKnn, ItemKnnConfig
from vrec.retrieval.models.user_knn import UserKnn
from vrec.retrieval.similarity import SimilarityConfig, dense_product, map_in_threads, row_blocks

configs = st.fixed_dictionaries(
    {
        "similarity": st.sampled_from(["cosine", "pearson"]),
        "weighting": st.sampled_from(["none", "tfidf", "bm25"]),
        "shrink": st.sampled_from([0.0, 0.5, 10.0]),
        "neighbours": st.sampled_from([1, 2, 5, 100]),
    }
)


def weigh(x: np.ndarray, kind: str, like: np.ndarray) -> np.ndarray:
    """The rows of `x` weighed by what is known of the rows of `like`."""
    x, like = x.astype(float), like.astype(float)
    idf = np.log(like.shape[0]) - np.log1p((like > 0).sum(axis=0))
    if kind == "tfidf":
        return np.sqrt(x) * idf
    if kind == "bm25":
        length = 0.25 + 0.75 * x.sum(axis=1, keepdims=True) / like.sum(axis=1).mean()
        return x * 2.2 / (1.2 * length + x) * idf
    return x


def similarities(x: np.ndarray, y: np.ndarray, config: SimilarityConfig) -> np.ndarray:
    """All similarities of the rows of two dense arrays, those of pairs without a shared column being 0."""
    apart = (x @ y.T) == 0
    if config.similarity == "pearson":
        apart |= (np.ptp(x, axis=1) < 1e-9)[:, None] | (np.ptp(y, axis=1) < 1e-9)
        x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    lengths = np.outer(np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(apart, 0, x @ y.T / (lengths + config.shrink))


def is_best(kept: np.ndarray, every: np.ndarray, k: int) -> None:
    """`kept` has the k greatest positive of each row; which of those within rounding of the k-th is open."""
    for row, full in zip(kept, every, strict=True):
        places = np.flatnonzero(row)
        np.testing.assert_allclose(row[places], full[places], rtol=2e-4, atol=2e-6)
        good = np.sort(full[full > 2e-6])[::-1][:k]
        assert abs(len(places) - len(good)) <= np.count_nonzero(np.abs(full) <= 4e-6)
        both = min(len(good), len(places))
        np.testing.assert_allclose(np.sort(row[places])[::-1][:both], good[:both], rtol=2e-4, atol=4e-6)


@given(matrices(), configs)
@settings(deadline=None, max_examples=150)
def test_videos_neighbours_are_the_nearest(matrix: np.ndarray, options: dict) -> None:
    config = ItemKnnConfig(**options)
    model = ItemKnn(config, map_blocks=one_by_one).fit(to_interactions(matrix))
    weighed = weigh(matrix.T, config.weighting, matrix.T)
    every = similarities(weighed, weighed, config)
    np.fill_diagonal(every, 0)
    is_best(model.similarities.toarray(), every, config.neighbours)


@given(matrices(), st.sampled_from([None, 2.0]))
@settings(deadline=None, max_examples=50)
def test_video_scores_are_sums_over_the_history(matrix: np.ndarray, half_life: float | None) -> None:
    at = np.random.default_rng(len(matrix)).integers(0, 4, matrix.shape)
    model = ItemKnn(ItemKnnConfig(neighbours=3, recency_half_life=half_life), map_blocks=one_by_one)
    model.fit(to_interactions(matrix, at))
    found = dense_scores(model.recommend(ids("u", len(matrix)), 100), matrix.shape)
    history = matrix.astype(float)
    if half_life is not None:
        for user, row in enumerate(matrix):
            for video in np.flatnonzero(row):
                newer = np.count_nonzero((row > 0) & (at[user] > at[user, video]))
                history[user, video] *= 0.5 ** (newer / half_life)
    want = history @ model.similarities.toarray()
    want[(matrix > 0) | (want == 0)] = -np.inf
    np.testing.assert_allclose(found, want, rtol=1e-5)


@given(matrices(), configs)
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
    model = UserKnn(SimilarityConfig(neighbours=4)).fit(to_interactions(matrix))
    found = dense_scores(model.recommend(ids("u", 40), 100), matrix.shape)
    alike = similarities(matrix, matrix, model.config)
    np.fill_diagonal(alike, 0)
    alike[alike < np.sort(alike, axis=1)[:, [-4]]] = 0
    want = alike @ matrix
    want[(matrix > 0) | (want == 0)] = -np.inf
    np.testing.assert_allclose(found, want, rtol=1e-5)


def test_among_equals_the_neighbours_of_lower_place_are_kept() -> None:
    # Every video has the same users, so that all are equally near.
    model = ItemKnn(ItemKnnConfig(neighbours=3)).fit(to_interactions(np.ones((4, 200), np.float32)))
    assert model.similarities[100].indices.tolist() == [0, 1, 2]
    assert model.similarities[1].indices.tolist() == [0, 2, 3]


def test_nobody_is_their_own_neighbour_nor_is_a_twin() -> None:
    matrix = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]], np.float32)
    model = UserKnn(SimilarityConfig(neighbours=1)).fit(to_interactions(matrix))
    found = model.recommend(["u00000", "u00001"], 5).to_pylist()
    assert [(row["user_id"], row["video_id"]) for row in found] == [
        ("u00000", "v00002"),
        ("u00001", "v00002"),
    ]


@given(matrices(30, 30), st.integers(1, 12), st.integers(1, 40))
@settings(deadline=None, max_examples=60)
def test_the_product_is_exact_and_each_row_its_own(matrix: np.ndarray, size: int, products: int) -> None:
    left, right = sparse.csr_matrix(matrix), sparse.csr_matrix(matrix.T * 0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PRODUCTS_PER_RUN", products)
        whole = dense_product(left, right)
        np.testing.assert_allclose(whole, matrix @ matrix.T * 0.1, rtol=1e-5)
        parts = [dense_product(left[n : n + size], right) for n in range(0, len(matrix), size)]
    assert np.array_equal(whole, np.vstack(parts))


def test_blocks_are_plain_tasks_in_any_hands() -> None:
    table = to_interactions(random_matrix(1, 60, 150))

    def in_other_processes(function, comparison, blocks):
        task = pickle.loads(pickle.dumps(partial(function, comparison)))
        return [pickle.loads(pickle.dumps(task(block))) for block in blocks]

    near = [
        ItemKnn(map_blocks=spread).fit(table).similarities for spread in (in_other_processes, map_in_threads)
    ]
    assert len(row_blocks(150)) > 1
    assert np.array_equal(near[0].toarray(), near[1].toarray())


@given(matrices(), configs, st.sampled_from([ItemKnn, UserKnn]))
@settings(deadline=None, max_examples=60)
def test_a_history_is_answered_as_its_fitted_user_is(matrix: np.ndarray, options: dict, make: type) -> None:
    table = to_interactions(matrix)
    model = make(make.Config(**options)).fit(table)
    assert model.recommend(ids("u", len(matrix)), 4).equals(model.recommend_from(table, 4))


@pytest.mark.parametrize("make", [ItemKnn, UserKnn])
def test_saved_and_loaded_it_answers_the_same(make: type, tmp_path) -> None:
    matrix = random_matrix(2, 50, 40)
    model = make(make.Config(weighting="bm25", neighbours=7, shrink=1)).fit(to_interactions(matrix))
    model.save(str(tmp_path / "m"))
    again = make.load(str(tmp_path / "m"))
    users = ids("u", 50)
    assert again.recommend(users, 9).equals(model.recommend(users, 9))


def test_tiny_and_huge_weights_have_finite_similarities() -> None:
    matrix = random_matrix(3, 20, 10).astype(np.float64)
    for scale in (1e-15, 1e15):
        model = ItemKnn().fit(to_interactions(matrix * scale))
        plain = ItemKnn().fit(to_interactions(matrix))
        np.testing.assert_allclose(model.similarities.toarray(), plain.similarities.toarray(), rtol=1e-4)


def one_by_one(function, comparison, blocks):
    return [function(comparison, block) for block in blocks]


def test_nobody_is_alike_without_a_shared_video() -> None:
    # v0 is everyone's, so that TF-IDF gives it a weight below 0, and whoever has only it a mean below 0.
    matrix = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 1]], np.float32)
    model = UserKnn(SimilarityConfig(similarity="pearson", weighting="tfidf")).fit(to_interactions(matrix))
    of_v1 = to_interactions(np.array([[0, 1, 0, 0]], np.float32))
    newcomer = build_interaction_matrix(of_v1, IdVocabulary.from_columns(of_v1["user_id"]), model.videos)
    assert np.flatnonzero(model.nearest_users(newcomer).toarray()).tolist() == [1]
