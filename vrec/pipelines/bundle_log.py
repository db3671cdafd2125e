"""Log of a bundle, in one table or in shards: interactions, figures of creators, the last event."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from vrec.config.settings import Settings
from vrec.core.compute import pc
from vrec.core.types import CatalogContent
from vrec.core.uris import absolute_uri
from vrec.events.consents import ShopperConsents
from vrec.events.creators import follows_from_events
from vrec.events.interactions import aggregate_interactions
from vrec.events.links import without_accounts
from vrec.events.shards.manifest import EventShards, ShardFile
from vrec.events.shards.stages import read_shard
from vrec.events.shards.weigh import WeighJob, recommended_rows
from vrec.pipelines.consent_drops import consent_drops
from vrec.pipelines.fit.sharded import interactions_of, judge_shards
from vrec.pipelines.gates import GateOptions
from vrec.pipelines.inputs import (
    InputData,
    InputPaths,
    consents_of,
    count_absent,
    inputs_report,
    log_end,
    report_of,
)
from vrec.pipelines.shards.gather import GatheredShards, gather_shards
from vrec.pipelines.task_runner import TaskCall, TaskRunner, event_memory
from vrec.profiles.creators import (
    CreatorCounts,
    CreatorStatisticsConfig,
    count_followers,
    creator_figures,
    creator_statistics,
)


@dataclass(frozen=True, eq=False, slots=True)
class BundleLog:
    """Part of a bundle that is made of events."""

    interactions: pa.Table
    """INTERACTIONS, aggregated."""
    creators: pa.Table
    """CREATORS."""
    events: int
    end: int | None
    """Time of the last event, µs since 1970; None without any."""
    report: dict[str, Any]
    """Entries of the report about the inputs."""


@dataclass(frozen=True, eq=False, slots=True)
class ShardedLog:
    """The same of events in shards; interactions stay where they were weighed."""

    gathered: GatheredShards
    creators: pa.Table
    end: int | None
    report: dict[str, Any]

    def with_interactions(self, blocks: Sequence[Any]) -> BundleLog:
        """Return what a bundle needs, given the blocks of `gathered`."""
        events = self.gathered.recommended
        return BundleLog(interactions_of(blocks), self.creators, events, self.end, self.report)


def log_of_inputs(data: InputData, settings: Settings) -> BundleLog:
    """Return what a bundle needs of inputs with VIDEOS that have been read."""
    return BundleLog(
        aggregate_interactions(data.interactions, settings.events.interest),
        _creators(data),
        data.events.num_rows,
        log_end(data.events),
        inputs_report(data),
    )


def log_of_shards(
    tasks: TaskRunner,
    table: EventShards,
    paths: InputPaths,
    settings: Settings,
    *,
    content: CatalogContent,
    gates: GateOptions,
) -> ShardedLog | None:
    """Return what a bundle needs of events in shards; None where rows at fault have to be cut first.

    Args:
        tasks: Runner of a call per shard.
        table: The shards.
        paths: Tables.
        settings: `events`.
        content: VIDEOS, and FOLLOWS if there are any.
        gates: Options of the data gates.
    """
    consents = consents_of(paths, settings.events)
    job = WeighJob(absolute_uri(paths.events), settings.events.interest, "video")
    videos, shared = tasks.share(content.videos), tasks.share(consents)
    outcome = judge_shards(tasks, table, job, (settings.events.gates, gates), (videos, shared))
    if outcome is not None and outcome.policy == "cut" and outcome.report.faults:
        return None
    gathered = gather_shards(table, job, videos, shared, tasks)
    consent = None
    if paths.consent is not None:
        absent = count_absent(consents, gathered.forms, paths)
        consent = consent_drops(gathered.shoppers, gathered.events, absent, paths.consent)
    calls = [TaskCall(_count, (job, videos, shared, file), event_memory(file.rows)) for file in table.files]
    counted: list[tuple[CreatorCounts, pl.DataFrame, int | None]] = [one for one, _ in tasks.run(calls)]
    followers = pl.concat([one[1] for one in counted]).group_by("creator_id").sum()
    if _names_creators(content.follows):
        followers = count_followers(content.follows)
    assert content.videos is not None
    merged, config = CreatorCounts.merge([one[0] for one in counted]), CreatorStatisticsConfig()
    creators = creator_figures(merged, content.videos, followers, config)
    ends = [end for _, _, end in counted if end is not None]
    return ShardedLog(gathered, creators, max(ends, default=None), report_of(consent, outcome))


def _count(
    job: WeighJob, videos: pa.Table, consents: ShopperConsents, file: ShardFile
) -> tuple[CreatorCounts, pl.DataFrame, int | None]:
    """Return counts of creators in a shard, their followers by its events, and the time of its last event."""
    events = consents.keep(without_accounts(read_shard(job.events, file)), "train")
    counts = CreatorCounts.of(events, videos, CreatorStatisticsConfig())
    followers = count_followers(follows_from_events(events, videos))
    return counts, followers, log_end(recommended_rows(job.of, videos)(events))


def _creators(data: InputData) -> pa.Table:
    """Return CREATORS by the events, and by FOLLOWS if given, else by the follows among the events."""
    assert data.content is not None
    assert data.content.videos is not None
    events = data.events
    if data.about_creators is not None:
        events = pa.concat_tables([events, data.about_creators])
    follows = data.content.follows
    if not _names_creators(follows):
        follows = follows_from_events(events, data.content.videos)
    return creator_statistics(events, data.content.videos, follows)


def _names_creators(follows: pa.Table | None) -> bool:
    return follows is not None and bool(pc.any(pc.not_equal(follows.column("entity"), "user")).as_py())
