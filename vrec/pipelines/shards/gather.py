"""Interactions of all shards of events, weighed and aggregated shard by shard."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any

import pyarrow as pa

from vrec.events.config import InterestConfig
from vrec.events.consents import ShopperConsents, ShopperForms
from vrec.events.interactions import aggregate_interactions
from vrec.events.shards.manifest import EventShards, ShardFile
from vrec.events.shards.weigh import ShardCounts, WeighJob, sum_pairs, weigh_shard
from vrec.pipelines.task_runner import Payload, TaskCall, TaskRunner, event_memory
from vrec.retrieval.interaction_blocks import InteractionBlock


@dataclass(frozen=True, slots=True)
class GatheredShards:
    """Aggregated interactions, one block per shard, and counts. The payloads stay where they were made."""

    blocks: tuple[Payload, ...]
    """InteractionBlocks, of shards with interactions."""
    pairs: int
    """Pairs of user and video in all blocks."""
    hides: tuple[Payload, ...]
    """As `last_hides` returns them."""
    shoppers: tuple[int, int]
    """With events, before and after those without consent are left out."""
    events: tuple[int, int]
    """Likewise."""
    recommended: int
    """Events about what is recommended."""
    forms: ShopperForms


def gather_shards(
    table: EventShards, job: WeighJob, videos: Payload, consents: Payload, tasks: TaskRunner
) -> GatheredShards:
    """Weigh and aggregate the events of all shards, with a call per shard.

    The blocks hold, to the bit, the interactions of `aggregate_interactions` of all events.

    Args:
        table: The shards.
        job: Settings.
        videos: VIDEOS or None, for durations and creators.
        consents: ShopperConsents.
        tasks: Runner, which has `videos` and `consents`.
    """
    calls = [
        TaskCall(_weigh, (job, videos, consents, file), event_memory(file.rows), 2) for file in table.files
    ]
    weighed = tasks.run(calls)
    counts: list[ShardCounts] = [one for (one, _), _ in weighed]
    blocks = [(pairs, payloads[0]) for (_, pairs), payloads in weighed]
    times = [one.last for one in counts if one.last is not None]
    if job.interest.half_life_days is not None and times:
        # Interactions decay towards the last of all shards.
        now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=max(times))
        calls = [
            TaskCall(_aggregate, (job.interest, now, rows), event_memory(file.rows), 1)
            for (_, rows), file in zip(blocks, table.files, strict=True)
        ]
        blocks = [(pairs, payloads[0]) for pairs, payloads in tasks.run(calls)]
    return GatheredShards(
        tuple(block for pairs, block in blocks if pairs),
        sum(pairs for pairs, _ in blocks),
        tuple(payloads[1] for _, payloads in weighed),
        sum_pairs(counts, "shoppers"),
        sum_pairs(counts, "events"),
        sum(one.recommended for one in counts),
        reduce(or_, (one.forms for one in counts)),
    )


def _weigh(
    job: WeighJob, videos: pa.Table | None, consents: ShopperConsents, file: ShardFile
) -> tuple[tuple[ShardCounts, int], Any, pa.Table]:
    """Return counts, and the number and block of the pairs; before decay, their INTERACTIONS instead."""
    weighed = weigh_shard(job, videos, consents, file)
    if job.interest.half_life_days is not None:
        return (weighed.counts, 0), weighed.interactions, weighed.hides
    pairs, block = _aggregate(job.interest, None, weighed.interactions)
    return (weighed.counts, pairs), block, weighed.hides


def _aggregate(
    interest: InterestConfig, now: datetime | None, interactions: pa.Table
) -> tuple[int, InteractionBlock]:
    pairs = aggregate_interactions(interactions, interest, now)
    return pairs.num_rows, InteractionBlock.from_interactions(pairs)
