"""The k best of each row, against a sort of the whole row."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from vrec.retrieval import topk as module
from vrec.retrieval.interaction_matrix import IdVocabulary
from vrec.retrieval.topk import mask_scores, mask_zero_scores, row_chunks, to_recommendations, topk_dense


@given(
    st.integers(0, 10**6),
    st.integers(1, 8),
    st.integers(1, 400),
    st.integers(1, 40),
    st.sampled_from([2, 10, 10**6]),
    st.sampled_from([0.0, 0.5, 0.98, 1.0]),
)
@settings(deadline=None, max_examples=150)
def test_best_are_those_of_a_full_sort(seed, rows, videos, k, levels, silent) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-levels, levels, (rows, videos)).astype(np.float32)
    scores[rng.random(scores.shape) < silent] = rng.choice([-np.inf, np.nan])
    places, found = topk_dense(scores.copy(), k)
    assert places.shape == found.shape == (rows, min(k, videos))
    for row in range(rows):
        order = [n for n in np.lexsort((np.arange(videos), -scores[row])) if scores[row, n] > -np.inf][:k]
        assert places[row, : len(order)].tolist() == order
        assert found[row, : len(order)].tolist() == scores[row, order].tolist()
        assert (found[row, len(order) :] == -np.inf).all()


def test_chunks_of_rows_make_no_difference(monkeypatch) -> None:
    scores = np.random.default_rng(0).integers(0, 5, (11, 6)).astype(np.float32)
    columns, best = topk_dense(scores, 3)
    monkeypatch.setattr(module, "CHUNK_CELLS", 13)
    assert [len(chunk) for chunk in row_chunks(scores)] == [2, 2, 2, 2, 2, 1]
    again = topk_dense(scores, 3)
    assert np.array_equal(again[0], columns)
    assert np.array_equal(again[1], best)
    assert [len(chunk) for chunk in row_chunks(np.zeros((2, 50), np.float32))] == [1, 1]


def test_recommendations_end_at_the_first_missing_score() -> None:
    videos = IdVocabulary(pa.array(["a", "b", "c"]))
    scores = np.array([[3, 1], [2, -np.inf], [-np.inf, -np.inf]], np.float32)
    table = to_recommendations(
        pa.array(["u", "v", "w"]), videos, np.array([[2, 0], [1, 0], [0, 0]]), scores, "test"
    )
    assert table.to_pylist() == [
        {"user_id": "u", "video_id": "c", "score": 3.0, "rank": 1, "source": "test"},
        {"user_id": "u", "video_id": "a", "score": 1.0, "rank": 2, "source": "test"},
        {"user_id": "v", "video_id": "b", "score": 2.0, "rank": 1, "source": "test"},
    ]


def test_masks_are_by_row_or_for_all_rows() -> None:
    excluded = sparse.csr_matrix(np.array([[0, 1, 0], [0.5, 0, 0]], np.float32))
    scores = np.ones((2, 3), np.float32)
    mask_scores(scores, excluded, None)
    assert np.isneginf(scores).tolist() == [[False, True, False], [True, False, False]]
    mask_scores(scores, excluded, np.array([True, True, False]))
    assert np.isneginf(scores).tolist() == [[False, True, True], [True, False, True]]


def test_only_scores_of_zero_become_missing() -> None:
    scores = np.array([[0, 2, -1], [0.5, 0, 1e-38]], np.float32)
    found = mask_zero_scores(scores)
    assert found is scores
    assert found.tolist() == [[-np.inf, 2, -1], [0.5, -np.inf, np.float32(1e-38)]]
