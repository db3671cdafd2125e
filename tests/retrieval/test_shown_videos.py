"""Shares of lists that show a video."""

import pyarrow as pa
import pytest

from tests.robustness.shop import shop
from vrec.core.compute import pc
from vrec.events.config import InterestConfig
from vrec.events.interactions import aggregate_interactions
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.registry import build_recommender
from vrec.retrieval.shown_videos import shown_videos


def test_shares_are_those_of_all_lists_of_item_knn():
    table = aggregate_interactions(shop(), InterestConfig(half_life_days=None))
    users = pc.unique(table["user_id"]).to_pylist()
    lists = build_recommender("item_knn", RetrievalConfig()).fit(table).recommend(users, 10)
    counts = lists["video_id"].to_pylist()
    shown = shown_videos(table)
    assert shown == pytest.approx({name: counts.count(name) / len(users) for name in set(counts)})


def test_shoppers_without_weight_teach_nothing():
    table = aggregate_interactions(shop(), InterestConfig(half_life_days=None))
    fans = pc.unique(table.filter(pc.equal(table["video_id"], "v50"))["user_id"])
    weights = pa.table({"user_id": fans, "weight": [0.0] * len(fans)})
    assert "v50" in shown_videos(table)
    assert "v50" not in shown_videos(table, weights)
