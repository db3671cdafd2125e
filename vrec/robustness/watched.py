"""Matrix of shoppers by the videos that they watched, with ids."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.compute import pc
from vrec.core.schema import INTERACTIONS, conform

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WatchedVideos:
    """Videos that shoppers have shown interest in, once or more often."""

    shoppers: pa.Array
    """(S,) ids, ascending."""
    videos: pa.Array
    """(V,) ids, ascending."""
    matrix: sparse.csr_matrix
    """(S, V) float64 with a 1 for each video that a shopper watched."""
    first: int
    """Time of the first interaction, µs since 1970."""
    last: int
    """Time of the last interaction, µs since 1970."""

    @classmethod
    def from_interactions(cls, interactions: pa.Table) -> Self:
        """Build the matrix of INTERACTIONS; raises SchemaError for other columns."""
        table = conform(interactions, INTERACTIONS, stage="WatchedVideos").combine_chunks()
        shoppers, rows = _coded(table["user_id"])
        videos, columns = _coded(table["video_id"])
        matrix = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(shoppers), len(videos)))
        matrix.sum_duplicates()
        matrix.data[:] = 1
        at = np.asarray(table["at"].cast(pa.int64()))
        first, last = (int(at.min()), int(at.max())) if len(at) else (0, 0)
        return cls(shoppers, videos, matrix, first, last)

    @cached_property
    def lengths(self) -> Ints:
        """(S,) number of videos of each shopper."""
        return np.diff(self.matrix.indptr).astype(np.int64)

    @cached_property
    def counts(self) -> Ints:
        """(V,) number of shoppers of each video."""
        return np.bincount(self.matrix.indices, minlength=len(self.videos)).astype(np.int64)

    def column(self, video: str) -> int | None:
        """Return the column of a video, None if nobody has watched it."""
        found = pc.index(self.videos, pa.scalar(video, pa.string())).as_py()
        return None if found < 0 else found

    def row(self, shopper: int) -> Ints:
        """Return the videos of the shopper in a row."""
        start, stop = self.matrix.indptr[shopper : shopper + 2]
        return self.matrix.indices[start:stop].astype(np.int64)


def _coded(column: pa.ChunkedArray) -> tuple[pa.Array, Ints]:
    """Return the distinct ids in ascending order, and the place of each row's id among them."""
    ids = pc.unique(column)
    ids = ids.take(pc.sort_indices(ids))
    return ids, np.asarray(pc.index_in(column, value_set=ids)).astype(np.int64)
