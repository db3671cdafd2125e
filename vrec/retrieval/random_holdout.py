"""Held-out interactions, by which models judge settings and epochs during the fit."""

from dataclasses import dataclass

import numpy as np

from vrec.retrieval.interaction_matrix import Indices, InteractionMatrix, Matrix
from vrec.retrieval.topk import Scores, topk_dense

VALIDATION_K = 100
"""Cutoff of the NDCG on held-out videos; deep, because there are few of them."""
HELD_OUT_SHARE = 0.1
"""Share of a history that `hold_out_random` holds out, but at least one video."""


@dataclass(frozen=True)
class RandomHoldout:
    """Interactions held out at random from some users."""

    users: Indices
    """(N,) rows of these users."""
    shown: InteractionMatrix
    """Histories of all users without the held-out videos."""
    held_out: Matrix
    """(N, videos) the held-out videos."""


def hold_out_random(histories: InteractionMatrix, users: int, seed: int) -> RandomHoldout:
    """Hold out a random tenth of the videos, but at least one, of some users who have two or more.

    Args:
        histories: Histories of all users.
        users: Maximum number of users, drawn at random.
        seed: Seed of both draws.
    """
    counts = np.diff(histories.weights.indptr)
    rng = np.random.default_rng(seed)
    able = np.flatnonzero(counts > 1)
    drawn = np.sort(rng.choice(able, min(users, len(able)), replace=False))
    sizes = np.zeros(histories.users, np.int64)
    sizes[drawn] = np.maximum(1, (HELD_OUT_SHARE * counts[drawn]).astype(np.int64))
    rows = np.repeat(np.arange(histories.users), counts)
    # In each row, the entries in random order.
    order = np.lexsort((rng.random(len(rows)), rows))
    held_out = np.zeros(len(rows), bool)
    held_out[order] = np.arange(len(rows)) - histories.weights.indptr[rows] < sizes[rows]
    hidden = histories.select_entries(held_out).rows(drawn).weights
    return RandomHoldout(drawn, histories.select_entries(~held_out), hidden)


def ndcg_sum(scores: Scores, relevant: Matrix) -> float:
    """Return the NDCG at VALIDATION_K of (B, videos) scores with binary relevance, summed over users.

    Each row of `relevant`, (B, videos), must have an entry.
    """
    top, _ = topk_dense(scores, VALIDATION_K)
    discount = 1 / np.log2(np.arange(2, VALIDATION_K + 2))
    is_relevant = np.zeros(scores.shape, bool)
    counts = np.diff(relevant.indptr)
    is_relevant[np.repeat(np.arange(len(counts)), counts), relevant.indices] = True
    gain = np.take_along_axis(is_relevant, top, axis=1) @ discount[: top.shape[1]]
    ideal = np.cumsum(discount)[np.minimum(counts, top.shape[1]) - 1]
    return float((gain / ideal).sum())
