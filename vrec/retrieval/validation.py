"""NDCG of scores on a validation part."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from vrec.retrieval.base import BLOCK_CELLS
from vrec.retrieval.holdout import ValidationPart
from vrec.retrieval.interaction_matrix import InteractionMatrix
from vrec.retrieval.topk import Scores, mask_scores, topk_dense

CUTOFF = 10
"""Cutoff of the validation metric."""
METRIC = f"ndcg@{CUTOFF}"
"""Name of the validation metric."""

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
    videos = scores.shape[1]
    mask_scores(scores, before.weights, None)
    columns, best = topk_dense(scores, CUTOFF)
    rows = np.repeat(np.arange(after.users), np.diff(after.weights.indptr))
    relevant = rows * videos + after.weights.indices
    keys = np.arange(len(columns))[:, None] * videos + columns
    hits = np.isin(keys, relevant) & (best > -np.inf)
    gains = 1 / np.log2(np.arange(2, columns.shape[1] + 2))
    ideal = np.cumsum(1 / np.log2(np.arange(2, CUTOFF + 2)))
    wanted = np.minimum(np.diff(after.weights.indptr), CUTOFF)
    return (hits * gains).sum(axis=1) / ideal[wanted - 1]
