"""Similarities of sparse rows, computed block by block; only each row's nearest are kept."""

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
"""Products of two weights per run: few enough to stay in the processor's cache."""
BLOCK_ROWS = 64
"""Rows per block, the unit of parallel work."""
BLOCK_CELLS = 2_000_000
"""Dense similarities in memory per block, 8 MB of float32."""
WEIGHTS_PER_SUM = 1 << 19
"""Weights converted to float64 at a time, 4 MB."""
BM25_K1, BM25_B = 1.2, 0.75


class SimilarityConfig(BaseConfig):
    """Similarity of two rows (videos by their users, or users by their videos), and number of neighbors."""

    similarity: Literal["cosine", "pearson"] = "cosine"
    """Cosine of the two rows, or Pearson's correlation over all columns with 0 where nothing is stored."""
    neighbours: int = Field(default=100, ge=1)
    """Number of nearest rows kept for each row; more makes scores smoother, and the model slower and
    larger."""
    shrink: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Term added to the denominator, in units of weight²: similarities based on few columns become
    smaller."""
    weighting: Literal["none", "tfidf", "bm25"] = "none"
    """Weighting before similarities are computed: TF-IDF and BM25 lower the weight of columns with many
    entries, BM25 also that of rows with a large sum."""


@dataclass(frozen=True)
class RowWeighting:
    """Statistics of the fitted rows by which any row is weighted like them."""

    kind: Literal["none", "tfidf", "bm25"]
    idf: Floats
    """(columns,) float32, ln(rows) − ln(1 + entries of the column)."""
    mean_sum: float
    """Mean of the rows' sums of weights."""

    @classmethod
    def fit(cls, rows: Matrix, kind: Literal["none", "tfidf", "bm25"]) -> "RowWeighting":
        """Compute the weighting from (rows, columns) float32 weights."""
        entries = np.bincount(rows.indices, minlength=rows.shape[1])
        idf = math.log(max(rows.shape[0], 1)) - np.log1p(entries)
        return cls(kind, idf.astype(np.float32), float(row_sums(rows).mean()))

    def apply(self, rows: Matrix) -> Matrix:
        """Return (N, columns) float32 rows with their weights changed; the indices are shared.

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
    """Means and lengths of rows, which similarities need besides the products."""

    mean: Floats
    """(N,) means times the square root of the number of columns for Pearson, zeros for the cosine."""
    norm: Floats
    """(N,) lengths, of the centered rows for Pearson; infinite for rows of length 0, so that their
    similarities are 0."""

    @classmethod
    def from_rows(cls, rows: Matrix, similarity: Literal["cosine", "pearson"]) -> "RowMoments":
        """Compute the moments of (N, columns) rows."""
        squares = row_sums(rows, squared=True)
        mean = np.zeros(rows.shape[0])
        if similarity == "pearson":
            mean = row_sums(rows) / math.sqrt(rows.shape[1])
        # A row that is constant over all columns has no variance; what rounding leaves of it does not count.
        variance = np.where(squares - mean**2 > 1e-6 * squares, squares - mean**2, 0)
        norm = np.where(variance > 0, np.sqrt(variance), np.inf)
        return cls(mean.astype(np.float32), norm.astype(np.float32))


@dataclass(frozen=True)
class SimilarityTask:
    """Rows to compare with all rows of another matrix: plain arrays that can be sent to other processes."""

    left: Matrix
    """(N, columns) float32, the rows to find neighbors for."""
    right: Matrix
    """(columns, M) float32, the possible neighbors as columns."""
    left_moments: RowMoments
    right_moments: RowMoments
    config: SimilarityConfig
    left_keys: npt.NDArray[np.integer]
    right_keys: npt.NDArray[np.integer]
    """(N,) and (M,) keys: rows with equal keys are not neighbors, such as a row and itself."""


def nearest_rows(task: SimilarityTask, block: range) -> Matrix:
    """Return the positive similarities of a block of left rows to their nearest right rows.

    The similarity is x·y / (|x||y| + shrink), with centered x and y for Pearson, and 0 for a pair without a
    common column. Pearson's correlation is over all columns: over the common columns alone it would be
    undefined where all weights are 1.

    Args:
        task: Rows to compare.
        block: Rows of `task.left` to compute.

    Returns:
        (len(block), M) sparse float32 with the `neighbours` greatest similarities > 0 per row, ties by lower
        column, and columns ascending within a row.
    """
    parts: list[Matrix] = []
    size = max(1, BLOCK_CELLS // max(1, task.right.shape[1]))
    for start in range(block.start, block.stop, size):
        stop = min(start + size, block.stop)
        scores = dense_product(task.left[start:stop], task.right)
        _to_similarity(scores, task, start, stop)
        parts.append(_to_matrix(*topk_dense(scores, task.config.neighbours), task.right.shape[1]))
    return stack_rows(parts, task.right.shape[1])


def _to_similarity(scores: Scores, task: SimilarityTask, start: int, stop: int) -> None:
    left, right = task.left_moments, task.right_moments
    disjoint = scores == 0 if task.config.similarity == "pearson" else None
    if disjoint is not None:
        scores -= np.outer(left.mean[start:stop], right.mean)
        scores[disjoint] = 0
    denominator = np.outer(left.norm[start:stop], right.norm)
    denominator += np.float32(task.config.shrink)
    scores /= denominator
    scores[task.left_keys[start:stop, None] == task.right_keys] = 0


def _to_matrix(indices: npt.NDArray[np.int64], scores: Scores, columns: int) -> Matrix:
    positive = scores > 0
    indptr = np.concatenate([[0], np.cumsum(positive.sum(axis=1))])
    matrix = sparse.csr_matrix((scores[positive], indices[positive], indptr), shape=(len(indices), columns))
    matrix.sort_indices()
    return matrix


def stack_rows(parts: Iterable[Matrix], columns: int) -> Matrix:
    """Stack (N, columns) float32 matrices vertically; without any, the result is (0, columns)."""
    nothing = sparse.csr_matrix(np.zeros((0, columns), np.float32))
    return sparse.csr_matrix(sparse.vstack([nothing, *parts], format="csr"))


def dense_product(left: Matrix, right: Matrix) -> Scores:
    """Return the dense (N, M) float32 product of sparse (N, columns) and (columns, M) float32 matrices.

    A row's result does not depend on the other rows: sums run over the columns in ascending order.
    """
    # Rows of `right` are gathered and summed into dense rows: less than half the time of a sparse product,
    # which must first find where the result is not zero.
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
    # One row with its entries in runs, so that no more is gathered at once than for other rows.
    row = np.zeros(right.shape[1], np.float32)
    for start, stop in _runs(work[entries.start : entries.stop + 1]):
        run = slice(entries.start + start, entries.start + stop)
        row += right[left.indices[run]].T @ left.data[run]
    return row


def _runs(work: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    # Runs of up to PRODUCTS_PER_RUN products each; `work` is cumulative, and a larger item is its own run.
    start, count = 0, len(work) - 1
    while start < count:
        stop = int(np.searchsorted(work, work[start] + PRODUCTS_PER_RUN, side="right")) - 1
        stop = min(max(stop, start + 1), count)
        yield start, stop
        start = stop


def row_sums(rows: Matrix, *, squared: bool = False) -> npt.NDArray[np.float64]:
    """Return the (N,) float64 sums of the rows' weights, or of their squares."""
    sums = np.zeros(rows.shape[0])
    indptr = rows.indptr
    # A run of rows at a time: all weights in float64 would take more memory than the matrix.
    cuts = np.unique(
        np.searchsorted(indptr, np.arange(0, indptr[-1] + WEIGHTS_PER_SUM, WEIGHTS_PER_SUM)).clip(
            0, len(sums)
        )
    )
    for start, stop in pairwise(cuts):
        filled = start + np.flatnonzero(np.diff(indptr[start : stop + 1]))
        # In float64 before squaring: the squares of strongly decayed weights underflow in float32.
        values = rows.data[indptr[start] : indptr[stop]].astype(np.float64)
        if squared:
            np.square(values, out=values)
        if len(filled):
            sums[filled] = np.add.reduceat(values, indptr[filled] - indptr[start])
    return sums


BlockMapper = Callable[
    [Callable[[SimilarityTask, range], Matrix], SimilarityTask, Sequence[range]], Iterable[Matrix]
]
"""Function that computes all blocks and returns their results in the blocks' order."""


def map_in_threads(
    function: Callable[[SimilarityTask, range], Matrix], task: SimilarityTask, blocks: Sequence[range]
) -> Iterator[Matrix]:
    """Yield the result of `function` for each block, in order, from one thread per usable processor."""
    # The products and the top-k selection, which take most of the time, release the interpreter's lock.
    with ThreadPoolExecutor(_processors()) as pool:
        yield from pool.map(lambda block: function(task, block), blocks)


def _processors() -> int:
    # Not every platform reports which processors this process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def row_blocks(rows: int) -> list[range]:
    """Return ranges of `BLOCK_ROWS` that cover all rows."""
    return [range(start, min(start + BLOCK_ROWS, rows)) for start in range(0, rows, BLOCK_ROWS)]
