"""The k best of each row, against a sort of the whole row."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.retrieval.topk import topk_dense


@given(
    st.integers(0, 10**6),
    st.integers(1, 8),
    st.integers(1, 400),
    st.integers(1, 40),
    st.sampled_from([2, 10, 10**6]),
    st.sampled_from([0.0, 0.5, 0.98, 1.0]),
)
@settings(deadline=None, max_examples=300)
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
