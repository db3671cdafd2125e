"""Log of an evaluation: split at a moment, with the shoppers who are evaluated."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.events.config import InterestConfig, TimeSplitConfig
from vrec.events.interactions import aggregate_interactions
from vrec.events.split import split_interactions


@dataclass(frozen=True, eq=False, slots=True)
class EvaluationLog:
    """Log that is split at a moment, with the shoppers who are evaluated."""

    before: pa.Table
    """EVENTS up to the moment."""
    after: pa.Table
    """EVENTS after it."""
    train: pa.Table
    """INTERACTIONS before, one row per shopper and video."""
    test: pa.Table
    """INTERACTIONS after, of the evaluated shoppers, without pairs that are in `train`."""
    since: int
    """The moment, µs since 1970."""
    shoppers: tuple[str, ...]
    """Evaluated shoppers: with interactions in `test`."""
    viewers: tuple[str, ...]
    """Shoppers with impressions after the moment, drawn by themselves: those with interactions would make
    click rates too high."""

    @property
    def everybody(self) -> list[str]:
        """All of them, each once."""
        return sorted({*self.shoppers, *self.viewers})


def split_log(
    events: pa.Table, interactions: pa.Table, since: int, interest: InterestConfig, most: int
) -> EvaluationLog:
    """Split a log at a moment, and draw the shoppers.

    Args:
        events: EVENTS.
        interactions: INTERACTIONS of these, one row per event.
        since: The moment, µs since 1970, the last one of the first part.
        interest: Half-life of interactions.
        most: Maximum number of shoppers.

    Raises:
        EvaluationError: A part has no interactions.
    """
    cutoff = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=since + 1)
    split = split_interactions(interactions, TimeSplitConfig(test_from=cutoff))
    at = events.column("at").cast(pa.int64())
    before, after = (events.filter(mask) for mask in (pc.less_equal(at, since), pc.greater(at, since)))
    shown = after.filter(pc.equal(after.column("kind"), "impression"))
    shoppers, viewers = (_draw(part.column("user_id"), most, since) for part in (split.test, shown))
    test = split.test.filter(
        pc.is_in(split.test.column("user_id"), value_set=pa.array(shoppers, pa.string()))
    )
    train = aggregate_interactions(split.train, interest, cutoff)
    return EvaluationLog(before, after, train, test, since, shoppers, viewers)


def _draw(users: pa.ChunkedArray, most: int, seed: int) -> tuple[str, ...]:
    names = sorted(users.unique().to_pylist())
    if len(names) <= most:
        return tuple(names)
    drawn = np.random.default_rng(seed).choice(len(names), most, replace=False)
    return tuple(names[place] for place in sorted(drawn))
