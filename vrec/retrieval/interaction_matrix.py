"""Interactions as a sparse matrix of users by videos, with the ids of its rows and columns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.artifact import Arrays
from vrec.core.compute import pc
from vrec.core.errors import FitError
from vrec.core.schema import INTERACTIONS, TIMESTAMP, conform

Indices = npt.NDArray[np.int64]
Matrix = sparse.csr_matrix
CSR_FIELDS = ("data", "indices", "indptr")


class IdVocabulary:
    """Ids in ascending order, one for each row or column of a matrix."""

    def __init__(self, ids: pa.Array) -> None:
        self.ids = ids

    @classmethod
    def from_columns(cls, *ids: pa.Array | pa.ChunkedArray) -> "IdVocabulary":
        """Build the vocabulary of the distinct ids of some columns."""
        flat = [part.combine_chunks() if isinstance(part, pa.ChunkedArray) else part for part in ids]
        unique = pc.unique(pa.concat_arrays([part.cast(pa.string()) for part in flat]))
        return cls(unique.take(pc.sort_indices(unique)))

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, ids: pa.Array | pa.ChunkedArray | Sequence[str]) -> Indices:
        """Return the (N,) indices of ids, −1 for those that are not in the vocabulary."""
        if not isinstance(ids, pa.Array | pa.ChunkedArray):
            ids = pa.array(ids, pa.string())
        indices = pc.fill_null(pc.index_in(ids, value_set=self.ids), -1)
        return np.asarray(indices).astype(np.int64)

    def names(self, indices: npt.NDArray[np.integer]) -> pa.Array:
        """Return the ids at (N,) indices."""
        return self.ids.take(pa.array(indices))


def row_runs(ends: npt.NDArray[np.integer], limit: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of successive rows with up to `limit` items each; a row with more is a range of its own.

    Args:
        ends: (N + 1,) ascending sums of the items of the first 0, 1, …, N rows, such as an index pointer.
        limit: Maximum number of items.
    """
    start, count = 0, len(ends) - 1
    while start < count:
        stop = int(np.searchsorted(ends, ends[start] + limit, side="right")) - 1
        stop = min(max(stop, start + 1), count)
        yield start, stop
        start = stop


@dataclass(frozen=True)
class InteractionMatrix:
    """Interactions with one row per user and one column per video, columns ascending within a row."""

    weights: Matrix
    """(users, videos) float32, all stored values > 0."""
    at: npt.NDArray[np.int64]
    """(nnz,) time of each interaction in µs since 1970 (UTC), in the order of `weights.data`."""

    @classmethod
    def empty(cls, videos: int) -> "InteractionMatrix":
        """Return the histories of no users with some number of videos."""
        parts = (np.empty(0, np.float32), np.empty(0, np.int32), np.zeros(1, np.int32))
        return cls(sparse.csr_matrix(parts, shape=(0, videos)), np.empty(0, np.int64))

    @property
    def users(self) -> int:
        """Number of rows."""
        return self.weights.shape[0]

    @property
    def videos(self) -> int:
        """Number of columns."""
        return self.weights.shape[1]

    def rows(self, indices: Indices) -> "InteractionMatrix":
        """Return the histories of the users at (N,) row indices, in the order given."""
        starts, ends = self.weights.indptr[indices], self.weights.indptr[indices + 1]
        counts = ends - starts
        total = int(counts.sum())
        within = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        taken = np.repeat(starts, counts) + within
        indptr = np.concatenate([[0], np.cumsum(counts)])
        weights = sparse.csr_matrix(
            (self.weights.data[taken], self.weights.indices[taken], indptr),
            shape=(len(indices), self.videos),
        )
        return InteractionMatrix(weights, self.at[taken])

    def select_entries(self, mask: npt.NDArray[np.bool_]) -> "InteractionMatrix":
        """Return the same users and videos with only the entries where the (nnz,) mask is True."""
        starts = np.concatenate([[0], np.cumsum(mask)])[self.weights.indptr]
        entries = (self.weights.data[mask], self.weights.indices[mask], starts)
        return InteractionMatrix(sparse.csr_matrix(entries, shape=self.weights.shape), self.at[mask])

    def _oldest_first(self) -> npt.NDArray[np.int64]:
        rows = np.repeat(np.arange(self.users), np.diff(self.weights.indptr))
        return np.lexsort((self.weights.indices, self.at, rows))

    @property
    def newer_counts(self) -> npt.NDArray[np.int64]:
        """(nnz,) number of the same user's videos that are newer, ties by id: 0 for the newest."""
        counts = np.diff(self.weights.indptr)
        newer = np.empty(len(self.at), np.int64)
        newer[self._oldest_first()] = np.repeat(self.weights.indptr[1:], counts) - 1 - np.arange(len(newer))
        return newer

    @cached_property
    def by_time(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """Row starts (users + 1,) and each row's videos (nnz,) from the oldest to the newest, ties by id."""
        videos = self.weights.indices[self._oldest_first()]
        return self.weights.indptr.astype(np.int64), videos.astype(np.int32)


def csr_arrays(prefix: str, matrix: Matrix) -> Arrays:
    """Return the three arrays of a sparse matrix for `restore_csr`, under names with a prefix."""
    return {f"{prefix}{part}": getattr(matrix, part) for part in CSR_FIELDS}


def restore_csr(arrays: Arrays, prefix: str, shape: tuple[int, int]) -> Matrix:
    """Return the sparse matrix whose arrays `csr_arrays` gave."""
    return sparse.csr_matrix(tuple(arrays[f"{prefix}{part}"] for part in CSR_FIELDS), shape=shape)


def check_interactions(interactions: pa.Table, stage: str) -> pa.Table:
    """Return the rows as INTERACTIONS after checking them.

    Args:
        interactions: Table with the columns of INTERACTIONS.
        stage: Name of the caller, for error messages.

    Raises:
        SchemaError: The columns are not those of INTERACTIONS.
        FitError: There are no rows, or a weight is not finite or not above 0.
    """
    table = conform(interactions, INTERACTIONS, stage=stage)
    if not table.num_rows:
        raise FitError(f"{stage}: there are no interactions", fix="give events that show interest in videos")
    weights = table.column("weight")
    good = pc.and_(pc.is_finite(weights), pc.greater(weights, 0))
    bad = table.filter(pc.invert(good))
    if bad.num_rows:
        row = bad.slice(0, 1).to_pylist()[0]
        raise FitError(
            f"{stage}: weight must be finite and above 0; {bad.num_rows:,} of {table.num_rows:,} are not, "
            f"such as {row['weight']} for user {row['user_id']}, video {row['video_id']}"
        )
    return table


def build_interaction_matrix(
    interactions: pa.Table, users: IdVocabulary, videos: IdVocabulary
) -> InteractionMatrix:
    """Return the (users, videos) matrix of INTERACTIONS.

    Rows whose user or video is unknown are dropped. Rows of the same user and video are merged: weights are
    summed, and the latest time is used.
    """
    rows = users.find(interactions.column("user_id"))
    columns = videos.find(interactions.column("video_id"))
    weights = np.asarray(interactions.column("weight"), dtype=np.float64)
    at = np.asarray(interactions.column("at").cast(pa.int64()), dtype=np.int64)
    known = (rows >= 0) & (columns >= 0)
    rows, columns, weights, at = rows[known], columns[known], weights[known], at[known]
    # Sorted by weight too, so that sums of float weights do not depend on the order of the rows.
    order = np.lexsort((weights, columns, rows))
    rows, columns, weights, at = rows[order], columns[order], weights[order], at[order]
    new = np.ones(len(rows), dtype=bool)
    new[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    starts = np.flatnonzero(new)
    if len(starts):
        weights, at = np.add.reduceat(weights, starts), np.maximum.reduceat(at, starts)
    counts = np.bincount(rows[starts], minlength=len(users))
    matrix = sparse.csr_matrix(
        (
            weights.astype(np.float32),
            columns[starts].astype(np.int32),
            np.concatenate([[0], np.cumsum(counts)]),
        ),
        shape=(len(users), len(videos)),
    )
    return InteractionMatrix(matrix, at)


def to_interactions(histories: InteractionMatrix, users: IdVocabulary, videos: IdVocabulary) -> pa.Table:
    """Return INTERACTIONS with one row per entry, in the order of `histories.weights.data`."""
    rows = np.repeat(np.arange(histories.users), np.diff(histories.weights.indptr))
    columns = [
        users.names(rows),
        videos.names(histories.weights.indices),
        pa.array(histories.weights.data, pa.float32()),
        pa.array(histories.at, pa.int64()).cast(TIMESTAMP),
    ]
    return pa.Table.from_arrays(columns, schema=INTERACTIONS.arrow())


def exclusion_matrix(
    exclude: Mapping[str, Sequence[str]] | None, users: Sequence[str], videos: IdVocabulary
) -> Matrix:
    """Return a (users, videos) float32 matrix with a 1 for each video to exclude for a user."""
    exclude = exclude or {}
    columns = [np.unique(videos.find(list(exclude.get(user, ())))) for user in users]
    columns = [row[row >= 0] for row in columns]
    counts = np.array([len(row) for row in columns], dtype=np.int64)
    indices = np.concatenate([*columns, np.empty(0, np.int64)]).astype(np.int32)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    data = np.ones(len(indices), np.float32)
    return sparse.csr_matrix((data, indices, indptr), shape=(len(users), len(videos)))
