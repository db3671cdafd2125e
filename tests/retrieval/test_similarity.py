"""Similarities of sparse rows: closed forms on small matrices, and blocks that make no difference."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tests.retrieval.matrices import matrices, random_matrix
from vrec.retrieval import row_statistics
from vrec.retrieval import similarity as module
from vrec.retrieval.models.item_knn import similar_videos
from vrec.retrieval.row_statistics import RowMoments, RowWeighting, row_sums
from vrec.retrieval.similarity import (
    SimilarityFormula,
    dense_product,
    map_in_threads,
    row_blocks,
    stack_nearest,
    stack_rows,
)

# Videos a, b and c by users: a and b share one user of weights 2 and 3, a and c none.
SMALL = sparse.csr_matrix(np.array([[2, 3, 0], [1, 0, 0], [0, 4, 1]], np.float32))


@given(st.integers(2, 10**6))
def test_users_of_all_videos_but_one_weigh_exactly_nothing(videos: int) -> None:
    rows = sparse.csr_matrix(np.ones((videos - 1, 1), np.float32))
    rows.resize(videos, 1)
    for kind in ("tfidf", "bm25"):
        assert RowWeighting.fit(rows, kind).idf[0] == 0


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


def test_cosine_and_shrinkage_by_hand():
    """a·b = 6, |a| = √5 and |b| = 5; b·c = 4 and |c| = 1."""
    found = similar_videos(SMALL, SimilarityFormula()).toarray()
    want = np.array([[0, 6 / (5**0.5 * 5), 0], [6 / (5**0.5 * 5), 0, 4 / 5], [0, 4 / 5, 0]])
    np.testing.assert_allclose(found, want, rtol=1e-6)
    found = similar_videos(SMALL, SimilarityFormula(shrink=2.0)).toarray()
    want = np.array([[0, 6 / (5**0.5 * 5 + 2), 0], [6 / (5**0.5 * 5 + 2), 0, 4 / 7], [0, 4 / 7, 0]])
    np.testing.assert_allclose(found, want, rtol=1e-6)


def test_pearson_by_hand_is_over_all_users():
    rows = np.array([[3, 2, 0, 0], [1, 3, 0, 0]], np.float32)
    found = similar_videos(sparse.csr_matrix(rows.T), SimilarityFormula(similarity="pearson")).toarray()
    want = np.corrcoef(rows)[0, 1]
    np.testing.assert_allclose(found, [[0, want], [want, 0]], rtol=1e-5)


def test_neighbours_are_cut_by_similarity():
    found = similar_videos(SMALL, SimilarityFormula(neighbours=1)).toarray()
    assert (found > 0).tolist() == [[False, True, False], [False, False, True], [False, True, False]]


def test_weightings_by_hand():
    """Three rows, of sums 5, 1 and 5; the columns have 2, 2 and 1 entries."""
    idf = np.log(3) - np.log([3, 3, 2])
    tfidf = RowWeighting.fit(SMALL, "tfidf")
    assert tfidf.mean_sum == pytest.approx(11 / 3)
    np.testing.assert_allclose(tfidf.apply(SMALL).toarray(), np.sqrt(SMALL.toarray()) * idf, atol=1e-6)
    bm25 = RowWeighting.fit(SMALL, "bm25").apply(SMALL).toarray()
    length = 0.25 + 0.75 * 5 / (11 / 3)
    assert bm25[2, 2] == pytest.approx(1 * 2.2 / (1.2 * length + 1) * np.log(3 / 2), rel=1e-5)
    assert RowWeighting.fit(SMALL, "none").apply(SMALL) is SMALL


def test_bm25_by_hand():
    """Videos a and b of SMALL by users of 2, 1 and 2 videos: a video is the document, a user the term."""
    idf = np.log(3) - np.log([3, 2, 3])
    sums = np.array([3.0, 7.0])
    weights = np.array([[2, 1, 0], [3, 0, 4]])
    length = 0.25 + 0.75 * sums / (11 / 3)
    weighted = weights * 2.2 / (1.2 * length[:, None] + weights) * idf
    found = RowWeighting.fit(SMALL.T.tocsr(), "bm25").apply(SMALL.T.tocsr()).toarray()
    np.testing.assert_allclose(found[:2], weighted, rtol=1e-5, atol=1e-7)


def test_penalty_and_product_by_hand():
    """|a| = √5, |b| = 5 and |c| = 1, so that the usual length is (6 + √5) / 3; a·b = 6 and b·c = 4."""
    usual = (6 + 5**0.5) / 3
    lengths = np.array([5**0.5, 5, 1])
    products = np.array([[0, 6, 0], [6, 0, 4], [0, 4, 0]])
    for penalty in (0, 0.3, 1):
        want = products / np.outer(lengths, usual * (lengths / usual) ** penalty)
        found = similar_videos(SMALL, SimilarityFormula(popularity_penalty=penalty)).toarray()
        np.testing.assert_allclose(found, want, rtol=1e-6)
    want = products / (2 * usual**2 + 3)
    formula = SimilarityFormula("product", shrink=3, relative_shrink=1)
    np.testing.assert_allclose(similar_videos(SMALL, formula).toarray(), want, rtol=1e-6)


def test_a_row_without_length_is_no_neighbour_whatever_the_penalty():
    """Everyone has watched video 0 alike, so that its correlation with others is undefined."""
    rows = np.array([[2, 2, 2, 2], [1, 3, 0, 0], [2, 1, 0, 0]], np.float32)
    for penalty in (0.0, 0.5, 1.0):
        formula = SimilarityFormula("pearson", popularity_penalty=penalty)
        found = similar_videos(sparse.csr_matrix(rows.T), formula).toarray()
        assert not found[0].any()
        assert not found[:, 0].any()
        assert found[1, 2] > 0


@pytest.mark.parametrize("similarity", ["cosine", "pearson", "product"])
@pytest.mark.parametrize("shrink", [0.0, 2.0])
def test_sparse_and_dense_rows_are_alike(similarity: str, shrink: float, monkeypatch: pytest.MonkeyPatch):
    """Rows are computed sparsely or densely by their number of products: all, some or none of them."""
    weights = sparse.csr_matrix(random_matrix(4, 60, 90, 0.1))
    formula = SimilarityFormula(similarity, 6, 0.5, shrink, "tfidf")
    found = []
    for ratio in (0.0, 0.9, 1e9):
        monkeypatch.setattr(module, "PRODUCTS_PER_CELL", ratio)
        found.append(similar_videos(weights, formula).toarray())
    work = module.row_products(weights.T.tocsr(), weights)
    assert (work * 0.9 > 90).any()
    assert (work * 0.9 < 90).any()
    for each in found[1:]:
        np.testing.assert_allclose(each, found[0], rtol=1e-5)


def test_moments_by_hand():
    rows = sparse.csr_matrix(np.array([[3, 4, 0, 0], [2, 2, 2, 2], [0, 0, 0, 0]], np.float32))
    cosine = RowMoments.from_rows(rows, "cosine")
    assert cosine.mean.tolist() == [0, 0, 0]
    assert cosine.norm.tolist() == [5, 4, np.inf]
    pearson = RowMoments.from_rows(rows, "pearson")
    np.testing.assert_allclose(pearson.mean, [7 / 2, 8 / 2, 0])
    np.testing.assert_allclose(pearson.norm, [np.sqrt(25 - 49 / 4), np.inf, np.inf], rtol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_sums_of_rows_do_not_depend_on_runs(size: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(row_statistics, "WEIGHTS_PER_SUM", size)
    dense = random_matrix(0, 9, 7)
    dense[[0, 4, 8]] = 0
    rows = sparse.csr_matrix(dense)
    assert row_sums(rows).tolist() == dense.sum(axis=1).tolist()
    assert row_sums(rows, squared=True).tolist() == (dense**2).sum(axis=1).tolist()
    assert row_sums(sparse.csr_matrix((2, 3), dtype=np.float32)).tolist() == [0, 0]


@pytest.mark.parametrize("cells", [1, 100])
@pytest.mark.parametrize("similarity", ["cosine", "pearson"])
def test_blocks_make_no_difference(cells: int, similarity: str, monkeypatch: pytest.MonkeyPatch):
    weights = sparse.csr_matrix(random_matrix(1, 30, 20))
    config = SimilarityFormula(similarity=similarity, neighbours=3, shrink=1.0)
    whole = similar_videos(weights, config).toarray()
    monkeypatch.setattr(module, "BLOCK_CELLS", cells)
    monkeypatch.setattr(module, "BLOCK_ROWS", 7)
    assert np.array_equal(similar_videos(weights, config).toarray(), whole)


def test_row_blocks_cover_all_rows():
    assert row_blocks(0) == []
    assert row_blocks(64) == [range(64)]
    assert row_blocks(130) == [range(64), range(64, 128), range(128, 130)]
    assert row_blocks(50_000)[-1] == range(49_984, 50_000)
    assert len(row_blocks(10**6)) == 977


def test_threads_return_results_in_order():
    """The first block waits for the second one where there are two threads."""
    second = threading.Event()

    def work(task, block):
        if block.start == 0:
            second.wait(0.2)
        else:
            second.set()
        return block

    assert list(map_in_threads(work, None, [range(0, 1), range(1, 2)])) == [range(0, 1), range(1, 2)]


def test_stacked_rows_without_parts_are_empty():
    assert stack_rows([], 3).shape == (0, 3)
    parts = [
        sparse.csr_matrix(np.eye(2, 3, dtype=np.float32)),
        sparse.csr_matrix(np.ones((1, 3), np.float32)),
    ]
    assert stack_rows(parts, 3).toarray().tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 1]]


def test_nearest_rows_are_stacked_as_they_come():
    parts = [sparse.csr_matrix(random_matrix(seed, 4, 9, 0.2, most=3)) for seed in range(3)]
    most = max(int(np.diff(part.indptr).max()) for part in parts)
    found = stack_nearest(iter(parts), (12, 9), most)
    assert np.array_equal(found.toarray(), np.vstack([part.toarray() for part in parts]))
    assert found.data.dtype == np.float32
    assert stack_nearest([], (0, 4), 100).shape == (0, 4)
