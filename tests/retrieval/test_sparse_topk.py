"""The greatest entries of sparse rows against the dense selection."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from vrec.retrieval import sparse_topk as module
from vrec.retrieval.sparse_topk import topk_sparse
from vrec.retrieval.topk import topk_dense


def shuffled(dense: np.ndarray, rng: np.random.Generator) -> sparse.csr_matrix:
    """Entries other than 0, in any order within a row."""
    matrix = sparse.csr_matrix(dense)
    for start, stop in zip(matrix.indptr, matrix.indptr[1:], strict=False):
        order = start + rng.permutation(stop - start)
        matrix.data[start:stop], matrix.indices[start:stop] = matrix.data[order], matrix.indices[order]
    return matrix


def expected(dense: np.ndarray, k: int) -> np.ndarray:
    columns, best = topk_dense(np.where(dense > 0, dense, -np.inf).astype(np.float32), k)
    want = np.zeros_like(dense)
    rows, places = np.nonzero(best > -np.inf)
    want[rows, columns[rows, places]] = best[rows, places]
    return want


@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 30), st.integers(1, 80)),
    st.integers(1, 9),
    st.sampled_from([2, 5, 10**6]),
    st.sampled_from([1, 64, 1 << 17]),
)
@settings(deadline=None, max_examples=200)
def test_selection_is_that_of_dense_rows(
    seed: int, shape: tuple[int, int], k: int, levels: int, cells: int
) -> None:
    """Few levels make ties, also across the cut; long rows are bounded by a part and by maxima first."""
    rng = np.random.default_rng(seed)
    dense = rng.integers(-1, levels, shape) * (rng.random(shape) < rng.random((shape[0], 1)))
    dense = (dense / 3).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PADDED_CELLS", cells)
        found = topk_sparse(shuffled(dense, rng), k)
    assert np.array_equal(found.toarray(), expected(dense, k))
    assert found.nnz == np.count_nonzero(found.toarray())
    assert all(
        (np.diff(found.indices[a:b]) > 0).all() for a, b in zip(found.indptr, found.indptr[1:], strict=False)
    )


def test_smallest_and_greatest_floats_are_ordered() -> None:
    tiny, huge = np.finfo(np.float32).smallest_subnormal, np.float32(np.inf)
    row = sparse.csr_matrix(np.array([[tiny, 1, huge, 2 * tiny, -1]], np.float32))
    assert topk_sparse(row, 3).indices.tolist() == [1, 2, 3]
    assert topk_sparse(row, 9).indices.tolist() == [0, 1, 2, 3]


def test_no_rows_and_no_entries() -> None:
    for shape in ((0, 4), (3, 4), (2, 0)):
        found = topk_sparse(sparse.csr_matrix(shape, dtype=np.float32), 2)
        assert found.shape == shape
        assert found.nnz == 0
