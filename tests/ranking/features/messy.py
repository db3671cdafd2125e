"""A small catalog with everything that can be missing, and a feature space written out by hand."""

import numpy as np

from tests.ranking.reranking.shop import NOW, embeddings_of, videos_of
from vrec.core.types import CatalogContent
from vrec.profiles.profile import Profile
from vrec.profiles.user import HOUR_US
from vrec.ranking.features.arrays import RankingRequest, RequestContext
from vrec.ranking.features.catalog import CatalogFeatures
from vrec.ranking.features.fit import UNSCALED
from vrec.ranking.features.space import FeatureSpace, RankerFeaturesConfig
from vrec.ranking.features.video_counts import RATES, USER_RATES, VIDEO_COUNT_KEYS

ROWS = [
    {
        "video_id": "a",
        "creator_id": "ann",
        "category": "mugs",
        "tags": ["red", "rare", "blue", "green"],
        "duration_s": 9.0,
        "price": 3.0,
        "published_at": NOW - 48 * HOUR_US,
    },
    {"video_id": "b", "creator_id": "bob", "category": None, "tags": ["blue"], "duration_s": None},
    {"video_id": "c", "creator_id": "ann", "category": "pans", "tags": [], "price": -1.0},
    {"video_id": "d", "creator_id": "new", "category": "new", "published_at": NOW + 5 * HOUR_US},
]
"""b has no category, no duration and no vector; c has no tag and an invalid price; d is out of vocabulary."""
VECTORS = {"a": [2.0, 1.0], "c": [1.0, 3.0], "d": [0.0, 1.0]}


def space_of(**config):
    """The space; its mean vector is (1, 1), so that a is at (1, 0), c at (0, 1) and d at (−1, 0)."""
    return FeatureSpace(
        config=RankerFeaturesConfig(**({"tags": 2, "history": 4, "positions": 3} | config)),
        vocabularies={
            "video_id": ("a", "b"),
            "creator_id": ("ann", "bob"),
            "category": ("mugs", "pans"),
            "kind": ("product",),
            "domain": ("shop",),
            "language": (),
            "tags": ("blue", "red", "green"),
            "surface": ("feed",),
        },
        shares={"category": np.array([0.2, 0.5, 0.3]), "creator_id": np.array([0.1, 0.6, 0.3])},
        priors=np.array([[0.1 + 0.02 * n, 10.0 + n] for n in range(len(RATES))]),
        user_priors=np.array([[0.3 + 0.02 * n, 4.0 + n] for n in range(len(USER_RATES))]),
        seconds=np.array([6.0, 8.0]),
        scales=UNSCALED,
        encoder="test",
        mean=np.array([1.0, 1.0], np.float32),
    )


def catalog_of(space, rows=ROWS, vectors=VECTORS):
    return CatalogFeatures.from_content(
        CatalogContent(videos_of(rows), embeddings_of(vectors) if vectors else None), space
    )


def counts_row(**counts):
    """Counts of a video or user by key; names of events without their prefix."""
    row = np.zeros(len(VIDEO_COUNT_KEYS))
    for name, value in counts.items():
        row[VIDEO_COUNT_KEYS.index(name if name in VIDEO_COUNT_KEYS else f"event:{name}")] = value
    return row


def request_of(*video_ids, user=None, counts=None, at=NOW, surface="feed", positions=None):
    counts = np.zeros((len(video_ids), len(VIDEO_COUNT_KEYS))) if counts is None else np.array(counts)
    return RankingRequest(
        user or Profile("user", "u"), RequestContext(at, surface), tuple(video_ids), counts, positions
    )


def interests_of(catalog, kind):
    """Keys of the categories (0) or creators (1) of a catalog's videos, None without one."""
    names = {number: key for key, number in catalog.keys.items()}
    return [names.get(number) for number in catalog.interests[kind].tolist()]
