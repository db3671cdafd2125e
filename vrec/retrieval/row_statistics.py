"""Statistics of sparse rows that their similarities need: weightings, means and lengths."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from vrec.retrieval.config import SimilarityKind, WeightingKind
from vrec.retrieval.interaction_matrix import Matrix, row_runs
from vrec.retrieval.topk import Scores

WEIGHTS_PER_SUM = 1 << 17
"""Weights converted to float64 at a time, 1 MB."""
BM25_K1, BM25_B = 1.2, 0.75


@dataclass(frozen=True)
class RowWeighting:
    """Statistics of the fitted rows by which any row is weighted like them."""

    kind: WeightingKind
    idf: Scores
    """(columns,) float32, ln(rows / (1 + entries of the column))."""
    mean_sum: float
    """Mean of the rows' sums of weights."""

    @classmethod
    def fit(cls, rows: Matrix, kind: WeightingKind) -> "RowWeighting":
        """Compute the weighting from (rows, columns) float32 weights."""
        entries = column_counts(rows)
        # The logarithm of the quotient: two logarithms of equal counts may differ by rounding, and a cosine
        # makes neighbors of what rounding leaves.
        idf = np.log(max(rows.shape[0], 1) / (1 + entries))
        return cls(kind, idf.astype(np.float32), float(row_sums(rows).mean()))

    def apply(self, rows: Matrix) -> Matrix:
        """Return (N, columns) float32 rows with their weights changed; the indices are shared.

        TF-IDF is √weight · idf; BM25 is weight · (k1 + 1) / (k1 · (1 − b + b · sum / mean sum) + weight)
        · idf with k1 = 1.2 and b = 0.75 (Robertson and Zaragoza 2009); both as in `implicit`. A row is the
        document, its columns are the terms: of videos, the users who watched them. BM25 divides by the length
        of the document, and so does the cosine: where all weights are equal, its cosine is that of TF-IDF.
        """
        if self.kind == "none":
            return rows
        return self._weigh(rows, self._lengths(rows), transposed=False)

    def apply_to_columns(self, columns: Matrix, rows: Matrix) -> Matrix:
        """Return `apply(rows)` transposed, without a matrix between them.

        Args:
            columns: (columns, N) float32, the transposed rows; the indices are shared.
            rows: (N, columns) float32 rows.
        """
        if self.kind == "none":
            return columns
        return self._weigh(columns, self._lengths(rows), transposed=True)

    def _lengths(self, rows: Matrix) -> Scores:
        """Return (N,) float32 k1 · (1 − b + b · sum / mean sum)."""
        return (BM25_K1 * (1 - BM25_B + BM25_B * row_sums(rows) / self.mean_sum)).astype(np.float32)

    def _weigh(self, matrix: Matrix, lengths: Scores, *, transposed: bool) -> Matrix:
        """Return the rows, or the transposed rows, with their weights changed."""
        data = np.empty_like(matrix.data)
        # A run at a time: the factors of all entries would take as much memory as the result.
        for start, stop in _weight_runs(matrix):
            counts = np.diff(matrix.indptr[start : stop + 1])
            entries = slice(matrix.indptr[start], matrix.indptr[stop])
            weights, columns = matrix.data[entries], matrix.indices[entries]
            if self.kind == "tfidf":
                found = np.sqrt(weights)
            else:
                found = lengths[columns] if transposed else np.repeat(lengths[start:stop], counts)
                found += weights
                np.divide(weights, found, out=found)
                found *= np.float32(BM25_K1 + 1)
            found *= np.repeat(self.idf[start:stop], counts) if transposed else self.idf[columns]
            data[entries] = found
        return sparse.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)


@dataclass(frozen=True)
class RowMoments:
    """Means and lengths of rows, which similarities need besides the products."""

    mean: npt.NDArray[np.float64]
    """(N,) means times the square root of the number of columns for Pearson, zeros for the cosine."""
    norm: npt.NDArray[np.float64]
    """(N,) lengths, of the centered rows for Pearson; infinite for rows of length 0, so that their
    similarities are 0."""

    @property
    def usual_norm(self) -> float:
        """Mean of the finite lengths; 1 without any."""
        finite = self.norm[np.isfinite(self.norm)]
        return float(finite.mean()) if len(finite) else 1.0

    @classmethod
    def from_rows(cls, rows: Matrix, similarity: SimilarityKind) -> "RowMoments":
        """Compute the moments of (N, columns) rows."""
        squares = row_sums(rows, squared=True)
        mean = np.zeros(rows.shape[0])
        if similarity == "pearson":
            mean = row_sums(rows) / math.sqrt(rows.shape[1])
        # A row that is constant over all columns has no variance; what rounding leaves of it does not count.
        variance = np.where(squares - mean**2 > 1e-6 * squares, squares - mean**2, 0)
        norm = np.where(variance > 0, np.sqrt(variance), np.inf)
        return cls(mean, norm)


def row_sums(rows: Matrix, *, squared: bool = False) -> npt.NDArray[np.float64]:
    """Return the (N,) float64 sums of the rows' weights, or of their squares."""
    sums = np.zeros(rows.shape[0])
    indptr = rows.indptr
    # A run of rows at a time: all weights in float64 would take more memory than the matrix.
    for start, stop in _weight_runs(rows):
        filled = start + np.flatnonzero(np.diff(indptr[start : stop + 1]))
        # In float64 before squaring: the squares of strongly decayed weights underflow in float32.
        values = rows.data[indptr[start] : indptr[stop]].astype(np.float64)
        if squared:
            np.square(values, out=values)
        if len(filled):
            sums[filled] = np.add.reduceat(values, indptr[filled] - indptr[start])
    return sums


def column_products(matrix: Matrix) -> npt.NDArray[np.int64]:
    """Return the (columns,) numbers of products of two weights for each row of matrixᵀ @ matrix."""
    found, lengths = np.zeros(matrix.shape[1]), np.diff(matrix.indptr)
    for start, stop in _weight_runs(matrix):
        entries = slice(matrix.indptr[start], matrix.indptr[stop])
        shares = np.repeat(lengths[start:stop], lengths[start:stop])
        found += np.bincount(matrix.indices[entries], weights=shares, minlength=len(found))
    return found.astype(np.int64)


def column_counts(matrix: Matrix) -> npt.NDArray[np.int64]:
    """Return the (columns,) numbers of entries."""
    found, size = np.zeros(matrix.shape[1], np.int64), max(WEIGHTS_PER_SUM, matrix.shape[1])
    # NumPy copies what it counts into 64-bit integers.
    for start in range(0, matrix.nnz, size):
        found += np.bincount(matrix.indices[start : start + size], minlength=len(found))
    return found


def _weight_runs(rows: Matrix) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows with about WEIGHTS_PER_SUM weights each."""
    size = max(WEIGHTS_PER_SUM, rows.shape[1])
    return row_runs(rows.indptr, size)
