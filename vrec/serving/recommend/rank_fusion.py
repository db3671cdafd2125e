"""Several orders of videos made into one."""

from collections.abc import Collection, Mapping, Sequence

from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.messages import ListItem, unranked_item

RANK_CONSTANT = 60
"""What is added to ranks, as in the paper: a larger one makes less of the first places."""

MIN_FUSION_DEPTH = 50
"""Videos of each order that are fused, at least."""


def fusion_depth(k: int) -> int:
    """How many videos of each order are fused for a list of `k`."""
    return max(MIN_FUSION_DEPTH, 2 * k)


def fuse_ranks(
    orders: Mapping[str, Sequence[int]],
    k: int,
    prefix: str,
    snapshot: CatalogSnapshot,
    known_to_one: Collection[int] = frozenset(),
) -> tuple[ListItem, ...]:
    """The at most `k` best rows of several orders as items, by reciprocal rank fusion; ties go by video_id.

    A score is the sum of 1 / (60 + rank) over the orders that have the row (Cormack, Clarke and Büttcher,
    SIGIR 2009); twice that for rows in `alone`, which only one of two orders can know at all. The source is
    the prefix and the name of the order that has it, or `both`. No ranker is asked: expectations and utility
    are 0.
    """
    scores: dict[int, float] = {}
    whose: dict[int, set[str]] = {}
    for name, rows in orders.items():
        # Orders that share the name up to a dash are parts of one source.
        source = name.partition("-")[0]
        for rank, row in enumerate(rows, start=1):
            share = (2 if row in known_to_one else 1) / (RANK_CONSTANT + rank)
            scores[row] = scores.get(row, 0.0) + share
            whose.setdefault(row, set()).add(source)
    names = snapshot.shelf.video_ids
    best = sorted(scores, key=lambda row: (-scores[row], names[row]))[:k]
    return tuple(
        unranked_item(
            names[row], scores[row], f"{prefix}:{'both' if len(whose[row]) > 1 else next(iter(whose[row]))}"
        )
        for row in best
    )
