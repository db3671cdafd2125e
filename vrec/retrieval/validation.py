"""NDCG of scores on held-out interactions."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from vrec.retrieval.base import BLOCK_CELLS
from vrec.retrieval.holdout import ValidationPart
from vrec.retrieval.interaction_matrix import InteractionMatrix, Matrix
from vrec.retrieval.topk import Scores, mask_scores, topk_dense

CUTOFF = 10
"""Cutoff of the validation metric."""
METRIC = f"ndcg@{CUTOFF}"
"""Name of the validation metric."""
DEEP_CUTOFF = 100
"""Cutoff where few videos are held out, by which a model chooses its own settings and epochs."""

Floats = npt.NDArray[np.float64]


def validation_blocks(part: ValidationPart, cells: int = BLOCK_CELLS) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the rows of the validation users in blocks of about `cells` scores."""
    size = max(1, cells // max(1, part.before.videos))
    for start in range(0, part.before.users, size):
        yield np.arange(start, min(start + size, part.before.users))


def block_ndcg(scores: Scores, before: InteractionMatrix, after: InteractionMatrix) -> Floats:
    """Return the (B,) NDCG@10 of users' lists.

    Args:
        scores: (B, videos) float32, −inf for no opinion; overwritten.
        before: (B, videos) histories, whose videos are not recommended.
        after: (B, videos) relevant videos.
    """
    mask_scores(scores, before.weights, None)
    return ndcg(scores, after.weights, CUTOFF)


def ndcg(scores: Scores, relevant: Matrix, k: int) -> Floats:
    """Return the (B,) NDCG at k of the rankings by scores, with binary relevance.

    Args:
        scores: (B, videos) float32, −inf for videos that are not in the ranking.
        relevant: (B, videos) relevant videos; each row has one.
        k: Cutoff.
    """
    columns, best = topk_dense(scores, k)
    counts = np.diff(relevant.indptr)
    rows, videos = np.arange(len(counts)), scores.shape[1]
    hits = np.isin(rows[:, None] * videos + columns, np.repeat(rows, counts) * videos + relevant.indices)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(counts, k) - 1]
    return ((hits & (best > -np.inf)) * discounts[: columns.shape[1]]).sum(axis=1) / ideal
