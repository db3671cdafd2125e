"""Weights of shoppers in fits: 1 changes nothing, 0 is a fit without the shopper, and influence is
bounded."""

import numpy as np
import pyarrow as pa
import pytest

from tests.robustness.shop import shop
from vrec.core.compute import pc
from vrec.core.errors import FitError
from vrec.events.config import InterestConfig
from vrec.events.interactions import aggregate_interactions
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.registry import build_recommender
from vrec.robustness.defences.fit import clipped_weights

TABLE = aggregate_interactions(shop(), InterestConfig(half_life_days=None))
WEIGHING = ("popular", "item_knn", "ease", "als")
OTHERS = ("user_knn", "co_visitation", "graph_filter", "hybrid")


def weights(**by_user):
    return pa.table({"user_id": list(by_user), "weight": pa.array(list(by_user.values()), pa.float64())})


def fitted(kind, table=TABLE, shopper_weights=None):
    return build_recommender(kind, RetrievalConfig()).fit(table, shopper_weights=shopper_weights)


def arrays(model):
    return {name: np.asarray(array).tobytes() for name, array in model._arrays().items()}


@pytest.mark.parametrize("kind", WEIGHING)
def test_weights_of_one_change_no_bit(kind):
    users = pc.unique(TABLE["user_id"]).to_pylist()
    ones = weights(**dict.fromkeys(users, 1.0))
    assert arrays(fitted(kind, shopper_weights=ones)) == arrays(fitted(kind))


@pytest.mark.parametrize("kind", [*WEIGHING, *OTHERS])
def test_the_weight_zero_is_a_fit_without_the_shopper(kind):
    without = fitted(kind, TABLE.filter(pc.not_equal(TABLE["user_id"], "u003")))
    found = fitted(kind, shopper_weights=weights(u003=0.0, stranger=0.0))
    users = ["u003", "u004", "u100"]
    assert found.recommend(users, 8).to_pydict() == without.recommend(users, 8).to_pydict()


@pytest.mark.parametrize("kind", WEIGHING)
def test_a_fraction_counts_between_nothing_and_all(kind):
    models = [fitted(kind, shopper_weights=weights(u003=value)) for value in (1.0, 0.5, 1e-6)]
    without = fitted(kind, shopper_weights=weights(u003=0.0))
    history = TABLE.filter(pc.equal(TABLE["user_id"], "u004"))
    scores = [
        {row["video_id"]: row["score"] for row in model.recommend_from(history, 40).to_pylist()}
        for model in (*models, without)
    ]
    shared = set.intersection(*(set(found) for found in scores))
    gaps = [max(abs(found[v] - scores[-1][v]) for v in shared) for found in scores]
    assert gaps[0] > gaps[2]
    if kind in ("popular", "ease"):
        assert gaps[0] > gaps[1] > gaps[2]
        assert gaps[2] < 1e-4


def test_a_clipped_shopper_changes_popularity_by_no_more_than_the_limit():
    for user in ("u000", "u017", "u200"):
        rest = TABLE.filter(pc.not_equal(TABLE["user_id"], user))
        limit = 2.0
        with_user = fitted("popular", shopper_weights=clipped_weights(TABLE, limit))
        without = fitted("popular", rest, clipped_weights(rest, limit))
        at = with_user.videos.find(without.videos.ids)
        change = with_user.popularity.astype(np.float64)
        change[at] -= without.popularity
        assert (change > -1e-5).all()
        assert change.max() <= 1 + 1e-5
        assert change.sum() <= limit + 1e-4


@pytest.mark.parametrize("kind", OTHERS)
def test_other_models_refuse_to_count_a_shopper_in_part(kind):
    with pytest.raises(FitError, match="in full or not at all, and u003 has the weight 0"):
        fitted(kind, shopper_weights=weights(u003=0.5))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"user": ["u"], "weight": [1.0]}), "no column user_id"),
        (weights(u003=1.5), "1 of 1 are not in 0 to 1, such as 1.5 of u003"),
        (pa.table({"user_id": ["a", "a"], "weight": [1.0, 0.0]}), "there twice"),
        (pa.table({"user_id": ["a"], "weight": pa.array([None], pa.float64())}), "not in 0 to 1"),
        (weights(**dict.fromkeys(pc.unique(TABLE["user_id"]).to_pylist(), 0.0)), "every shopper"),
    ],
)
def test_bad_weights_are_refused(table, message):
    with pytest.raises(FitError, match=message):
        fitted("popular", shopper_weights=table)
