"""Interactions of one shard of events, with the counts that the report of a fit needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import pyarrow as pa

from vrec.core.compute import pc
from vrec.events.config import InterestConfig, Recommended
from vrec.events.consents import ShopperConsents, ShopperForms
from vrec.events.creators import with_creators, without_creator_events
from vrec.events.hiding import last_hides
from vrec.events.interactions import weigh_events
from vrec.events.links import without_accounts
from vrec.events.shards.manifest import ShardFile
from vrec.events.shards.stages import read_shard


@dataclass(frozen=True, slots=True)
class WeighJob:
    """Settings of weighing events, for workers."""

    events: str
    """Folder of the shards."""
    interest: InterestConfig
    of: Recommended


@dataclass(frozen=True, slots=True)
class ShardCounts:
    """Counts of a shard."""

    shoppers: tuple[int, int]
    """With events, before and after those without consent are left out."""
    events: tuple[int, int]
    """Likewise."""
    recommended: int
    """Events about what is recommended, of those with consent."""
    forms: ShopperForms
    last: int | None
    """Time of the last interaction, µs since 1970; None without any."""


def sum_pairs(counts: Sequence[ShardCounts], name: Literal["shoppers", "events"]) -> tuple[int, int]:
    """Return the sums over shards, before and after those without consent are left out."""
    pairs: list[tuple[int, int]] = [getattr(one, name) for one in counts]
    return sum(before for before, _ in pairs), sum(after for _, after in pairs)


@dataclass(frozen=True, slots=True)
class WeighedShard:
    """Events of a shard, weighed."""

    counts: ShardCounts
    interactions: pa.Table
    """INTERACTIONS, neither decayed nor aggregated."""
    hides: pa.Table
    """As `last_hides` returns them."""


def read_consented(
    job: WeighJob, videos: pa.Table | None, consents: ShopperConsents, file: ShardFile
) -> tuple[ShardCounts, pa.Table]:
    """Return the EVENTS of a shard of shoppers who consent to fits, and counts; `last` is of all events."""
    of_shoppers = without_accounts(read_shard(job.events, file))
    kept = consents.keep(of_shoppers, "train")
    events = recommended_rows(job.of, videos)(kept)
    return _counts(consents, (of_shoppers, kept, events), events), events


def weigh_shard(
    job: WeighJob, videos: pa.Table | None, consents: ShopperConsents, file: ShardFile
) -> WeighedShard:
    """Weigh the events of a shard, of shoppers who consent to fits."""
    of_shoppers = without_accounts(read_shard(job.events, file))
    kept = consents.keep(of_shoppers, "train")
    recommended = recommended_rows(job.of, videos)
    about = recommended(kept)
    interactions = recommended(weigh_events(kept, job.interest, videos))
    counts = _counts(consents, (of_shoppers, kept, about), interactions)
    return WeighedShard(counts, interactions, last_hides(about))


def _counts(
    consents: ShopperConsents, tables: tuple[pa.Table, pa.Table, pa.Table], timed: pa.Table
) -> ShardCounts:
    """Count the events of all shoppers, of those with consent, and about what is recommended."""
    shoppers = [pc.unique(table.column("user_id")) for table in tables[:2]]
    return ShardCounts(
        (len(shoppers[0]), len(shoppers[1])),
        (tables[0].num_rows, tables[1].num_rows),
        tables[2].num_rows,
        consents.forms_of(shoppers[0]),
        pc.max(timed.column("at").cast(pa.int64())).as_py(),
    )


def recommended_rows(of: Recommended, videos: pa.Table | None) -> Callable[[pa.Table], pa.Table]:
    """Return the function that gives a table's rows for what is recommended; creators need VIDEOS."""
    if of == "video":
        return without_creator_events
    assert videos is not None
    return partial(with_creators, videos=videos)
