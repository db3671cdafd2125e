"""Share of lists that show each video, by a quick recommender: what a promoted video gains."""

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.registry import build_recommender

JUDGE = "item_knn"
"""Recommender that makes the lists: it is fitted in seconds, and what is pushed shows most in it."""
LIST_LENGTH = 10
MOST_LISTS = 2000
SEED = 9


def shown_videos(interactions: pa.Table, weights: pa.Table | None = None) -> dict[str, float]:
    """Return the share of lists of ten that show each video, for those that any shows.

    Args:
        interactions: INTERACTIONS, one row per shopper and video; at most MOST_LISTS shoppers are drawn.
        weights: user_id and weight of shoppers, if they do not count alike.
    """
    model = build_recommender(JUDGE, RetrievalConfig()).fit(interactions, shopper_weights=weights)
    users = pc.unique(interactions["user_id"]).sort()
    drawn = np.sort(np.random.default_rng(SEED).permutation(len(users))[:MOST_LISTS])
    own = interactions.filter(pc.is_in(interactions["user_id"], value_set=users.take(pa.array(drawn))))
    lists = model.recommend_from(own, LIST_LENGTH)
    counts = pc.value_counts(lists["video_id"]).to_pylist()
    return {entry["values"]: entry["counts"] / len(drawn) for entry in counts}
