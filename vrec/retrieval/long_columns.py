"""Columns that very many rows share, such as the history of a bot, in the comparison of rows."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from vrec.retrieval.interaction_matrix import Matrix
from vrec.retrieval.row_statistics import column_counts
from vrec.retrieval.topk import Scores

ROWS_PER_NEIGHBOUR = 16
"""Rows, per wanted neighbor, from which on a column is long."""
LEAST_WORK = 1 / 16
"""Share of all pairs of rows with a common column that a long column has."""
MOST_LONG = 8
"""Long columns; their weights are stored densely."""
MOST_WEIGHTS = 8
"""Different weights in a long column, with shrinkage; there are candidates for each."""
CANDIDATES_PER_NEIGHBOUR = 2
"""Candidates, per wanted neighbor, that a long column is reduced to. One and the row itself would do, but for
rounding, by which two similarities may change places."""


@dataclass(frozen=True)
class LongColumns:
    """Long columns of a comparison, reduced to the rows that may be nearest because of them.

    Thousands of rows have nothing in common with a row but a long column. Which of these are nearest does not
    depend on the row, so only the first of them are compared with it, besides the rows with which it shares
    another column. What is left out is no nearer than these, as products are never negative: the neighbors
    are the same, but for those that only the rounding of float32 tells apart. Rows with two long columns are
    compared in full.
    """

    place: npt.NDArray[np.int64]
    """(columns,) number of the long column, −1 for others."""
    right: Matrix
    """(columns + L, M) float32: the right rows as columns, then the L long columns with their candidates."""
    rest: Scores
    """(L, M) float32 weights of the long columns, 0 for their candidates."""

    def shorten(self, left: Matrix) -> "ShortRows":
        """Return (N, columns) float32 left rows for multiplication by `right`."""
        places = self.place[left.indices]
        rows = np.repeat(np.arange(left.shape[0]), np.diff(left.indptr))
        count = np.bincount(rows[places >= 0], minlength=left.shape[0])
        entries = np.flatnonzero((places >= 0) & (count[rows] == 1))
        indices = left.indices.copy()
        indices[entries] = len(self.place) + places[entries]
        shape = (left.shape[0], self.right.shape[0])
        place, weight = np.full(shape[0], -1), np.zeros(shape[0], np.float32)
        place[rows[entries]], weight[rows[entries]] = places[entries], left.data[entries]
        return ShortRows(sparse.csr_matrix((left.data, indices, left.indptr), shape), place, weight, self)


@dataclass(frozen=True)
class ShortRows:
    """Left rows whose one long column is replaced by the candidates of it."""

    left: Matrix
    """(N, columns + L) float32."""
    place: npt.NDArray[np.int64]
    """(N,) number of the row's long column, −1 without one."""
    weight: Scores
    """(N,) float32, the row's weight in it."""
    columns: LongColumns

    def select(self, rows: npt.NDArray[np.int64] | slice) -> "ShortRows":
        """Return some of the rows."""
        return ShortRows(self.left[rows], self.place[rows], self.weight[rows], self.columns)

    def sparse_product(self) -> Matrix:
        """Return the (N, M) products of the rows and the right rows, without those that are not nearest."""
        products = self.left @ self.columns.right
        reduced = self.place >= 0
        if reduced.any():
            lengths = np.diff(products.indptr)
            entries = np.flatnonzero(np.repeat(reduced, lengths))
            place = np.repeat(self.place[reduced], lengths[reduced])
            weight = np.repeat(self.weight[reduced], lengths[reduced])
            products.data[entries] += weight * self.columns.rest[place, products.indices[entries]]
        return products

    def complete(self, products: Scores) -> None:
        """Add to dense (N, M) products what the rows have in common with others than the candidates."""
        for row in np.flatnonzero(self.place >= 0):
            products[row] += self.weight[row] * self.columns.rest[self.place[row]]


def find_long_columns(
    left: Matrix, right: Matrix, lengths: npt.NDArray[np.float64], neighbours: int, *, shrink: float
) -> LongColumns | None:
    """Return the long columns; None where there are none, or where a row's nearest depend on the row.

    Args:
        left: (N, columns) float32 rows.
        right: (columns, M) float32 rows as columns; a left row may be one of them, and is no neighbor then.
        lengths: (M,) lengths of the right rows, which products are divided by.
        neighbours: Number of neighbors that are wanted.
        shrink: Term added to the product of the lengths of two rows.
    """
    sizes = np.diff(right.indptr)
    work = column_counts(left) * sizes
    many = (sizes >= ROWS_PER_NEIGHBOUR * neighbours) & (work >= LEAST_WORK * work.sum())
    found = np.flatnonzero(many)
    found = found[np.argsort(-work[found], kind="stable")][:MOST_LONG]
    if not len(found) or right.data.min(initial=0) < 0:
        return None
    place = np.full(len(sizes), -1)
    rest = np.zeros((len(found), right.shape[1]), np.float32)
    candidates: list[Matrix] = []
    for number, column in enumerate(found):
        entries = slice(right.indptr[column], right.indptr[column + 1])
        rows, weights = right.indices[entries], right.data[entries]
        best = _candidates(rows, weights, lengths, neighbours, shrink=shrink)
        if best is None:
            return None
        row = (weights[best], rows[best], [0, len(best)])
        candidates.append(sparse.csr_matrix(row, shape=(1, right.shape[1])))
        place[column] = number
        rest[number, rows] = weights
        rest[number, rows[best]] = 0
    return LongColumns(place, sparse.csr_matrix(sparse.vstack([right, *candidates], format="csr")), rest)


def _candidates(
    rows: npt.NDArray[np.integer],
    weights: Scores,
    lengths: npt.NDArray[np.float64],
    neighbours: int,
    *,
    shrink: float,
) -> npt.NDArray[np.int64] | None:
    """Return places of rows of a long column that may be nearest; None where that depends on the left row."""
    alike = np.zeros(len(rows), np.int64)
    if shrink:
        # Shrunk similarities have one order among equal weights only.
        alike = np.unique(weights, return_inverse=True)[1]
    if alike.max() >= MOST_WEIGHTS:
        return None
    order = np.lexsort((rows, -(weights.astype(np.float64) / lengths[rows])))
    most = CANDIDATES_PER_NEIGHBOUR * neighbours + 1
    return np.sort(np.concatenate([order[alike[order] == n][:most] for n in range(alike.max() + 1)]))
