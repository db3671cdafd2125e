"""Calls of the stages of `vrec.events.shards`, with the memory that each needs."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from vrec.events.shards.inputs import EventPart
from vrec.events.shards.manifest import ShardFile
from vrec.events.shards.stages import ShardJob, find_echoes, merge_bucket, read_part, write_shard
from vrec.pipelines.task_runner import Payload, TaskCall, event_memory

Sized = tuple[int, Payload]
"""Number of rows, by estimate, and EVENTS."""


def part_call(job: ShardJob, part: EventPart) -> TaskCall:
    """Return the call that reads a part; its payloads are hashes of event ids, and EVENTS by bucket."""
    return TaskCall(_read, (job, part), event_memory(part.rows), 1 + job.buckets)


def echo_call(job: ShardJob, file: ShardFile, hashes: Sequence[Payload]) -> TaskCall:
    """Return the call that finds a shard's events with new ids; its payloads: ids, and EVENTS by bucket."""
    return TaskCall(_find, (job, file.name, *hashes), event_memory(file.rows), 1 + job.buckets)


def merge_call(job: ShardJob, tables: Sequence[Sized]) -> TaskCall:
    """Return the call that deduplicates a bucket; its payloads are EVENTS by shard."""
    memory = event_memory(sum(rows for rows, _ in tables))
    return TaskCall(_merge, (job, *(table for _, table in tables)), memory, job.shards)


def write_call(
    job: ShardJob,
    number: int,
    old: ShardFile | None,
    gone: Payload | None,
    new: tuple[int, Sequence[Payload]],
) -> TaskCall:
    """Return the call that writes a shard, given the number of new events and these in tables."""
    rows, tables = new
    memory = event_memory(rows + (0 if old is None else old.rows))
    return TaskCall(write_shard, (job, number, None if old is None else old.name, gone, *tables), memory)


def _read(job: ShardJob, part: EventPart) -> tuple[Any, ...]:
    counts, hashes, tables = read_part(job, part)
    return counts, hashes, *tables


def _find(job: ShardJob, name: str, *hashes: Any) -> tuple[Any, ...]:
    count, ids, tables = find_echoes(job, name, *hashes)
    return count, ids, *tables


def _merge(job: ShardJob, *tables: pa.Table) -> tuple[Any, ...]:
    counts, split = merge_bucket(job, *tables)
    return counts, *split
