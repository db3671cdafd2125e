"""Shops whose tastes or habits are known, for tests of whether a model learns them."""

import numpy as np
import pyarrow as pa

from tests.retrieval.matrices import to_interactions
from vrec.core.protocols import Recommender

BLOCK = 8


def blocks(seed: int = 0, users: int = 120, tastes: int = 6) -> tuple[pa.Table, np.ndarray]:
    """INTERACTIONS of users who like one block of 8 videos each, and the (users, videos) likes held out.

    A user has 5 of the block and one of four hits, which all like and which popularity ranks first.
    """
    rng = np.random.default_rng(seed)
    videos = tastes * BLOCK + 4
    seen, held = np.zeros((users, videos)), np.zeros((users, videos), bool)
    for user in range(users):
        own = rng.permutation(BLOCK) + BLOCK * (user % tastes)
        seen[user, own[:5]] = 1
        held[user, own[5:]] = True
        seen[user, videos - 1 - rng.integers(4)] = 1
    return to_interactions(seen, rng.integers(0, 10**9, seen.shape)), held


def chains(seed: int = 0, users: int = 150, videos: int = 24, length: int = 5) -> tuple[pa.Table, np.ndarray]:
    """INTERACTIONS of users who walk around a circle of videos, and the (users,) videos that follow."""
    starts = np.random.default_rng(seed).integers(0, videos, users)
    seen, at = np.zeros((users, videos)), np.zeros((users, videos), np.int64)
    for step in range(length):
        seen[np.arange(users), (starts + step) % videos] = 1
        at[np.arange(users), (starts + step) % videos] = step
    return to_interactions(seen, at), (starts + length) % videos


def found(model: Recommender, users: int, k: int) -> np.ndarray:
    """The (users, k) places of the videos recommended to users u00000 and on."""
    table = model.recommend([f"u{user:05d}" for user in range(users)], k)
    return np.array([int(video[1:]) for video in table["video_id"].to_pylist()]).reshape(users, k)


def recall(model: Recommender, held: np.ndarray) -> float:
    """The share of held-out likes among as many recommendations as each user has of them."""
    k = int(held[0].sum())
    return float(np.take_along_axis(held, found(model, len(held), k), axis=1).mean())
