"""Exposure: Gini by its definition, and places kept for new creators."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.retrieval.creators.exposure import exposure_gini, keep_places_for_new


@given(st.lists(st.integers(0, 9), min_size=1, max_size=40))
def test_gini_is_the_mean_difference(places):
    counts = np.bincount(places, minlength=10)
    expected = np.abs(counts[:, None] - counts).sum() / (2 * 100 * counts.mean())
    assert exposure_gini(np.array([places]), 10) == pytest.approx(expected)


@given(st.integers(0, 1000), st.floats(0, 1), st.integers(1, 6))
def test_new_creators_have_their_share_and_the_order_of_others_stays(seed, share, k):
    rng = np.random.default_rng(seed)
    ranked = np.stack([rng.permutation(30)[:20] for _ in range(200)])
    is_new = rng.random(30) < 0.4
    lists = keep_places_for_new(ranked, is_new, k, share, rng)
    for before, after in zip(ranked, lists, strict=True):
        assert len(set(after)) == k
        assert set(after) <= set(before)
        enough = is_new[before].sum() >= np.ceil(share * k)
        assert is_new[after].sum() >= np.floor(share * k) or not enough
        kept = [creator for creator in after if not is_new[creator]]
        assert kept == [creator for creator in before[:k] if creator in kept]
        if is_new[before[:k]].sum() >= np.ceil(share * k):
            assert (after == before[:k]).all()


def test_the_share_is_exact_on_average():
    ranked = np.tile(np.arange(20), (20_000, 1))
    lists = keep_places_for_new(ranked, np.arange(20) >= 10, 10, 0.13, np.random.default_rng(0))
    assert (lists >= 10).mean() == pytest.approx(0.13, abs=0.002)
