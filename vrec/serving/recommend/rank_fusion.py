"""Reciprocal rank fusion of several orders of videos."""

from collections.abc import Collection, Mapping, Sequence

from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.messages import ListItem, unranked_item

RANK_CONSTANT = 60
"""Constant added to ranks, as in the paper; a larger one gives less weight to the first ranks."""

MIN_FUSION_DEPTH = 50
"""Minimum number of videos of each order that are fused."""


def fusion_depth(k: int) -> int:
    """Return the number of videos of each order that are fused for a list of `k`."""
    return max(MIN_FUSION_DEPTH, 2 * k)


def fuse_ranks(
    orders: Mapping[str, Sequence[int]],
    k: int,
    prefix: str,
    snapshot: CatalogSnapshot,
    known_to_one: Collection[int] = frozenset(),
) -> tuple[ListItem, ...]:
    """Fuse several orders by reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009).

    A score is the sum of 1 / (60 + rank) over the orders that have the row, with ranks from 1.

    Args:
        orders: Rows, best first, by the name of the order. Names that agree up to a dash are one source.
        k: Maximum number of items.
        prefix: Prefix of the source of each item.
        snapshot: The catalog of the rows.
        known_to_one: Rows that only one of two orders can know; their score is doubled.

    Returns:
        The best items without predictions, ties by video_id. An item's source is `prefix:order`, or
        `prefix:both` if several sources have it.
    """
    scores: dict[int, float] = {}
    sources: dict[int, set[str]] = {}
    for name, rows in orders.items():
        source = name.partition("-")[0]
        for rank, row in enumerate(rows, start=1):
            share = (2 if row in known_to_one else 1) / (RANK_CONSTANT + rank)
            scores[row] = scores.get(row, 0.0) + share
            sources.setdefault(row, set()).add(source)
    ids = snapshot.catalog.video_ids
    best = sorted(scores, key=lambda row: (-scores[row], ids[row]))[:k]
    return tuple(
        unranked_item(
            ids[row], scores[row], f"{prefix}:{'both' if len(sources[row]) > 1 else next(iter(sources[row]))}"
        )
        for row in best
    )
