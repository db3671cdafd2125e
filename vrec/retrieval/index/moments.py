"""Index over the moments of videos: 8-bit vectors, searched exactly in blocks, with exact filters."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.artifact import Arrays
from vrec.core.types import Vectors

BLOCK_ROWS = 4096
"""Rows that are decompressed at once: a block fits the processor's cache."""
ARRAYS = ("codes", "scales", "spans", "bounds")

Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class MomentIndex:
    """Moments of a catalog in one modality, by video and time."""

    encoder: str
    ids: tuple[str, ...]
    """Videos that have moments, ascending."""
    bounds: Rows
    """(videos + 1,) first row of each video, and the number of rows."""
    spans: npt.NDArray[np.float32]
    """(N, 2) start and end in seconds."""
    codes: npt.NDArray[np.int8]
    """(N, dim); times `scales` they are unit vectors."""
    scales: npt.NDArray[np.float32]
    """(N,)."""
    texts: tuple[str | None, ...] | None
    """Words of each moment; None of pictures and sound."""

    def __len__(self) -> int:
        return len(self.scales)

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return self.codes.shape[1]

    @classmethod
    def from_table(cls, moments: pa.Table) -> Self:
        """Build the index of MOMENTS of one modality and encoder, at least one row, in any order."""
        order = [("video_id", "ascending"), ("start_s", "ascending"), ("end_s", "ascending")]
        table = moments.sort_by(order).combine_chunks()
        names = table.column("video_id").combine_chunks().dictionary_encode()
        firsts = np.flatnonzero(np.diff(names.indices.to_numpy(), prepend=-1))
        vectors = table.column("vector").combine_chunks()
        texts = tuple(table.column("text").to_pylist())
        return cls(
            encoder=table.column("encoder")[0].as_py(),
            ids=tuple(names.dictionary.to_pylist()),
            bounds=np.append(firsts, table.num_rows).astype(np.int64),
            spans=np.stack([table.column(name).to_numpy() for name in ("start_s", "end_s")], axis=1),
            codes=vectors.flatten().to_numpy().reshape(table.num_rows, -1),
            scales=table.column("scale").to_numpy(),
            texts=texts if any(text is not None for text in texts) else None,
        )

    @cached_property
    def places(self) -> dict[str, int]:
        """Place in `ids` by video."""
        return {name: place for place, name in enumerate(self.ids)}

    @cached_property
    def owners(self) -> npt.NDArray[np.int32]:
        """(N,) place in `ids` of each row's video."""
        return np.repeat(np.arange(len(self.ids), dtype=np.int32), np.diff(self.bounds))

    def rows_of(self, video_id: str) -> Rows:
        """Return the rows of a video in the order of their times; none for one without moments."""
        place = self.places.get(video_id)
        if place is None:
            return np.empty(0, np.int64)
        return np.arange(self.bounds[place], self.bounds[place + 1])

    def vectors(self, rows: Rows) -> Vectors:
        """Return the (N, dim) vectors of rows."""
        return self.codes[rows].astype(np.float32) * self.scales[rows, None]

    def scores(self, queries: Vectors, rows: Rows | None = None) -> Scores:
        """Return the best cosine of each row, (N,), with (Q, dim) unit vectors; of all rows by default."""
        count = len(self) if rows is None else len(rows)
        best = np.empty(count, np.float32)
        transposed = np.ascontiguousarray(queries.T, np.float32)
        for start in range(0, count, BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS) if rows is None else rows[start : start + BLOCK_ROWS]
            block = self.codes[part].astype(np.float32) @ transposed
            best[start : start + len(block)] = block.max(axis=1) * self.scales[part]
        return best

    def search(
        self, queries: Vectors, k: int, allowed: npt.NDArray[np.bool_] | None = None, per_video: int = 1
    ) -> list[tuple[int, float]]:
        """Return the rows with the greatest cosine and the cosines, best first, ties by row; exact.

        Args:
            queries: (Q, dim) unit vectors, of which the nearest counts.
            k: Maximum number of rows.
            allowed: (videos,) whether each of `ids` may be in the result; None for all.
            per_video: Most rows of one video.
        """
        rows: Rows | None = None
        if allowed is not None and not allowed.all():
            rows = np.flatnonzero(allowed[self.owners])
        scores = self.scores(queries, rows)
        found = np.arange(len(self)) if rows is None else rows
        order = np.lexsort((found, -scores))
        taken: dict[int, int] = {}
        best: list[tuple[int, float]] = []
        for place in order:
            if len(best) >= k:
                break
            owner = int(self.owners[found[place]])
            if taken.get(owner, 0) < per_video:
                taken[owner] = taken.get(owner, 0) + 1
                best.append((int(found[place]), float(scores[place])))
        return best

    def to_arrays(self) -> tuple[Arrays, Sequence[str], Sequence[str | None] | None]:
        """Return the arrays, the ids and the texts, from which `from_arrays` restores the index."""
        return {name: getattr(self, name) for name in ARRAYS}, self.ids, self.texts

    @classmethod
    def from_arrays(
        cls, encoder: str, arrays: Arrays, ids: Sequence[str], texts: Sequence[str | None] | None
    ) -> Self:
        """Restore an index from the result of `to_arrays`."""
        named = {name: arrays[name] for name in ARRAYS}
        return cls(encoder=encoder, ids=tuple(ids), texts=None if texts is None else tuple(texts), **named)
