"""The k best of many by inner product, exactly: scores do not depend on company, and ties go by id."""

from typing import Protocol

import faiss
import numpy as np
import numpy.typing as npt

from vrec.core.types import Vectors

Places = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


class VectorRows(Protocol):
    """(N, dim) vectors to be read by place; `rows[places]` is (..., dim) float32. An array is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, places: Places | slice, /) -> Vectors: ...


SPARE = 16
"""Candidates beyond k, so that rounding and small ties at the end of the k are settled among them."""
BLOCK_ROWS = 65_536
"""Allowed vectors copied at once."""
BLOCK_CELLS = 2**22
"""Entries of candidates' vectors held in float64 at once, 32 MB."""


def enable_blas_search() -> None:
    """Lets faiss multiply matrices by BLAS in this process, from 20 queries on.

    faiss 1.15 begins at 128,000 queries, and with fewer is several times slower.
    """
    faiss.cvar.distance_compute_blas_threshold = 20
    faiss.cvar.distance_compute_blas_database_bs = 4096


def exact_candidates(queries: Vectors, vectors: VectorRows, k: int, places: Places | None) -> Places:
    """The (Q, c) places of the c = k + SPARE nearest by float32 products, or all where there are fewer.

    `vectors` is (N, dim); `places` are the rows that may be found, all by default.
    """
    enable_blas_search()
    total = len(vectors) if places is None else len(places)
    wanted = min(k + SPARE, total)
    if places is None:
        return faiss.knn(queries, vectors[:], wanted, metric=faiss.METRIC_INNER_PRODUCT)[1]
    best = np.empty((len(queries), 0), np.float32)
    found = np.empty((len(queries), 0), np.int64)
    for start in range(0, total, BLOCK_ROWS):
        some = places[start : start + BLOCK_ROWS]
        scores, near = faiss.knn(
            queries, vectors[some], min(wanted, len(some)), metric=faiss.METRIC_INNER_PRODUCT
        )
        best, found = np.hstack([best, scores]), np.hstack([found, some[near]])
        if best.shape[1] > wanted:
            keep = np.argpartition(-best, wanted - 1, axis=1)[:, :wanted]
            best, found = np.take_along_axis(best, keep, axis=1), np.take_along_axis(found, keep, axis=1)
    return found


def rescore(queries: Vectors, vectors: VectorRows, places: Places) -> Scores:
    """(Q, c) inner products of each query with the vectors at its (Q, c) places; −inf where a place is −1.

    Summed in float64, one pair at a time: equal vectors have equal scores, in whatever company.
    """
    scores = np.empty(places.shape, np.float32)
    size = max(1, BLOCK_CELLS // max(1, places.shape[1] * queries.shape[1]))
    for start in range(0, len(queries), size):
        rows = slice(start, start + size)
        near = vectors[places[rows]].astype(np.float64)
        scores[rows] = np.einsum("qd,qcd->qc", queries[rows].astype(np.float64), near)
    scores[places < 0] = -np.inf
    return scores


def exact_topk(
    queries: Vectors,
    vectors: VectorRows,
    found: Places,
    scores: Scores,
    *,
    k: int,
    slack: Scores,
    exact: bool,
    places: Places | None,
    ids: list[str],
) -> tuple[list[list[str]], list[list[float]]]:
    """The ids and scores of each query's k best of its (Q, c) candidates, best first, ties by id.

    Where one that is not a candidate could belong to the k, all vectors are looked at: scores that tie beyond
    the candidates, fewer than k candidates, and, if the candidates are the nearest by `exact` float32
    products, scores that are nearer to each other than `slack` (Q,), which covers rounding twice.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    scores, found = np.take_along_axis(scores, order, axis=1), np.take_along_axis(found, order, axis=1)
    total = len(vectors) if places is None else len(places)
    least, last = scores[:, k - 1], scores[:, -1]
    unsure = (least == -np.inf) | ((last > -np.inf) & (last + (slack if exact else 0) >= least))
    if found.shape[1] == total:
        unsure = least == -np.inf
    tied = (scores[:, 1:] == scores[:, :-1]).any(axis=1)
    names = [[ids[place] for place in row] for row in found[:, :k]]
    values: list[list[float]] = scores[:, :k].tolist()
    for row in np.flatnonzero(tied & ~unsure):
        names[row], values[row] = _by_score_and_id(scores[row], found[row], k, ids)
    for row in np.flatnonzero(unsure):
        names[row], values[row] = _search_all(
            queries[row], vectors, k=k, slack=float(slack[row]), places=places, ids=ids
        )
    return names, values


def _by_score_and_id(scores: Scores, places: Places, k: int, ids: list[str]) -> tuple[list[str], list[float]]:
    given = [(-score, ids[place]) for score, place in zip(scores.tolist(), places.tolist(), strict=True)]
    best = sorted(pair for pair, place in zip(given, places, strict=True) if place >= 0)[:k]
    return [name for _, name in best], [-score for score, _ in best]


def _search_all(
    query: Scores, vectors: VectorRows, *, k: int, slack: float, places: Places | None, ids: list[str]
) -> tuple[list[str], list[float]]:
    total = len(vectors) if places is None else len(places)
    near = np.empty(total, np.float32)
    for start in range(0, total, BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        near[rows] = (vectors[rows] if places is None else vectors[places[rows]]) @ query
    least = np.partition(near, total - k)[total - k] - np.float32(slack)
    slots = np.flatnonzero(near >= least)
    if places is not None:
        slots = places[slots]
    scores = rescore(query[None], vectors, slots[None])[0]
    return _by_score_and_id(scores, slots, k, ids)
