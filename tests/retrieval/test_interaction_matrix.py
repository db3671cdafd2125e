"""Interaction matrices on small tables worked out by hand."""

import numpy as np
import pyarrow as pa
import pytest

from tests.retrieval.catalogues import interactions
from vrec.core.errors import FitError, SchemaError
from vrec.retrieval.interaction_matrix import (
    IdVocabulary,
    InteractionMatrix,
    build_interaction_matrix,
    check_interactions,
    csr_arrays,
    exclusion_matrix,
    restore_csr,
    to_interactions,
)

DAY_US = 86_400_000_000
# "x" is a user's id and a video's; ann has watched "b" twice, the second row being the older one.
ROWS = interactions(
    ("x", "b", 2, 5), ("ann", "b", 1, 4), ("ann", "x", 3, 4), ("ann", "b", 0.5, 1), ("ann", "a", 1, 9)
)
USERS, VIDEOS = IdVocabulary.from_columns(ROWS["user_id"]), IdVocabulary.from_columns(ROWS["video_id"])


@pytest.fixture
def matrix() -> InteractionMatrix:
    return build_interaction_matrix(ROWS, USERS, VIDEOS)


def test_vocabulary_is_sorted_and_distinct_over_all_columns():
    vocabulary = IdVocabulary.from_columns(pa.array(["b", "a", "b"]), pa.chunked_array([["c"], ["a", "é"]]))
    assert vocabulary.ids.to_pylist() == ["a", "b", "c", "é"]
    assert len(vocabulary) == 4
    assert vocabulary.find(["c", "zzz", "a"]).tolist() == [2, -1, 0]
    assert vocabulary.find(pa.array(["b", None])).tolist() == [1, -1]
    assert vocabulary.find([]).dtype == np.int64
    assert vocabulary.names(np.array([3, 0])).to_pylist() == ["é", "a"]


def test_rows_of_one_pair_are_summed_and_the_latest_time_counts(matrix: InteractionMatrix):
    assert USERS.ids.to_pylist() == ["ann", "x"]
    assert VIDEOS.ids.to_pylist() == ["a", "b", "x"]
    assert matrix.weights.toarray().tolist() == [[1, 1.5, 3], [0, 2, 0]]
    assert matrix.weights.dtype == np.float32
    assert (matrix.at / DAY_US).tolist() == [9, 4, 4, 5]
    assert (matrix.users, matrix.videos) == (2, 3)


def test_rows_with_an_unknown_user_or_video_are_dropped():
    users, videos = IdVocabulary(pa.array(["ann", "zoe"])), IdVocabulary(pa.array(["a", "b"]))
    found = build_interaction_matrix(ROWS, users, videos)
    assert found.weights.toarray().tolist() == [[1, 1.5], [0, 0]]
    assert (found.at / DAY_US).tolist() == [9, 4]
    nothing = build_interaction_matrix(ROWS.slice(0, 0), users, videos)
    assert (nothing.weights.shape, nothing.weights.nnz, len(nothing.at)) == ((2, 2), 0, 0)


def test_rows_come_in_the_order_given_and_may_repeat(matrix: InteractionMatrix):
    found = matrix.rows(np.array([1, 0, 1]))
    assert found.weights.toarray().tolist() == [[0, 2, 0], [1, 1.5, 3], [0, 2, 0]]
    assert (found.at / DAY_US).tolist() == [5, 9, 4, 4, 5]
    assert matrix.rows(np.array([], np.int64)).weights.shape == (0, 3)


def test_selected_entries_keep_their_user_video_and_time(matrix: InteractionMatrix):
    found = matrix.select_entries(np.array([False, True, False, True]))
    assert found.weights.toarray().tolist() == [[0, 1.5, 0], [0, 2, 0]]
    assert (found.at / DAY_US).tolist() == [4, 5]


def test_order_in_time_has_ties_by_id(matrix: InteractionMatrix):
    """Of ann's videos, a is newest; b and x have the same time, and the later id counts as newer."""
    assert matrix.newer_counts.tolist() == [0, 2, 1, 0]
    starts, videos = matrix.by_time
    assert starts.tolist() == [0, 3, 4]
    assert videos.tolist() == [1, 2, 0, 1]


def test_interactions_come_back_with_their_times_in_microseconds(matrix: InteractionMatrix):
    assert (
        to_interactions(matrix, USERS, VIDEOS).to_pydict()
        == interactions(
            ("ann", "a", 1, 9), ("ann", "b", 1.5, 4), ("ann", "x", 3, 4), ("x", "b", 2, 5)
        ).to_pydict()
    )


def test_csr_arrays_restore_the_matrix(matrix: InteractionMatrix):
    arrays = csr_arrays("part.", matrix.weights)
    assert arrays.keys() == {"part.data", "part.indices", "part.indptr"}
    found = restore_csr(arrays, "part.", (2, 3))
    assert np.array_equal(found.toarray(), matrix.weights.toarray())


def test_exclusions_are_one_entry_each_and_unknown_ones_are_ignored():
    exclude = {"ann": ["x", "a", "x", "unknown"], "nobody": ["a"]}
    assert exclusion_matrix(exclude, ["bo", "ann"], VIDEOS).toarray().tolist() == [[0, 0, 0], [1, 0, 1]]
    assert exclusion_matrix(None, ["ann"], VIDEOS).nnz == 0
    assert exclusion_matrix({"ann": []}, [], VIDEOS).shape == (0, 3)


def test_bad_interactions_are_refused_with_an_example():
    assert check_interactions(ROWS, "stage").num_rows == 5
    with pytest.raises(FitError, match=r"^stage: there are no interactions$"):
        check_interactions(ROWS.slice(0, 0), "stage")
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        bad = interactions(("u", "a", 1, 0), ("u", "b", weight, 0), ("w", "c", weight, 0))
        match = (
            rf"stage: weight must be finite and above 0; 2 of 3 are not, such as {weight} for user u, video b"
        )
        with pytest.raises(FitError, match=match):
            check_interactions(bad, "stage")
    with pytest.raises(SchemaError, match="missing weight"):
        check_interactions(ROWS.drop_columns(["weight"]), "stage")
