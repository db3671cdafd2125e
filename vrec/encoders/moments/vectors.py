"""Vectors of moments as 8-bit integers, and their number bounded by their size."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vrec.core.types import Vectors
from vrec.media.moments.subtitles import cut_bytes

ROW_BYTES = 96
"""Bytes of a row of MOMENTS in memory beside its vector, its text and the video's id."""

Codes = npt.NDArray[np.int8]


def quantize_rows(rows: Vectors) -> tuple[Codes, npt.NDArray[np.float32]]:
    """Return (N, dim) int8 codes and (N,) float32 scales, so that codes times scales are the rows nearly."""
    if not len(rows):
        return np.empty(rows.shape, np.int8), np.empty(0, np.float32)
    scales = np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny).astype(np.float32) / 127
    return np.rint(rows / scales[:, None]).astype(np.int8), scales


def restore_rows(codes: Codes, scales: npt.NDArray[np.float32]) -> Vectors:
    """Return (N, dim) float32 rows of codes and scales."""
    return codes.astype(np.float32) * scales[:, None]


@dataclass(frozen=True, eq=False, slots=True)
class MomentVectors:
    """Moments of one video in one modality, in the order of their times."""

    spans: npt.NDArray[np.float64]
    """(N, 2) seconds."""
    rows: Vectors
    """(N, dim) unit rows."""
    texts: tuple[str | None, ...]
    """Words of each; None of moments of pictures and sound."""

    def table_bytes(self, id_bytes: int) -> int:
        """Return the bytes that the moments take in MOMENTS, with a video's id of so many bytes."""
        return sum(self._row_bytes(row, id_bytes) for row in range(len(self.rows)))

    def _row_bytes(self, row: int, id_bytes: int) -> int:
        return ROW_BYTES + id_bytes + self.rows.shape[1] + len((self.texts[row] or "").encode())

    def bounded(self, budget: "MinuteBudget", id_bytes: int, share: float = 1.0) -> "MomentVectors":
        """Return the moments with the most similar neighbors joined until each minute fits the budget.

        At least one moment of each minute stays.

        Args:
            budget: Bytes left in each minute, of which what stays is taken.
            id_bytes: Bytes of the video's id.
            share: Most of a minute's bytes that may be taken.
        """
        minutes = (self.spans[:, 0] // 60).astype(int)
        kept: list[_Joined] = []
        for minute in np.unique(minutes).tolist():
            inside = [_Joined.of(self, int(row)) for row in np.flatnonzero(minutes == minute)]
            most = share * budget.left(minute)
            while len(inside) > 1 and sum(one.size(id_bytes) for one in inside) > most:
                near = [float(a.row @ b.row) for a, b in pairwise(inside)]
                place = int(np.argmax(near))
                inside[place : place + 2] = [inside[place].join(inside[place + 1])]
            budget.take(minute, sum(one.size(id_bytes) for one in inside))
            kept += inside
        if len(kept) == len(self.rows):
            return self
        return MomentVectors(
            np.array([one.span for one in kept]),
            np.stack([one.row for one in kept]),
            tuple(one.text for one in kept),
        )


class MinuteBudget:
    """Bytes that a video's moments may take in each minute."""

    def __init__(self, per_minute: float) -> None:
        self._per_minute, self._taken = per_minute, dict[int, int]()

    def left(self, minute: int) -> float:
        """Return the bytes that are left in a minute."""
        return self._per_minute - self._taken.get(minute, 0)

    def take(self, minute: int, size: int) -> None:
        """Take bytes of a minute."""
        self._taken[minute] = self._taken.get(minute, 0) + size


@dataclass(frozen=True, eq=False, slots=True)
class _Joined:
    """One or several moments that are kept as one."""

    span: tuple[float, float]
    row: Vectors
    text: str | None

    @classmethod
    def of(cls, moments: MomentVectors, row: int) -> "_Joined":
        start_s, end_s = moments.spans[row].tolist()
        return cls((start_s, end_s), moments.rows[row], moments.texts[row])

    def size(self, id_bytes: int) -> int:
        return ROW_BYTES + id_bytes + len(self.row) + len((self.text or "").encode())

    def join(self, other: "_Joined") -> "_Joined":
        lengths = [max(end - start, 1e-3) for start, end in (self.span, other.span)]
        row = lengths[0] * self.row + lengths[1] * other.row
        norm = float(np.linalg.norm(row))
        texts = [text for text in (self.text, other.text) if text]
        return _Joined(
            (self.span[0], max(self.span[1], other.span[1])),
            # Opposite vectors of equal weight have no mean direction.
            (row / norm).astype(np.float32) if norm > 1e-6 else self.row,
            cut_bytes(" ".join(texts)) if texts else None,
        )
