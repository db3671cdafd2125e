"""Scores of pairs of vectors that do not depend on what else is scored, and orders by them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vrec.core.types import Vectors
from vrec.ranking.reranking.catalog import RowIndices

Scores = npt.NDArray[np.floating]


def pair_scores(vectors: Vectors, query: Vectors) -> Scores:
    """Return the (N,) float32 dot products of vectors with one; each has the same bits among any others."""
    return np.einsum("nd,d->n", vectors.astype(np.float64), query.astype(np.float64)).astype(np.float32)


def best_first(scores: Scores, rows: RowIndices, video_ids: Sequence[str]) -> RowIndices:
    """Return the order of (N,) rows by descending score, ties by video id."""
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    if (descending[1:] == descending[:-1]).any():
        numbers, values = rows.tolist(), scores.tolist()
        places = sorted(range(len(rows)), key=lambda place: (-values[place], video_ids[numbers[place]]))
        order = np.array(places, np.int64)
    return order
