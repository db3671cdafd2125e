"""Candidates that a request names itself: a list to rank, or videos to complement."""

import numpy as np

from vrec.core.types import Vectors
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.messages import RecommendQuery
from vrec.serving.recommend.candidates import CandidateSources
from vrec.serving.recommend.eligibility import EligibilityFilter
from vrec.serving.recommend.rank_fusion import RANK_CONSTANT, fusion_depth

SEEDED_PER_ITEM = 3
"""Related videos per item of the list that the ranker chooses from."""
MIN_SEEDED = 30
"""Minimum number of related videos that the ranker chooses from."""


def given_candidates(
    query: RecommendQuery, snapshot: CatalogSnapshot, eligible: EligibilityFilter
) -> dict[int, str]:
    """Return the eligible rows of `query.candidates` with the source `given`."""
    rows = snapshot.catalog.find(list(dict.fromkeys(query.candidates or ())))
    rows = rows[rows >= 0]
    if query.order == "popular":
        rows = snapshot.popular[np.isin(snapshot.popular, rows)]
    return dict.fromkeys(eligible.pick(rows, len(rows)), "given")


def seeded_candidates(
    query: RecommendQuery, snapshot: CatalogSnapshot, eligible: EligibilityFilter, sources: CandidateSources
) -> dict[int, str]:
    """Return the rows most related to `query.seeds` and `query.cart`, with their source.

    Videos related to seeds are their neighbors and videos of similar content, fused by reciprocal rank. What
    complements a cart are neighbors alone: more of the same content is what the shopper has already.

    Returns:
        The source of each row, `seed:cf`, `seed:content` or `seed:both`; at most SEEDED_PER_ITEM per item.
    """
    need = max(MIN_SEEDED, SEEDED_PER_ITEM * query.k)
    names = (*query.seeds, *query.cart)
    orders = {"cf": sources.by_neighbors(snapshot, names, [1.0] * len(names))}
    vector = unit_mean(sources.vectors_of(snapshot, query.seeds))
    if vector is not None:
        depth = 2 * fusion_depth(need)
        orders["content"] = sources.by_content(snapshot, vector, depth, eligible.mask)
    scores: dict[int, float] = {}
    found: dict[int, set[str]] = {}
    for source, order in orders.items():
        for rank, row in enumerate(eligible.pick_independently(order, fusion_depth(need)), start=1):
            scores[row] = scores.get(row, 0.0) + 1 / (RANK_CONSTANT + rank)
            found.setdefault(row, set()).add(source)
    ids = snapshot.catalog.video_ids
    best = sorted(scores, key=lambda row: (-scores[row], ids[row]))[:need]
    return {row: f"seed:{'both' if len(found[row]) > 1 else next(iter(found[row]))}" for row in best}


def unit_mean(vectors: Vectors) -> Vectors | None:
    """Return the (dim,) unit mean of (N, dim) vectors; None if it is zeros, or there are none."""
    mean = vectors.sum(axis=0)
    norm = float(np.linalg.norm(mean)) if mean.size else 0.0
    return (mean / norm).astype(np.float32) if norm > 0 else None
