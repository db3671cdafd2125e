"""Events that later ones reverse: likes by `unlike`, purchases by `refund`, dislikes by `unhide`."""

from collections import defaultdict
from collections.abc import Hashable
from itertools import chain
from typing import Generic, TypeVar

import polars as pl

from vrec.core.schema import REVERSED_BY

T = TypeVar("T")
REVERSIBLE_KINDS = frozenset(chain.from_iterable(REVERSED_BY.values()))
"""Kinds of events that another event can reverse."""
PAIRED_KINDS = frozenset(REVERSED_BY) | REVERSIBLE_KINDS
"""Kinds of events that reverse or can be reversed."""


class ReversalTracker(Generic[T]):
    """Reversible events that are in force, by shopper and video.

    Events come in the order of `reversal_order`. `unlike` and `unhide` reverse every event of their kinds
    before them, `refund` the last purchase that is still in force.
    """

    def __init__(self) -> None:
        self._in_force: defaultdict[tuple[Hashable, str], list[T]] = defaultdict(list)

    def add(self, pair: Hashable, kind: str, event: T) -> list[T]:
        """Take in an event of a shopper and a video, and return the events that it reverses."""
        if kind in REVERSIBLE_KINDS:
            self._in_force[pair, kind].append(event)
        reversed_now: list[T] = []
        for reversible in REVERSED_BY.get(kind, ()):
            events = self._in_force[pair, reversible]
            reversed_now += events[-1:] if kind == "refund" else events
            del events[-1 if kind == "refund" else 0 :]
        return reversed_now


def reversal_order(at: int, kind: str, event_id: str) -> tuple[int, bool, str]:
    """Return a sort key of events by time; of the same moment, those that reverse others come last."""
    return at, kind in REVERSED_BY, event_id


def drop_reversed(events: pl.DataFrame) -> pl.DataFrame:
    """Return EVENTS without those that a later event of the same table reverses, in their order.

    The reversing events stay. The order of the rows does not matter.

    Args:
        events: Columns event_id, user_id, video_id, kind and at.
    """
    reversing = events.filter(pl.col("kind").is_in(list(REVERSED_BY))).select("user_id", "video_id").unique()
    if not reversing.height:
        return events
    concerned = (
        events.with_row_index("row")
        .filter(pl.col("kind").is_in(list(PAIRED_KINDS)))
        .join(reversing, on=["user_id", "video_id"], how="semi")
        .with_columns(reverses=pl.col("kind").is_in(list(REVERSED_BY)))
        .sort("at", "reverses", "event_id")
    )
    tracker, rows = ReversalTracker[int](), list[int]()
    for row, user_id, video_id, kind in concerned.select("row", "user_id", "video_id", "kind").iter_rows():
        rows += tracker.add((user_id, video_id), kind, row)
    return events.with_row_index("row").filter(~pl.col("row").is_in(rows)).drop("row")
