"""Long columns, such as a bot's history: the same neighbors as from all products, by fewer of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import sparse

from vrec.retrieval import long_columns as module
from vrec.retrieval import similarity
from vrec.retrieval.long_columns import find_long_columns
from vrec.retrieval.models.item_knn import similar_videos, video_similarity_task
from vrec.retrieval.similarity import SimilarityFormula, nearest_rows, with_long_columns

formulas = st.builds(
    SimilarityFormula,
    similarity=st.sampled_from(["cosine", "product"]),
    neighbours=st.integers(1, 4),
    popularity_penalty=st.sampled_from([0.0, 0.5, 1.0]),
    relative_shrink=st.sampled_from([0.0, 3.0]),
    weighting=st.sampled_from(["none", "tfidf", "bm25"]),
)


def shop(seed: int, bots: int, *, equal: bool) -> sparse.csr_matrix:
    """Return (users, videos) weights of a sparse shop in which some users have watched most videos."""
    rng = np.random.default_rng(seed)
    cells = rng.random((20, 60)) < 0.06
    cells[:bots] = rng.random((bots, 60)) < 0.8
    weights = cells * rng.integers(1, 2 if equal else 9, cells.shape)
    return sparse.csr_matrix(weights.astype(np.float32))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 999), st.integers(1, 3), st.booleans(), formulas, st.sampled_from([1, 10**6]))
def test_the_neighbours_are_those_of_all_products(seed, bots, equal, formula, per_cell):
    assert_same_neighbours(shop(seed, bots, equal=equal), formula, per_cell)


@pytest.mark.parametrize("seed", range(5))
def test_shrunk_similarities_of_unequal_weights_have_the_neighbours_of_all_products(seed):
    formula = SimilarityFormula(neighbours=2, relative_shrink=3.0)
    assert_same_neighbours(shop(seed, 1, equal=False), formula, 1)


def assert_same_neighbours(weights: sparse.csr_matrix, formula: SimilarityFormula, per_cell: int) -> None:
    task = video_similarity_task(weights, formula)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS_PER_NEIGHBOUR", 4)
        # None that only rounding calls for.
        patch.setattr(module, "CANDIDATES_PER_NEIGHBOUR", 1)
        # All rows are computed densely, or none.
        patch.setattr(similarity, "PRODUCTS_PER_CELL", per_cell if per_cell > 1 else 0)
        short = with_long_columns(task)
        assume(short.long_columns is not None)
        every = range(60)
        found, wanted = nearest_rows(short, every), nearest_rows(task, every)
    assert np.array_equal(found.indptr, wanted.indptr)
    if formula.weighting == "none" and (weights.data == 1).all():
        # Products are whole numbers, and equal similarities are rounded alike.
        assert np.array_equal(found.indices, wanted.indices)
        np.testing.assert_array_equal(found.data, wanted.data)
    # Others may tie but for rounding: then any of them may be the neighbor.
    for row in every:
        ours, theirs = (np.sort(near[row].data) for near in (found, wanted))
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_fewer_pairs_are_multiplied(monkeypatch):
    monkeypatch.setattr(module, "ROWS_PER_NEIGHBOUR", 4)
    task = with_long_columns(video_similarity_task(shop(0, 1, equal=True), SimilarityFormula(neighbours=2)))
    assert task.long_columns is not None
    whole = (task.left @ task.right).nnz
    assert task.long_columns.shorten(task.left).sparse_product().nnz < whole / 2
    blocks = similar_videos(shop(0, 1, equal=True), SimilarityFormula(neighbours=2))
    assert blocks.nnz == nearest_rows(task, range(60)).nnz


@pytest.mark.parametrize("changes", [{"similarity": "pearson"}, {"relative_shrink": 3.0}])
def test_where_the_nearest_depend_on_the_row_all_is_compared(monkeypatch, changes):
    monkeypatch.setattr(module, "ROWS_PER_NEIGHBOUR", 4)
    monkeypatch.setattr(module, "MOST_WEIGHTS", 2)
    weights = shop(0, 1, equal=False)
    formula = SimilarityFormula(neighbours=2)
    assert with_long_columns(video_similarity_task(weights, formula)).long_columns is not None
    task = video_similarity_task(weights, replace(formula, **changes))
    assert with_long_columns(task).long_columns is None


def test_usual_histories_are_not_long():
    weights = shop(0, 1, equal=True)
    lengths = np.ones(60)
    assert find_long_columns(weights.T.tocsr(), weights, lengths, 4, shrink=0) is None
    weights.data[0] = -1
    assert find_long_columns(weights.T.tocsr(), weights, lengths, 2, shrink=0) is None
