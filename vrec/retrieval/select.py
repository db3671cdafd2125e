"""The k best of each row of scores, ties by place, and the RECOMMENDATIONS made of them."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.schema import RECOMMENDATIONS, conform
from vrec.retrieval.histories import Matrix, Vocabulary

Scores = npt.NDArray[np.float32]


def best_dense(scores: Scores, k: int) -> tuple[npt.NDArray[np.int64], Scores]:
    """The (N, ≤ k) places and scores of each row's k best, best first, equal scores by place.

    `scores` is (N, videos) float32; −inf and NaN mean no opinion and stay last, as −inf.
    """
    scores = np.where(np.isnan(scores), np.float32(-np.inf), scores)
    k = min(k, scores.shape[1])
    if k < scores.shape[1]:
        places = np.argpartition(scores, scores.shape[1] - k, axis=1)[:, -k:].astype(np.int64)
        _settle_ties(scores, places)
    else:
        places = np.broadcast_to(np.arange(k), scores.shape).copy()
    places.sort(axis=1)
    found = np.take_along_axis(scores, places, axis=1)
    order = np.argsort(-found, axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1), np.take_along_axis(found, order, axis=1)


def _settle_ties(scores: Scores, places: npt.NDArray[np.int64]) -> None:
    # argpartition takes any of those that tie at the boundary; the lowest places must be taken.
    k = places.shape[1]
    least = np.take_along_axis(scores, places, axis=1).min(axis=1, keepdims=True)
    torn = np.flatnonzero((np.count_nonzero(scores >= least, axis=1) > k) & np.isfinite(least[:, 0]))
    for row in torn:
        above = np.flatnonzero(scores[row] > least[row])
        level = np.flatnonzero(scores[row] == least[row])
        places[row] = np.concatenate([above, level[: k - len(above)]])


def best_sparse(
    scores: Matrix, k: int, barred: Matrix, allowed: npt.NDArray[np.bool_] | None
) -> tuple[npt.NDArray[np.int64], Scores]:
    """As `best_dense` for sparse scores; what is not stored is no opinion.

    `barred` has an entry where a video must not be given; `allowed` is (videos,).
    """
    places = np.zeros((scores.shape[0], k), np.int64)
    found = np.full((scores.shape[0], k), -np.inf, np.float32)
    open_ = np.ones(scores.shape[1], bool) if allowed is None else allowed.copy()
    for row in range(scores.shape[0]):
        start, end = scores.indptr[row], scores.indptr[row + 1]
        shut = barred.indices[barred.indptr[row] : barred.indptr[row + 1]]
        was = open_[shut]
        open_[shut] = False
        columns = scores.indices[start:end]
        keep = open_[columns]
        open_[shut] = was
        columns, values = columns[keep], scores.data[start:end][keep]
        if len(columns) > k:
            least = np.partition(values, len(values) - k)[-k]
            level = values >= least
            columns, values = columns[level], values[level]
        order = np.lexsort((columns, -values))[:k]
        places[row, : len(order)], found[row, : len(order)] = columns[order], values[order]
    return places, found


def to_recommendations(
    users: pa.Array, videos: Vocabulary, places: npt.NDArray[np.int64], scores: Scores, source: str
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


def bar(scores: Scores, barred: Matrix, allowed: npt.NDArray[np.bool_] | None) -> None:
    """Sets (N, videos) scores to −inf, in place, where `barred` has an entry or `allowed` is False."""
    rows = np.repeat(np.arange(barred.shape[0]), np.diff(barred.indptr))
    scores[rows, barred.indices] = -np.inf
    if allowed is not None:
        scores[:, ~allowed] = -np.inf


def is_sparse(scores: object) -> bool:
    """Whether scores came as a sparse matrix."""
    return sparse.issparse(scores)
