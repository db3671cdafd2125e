"""Cosines and tag shares by hand, and what they are where vectors or tags are missing."""

import numpy as np
import pytest

from tests.ranking.features.messy import catalog_of, space_of
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
