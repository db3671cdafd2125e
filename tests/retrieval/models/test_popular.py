"""The popularity baseline by hand: counts, their decay in days, and recommendations for anyone."""

import numpy as np
import pytest

from tests.retrieval.catalogues import interactions, scores
from vrec.core.errors import FitError
from vrec.retrieval.config import PopularConfig
from vrec.retrieval.models.popular import PopularRecommender

# Weights do not count; "b" is a user's id and a video's. The latest interaction is of day 40.
ROWS = interactions(
    ("ann", "a", 9, 40), ("ann", "b", 1, 30), ("b", "b", 1, 20), ("cy", "b", 1, 0), ("cy", "c", 5, 0)
)


def test_users_are_counted_and_weights_are_not():
    model = PopularRecommender().fit(ROWS)
    assert model.popularity.tolist() == [1, 3, 1]
    assert model.popularity.dtype == np.float32
    assert scores(model.recommend(["b"], 9), "b") == {"a": 1, "c": 1}


def test_counts_are_halved_after_so_many_days():
    model = PopularRecommender(PopularConfig(half_life_days=10)).fit(ROWS)
    np.testing.assert_allclose(model.popularity, [1, 2**-1 + 2**-2 + 2**-4, 2**-4], rtol=1e-6)
    model = PopularRecommender(PopularConfig(half_life_days=40)).fit(ROWS)
    np.testing.assert_allclose(model.popularity, [1, 2**-0.25 + 2**-0.5 + 2**-1, 2**-1], rtol=1e-6)


def test_anyone_gets_the_popular_videos_known_or_not():
    model = PopularRecommender().fit(ROWS)
    found = model.recommend_unpersonalized(["ann", "new", "ann"], 2)
    assert [(row["user_id"], row["video_id"], row["rank"]) for row in found.to_pylist()] == [
        ("ann", "b", 1),
        ("ann", "a", 2),
        ("new", "b", 1),
        ("new", "a", 2),
    ]
    found = model.recommend_unpersonalized(["ann", "new"], 9, {"new": ["b"]}, ["b", "c"])
    assert scores(found, "ann") == {"b": 3, "c": 1}
    assert scores(found, "new") == {"c": 1}
    assert model.recommend_unpersonalized([], 3).num_rows == 0
    with pytest.raises(FitError, match="popular: k is 0"):
        model.recommend_unpersonalized(["ann"], 0)
    with pytest.raises(FitError, match="popular is not fitted"):
        PopularRecommender().recommend_unpersonalized(["ann"], 1)
