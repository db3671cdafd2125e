"""Log of a ranker from events in shards, each read by a task and none of them in this process."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.config.train_ranker import TrainRankerConfig
from vrec.core.schema import EVENTS
from vrec.core.types import CatalogContent
from vrec.events.consents import ShopperConsents, ShopperForms
from vrec.events.shards.manifest import EventShards, ShardFile
from vrec.events.shards.weigh import ShardCounts, WeighJob, read_consented
from vrec.pipelines.task_runner import BASE_BYTES, Payload, TaskCall, TaskRunner, event_memory
from vrec.pipelines.train.impressions import (
    PartedLog,
    check_shown,
    heads_of,
    replayed_log,
    shown_times,
    training_outcomes,
)
from vrec.ranking.config import LogSplitConfig
from vrec.ranking.example_parts import Outcomes
from vrec.ranking.labels import LogSplit, split_log
from vrec.ranking.networks.config import TaskName

TIME_BYTES = 30
"""Memory of the time of an impression while all are sorted."""


@dataclass(frozen=True, slots=True)
class ReadShards:
    """Events of all shards with consent. The payloads stay where they were read."""

    events: tuple[Payload, ...]
    """EVENTS by the number of the shard."""
    rows: tuple[int, ...]
    times: tuple[Payload, ...]
    """Times of the impressions, µs since 1970."""
    counts: tuple[ShardCounts, ...]

    @property
    def last(self) -> int:
        """Time of the last event, µs since 1970."""
        return max(one.last for one in self.counts if one.last is not None)

    @property
    def forms(self) -> ShopperForms:
        """Forms of the ids of all shoppers."""
        return reduce(or_, (one.forms for one in self.counts))


def read_shards(
    table: EventShards, job: WeighJob, videos: Payload, consents: Payload, tasks: TaskRunner
) -> ReadShards:
    """Read all shards, with a call for each.

    Args:
        table: The shards.
        job: Settings.
        videos: VIDEOS or None.
        consents: ShopperConsents.
        tasks: Runner, which has `videos` and `consents`.
    """
    files = [table.file_of(number) for number in range(table.shards)]
    memory = [event_memory(0 if file is None else file.rows) for file in files]
    calls = [
        TaskCall(_read, (job, videos, consents, file), need, 2)
        for file, need in zip(files, memory, strict=True)
    ]
    done = tasks.run(calls)
    return ReadShards(
        tuple(payloads[0] for _, payloads in done),
        tuple(counts.recommended for counts, _ in done),
        tuple(payloads[1] for _, payloads in done),
        tuple(counts for counts, _ in done),
    )


def part_shards(
    shards: ReadShards, content: CatalogContent, config: TrainRankerConfig, tasks: TaskRunner
) -> tuple[PartedLog, TrainRankerConfig, dict[TaskName, str]]:
    """Return the log in the parts of the shards, and what `choose_heads` returns.

    Raises:
        RankError: The log cannot teach clicks, or a head that the config names, or cannot be split.
    """
    memory = BASE_BYTES + TIME_BYTES * sum(shards.rows)
    total = sum(shards.rows)
    count, split = tasks.run([TaskCall(_split, (config.split, total, *shards.times), memory)])[0][0]
    videos = tasks.share(content.videos)
    outcomes: Sequence[Outcomes] = [
        found
        for found, _ in tasks.run(
            [
                TaskCall(training_outcomes, (videos, config, split, events), event_memory(rows))
                for events, rows in zip(shards.events, shards.rows, strict=True)
            ]
        )
    ]
    config, left_out = heads_of(config, Outcomes.merge(outcomes))
    log = replayed_log(content, config, split, shards.last, count)
    return PartedLog([*zip(shards.rows, shards.events, strict=True)], log, count), config, left_out


def _read(
    job: WeighJob, videos: pa.Table | None, consents: ShopperConsents, file: ShardFile | None
) -> tuple[ShardCounts, pa.Table, npt.NDArray[np.int64]]:
    if file is None:
        none = EVENTS.arrow().empty_table()
        return (
            ShardCounts((0, 0), (0, 0), 0, consents.forms_of(pa.array([], pa.string())), None),
            none,
            shown_times(none),
        )
    counts, events = read_consented(job, videos, consents, file)
    return counts, events, shown_times(events)


def _split(config: LogSplitConfig, events: int, *times: Any) -> tuple[int, LogSplit]:
    """Return the number of impressions and their split."""
    at = np.concatenate(times)
    check_shown(len(at), events)
    return len(at), split_log(at, config)
