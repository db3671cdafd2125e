"""Several orders of videos made into one."""

from collections.abc import Collection, Mapping, Sequence

from vrec.serving.catalog.snapshot import Wares
from vrec.serving.messages import Item, unranked

RANK_CONSTANT = 60
"""What is added to ranks, as in the paper: a larger one makes less of the first places."""

DEPTH = 50
"""Videos of each order that are fused, at least."""


def depth_of(k: int) -> int:
    """How many videos of each order are fused for a list of `k`."""
    return max(DEPTH, 2 * k)


def fused(
    orders: Mapping[str, Sequence[int]],
    k: int,
    prefix: str,
    wares: Wares,
    alone: Collection[int] = frozenset(),
) -> tuple[Item, ...]:
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
            share = (2 if row in alone else 1) / (RANK_CONSTANT + rank)
            scores[row] = scores.get(row, 0.0) + share
            whose.setdefault(row, set()).add(source)
    names = wares.shelf.video_ids
    best = sorted(scores, key=lambda row: (-scores[row], names[row]))[:k]
    return tuple(
        unranked(
            names[row], scores[row], f"{prefix}:{'both' if len(whose[row]) > 1 else next(iter(whose[row]))}"
        )
        for row in best
    )
