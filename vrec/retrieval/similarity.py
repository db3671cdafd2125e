"""Who or what is alike: similarities of sparse rows, block by block, of which each row's best are kept."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import sparse

from vrec.core.config import BaseConfig
from vrec.retrieval.interaction_matrix import Matrix
from vrec.retrieval.topk import Scores, topk_dense

Floats = npt.NDArray[np.float32]

PRODUCTS_PER_RUN = 1 << 18
"""Products of two weights formed at once: few enough that they stay in the processor's cache."""
BLOCK_ROWS = 64
"""Rows whose similarities are computed at once, and so the grain of parallel work."""
BLOCK_CELLS = 2_000_000
"""Dense similarities held at once for one block, 8 MB of float32."""
WEIGHTS_PER_SUM = 1 << 19
"""Weights that are held in float64 at once, 4 MB."""
BM25_K1, BM25_B = 1.2, 0.75


class SimilarityConfig(BaseConfig):
    """How alike two rows (videos by their users, or users by their videos) are, and how many are kept."""

    similarity: Literal["cosine", "pearson"] = "cosine"
    """The cosine of the two rows, or Pearson's correlation over all columns, 0 where nothing is stored."""
    neighbours: int = Field(default=100, ge=1)
    """How many of the most similar are kept for each; more is smoother, slower and larger."""
    shrink: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Added to the denominator, in units of weight²: similarities that rest on few columns count less."""
    weighting: Literal["none", "tfidf", "bm25"] = "none"
    """How stored weights are changed before similarities are computed; the latter two make columns with many
    entries count less, BM25 also rows with much weight."""


@dataclass(frozen=True)
class RowWeighting:
    """What must be known of the fitted rows to weigh any row as they were."""

    kind: Literal["none", "tfidf", "bm25"]
    idf: Floats
    """(columns,) float32, ln(rows) − ln(1 + entries of the column)."""
    mean_sum: float
    """The mean of the rows' summed weights."""

    @classmethod
    def fit(cls, rows: Matrix, kind: Literal["none", "tfidf", "bm25"]) -> "RowWeighting":
        """The weighting that (rows, columns) float32 weights give."""
        entries = np.bincount(rows.indices, minlength=rows.shape[1])
        idf = math.log(max(rows.shape[0], 1)) - np.log1p(entries)
        return cls(kind, idf.astype(np.float32), float(row_sums(rows).mean()))

    def apply(self, rows: Matrix) -> Matrix:
        """(N, columns) float32: the same rows with their weights changed; the indices are shared.

        TF-IDF is √weight · idf; BM25 is weight · (k1 + 1) / (k1 · (1 − b + b · sum / mean sum) + weight)
        · idf with k1 = 1.2 and b = 0.75 (Robertson and Zaragoza 2009); both as in `implicit`.
        """
        if self.kind == "none":
            return rows
        if self.kind == "tfidf":
            data = np.sqrt(rows.data)
        else:
            length = 1 - BM25_B + BM25_B * row_sums(rows) / self.mean_sum
            data = rows.data + np.repeat((BM25_K1 * length).astype(np.float32), np.diff(rows.indptr))
            np.divide(rows.data, data, out=data)
            data *= np.float32(BM25_K1 + 1)
        data *= self.idf[rows.indices]
        return sparse.csr_matrix((data, rows.indices, rows.indptr), shape=rows.shape)


@dataclass(frozen=True)
class RowMoments:
    """What a similarity needs of each row besides the products."""

    mean: Floats
    """(N,) means times the root of the number of columns: for Pearson, zeros for the cosine."""
    norm: Floats
    """(N,) lengths, of the centred rows for Pearson; 1 for rows of no length, whose similarities are 0."""

    @classmethod
    def from_rows(cls, rows: Matrix, similarity: Literal["cosine", "pearson"]) -> "RowMoments":
        """The moments of (N, columns) rows."""
        squares = row_sums(rows, squared=True)
        mean = np.zeros(rows.shape[0])
        if similarity == "pearson":
            mean = row_sums(rows) / math.sqrt(rows.shape[1])
        # A row that is the same in every column has no spread; what rounding leaves of it is not one.
        spread = np.where(squares - mean**2 > 1e-6 * squares, squares - mean**2, 0)
        norm = np.where(spread > 0, np.sqrt(spread), np.inf)
        return cls(mean.astype(np.float32), norm.astype(np.float32))


@dataclass(frozen=True)
class SimilarityTask:
    """Rows to be compared with all rows of a matrix: plain arrays, so that it travels to other processes."""

    left: Matrix
    """(N, columns) float32, the rows to find neighbours for."""
    right: Matrix
    """(columns, M) float32, those who may be neighbours, as columns."""
    left_moments: RowMoments
    right_moments: RowMoments
    config: SimilarityConfig
    left_keys: npt.NDArray[np.integer]
    right_keys: npt.NDArray[np.integer]
    """(N,) and (M,): rows of equal keys are not neighbours, such as a row and itself."""


def nearest_rows(comparison: SimilarityTask, block: range) -> Matrix:
    """(len(block), M) float32 similarities > 0 of a block of left rows, each row's `neighbours` greatest.

    Columns ascend within a row; among equal similarities those of lower place are kept. A pair is compared
    only where both have a weight in some column. The similarity is x·y / (|x||y| + shrink), with centred x
    and y for Pearson: over all columns, so that it needs the sparse products, two means and two lengths and
    no more (the correlation over shared columns alone says nothing of weights that are all 1).
    """
    parts: list[Matrix] = []
    size = max(1, BLOCK_CELLS // max(1, comparison.right.shape[1]))
    for start in range(block.start, block.stop, size):
        stop = min(start + size, block.stop)
        scores = dense_product(comparison.left[start:stop], comparison.right)
        _to_similarity(scores, comparison, start, stop)
        places, found = topk_dense(scores, comparison.config.neighbours)
        parts.append(_to_matrix(places, found, comparison.right.shape[1]))
    return stack_rows(parts, comparison.right.shape[1])


def _to_similarity(scores: Scores, comparison: SimilarityTask, start: int, stop: int) -> None:
    left, right = comparison.left_moments, comparison.right_moments
    apart = scores == 0 if comparison.config.similarity == "pearson" else None
    if apart is not None:
        scores -= np.outer(left.mean[start:stop], right.mean)
        scores[apart] = 0
    below = np.outer(left.norm[start:stop], right.norm)
    below += np.float32(comparison.config.shrink)
    scores /= below
    scores[comparison.left_keys[start:stop, None] == comparison.right_keys] = 0


def _to_matrix(places: npt.NDArray[np.int64], found: Scores, columns: int) -> Matrix:
    kept = found > 0
    indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    matrix = sparse.csr_matrix((found[kept], places[kept], indptr), shape=(len(places), columns))
    matrix.sort_indices()
    return matrix


def stack_rows(parts: Iterable[Matrix], columns: int) -> Matrix:
    """(sum of N, columns) rows of several (N, columns) float32 matrices, one below the other."""
    nothing = sparse.csr_matrix(np.zeros((0, columns), np.float32))
    return sparse.csr_matrix(sparse.vstack([nothing, *parts], format="csr"))


def dense_product(left: Matrix, right: Matrix) -> Scores:
    """(N, M) float32, the product of sparse (N, columns) and (columns, M) float32 matrices.

    Each row is the same whatever rows are beside it: sums run over the columns in ascending order.
    """
    # Rows of `right` are gathered and added up into dense rows: less than half the time of a sparse product,
    # which must find out first where the result is not zero.
    out = np.empty((left.shape[0], right.shape[1]), np.float32)
    lengths = np.diff(right.indptr)
    work = np.concatenate([[0], np.cumsum(lengths[left.indices], dtype=np.int64)])
    for start, stop in _runs(work[left.indptr]):
        entries = slice(left.indptr[start], left.indptr[stop])
        if work[entries.stop] - work[entries.start] > PRODUCTS_PER_RUN:
            out[start] = _long_row(work, entries, left, right)
            continue
        terms = right[left.indices[entries]]
        terms.data *= np.repeat(left.data[entries], lengths[left.indices[entries]])
        indptr = terms.indptr[left.indptr[start : stop + 1] - entries.start]
        summed = sparse.csr_matrix((terms.data, terms.indices, indptr), shape=(stop - start, right.shape[1]))
        summed.toarray(out=out[start:stop])
    return out


def _long_row(work: npt.NDArray[np.int64], entries: slice, left: Matrix, right: Matrix) -> Floats:
    # One row, its entries in runs, so that no more is gathered at once than for other rows.
    row = np.zeros(right.shape[1], np.float32)
    for start, stop in _runs(work[entries.start : entries.stop + 1]):
        some = slice(entries.start + start, entries.start + stop)
        row += right[left.indices[some]].T @ left.data[some]
    return row


def _runs(work: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    # Runs of up to PRODUCTS products each; `work` is cumulated, and what needs more than that is alone.
    start, count = 0, len(work) - 1
    while start < count:
        stop = int(np.searchsorted(work, work[start] + PRODUCTS_PER_RUN, side="right")) - 1
        stop = min(max(stop, start + 1), count)
        yield start, stop
        start = stop


def row_sums(rows: Matrix, *, squared: bool = False) -> npt.NDArray[np.float64]:
    """(N,) float64 sums of the rows' weights, or of their squares."""
    sums = np.zeros(rows.shape[0])
    indptr = rows.indptr
    # A run of rows at a time: all weights in float64 would be as large as the matrix.
    cuts = np.unique(
        np.searchsorted(indptr, np.arange(0, indptr[-1] + WEIGHTS_PER_SUM, WEIGHTS_PER_SUM)).clip(
            0, len(sums)
        )
    )
    for start, stop in pairwise(cuts):
        filled = start + np.flatnonzero(np.diff(indptr[start : stop + 1]))
        # In float64 before squaring: the squares of weights that decayed for long have no float32.
        values = rows.data[indptr[start] : indptr[stop]].astype(np.float64)
        if squared:
            np.square(values, out=values)
        if len(filled):
            sums[filled] = np.add.reduceat(values, indptr[filled] - indptr[start])
    return sums


BlockMapper = Callable[
    [Callable[[SimilarityTask, range], Matrix], SimilarityTask, Sequence[range]], Iterable[Matrix]
]
"""How blocks are computed: the function of each block, in the blocks' order."""


def map_in_threads(
    function: Callable[[SimilarityTask, range], Matrix], comparison: SimilarityTask, blocks: Sequence[range]
) -> Iterator[Matrix]:
    """What `function` gives for each block, in order, computed in one thread for each usable processor."""
    # The products and the choice of the best, which take most of the time, let go of the interpreter's lock.
    with ThreadPoolExecutor(_processors()) as pool:
        yield from pool.map(lambda block: function(comparison, block), blocks)


def _processors() -> int:
    # Not every platform can tell which processors this process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def row_blocks(rows: int) -> list[range]:
    """All rows in ranges of `BLOCK_ROWS`."""
    return [range(start, min(start + BLOCK_ROWS, rows)) for start in range(0, rows, BLOCK_ROWS)]
