"""Arguments of an index that are refused, with what is wrong, and those that pass."""

import numpy as np
import pytest

from vrec.core.errors import FitError
from vrec.retrieval.index.config import Float16StorageConfig, IndexConfig
from vrec.retrieval.index.index import ExactIndex, FaissIndex
from vrec.retrieval.index.validate import checked_queries, checked_vectors

INDEXES = {
    "exact": ExactIndex,
    "faiss": FaissIndex,
    "lists": lambda: FaissIndex(IndexConfig(exact_up_to=1)),
    "float16": lambda: FaissIndex(IndexConfig(storage=Float16StorageConfig())),
}


@pytest.mark.parametrize("kind", INDEXES)
@pytest.mark.parametrize("k", [0, -1])
def test_k_below_1_is_refused_whatever_is_searched(kind: str, k: int):
    """Also by an index without vectors, with a filter that nothing passes, and for no queries at all."""
    index = INDEXES[kind]()
    queries = np.ones((2, 3), np.float32)
    requests = [(queries, None), (queries, []), (queries[:0], None)]
    for filled in (False, True):
        if filled:
            index.add(["a", "b"], np.eye(2, 3))
        for rows, allowed in [*requests, (queries, ["a"])]:
            with pytest.raises(FitError, match=f"index.search: k is {k}") as error:
                index.search(rows, k, allowed)
            assert error.value.fix == "request at least 1 result"
    assert index.search(queries, 1)[0] == [["a"], ["a"]]


@pytest.mark.parametrize("kind", INDEXES)
def test_queries_of_another_shape_or_not_finite_are_refused(kind: str):
    index = INDEXES[kind]()
    index.add(["a", "b"], np.eye(2, 3))
    with pytest.raises(FitError, match=r"queries of shape \(1, 4\), want \(queries, 3\)"):
        index.search(np.ones((1, 4)), 1)
    with pytest.raises(FitError, match=r"queries of shape \(3,\), want \(queries, 3\)"):
        index.search(np.ones(3), 1)
    for bad in (np.nan, np.inf):
        with pytest.raises(FitError, match="1 of 2 queries are not finite, such as row 1"):
            index.search(np.array([[1, 1, 1], [1, bad, 1]]), 1)


def test_without_vectors_any_dimensions_will_do():
    assert checked_queries(np.ones((2, 9)), 1, None).shape == (2, 9)
    with pytest.raises(FitError, match=r"queries of shape \(9,\), want \(queries, dim\)"):
        checked_queries(np.ones(9), 1, None)
    assert checked_queries(np.empty((0, 5)), 1, 3).shape == (0, 5)
    found = checked_queries(np.asfortranarray(np.ones((2, 3), np.float64)), 1, 3)
    assert (found.dtype, found.flags.c_contiguous) == (np.float32, True)


def test_vectors_that_do_not_match_their_ids_are_refused():
    rows = np.eye(3)
    assert checked_vectors(["a", "b", "c"], rows, None).dtype == np.float32
    assert checked_vectors([], np.empty((0, 7)), 3).shape == (0, 7)
    with pytest.raises(FitError, match=r"index.add: 2 ids with vectors of shape \(3, 3\)"):
        checked_vectors(["a", "b"], rows, None)
    with pytest.raises(FitError, match=r"index.add: 3 ids with vectors of shape \(3,\)"):
        checked_vectors(["a", "b", "c"], rows[0], None)
    with pytest.raises(FitError, match="id 7 is int, want str"):
        checked_vectors(["a", 7, "c"], rows, None)  # type: ignore[list-item]
    with pytest.raises(FitError, match="2 ids are repeated, such as b"):
        checked_vectors(["b", "b", "b"], rows, None)
    with pytest.raises(FitError, match="3 vectors have 3 dimensions, such as that of a; the index has 4"):
        checked_vectors(["a", "b", "c"], rows, 4)
    for bad in (np.nan, np.inf):
        rows[1:, 2] = bad
        with pytest.raises(FitError, match="2 of 3 vectors are not finite, such as that of b"):
            checked_vectors(["a", "b", "c"], rows, 3)
