"""The k best of each row of scores, ties by place, and the RECOMMENDATIONS made of them."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.schema import RECOMMENDATIONS, conform
from vrec.retrieval.interaction_matrix import IdVocabulary, Matrix

Scores = npt.NDArray[np.float32]

CHUNK_CELLS = 1 << 17
"""Scores looked at at once, half a megabyte."""


def topk_dense(scores: Scores, k: int) -> tuple[npt.NDArray[np.int64], Scores]:
    """The (N, ≤ k) places and scores of each row's k best, best first, equal scores by place.

    `scores` is (N, videos) float32; −inf and NaN mean no opinion and stay last, as −inf at place 0.
    """
    k = min(k, scores.shape[1])
    places = np.zeros((len(scores), k), np.int64)
    found = np.full((len(scores), k), -np.inf, np.float32)
    start = 0
    for part in row_chunks(scores):
        stop = start + len(part)
        _take_best(part, places[start:stop], found[start:stop])
        start = stop
    return places, found


def row_chunks(scores: Scores) -> Iterator[Scores]:
    """Runs of a few rows of (N, videos) scores: what is made of them stays in the processor's cache."""
    size = max(1, CHUNK_CELLS // max(1, scores.shape[1]))
    for start in range(0, len(scores), size):
        yield scores[start : start + size]


def _take_best(scores: Scores, places: npt.NDArray[np.int64], found: Scores) -> None:
    count, videos = scores.shape
    k = places.shape[1]
    # −inf is below the least float, and NaN is not above anything.
    floor = np.maximum(_floor(scores, k), np.finfo(np.float32).min)
    flat = np.flatnonzero(scores >= floor[:, None])
    rows, columns = np.divmod(flat, videos)
    values = scores.reshape(-1)[flat]
    # Stable, and `flat` ascends: equal scores stay in the order of their places.
    order = np.lexsort((-values, rows))
    rank = np.arange(len(rows)) - np.searchsorted(rows, np.arange(count))[rows]
    order, rows, rank = order[rank < k], rows[rank < k], rank[rank < k]
    places[rows, rank], found[rows, rank] = columns[order], values[order]


def _floor(scores: Scores, k: int) -> Scores:
    # (N,) no more than each row's k-th best, and near it: the k-th best of the greatest of each of some 4 k
    # groups, since k groups have a score that high. A tenth of the time of finding the k-th best of all.
    videos = scores.shape[1]
    groups = 4 * k
    best = scores
    if videos >= 2 * groups:
        whole = videos // groups * groups
        best = np.fmax.reduce(scores[:, :whole].reshape(len(scores), -1, groups), axis=1)
    # Partition puts NaN above all else.
    best = np.fmax(best, np.float32(-np.inf))
    return np.partition(best, best.shape[1] - k, axis=1)[:, best.shape[1] - k]


def to_recommendations(
    users: pa.Array, videos: IdVocabulary, places: npt.NDArray[np.int64], scores: Scores, source: str
) -> pa.Table:
    """RECOMMENDATIONS from (N, k) places and scores, best first; −inf ends a row."""
    given = scores > -np.inf
    rows, ranks = np.nonzero(given)
    table = pa.table(
        {
            "user_id": users.take(pa.array(rows)),
            "video_id": videos.names(places[given]),
            "score": pa.array(scores[given], pa.float32()),
            "rank": pa.array((ranks + 1).astype(np.int32)),
            "source": pa.repeat(source, len(rows)),
        }
    )
    return conform(table, RECOMMENDATIONS, stage=source)


def mask_scores(scores: Scores, barred: Matrix, allowed: npt.NDArray[np.bool_] | None) -> None:
    """Sets (N, videos) scores to −inf, in place, where `barred` has an entry or `allowed` is False."""
    rows = np.repeat(np.arange(barred.shape[0]), np.diff(barred.indptr))
    scores[rows, barred.indices] = -np.inf
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
