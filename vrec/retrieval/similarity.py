"""Similarities of sparse rows, computed block by block; only each row's nearest are kept."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from vrec.retrieval.config import SimilarityConfig
from vrec.retrieval.interaction_matrix import Matrix
from vrec.retrieval.topk import Scores, topk_dense

Floats = npt.NDArray[np.float32]
Number = TypeVar("Number", np.float32, np.float64)

PRODUCTS_PER_RUN = 1 << 18
"""Products of two weights per run: few enough to stay in the processor's cache."""
BLOCK_ROWS = 64
"""Rows per block, the unit of parallel work."""
BLOCK_CELLS = 2_000_000
"""Dense similarities in memory per block, 8 MB of float32."""
WEIGHTS_PER_SUM = 1 << 19
"""Weights converted to float64 at a time, 4 MB."""
SMALLEST_PRODUCT, LARGEST_PRODUCT = 1e-30, 1e30
"""Products of two weights that float32 holds with room for sums and divisions; rows beyond are in float64."""
PLAIN_EXPONENT = 40
"""Binary exponents between which weights are multiplied as they are."""
BM25_K1, BM25_B = 1.2, 0.75


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

    mean: npt.NDArray[np.float64]
    """(N,) means times the square root of the number of columns for Pearson, zeros for the cosine."""
    norm: npt.NDArray[np.float64]
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
        return cls(mean, norm)


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
    right_range: tuple[float, float]
    """Smallest and largest absolute weight of `right`, from `weight_range`."""


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
        rows = np.arange(start, min(start + size, block.stop))
        left = task.left[rows[0] : rows[-1] + 1]
        wide = _wide_rows(left, task.right_range)
        if not wide.any():
            scores = dense_product(left, task.right)
            _to_similarity(scores, task, rows)
        else:
            scores = np.empty((len(rows), task.right.shape[1]), np.float32)
            plain = dense_product(left[~wide], task.right)
            _to_similarity(plain, task, rows[~wide])
            scores[~wide] = plain
            precise = dense_product(left[wide], task.right, np.float64)
            _to_similarity(precise, task, rows[wide])
            # What float32 cannot hold stays a neighbor, the farthest.
            tiny = np.where(precise > 0, np.finfo(np.float32).tiny, 0)
            scores[wide] = np.maximum(precise, tiny)
        parts.append(_to_matrix(*topk_dense(scores, task.config.neighbours), task.right.shape[1]))
    return stack_rows(parts, task.right.shape[1])


def weight_range(matrix: Matrix) -> tuple[float, float]:
    """Return the smallest and the largest absolute weight above 0; (1, 1) without any."""
    sizes = np.abs(matrix.data)
    largest = float(sizes.max(initial=0))
    return (float(sizes.min(where=sizes > 0, initial=largest)), largest) if largest else (1.0, 1.0)


def _wide_rows(left: Matrix, right_range: tuple[float, float]) -> npt.NDArray[np.bool_]:
    """Return (N,) True for rows whose products with the right weights may leave the range of float32."""
    if not left.nnz:
        return np.zeros(left.shape[0], bool)
    sizes = np.abs(left.data).astype(np.float64)
    wide = (sizes > 0) & (
        (sizes * right_range[0] < SMALLEST_PRODUCT) | (sizes * right_range[1] > LARGEST_PRODUCT)
    )
    # The norm of a row is squared too, whatever the other rows hold.
    wide |= (sizes > 0) & ((sizes**2 < SMALLEST_PRODUCT) | (sizes**2 > LARGEST_PRODUCT))
    counts = np.concatenate([[0], np.cumsum(wide)])
    return counts[left.indptr[1:]] > counts[left.indptr[:-1]]


def _to_similarity(
    scores: npt.NDArray[np.floating], task: SimilarityTask, rows: npt.NDArray[np.int64]
) -> None:
    kind = scores.dtype
    left, right = task.left_moments, task.right_moments
    disjoint = scores == 0 if task.config.similarity == "pearson" else None
    if disjoint is not None:
        scores -= np.outer(left.mean[rows].astype(kind), right.mean.astype(kind))
        scores[disjoint] = 0
    denominator = np.outer(left.norm[rows].astype(kind), right.norm.astype(kind))
    denominator += kind.type(task.config.shrink)
    scores /= denominator
    scores[task.left_keys[rows, None] == task.right_keys] = 0


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


def dense_product(left: Matrix, right: Matrix, kind: type[Number] = np.float32) -> npt.NDArray[Number]:
    """Return the dense (N, M) product of sparse (N, columns) and (columns, M) float32 matrices.

    A row's result does not depend on the other rows: sums run over the columns in ascending order.

    Args:
        left: (N, columns) float32.
        right: (columns, M) float32.
        kind: Type of products and sums, np.float32 or np.float64.
    """
    # Rows of `right` are gathered and summed into dense rows: less than half the time of a sparse product,
    # which must first find where the result is not zero.
    out = np.empty((left.shape[0], right.shape[1]), kind)
    lengths = np.diff(right.indptr)
    work = np.concatenate([[0], np.cumsum(lengths[left.indices], dtype=np.int64)])
    for start, stop in _runs(work[left.indptr]):
        entries = slice(left.indptr[start], left.indptr[stop])
        if work[entries.stop] - work[entries.start] > PRODUCTS_PER_RUN:
            out[start] = _long_row(work, entries, left, right, kind)
            continue
        terms = right[left.indices[entries]]
        products = terms.data.astype(kind, copy=False)
        products *= np.repeat(left.data[entries], lengths[left.indices[entries]])
        indptr = terms.indptr[left.indptr[start : stop + 1] - entries.start]
        summed = sparse.csr_matrix((products, terms.indices, indptr), shape=(stop - start, right.shape[1]))
        summed.toarray(out=out[start:stop])
    return out


def _long_row(
    work: npt.NDArray[np.int64], entries: slice, left: Matrix, right: Matrix, kind: type[Number]
) -> npt.NDArray[Number]:
    # One row with its entries in runs, so that no more is gathered at once than for other rows.
    row = np.zeros(right.shape[1], kind)
    for start, stop in _runs(work[entries.start : entries.stop + 1]):
        run = slice(entries.start + start, entries.start + stop)
        row += right[left.indices[run]].T @ left.data[run].astype(kind)
    return row


def score_product(left: Matrix, right: Matrix) -> Scores:
    """Return the dense (N, M) float32 scores Σ left · right of non-negative float32 matrices.

    A row of `left` whose greatest weight is far from 1, and all of `right` if its greatest is far above 1,
    are scaled by a power of two first: scores keep their order within a row, and none is lost to underflow or
    infinite.
    """
    scale = _power_of_two(row_maxima(left))
    if (scale != 1).any():
        data = left.data * np.repeat(scale, np.diff(left.indptr))
        left = sparse.csr_matrix((data, left.indices, left.indptr), left.shape)
    largest = right.data.max(initial=0)
    if largest > 2.0**PLAIN_EXPONENT:
        right = right * _power_of_two(np.array([largest], np.float32))[0]
    return dense_product(left, right)


def row_maxima(rows: Matrix) -> Floats:
    """Return the (N,) greatest weight of each row; 0 for an empty one."""
    maxima = np.zeros(rows.shape[0], np.float32)
    filled = np.flatnonzero(np.diff(rows.indptr))
    if len(filled):
        maxima[filled] = np.maximum.reduceat(rows.data, rows.indptr[filled])
    return maxima


def _power_of_two(sizes: Floats) -> Floats:
    """Return the (N,) power of two that brings each size near 1, and 1 for sizes near enough or 0."""
    exponents = np.frexp(sizes)[1]
    far = (sizes > 0) & (np.abs(exponents) > PLAIN_EXPONENT)
    # The limits keep the factor itself a normal number.
    return np.where(far, np.ldexp(np.float32(1), np.clip(-exponents, -120, 120)), np.float32(1))


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
