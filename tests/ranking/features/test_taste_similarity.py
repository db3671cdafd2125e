"""Cosines and tag shares by hand, and what they are where vectors or tags are missing."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ranking.features.messy import catalog_of, space_of
from vrec.ranking.features.catalog import unit_vectors
from vrec.ranking.features.taste_similarity import TasteSimilarity


def columns_of(tastes, candidates, histories, vectors=True):
    """Columns for requests with these candidates and histories by id, and the flags of missing vectors."""
    space = space_of()
    catalog = catalog_of(space) if vectors else catalog_of(space, vectors=None)
    similarity = TasteSimilarity(catalog, np.array(tastes, float))

    def flat(groups):
        ids = [video for group in groups for video in group]
        return catalog.find(ids).astype(np.int32), np.cumsum([0, *map(len, groups)]).tolist()

    video, edges = flat(candidates)
    rows, starts = flat(histories)
    return similarity.columns(video, edges, rows, starts), similarity.without_vector.tolist()


def test_the_mean_cosine_is_over_entries_with_a_vector():
    # a is at (1, 0), c at (0, 1), d at (−1, 0); b has no vector.
    found, without = columns_of([[0.6, 0.8]], [["a", "b", "d"]], [["b", "a", "b", "c"]])
    np.testing.assert_allclose(found["taste_cosine"], [0.6, np.nan, -0.6], atol=1e-6)
    np.testing.assert_allclose(found["liked_cosine_max"], [1, np.nan, 0], atol=1e-6)
    np.testing.assert_allclose(found["liked_cosine_mean"], [0.5, np.nan, -0.5], atol=1e-6)
    assert without == [False]


def test_a_history_without_vectors_and_a_taste_of_zeros_have_no_cosine():
    found, without = columns_of([[0, 0], [1, 0], [0, 1]], [["a"], ["a"], ["a"]], [["b"], [], ["c"]])
    np.testing.assert_allclose(found["taste_cosine"], [np.nan, 1, 0], atol=1e-6)
    np.testing.assert_allclose(found["liked_cosine_max"], [np.nan, np.nan, 0], atol=1e-6)
    np.testing.assert_allclose(found["liked_cosine_mean"], [np.nan, np.nan, 0], atol=1e-6)
    assert without == [True, True, False]


def test_tag_shares_are_over_the_whole_history_and_the_known_tags():
    # a has red and blue (two of its four), b has blue, c and d have none.
    found, _ = columns_of([[1, 0]], [["a", "b", "c", "gone"]], [["a", "b", "c", "gone"]])
    np.testing.assert_allclose(found["tags_affinity"], [(1 / 4 + 2 / 4) / 2, 2 / 4, 0, 0])
    found, _ = columns_of([[1, 0]], [["a", "b"]], [["c"]])
    assert found["tags_affinity"].tolist() == [0, 0]
    found, _ = columns_of([[1, 0]], [["a", "b"]], [[]])
    assert found["tags_affinity"].tolist() == [0, 0]


def test_requests_do_not_mix():
    found, _ = columns_of([[1, 0], [0, 1]], [["a", "c"], ["c"]], [["a"], ["c", "d"]])
    np.testing.assert_allclose(found["taste_cosine"], [1, 0, 1], atol=1e-6)
    np.testing.assert_allclose(found["liked_cosine_mean"], [1, 0, 0.5], atol=1e-6)
    assert found["tags_affinity"].tolist() == pytest.approx([1, 0, 0])


def test_a_catalog_without_embeddings_has_tags_only():
    found, without = columns_of([[1, 0]], [["a"]], [["a"]], vectors=False)
    assert np.isnan(found["taste_cosine"]).all()
    assert found["tags_affinity"].tolist() == [1]
    assert without == [True]


def one_by_one(catalog, taste, candidate, liked):
    """The columns of one candidate from pairs of videos, in plain numbers."""
    vectors, tags = catalog.arrays.vectors.astype(float).tolist(), catalog.arrays.tags.tolist()

    def cosine(left, right):
        return sum(a * b for a, b in zip(left, right, strict=True)) if any(left) and any(right) else np.nan

    cosines = [cosine(vectors[candidate], vectors[row]) for row in liked]
    known = [one for one in cosines if not np.isnan(one)]
    own = [tag for tag in tags[candidate] if tag]
    shares = [sum(tags[row].count(tag) for row in liked) for tag in own]
    return [
        cosine(vectors[candidate], taste),
        max(known, default=np.nan),
        sum(known) / len(known) if known else np.nan,
        sum(shares) / (max(len(own), 1) * len(liked)) if liked else 0.0,
    ]


@given(seed=st.integers(0, 2**32 - 1), requests=st.integers(0, 4), dim=st.sampled_from([1, 3, 64]))
def test_columns_are_those_of_pairs_of_videos_to_the_last_bit(seed, requests, dim):
    rng = np.random.default_rng(seed)
    catalog = catalog_of(space_of())
    vectors = unit_vectors(rng.standard_normal((12, dim))).astype(np.float32)
    vectors[rng.random(12) < 0.3] = 0
    tags = rng.integers(0, 4, (12, 2)).astype(np.int32)
    catalog = replace(catalog, arrays=replace(catalog.arrays, vectors=vectors, tags=tags))
    tastes = unit_vectors(rng.standard_normal((requests, dim)) * (rng.random((requests, 1)) < 0.7))
    candidates, histories = (
        [rng.integers(0, 12, rng.integers(0, 7)).astype(np.int32) for _ in range(requests)] for _ in range(2)
    )
    similarity = TasteSimilarity(catalog, tastes)
    found = similarity.columns(
        np.concatenate([np.zeros(0, np.int32), *candidates]),
        np.cumsum([0, *map(len, candidates)]).tolist(),
        np.concatenate([np.zeros(0, np.int32), *histories]),
        np.cumsum([0, *map(len, histories)]).tolist(),
    )
    expected = [
        one_by_one(catalog, taste, row, liked.tolist())
        for taste, rows, liked in zip(tastes.tolist(), candidates, histories, strict=True)
        for row in rows.tolist()
    ]
    want = np.array(expected, float).reshape(-1, 4)
    for column, values in enumerate(found.values()):
        np.testing.assert_array_equal(values, want[:, column])
    lack = [not vectors[liked].any() for liked in histories]
    assert similarity.without_vector.tolist() == lack
