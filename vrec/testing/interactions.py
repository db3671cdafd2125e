"""Small data sets for the contract of recommenders: one with graded tastes, one with a 64-way tie."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vrec.core.schema import EMBEDDINGS, INTERACTIONS, TIMESTAMP, VIDEOS
from vrec.core.types import CatalogContent

DAY_US = 86_400_000_000
START_US = 1_767_225_600_000_000


@dataclass(frozen=True, eq=False)
class World:
    """Data that a recommender is fitted on."""

    interactions: pa.Table
    content: CatalogContent

    @property
    def users(self) -> list[str]:
        """Ids of the users, sorted."""
        return sorted(set(self.interactions.column("user_id").to_pylist()))

    @property
    def videos(self) -> list[str]:
        """Ids of the videos, sorted."""
        return sorted(set(self.interactions.column("video_id").to_pylist()))

    def seen(self, user: str) -> set[str]:
        """Return the videos that a user has watched."""
        rows = self.interactions.to_pylist()
        return {row["video_id"] for row in rows if row["user_id"] == user}


def interactions(rows: list[tuple[str, str, float, int]]) -> pa.Table:
    """INTERACTIONS of (user, video, weight, day)."""
    users, videos, weights, days = zip(*rows, strict=True)
    at = pa.array([START_US + day * DAY_US for day in days], pa.int64()).cast(TIMESTAMP)
    columns = [pa.array(users), pa.array(videos), pa.array(weights, pa.float32()), at]
    return pa.Table.from_arrays(columns, schema=INTERACTIONS.arrow())


def content(videos: list[str], vectors: np.ndarray, categories: list[str]) -> CatalogContent:
    """VIDEOS and EMBEDDINGS of some videos."""
    rows = [
        {
            "video_id": video,
            "uri": f"{video}.mp4",
            "kind": "product",
            "product_ids": [],
            "creator_id": f"creator-{place % 3}",
            "domain": "shop",
            "tags": [category],
            "category": category,
            "title": f"a {category} to look at, number {place}",
            "available": True,
        }
        for place, (video, category) in enumerate(zip(videos, categories, strict=True))
    ]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    embeddings = [
        {
            "entity_id": video,
            "modality": "fused",
            "encoder": "planted@000000000000",
            "content_hash": video,
            "vector": row.tolist(),
        }
        for video, row in zip(videos, unit, strict=True)
    ]
    return CatalogContent(
        pa.Table.from_pylist(rows, schema=VIDEOS.arrow()),
        pa.Table.from_pylist(embeddings, schema=EMBEDDINGS.arrow(vectors.shape[1])),
    )


def graded(seed: int = 3) -> World:
    """Thirty users in three overlapping tastes over 18 videos; popularity, weights and times all differ.

    Ids are such as shops have: numbers of several lengths and names beyond ASCII.
    """
    rng = np.random.default_rng(seed)
    names = [str(n) for n in (1, 2, 9, 10, 11, 100)] + [f"vidéo-{n}" for n in range(6)] + list("abcdef")
    users = [f"u{n}" for n in range(24)] + ["7", "70", "08", "用户", "zoë", "Z"]
    rows: list[tuple[str, str, float, int]] = []
    for place, user in enumerate(users):
        for column, video in enumerate(names):
            liking = 0.75 if column % 3 == place % 3 else 0.16
            if rng.random() < liking * (1 - column / 40):
                rows.append((user, video, float(rng.integers(1, 9)) / 4, int(rng.integers(0, 60))))
    centres = np.eye(3, 8)
    vectors = np.array([centres[c % 3] for c in range(len(names))]) + rng.normal(0, 0.25, (len(names), 8))
    return World(interactions(rows), content(names, vectors, [f"kind-{c % 3}" for c in range(len(names))]))


def tied() -> World:
    """One video that all have watched, and 64 that tie behind it: each watched by one user alone."""
    rows = [("fan", "hub", 1.0, 1)]
    spokes = [f"spoke-{n}" for n in range(64)]
    for n, video in enumerate(spokes):
        rows += [(f"user-{n}", "hub", 1.0, 1), (f"user-{n}", video, 1.0, 1)]
    vectors = np.tile(np.eye(1, 4), (65, 1))
    vectors[0] = [0.5, 0.5, 0, 0]
    return World(interactions(rows), content(["hub", *spokes], vectors, ["one"] * 65))
