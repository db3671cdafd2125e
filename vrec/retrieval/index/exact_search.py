"""Exact top-k search by inner product with reproducible scores and ties by id."""

from typing import Protocol

import faiss
import numpy as np
import numpy.typing as npt

from vrec.core.types import Vectors

RowIndices = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


class VectorRows(Protocol):
    """Read access to (N, dim) float32 vectors by row, as an array has; `vectors[rows]` is (..., dim)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: RowIndices | slice, /) -> Vectors: ...


SPARE = 16
"""Candidates beyond k, so that most ties and rounding at the k-th result are resolved among them."""
BLOCK_ROWS = 65_536
"""Vectors copied at once."""
BLOCK_CELLS = 2**22
"""Entries of candidates' vectors in float64 at once, 32 MB."""


def enable_blas_search() -> None:
    """Make faiss use BLAS in this process from 20 queries on.

    The default of faiss 1.15 is 128,000 queries; with fewer it is several times slower.
    """
    faiss.cvar.distance_compute_blas_threshold = 20
    faiss.cvar.distance_compute_blas_database_bs = 4096


def exact_candidates(queries: Vectors, vectors: VectorRows, k: int, allowed: RowIndices | None) -> RowIndices:
    """Return the c = k + SPARE nearest rows by float32 products, or all if there are fewer.

    Args:
        queries: (Q, dim) float32.
        vectors: (N, dim) vectors.
        k: Number of results per query.
        allowed: Rows to restrict the results to; None allows all.

    Returns:
        (Q, c) rows.
    """
    enable_blas_search()
    total = len(vectors) if allowed is None else len(allowed)
    wanted = min(k + SPARE, total)
    if allowed is None:
        return faiss.knn(queries, vectors[:], wanted, metric=faiss.METRIC_INNER_PRODUCT)[1]
    best = np.empty((len(queries), 0), np.float32)
    rows = np.empty((len(queries), 0), np.int64)
    for start in range(0, total, BLOCK_ROWS):
        block = allowed[start : start + BLOCK_ROWS]
        scores, near = faiss.knn(
            queries, vectors[block], min(wanted, len(block)), metric=faiss.METRIC_INNER_PRODUCT
        )
        best, rows = np.hstack([best, scores]), np.hstack([rows, block[near]])
        if best.shape[1] > wanted:
            keep = np.argpartition(-best, wanted - 1, axis=1)[:, :wanted]
            best, rows = np.take_along_axis(best, keep, axis=1), np.take_along_axis(rows, keep, axis=1)
    return rows


def rescore(queries: Vectors, vectors: VectorRows, candidates: RowIndices) -> Scores:
    """Return (Q, c) float32 inner products of each query with its (Q, c) candidate rows; −inf for row −1.

    Sums are in float64, one pair at a time: equal vectors have equal scores, whatever the other candidates.
    """
    scores = np.empty(candidates.shape, np.float32)
    size = max(1, BLOCK_CELLS // max(1, candidates.shape[1] * queries.shape[1]))
    for start in range(0, len(queries), size):
        block = slice(start, start + size)
        near = vectors[candidates[block]].astype(np.float64)
        scores[block] = np.einsum("qd,qcd->qc", queries[block].astype(np.float64), near)
    scores[candidates < 0] = -np.inf
    return scores


def exact_topk(
    queries: Vectors,
    vectors: VectorRows,
    candidates: RowIndices,
    scores: Scores,
    *,
    k: int,
    slack: Scores,
    exact: bool,
    allowed: RowIndices | None,
    ids: list[str],
) -> tuple[list[list[str]], list[list[float]]]:
    """Return the ids and scores of each query's k best candidates, best first, ties by id.

    All vectors are searched for a query where a row that is no candidate could be among the k: if there are
    fewer than k candidates, or if the k-th score equals that of the last candidate, or, with `exact`, is
    within `slack` of it.

    Args:
        queries: (Q, dim) float32.
        vectors: (N, dim) vectors.
        candidates: (Q, c) rows, −1 for none.
        scores: (Q, c) scores of the candidates, from `rescore`.
        k: Number of results, at most that of the allowed rows.
        slack: (Q,) twice the rounding error of a float32 product.
        exact: Whether the candidates are the nearest by float32 products, not by an approximate search.
        allowed: Rows to restrict the results to; None allows all.
        ids: (N,) ids of the vectors.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    scores = np.take_along_axis(scores, order, axis=1)
    candidates = np.take_along_axis(candidates, order, axis=1)
    total = len(vectors) if allowed is None else len(allowed)
    least, last = scores[:, k - 1], scores[:, -1]
    unsure = (least == -np.inf) | ((last > -np.inf) & (last + (slack if exact else 0) >= least))
    if candidates.shape[1] == total:
        unsure = least == -np.inf
    tied = (scores[:, 1:] == scores[:, :-1]).any(axis=1)
    names = [[ids[number] for number in row] for row in candidates[:, :k]]
    values: list[list[float]] = scores[:, :k].tolist()
    for row in np.flatnonzero(tied & ~unsure):
        names[row], values[row] = _by_score_and_id(scores[row], candidates[row], k, ids)
    for row in np.flatnonzero(unsure):
        names[row], values[row] = _search_all(
            queries[row], vectors, k=k, slack=float(slack[row]), allowed=allowed, ids=ids
        )
    return names, values


def _by_score_and_id(
    scores: Scores, rows: RowIndices, k: int, ids: list[str]
) -> tuple[list[str], list[float]]:
    pairs = zip(scores.tolist(), rows.tolist(), strict=True)
    best = sorted((-score, ids[row]) for score, row in pairs if row >= 0)[:k]
    return [name for _, name in best], [-score for score, _ in best]


def _search_all(
    query: Scores, vectors: VectorRows, *, k: int, slack: float, allowed: RowIndices | None, ids: list[str]
) -> tuple[list[str], list[float]]:
    total = len(vectors) if allowed is None else len(allowed)
    near = np.empty(total, np.float32)
    for start in range(0, total, BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        near[rows] = (vectors[rows] if allowed is None else vectors[allowed[rows]]) @ query
    least = np.partition(near, total - k)[total - k] - np.float32(slack)
    rows = np.flatnonzero(near >= least)
    if allowed is not None:
        rows = allowed[rows]
    scores = rescore(query[None], vectors, rows[None])[0]
    return _by_score_and_id(scores, rows, k, ids)
