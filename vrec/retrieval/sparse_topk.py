"""Selection of the greatest entries of each row of a sparse matrix."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from vrec.retrieval.interaction_matrix import Matrix

Value = TypeVar("Value", np.float32, np.uint64)

PADDED_CELLS = 1 << 16
"""Entries per group of rows of similar length, which are padded to one length: 0.5 MB of float32."""
PADDING = 1.3
"""Greatest ratio of the lengths of two rows in one group."""
GROUPS_PER_ENTRY = 4
"""Groups, per wanted entry, whose maxima stand for a long row."""
SAMPLED_PER_ENTRY = 16
"""Entries, per wanted entry, that are looked at in a longer row for a bound, at equal distances."""


def topk_sparse(scores: Matrix, k: int) -> Matrix:
    """Return the k greatest entries above 0 of each row, ties by lower column.

    Args:
        scores: (N, M) float32, M below 2^32, columns in any order within a row, each at most once.
        k: Number of entries per row, at least 1.

    Returns:
        (N, M) float32 with at most k entries per row, columns ascending.
    """
    values, columns, indptr = scores.data, scores.indices, scores.indptr
    # A bound from maxima of groups leaves little more than k entries per row; most rows are done then.
    floors = _row_bounds(values, indptr, k, exact=False)
    np.maximum(floors, np.finfo(np.float32).smallest_subnormal, out=floors)
    values, columns, indptr = _select(values >= np.repeat(floors, np.diff(indptr)), values, columns, indptr)
    if (np.diff(indptr) > k).any():
        # Floats above 0 are ordered as their bits are. Of equal ones the lower column has the greater key.
        keys = values.view(np.uint32).astype(np.uint64) << np.uint64(32)
        keys |= (~columns.astype(np.uint32)).astype(np.uint64)
        bounds = _row_bounds(keys, indptr, k, exact=True)
        values, columns, indptr = _select(keys >= np.repeat(bounds, np.diff(indptr)), values, columns, indptr)
    nearest = sparse.csr_matrix((values, columns, indptr), shape=scores.shape)
    nearest.sort_indices()
    return nearest


def _select(
    taken: npt.NDArray[np.bool_],
    values: npt.NDArray[np.float32],
    columns: npt.NDArray[np.integer],
    indptr: npt.NDArray[np.integer],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.integer], npt.NDArray[np.integer]]:
    """Return the values, columns and index pointer of the entries that are taken."""
    ends = np.zeros(len(taken) + 1, indptr.dtype)
    np.cumsum(taken, out=ends[1:])
    return values[taken], columns[taken], ends[indptr]


def _row_bounds(
    values: npt.NDArray[Value], indptr: npt.NDArray[np.integer], k: int, *, exact: bool
) -> npt.NDArray[Value]:
    """Return the (N,) k-th greatest value of each row, or a lower bound near it; 0 for up to k values."""
    lengths = np.diff(indptr)
    bounds = np.zeros(len(lengths), values.dtype)
    rows = np.flatnonzero(lengths > k)
    # The k-th greatest of a part of a row is a bound too.
    steps = np.ones_like(rows) if exact else np.maximum(1, lengths[rows] // (SAMPLED_PER_ENTRY * k))
    sizes = -(-lengths[rows] // steps)
    order = np.argsort(sizes, kind="stable")
    rows, steps, sizes, start = rows[order], steps[order], sizes[order], 0
    while start < len(rows):
        longest = int(sizes[start] * PADDING)
        stop = int(np.searchsorted(sizes, longest, side="right"))
        stop = min(stop, start + max(1, PADDED_CELLS // longest))
        padded = np.zeros((stop - start, int(sizes[stop - 1])), values.dtype)
        for place, (row, step) in enumerate(zip(rows[start:stop], steps[start:stop], strict=True), start):
            padded[place - start, : sizes[place]] = values[indptr[row] : indptr[row + 1] : step]
        groups = GROUPS_PER_ENTRY * k
        if not exact and padded.shape[1] >= 2 * groups:
            # k groups have a maximum as great as the k-th greatest of the maxima, so k entries have it too.
            whole = padded.shape[1] // groups * groups
            padded = padded[:, :whole].reshape(len(padded), -1, groups).max(axis=1)
        place = padded.shape[1] - k
        bounds[rows[start:stop]] = np.partition(padded, place, axis=1)[:, place]
        start = stop
    return bounds
