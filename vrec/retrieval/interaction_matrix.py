"""Interactions as a sparse matrix of users by videos, with the ids that its rows and columns stand for."""

from collections.abc import Mapping, Sequence
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
    """Ids in ascending order, each standing for its place: what a matrix's rows or columns are called."""

    def __init__(self, ids: pa.Array) -> None:
        self.ids = ids

    @classmethod
    def from_columns(cls, *ids: pa.Array | pa.ChunkedArray) -> "IdVocabulary":
        """The vocabulary of all ids in some columns, each once."""
        flat = [part.combine_chunks() if isinstance(part, pa.ChunkedArray) else part for part in ids]
        unique = pc.unique(pa.concat_arrays([part.cast(pa.string()) for part in flat]))
        return cls(unique.take(pc.sort_indices(unique)))

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, ids: pa.Array | pa.ChunkedArray | Sequence[str]) -> Indices:
        """The (N,) places of ids, −1 for those that are not in it."""
        if not isinstance(ids, pa.Array | pa.ChunkedArray):
            ids = pa.array(ids, pa.string())
        found = pc.fill_null(pc.index_in(ids, value_set=self.ids), -1)
        return np.asarray(found).astype(np.int64)

    def names(self, places: npt.NDArray[np.integer]) -> pa.Array:
        """The ids at (N,) places."""
        return self.ids.take(pa.array(places))


@dataclass(frozen=True)
class InteractionMatrix:
    """Who has watched what: one row a user, one column a video, columns ascending within a row."""

    weights: Matrix
    """(users, videos) float32, all stored values > 0."""
    at: npt.NDArray[np.int64]
    """(nnz,) µs since 1970, in the order of `weights.data`."""

    @property
    def users(self) -> int:
        """The number of rows."""
        return self.weights.shape[0]

    @property
    def videos(self) -> int:
        """The number of columns."""
        return self.weights.shape[1]

    def rows(self, places: Indices) -> "InteractionMatrix":
        """The histories of some users only, in the order given."""
        starts, ends = self.weights.indptr[places], self.weights.indptr[places + 1]
        counts = ends - starts
        total = int(counts.sum())
        within = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        taken = np.repeat(starts, counts) + within
        indptr = np.concatenate([[0], np.cumsum(counts)])
        weights = sparse.csr_matrix(
            (self.weights.data[taken], self.weights.indices[taken], indptr),
            shape=(len(places), self.videos),
        )
        return InteractionMatrix(weights, self.at[taken])

    def select_entries(self, kept: npt.NDArray[np.bool_]) -> "InteractionMatrix":
        """The same users and videos with only some of the (nnz,) entries."""
        starts = np.concatenate([[0], np.cumsum(kept)])[self.weights.indptr]
        entries = (self.weights.data[kept], self.weights.indices[kept], starts)
        return InteractionMatrix(sparse.csr_matrix(entries, shape=self.weights.shape), self.at[kept])

    def _oldest_first(self) -> npt.NDArray[np.int64]:
        rows = np.repeat(np.arange(self.users), np.diff(self.weights.indptr))
        return np.lexsort((self.weights.indices, self.at, rows))

    @property
    def newer_counts(self) -> npt.NDArray[np.int64]:
        """(nnz,) how many of the same user's videos are newer, ties by id: 0 for the newest."""
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
    """A sparse matrix as the three arrays that `csr_from` takes, their names behind a prefix."""
    return {f"{prefix}{part}": getattr(matrix, part) for part in CSR_FIELDS}


def restore_csr(arrays: Arrays, prefix: str, shape: tuple[int, int]) -> Matrix:
    """The sparse matrix that `csr_arrays` took apart."""
    return sparse.csr_matrix(tuple(arrays[f"{prefix}{part}"] for part in CSR_FIELDS), shape=shape)


def check_interactions(interactions: pa.Table, stage: str) -> pa.Table:
    """The rows as INTERACTIONS; `stage` is who asks, for the message.

    Raises SchemaError for other columns, and FitError for no rows, or weights that are not finite
    and above zero.
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
    """The (users, videos) histories of INTERACTIONS; rows with an id in neither vocabulary are left out.

    Several rows of one user and video count as one: their weights add up, the last time stays.
    """
    rows = users.find(interactions.column("user_id"))
    columns = videos.find(interactions.column("video_id"))
    weights = np.asarray(interactions.column("weight"), dtype=np.float64)
    at = np.asarray(interactions.column("at").cast(pa.int64()), dtype=np.int64)
    known = (rows >= 0) & (columns >= 0)
    rows, columns, weights, at = rows[known], columns[known], weights[known], at[known]
    # By weight too, so that sums of float weights do not depend on the order of the rows.
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
    """INTERACTIONS, one row an entry, in the order of `histories.weights.data`."""
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
    """A (users, videos) matrix with an entry for each video that a user must not get."""
    exclude = exclude or {}
    places = [np.unique(videos.find(list(exclude.get(user, ())))) for user in users]
    places = [row[row >= 0] for row in places]
    counts = np.array([len(row) for row in places], dtype=np.int64)
    indices = np.concatenate([*places, np.empty(0, np.int64)]).astype(np.int32)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    data = np.ones(len(indices), np.float32)
    return sparse.csr_matrix((data, indices, indptr), shape=(len(users), len(videos)))
