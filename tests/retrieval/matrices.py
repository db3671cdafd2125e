"""Interactions made of matrices, and back, for tests against dense arithmetic."""

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from vrec.core.schema import INTERACTIONS, TIMESTAMP
from vrec.testing.interactions import START_US


def ids(prefix: str, count: int) -> list[str]:
    """Ids whose order is that of their places."""
    return [f"{prefix}{place:05d}" for place in range(count)]


def to_interactions(matrix: np.ndarray, at: np.ndarray | None = None) -> pa.Table:
    """INTERACTIONS of a dense (users, videos) matrix, one row for each entry above 0."""
    rows, columns = np.nonzero(matrix)
    at = np.zeros_like(matrix, np.int64) if at is None else at
    parts = [
        pa.array(ids("u", matrix.shape[0])).take(pa.array(rows)),
        pa.array(ids("v", matrix.shape[1])).take(pa.array(columns)),
        pa.array(matrix[rows, columns], pa.float32()),
        pa.array(START_US + at[rows, columns], pa.int64()).cast(TIMESTAMP),
    ]
    return pa.Table.from_arrays(parts, schema=INTERACTIONS.arrow())


def random_matrix(seed: int, users: int, videos: int, density: float = 0.3, most: int = 5) -> np.ndarray:
    """A (users, videos) float32 matrix of whole weights from 1 to `most`; no row or column is empty."""
    rng = np.random.default_rng(seed)
    matrix = rng.integers(1, most + 1, (users, videos)) * (rng.random((users, videos)) < density)
    matrix[np.arange(users), np.arange(users) % videos] += 1
    matrix[np.arange(videos) % users, np.arange(videos)] += 1
    return matrix.astype(np.float32)


@st.composite
def matrices(draw: st.DrawFn, users: int = 12, videos: int = 9) -> np.ndarray:
    """Matrices of up to so many users and videos, many of them with ties and with twins."""
    shape = draw(st.integers(2, users)), draw(st.integers(2, videos))
    return random_matrix(draw(st.integers(0, 10**6)), *shape, draw(st.sampled_from([0.1, 0.4, 0.8])), most=2)


def dense_scores(found: pa.Table, shape: tuple[int, int]) -> np.ndarray:
    """(users, videos) scores of RECOMMENDATIONS, −inf where there is none."""
    scores = np.full(shape, -np.inf, np.float32)
    users = np.array([int(user[1:]) for user in found["user_id"].to_pylist()], int)
    videos = np.array([int(video[1:]) for video in found["video_id"].to_pylist()], int)
    scores[users, videos] = np.asarray(found["score"])
    return scores
