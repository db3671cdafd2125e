"""Similarities of sparse rows, computed block by block; only each row's nearest are kept."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from vrec.retrieval.config import SimilarityKind, WeightingKind
from vrec.retrieval.interaction_matrix import Matrix, row_runs
from vrec.retrieval.long_columns import LongColumns, ShortRows, find_long_columns
from vrec.retrieval.row_statistics import RowMoments
from vrec.retrieval.sparse_topk import topk_sparse
from vrec.retrieval.topk import Scores, topk_dense

Floats = npt.NDArray[np.float32]
Number = TypeVar("Number", np.float32, np.float64)

PRODUCTS_PER_RUN = 1 << 17
"""Products of two weights per run: few enough to stay in the processor's cache."""
WEIGHTS_PER_RUN = 1 << 17
"""Weights looked at per run where all of a matrix are."""
BLOCK_ROWS, MOST_BLOCK_ROWS, BLOCKS = 64, 1024, 64
"""Rows per block, the unit of parallel work: as many as make 64 blocks, from 64 to 1,024."""
BLOCK_CELLS = 1 << 20
"""Maximum number of similarities in memory per thread, 4 MB of float32 beside their indices."""
SMALLEST_PRODUCT, LARGEST_PRODUCT = 1e-30, 1e30
"""Products of two weights that float32 holds with room for sums and divisions; rows beyond are in float64."""
PLAIN_EXPONENT = 40
"""Binary exponents between which weights are multiplied as they are."""
PRODUCTS_PER_CELL = 4
"""A row with fewer products than columns by this factor is computed sparsely: only where it is not 0."""


@dataclass(frozen=True)
class SimilarityFormula:
    """Settings of a similarity with every `auto` decided; see `SimilarityConfig`."""

    similarity: SimilarityKind = "cosine"
    neighbours: int = 100
    popularity_penalty: float = 1.0
    shrink: float = 0.0
    weighting: WeightingKind = "none"
    relative_shrink: float = 0.0
    """Shrinkage in units of the squared mean length of the rows, added to `shrink`."""


@dataclass(frozen=True)
class SimilarityTask:
    """Rows to compare with all rows of another matrix: plain arrays that can be sent to other processes."""

    left: Matrix
    """(N, columns) float32, the rows to find neighbors for."""
    right: Matrix
    """(columns, M) float32, the possible neighbors as columns."""
    left_moments: RowMoments
    right_moments: RowMoments
    formula: SimilarityFormula
    left_keys: npt.NDArray[np.integer]
    right_keys: npt.NDArray[np.integer]
    """(N,) and (M,) keys: rows with equal keys are not neighbors, such as a row and itself."""
    right_range: tuple[float, float]
    """Smallest and largest absolute weight of `right`, from `weight_range`."""
    long_columns: LongColumns | None = None
    """Long columns, from `with_long_columns`."""

    @cached_property
    def lengths(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """(N,) and (M,) lengths whose product is the denominator before shrinkage."""
        left, right, formula = self.left_moments.norm, self.right_moments.norm, self.formula
        usual = self.right_moments.usual_norm
        if formula.similarity == "product":
            return np.full(len(left), usual), np.full(len(right), usual)
        # Relative to the usual length, so that similarities have one size whatever the penalty.
        penalized = usual * (right / usual) ** formula.popularity_penalty
        return left, np.where(np.isinf(right), np.inf, penalized)

    @cached_property
    def keys_are_columns(self) -> bool:
        """True if the key of each right row is its number, which need not be looked up then."""
        return bool((self.right_keys == np.arange(len(self.right_keys))).all())

    @property
    def shrink(self) -> float:
        """Term added to the denominator."""
        return self.formula.shrink + self.formula.relative_shrink * self.right_moments.usual_norm**2


def with_long_columns(task: SimilarityTask) -> SimilarityTask:
    """Return the comparison, with its long columns if it is one of rows with themselves."""
    if task.formula.similarity == "pearson" or not task.keys_are_columns:
        return task
    found = find_long_columns(
        task.left, task.right, task.lengths[1], task.formula.neighbours, shrink=task.shrink
    )
    if found is None or _wide_rows(task.left, task.right_range).any():
        return task
    return replace(task, long_columns=found)


def nearest_rows(task: SimilarityTask, block: range) -> Matrix:
    """Return the positive similarities of a block of left rows to their nearest right rows.

    The similarity is x·y / (|x| |y|^p L^(1−p) + shrink), where p is the popularity penalty and L the mean
    length of the right rows, with centered x and y for Pearson; it is 0 for a pair without a common column.
    With p = 1 it is the cosine; lower p is the asymmetric cosine of Aiolli 2013 up to a factor per row.
    The inner product is x·y / (L² + shrink). Pearson's correlation is over all columns: over the common
    columns alone it would be undefined where all weights are 1.

    Args:
        task: Rows to compare.
        block: Rows of `task.left` to compute.

    Returns:
        (len(block), M) sparse float32 with the `neighbours` greatest similarities > 0 per row, ties by lower
        column, and columns ascending within a row.
    """
    left, columns = task.left[block.start : block.stop], task.right.shape[1]
    short = task.long_columns.shorten(left) if task.long_columns else None
    wide = _wide_rows(left, task.right_range)
    work = row_products(short.left, short.columns.right) if short else row_products(left, task.right)
    dense = wide | (work * PRODUCTS_PER_CELL > columns)
    few, many = np.flatnonzero(~dense), np.flatnonzero(dense)
    parts, order = [], np.concatenate([few, many])
    for start, stop in row_runs(cumulative(np.minimum(work[few], columns)), block_cells(task.right)):
        rows = few[start:stop]
        # Slicing takes a tenth of the time of taking rows one by one.
        taken = rows if len(many) else slice(start, stop)
        products = short.select(taken).sparse_product() if short else left[taken] @ task.right
        products.data = sparse_similarities(task, products, rows + block.start)
        parts.append(topk_sparse(products, task.formula.neighbours))
    size = max(1, block_cells(task.right) // max(1, columns))
    for start in range(0, len(many), size):
        rows = many[start : start + size]
        if short:
            scores = _short_similarities(task, short.select(rows), rows + block.start)
        else:
            scores = _dense_similarities(task, left[rows], rows + block.start, wide[rows])
        parts.append(_to_matrix(*topk_dense(scores, task.formula.neighbours), columns))
    nearest = stack_rows(parts, columns)
    return nearest[np.argsort(order)] if len(few) and len(many) else nearest


def sparse_similarities(task: SimilarityTask, products: Matrix, rows: npt.NDArray[np.int64]) -> Scores:
    """Return the similarities of some left rows to the right rows with a common column.

    Args:
        task: Rows to compare, without a row that needs float64.
        products: (N, M) float32 products of the left rows and all right rows.
        rows: (N,) rows of `task.left`.

    Returns:
        (nnz,) float32, one for each entry of `products`.
    """
    lengths, columns = np.diff(products.indptr), products.indices
    left, right = task.lengths
    denominator = right.astype(np.float32).take(columns)
    denominator *= np.repeat(left[rows].astype(np.float32), lengths)
    if task.shrink:
        denominator += np.float32(task.shrink)
    data = products.data
    if task.formula.similarity == "pearson":
        means = task.left_moments.mean.astype(np.float32), task.right_moments.mean.astype(np.float32)
        data = np.where(data == 0, 0, data - np.repeat(means[0][rows], lengths) * means[1][columns])
    data = np.divide(data, denominator, out=denominator)
    keys = columns if task.keys_are_columns else task.right_keys.take(columns)
    data[keys == np.repeat(task.left_keys[rows], lengths)] = 0
    return data


def _dense_similarities(
    task: SimilarityTask, left: Matrix, rows: npt.NDArray[np.int64], wide: npt.NDArray[np.bool_]
) -> Scores:
    plain = dense_product(left[~wide] if wide.any() else left, task.right)
    _to_similarity(plain, task, rows[~wide])
    if not wide.any():
        return plain
    scores = np.empty((len(rows), task.right.shape[1]), np.float32)
    scores[~wide] = plain
    precise = dense_product(left[wide], task.right, np.float64)
    _to_similarity(precise, task, rows[wide])
    # What float32 cannot hold stays a neighbor, the farthest.
    tiny = np.where(precise > 0, np.finfo(np.float32).tiny, 0)
    scores[wide] = np.maximum(precise, tiny)
    return scores


def _short_similarities(task: SimilarityTask, short: ShortRows, rows: npt.NDArray[np.int64]) -> Scores:
    scores = dense_product(short.left, short.columns.right)
    short.complete(scores)
    _to_similarity(scores, task, rows)
    return scores


def row_products(left: Matrix, right: Matrix) -> npt.NDArray[np.int64]:
    """Return the (N,) numbers of products of two weights for each row of left @ right."""
    found, lengths = np.empty(left.shape[0], np.int64), np.diff(right.indptr)
    for start, stop in row_runs(left.indptr, PRODUCTS_PER_RUN):
        indptr = left.indptr[start : stop + 1]
        found[start:stop] = np.diff(
            cumulative(lengths[left.indices[indptr[0] : indptr[-1]]])[indptr - indptr[0]]
        )
    return found


def cumulative(counts: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the (N + 1,) sums of the first 0, 1, …, N counts."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def block_cells(right: Matrix) -> int:
    """Return the number of similarities that are in memory at a time."""
    # Memory in proportion to the matrix, but for small ones, where small blocks would cost time.
    return min(max(right.nnz // 8, 1 << 17), BLOCK_CELLS)


def weight_range(matrix: Matrix) -> tuple[float, float]:
    """Return the smallest and the largest absolute weight above 0; (1, 1) without any."""
    smallest, largest = np.float32(np.inf), np.float32(0)
    for start in range(0, matrix.nnz, WEIGHTS_PER_RUN):
        sizes = np.abs(matrix.data[start : start + WEIGHTS_PER_RUN])
        largest = max(largest, sizes.max())
        smallest = min(smallest, sizes.min(where=sizes > 0, initial=np.inf))
    return (float(smallest), float(largest)) if largest else (1.0, 1.0)


def _wide_rows(left: Matrix, right_range: tuple[float, float]) -> npt.NDArray[np.bool_]:
    """Return (N,) True for rows whose products with the right weights may leave the range of float32."""
    found = np.zeros(left.shape[0], bool)
    for start, stop in row_runs(left.indptr, WEIGHTS_PER_RUN):
        indptr = left.indptr[start : stop + 1]
        sizes = np.abs(left.data[indptr[0] : indptr[-1]]).astype(np.float64)
        wide = (sizes * right_range[0] < SMALLEST_PRODUCT) | (sizes * right_range[1] > LARGEST_PRODUCT)
        # The norm of a row is squared too, whatever the other rows hold.
        wide |= (sizes**2 < SMALLEST_PRODUCT) | (sizes**2 > LARGEST_PRODUCT)
        counts = cumulative(wide & (sizes > 0))[indptr - indptr[0]]
        found[start:stop] = counts[1:] > counts[:-1]
    return found


def _to_similarity(
    scores: npt.NDArray[np.floating], task: SimilarityTask, rows: npt.NDArray[np.int64]
) -> None:
    kind = scores.dtype
    disjoint = scores == 0 if task.formula.similarity == "pearson" else None
    if disjoint is not None:
        means = task.left_moments.mean[rows], task.right_moments.mean
        scores -= np.outer(means[0].astype(kind), means[1].astype(kind))
        scores[disjoint] = 0
    left, right = task.lengths
    denominator = np.outer(left[rows].astype(kind), right.astype(kind))
    denominator += kind.type(task.shrink)
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


def stack_nearest(parts: Iterable[Matrix], shape: tuple[int, int], neighbours: int) -> Matrix:
    """Stack float32 matrices of at most `neighbours` entries per row as they come, into one of a shape."""
    # Room for all, of which only what is written takes memory; the parts are never in memory together.
    most = shape[0] * min(neighbours, shape[1])
    data, indices = np.empty(most, np.float32), np.empty(most, np.int32)
    lengths: list[npt.NDArray[np.integer]] = [np.zeros(1, np.int64)]
    end = 0
    for part in parts:
        start, end = end, end + part.nnz
        data[start:end], indices[start:end] = part.data, part.indices
        lengths.append(np.diff(part.indptr))
    indptr = np.cumsum(np.concatenate(lengths), dtype=np.int64 if end > np.iinfo(np.int32).max else np.int32)
    return sparse.csr_matrix((data[:end], indices[:end], indptr), shape=shape)


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
    work = cumulative(lengths[left.indices])
    for start, stop in row_runs(work[left.indptr], PRODUCTS_PER_RUN):
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
    for start, stop in row_runs(work[entries.start : entries.stop + 1], PRODUCTS_PER_RUN):
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


def scale_near_one(matrix: Matrix) -> Matrix:
    """Return the matrix, divided by a power of two if its greatest weight is far from 1."""
    factor = _power_of_two(np.array([matrix.data.max(initial=0)], np.float32))[0]
    return matrix if factor == 1 else sparse.csr_matrix(matrix * factor)


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
    """Return ranges that cover all rows, one for each block."""
    size = min(max(rows // BLOCKS, BLOCK_ROWS), MOST_BLOCK_ROWS)
    return [range(start, min(start + size, rows)) for start in range(0, rows, size)]
