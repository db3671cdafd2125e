"""Top-k selection from dense scores, and its conversion to RECOMMENDATIONS."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.schema import RECOMMENDATIONS, conform
from vrec.retrieval.interaction_matrix import IdVocabulary, Matrix

Scores = npt.NDArray[np.float32]

CHUNK_CELLS = 1 << 17
"""Scores per chunk of rows: half a megabyte of float32."""


def topk_dense(scores: Scores, k: int) -> tuple[npt.NDArray[np.int64], Scores]:
    """Return the columns and scores of the k best of each row, best first, ties by column.

    Args:
        scores: (N, videos) float32; −inf and NaN mean no opinion.
        k: Number of columns per row, at least 1.

    Returns:
        (N, min(k, videos)) int64 columns and float32 scores. Where a row has fewer scores than k, the rest is
        column 0 with score −inf.
    """
    k = min(k, scores.shape[1])
    columns = np.zeros((len(scores), k), np.int64)
    best = np.full((len(scores), k), -np.inf, np.float32)
    start = 0
    for chunk in row_chunks(scores):
        stop = start + len(chunk)
        _take_best(chunk, columns[start:stop], best[start:stop])
        start = stop
    return columns, best


def row_chunks(scores: Scores) -> Iterator[Scores]:
    """Yield views of a few rows of (N, videos) scores that fit the processor's cache."""
    size = max(1, CHUNK_CELLS // max(1, scores.shape[1]))
    for start in range(0, len(scores), size):
        yield scores[start : start + size]


def _take_best(scores: Scores, out_columns: npt.NDArray[np.int64], out_scores: Scores) -> None:
    count, videos = scores.shape
    k = out_columns.shape[1]
    # −inf is below the lowest float, and NaN is not above anything.
    floor = np.maximum(_floor(scores, k), np.finfo(np.float32).min)
    flat = np.flatnonzero(scores >= floor[:, None])
    rows, columns = np.divmod(flat, videos)
    values = scores.reshape(-1)[flat]
    # The sort is stable and `flat` ascends: equal scores stay in the order of their columns.
    order = np.lexsort((-values, rows))
    rank = np.arange(len(rows)) - np.searchsorted(rows, np.arange(count))[rows]
    order, rows, rank = order[rank < k], rows[rank < k], rank[rank < k]
    out_columns[rows, rank], out_scores[rows, rank] = columns[order], values[order]


def _floor(scores: Scores, k: int) -> Scores:
    # (N,) a lower bound of each row's k-th best score, and close to it: the k-th best of the maxima of about
    # 4 k groups, since k groups have a score that high. It takes a tenth of the time of an exact k-th best.
    videos = scores.shape[1]
    groups = 4 * k
    best = scores
    if videos >= 2 * groups:
        whole = videos // groups * groups
        best = np.fmax.reduce(scores[:, :whole].reshape(len(scores), -1, groups), axis=1)
    # np.partition sorts NaN above all else.
    best = np.fmax(best, np.float32(-np.inf))
    return np.partition(best, best.shape[1] - k, axis=1)[:, best.shape[1] - k]


def to_recommendations(
    users: pa.Array, videos: IdVocabulary, columns: npt.NDArray[np.int64], scores: Scores, source: str
) -> pa.Table:
    """Return RECOMMENDATIONS from (N, k) columns and scores of N users, best first; −inf ends a row."""
    scored = scores > -np.inf
    rows, ranks = np.nonzero(scored)
    table = pa.table(
        {
            "user_id": users.take(pa.array(rows)),
            "video_id": videos.names(columns[scored]),
            "score": pa.array(scores[scored], pa.float32()),
            "rank": pa.array((ranks + 1).astype(np.int32)),
            "source": pa.repeat(source, len(rows)),
        }
    )
    return conform(table, RECOMMENDATIONS, stage=source)


def mask_scores(scores: Scores, excluded: Matrix, allowed: npt.NDArray[np.bool_] | None) -> None:
    """Set scores to −inf in place where they must not be recommended.

    Args:
        scores: (N, videos) float32.
        excluded: (N, videos) sparse; every stored entry is masked.
        allowed: (videos,) False for columns to mask in every row; None allows all.
    """
    rows = np.repeat(np.arange(excluded.shape[0]), np.diff(excluded.indptr))
    scores[rows, excluded.indices] = -np.inf
    if allowed is not None:
        scores[:, ~allowed] = -np.inf


def mask_zero_scores(scores: Scores) -> Scores:
    """Set (N, videos) scores of exactly 0 to −inf, in place, and return the same array."""
    # ln 1 is 0 and ln 0 is −inf: adding them takes a fifth of the time of a masked assignment.
    with np.errstate(divide="ignore"):
        for chunk in row_chunks(scores):
            np.add(chunk, np.log(chunk != 0, dtype=np.float32), out=chunk)
    return scores
