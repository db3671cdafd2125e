"""`vrec evaluate` on many events in shards: weighed by tasks, and compared in one more task."""

from dataclasses import dataclass, replace
from functools import reduce
from operator import or_

import pyarrow as pa

from vrec.config.settings import Settings
from vrec.core.masking import mask_credentials
from vrec.core.schema import EVENTS
from vrec.core.types import CatalogContent
from vrec.core.uris import absolute_uri
from vrec.evaluation.reports.comparison import ComparisonReport
from vrec.events.consents import ShopperConsents
from vrec.events.shards.manifest import EventShards, ShardFile
from vrec.events.shards.weigh import ShardCounts, WeighJob, sum_pairs, weigh_shard
from vrec.pipelines.consent_drops import consent_drops
from vrec.pipelines.evaluate.report import build_report
from vrec.pipelines.evaluate.run import run_comparison
from vrec.pipelines.fit.sharded import PAIR_BYTES, judge_shards
from vrec.pipelines.gates import GateOptions
from vrec.pipelines.inputs import (
    InputData,
    InputPaths,
    check_recommended,
    consents_of,
    count_absent,
    read_content,
    read_videos,
)
from vrec.pipelines.task_runner import BASE_BYTES, TaskCall, TaskRunner, event_memory


@dataclass(frozen=True, slots=True)
class ComparisonOrder:
    """Comparison for a task to run."""

    inputs: InputData
    """Without interactions."""
    settings: Settings
    like_paper: bool
    address: str | None


def compare_shards(
    tasks: TaskRunner,
    table: EventShards,
    paths: InputPaths,
    settings: Settings,
    *,
    like_paper: bool = False,
    address: str | None = None,
) -> ComparisonReport:
    """Compare recommenders like `evaluate` on events in shards.

    A call weighs each shard, and one call, which asks for the memory, splits, fits and evaluates. This
    process holds the catalog's content and the report.
    """
    config = settings.events
    videos = read_videos(paths.videos) if paths.videos else None
    check_recommended(config.of, videos)
    consents = consents_of(paths, config)
    job = WeighJob(absolute_uri(paths.events), config.interest, config.of)
    shared = tasks.share(videos), tasks.share(consents)
    judge_shards(tasks, table, job, (config.gates, GateOptions(policy="warn")), shared)
    calls = [TaskCall(_weigh, (job, *shared, file), event_memory(file.rows), 1) for file in table.files]
    weighed = tasks.run(calls)
    counts: list[ShardCounts] = [one for (one, _), _ in weighed]
    consent = None
    if paths.consent is not None:
        forms = reduce(or_, (one.forms for one in counts))
        absent = count_absent(consents, forms, paths)
        shoppers, events = (sum_pairs(counts, name) for name in ("shoppers", "events"))
        consent = consent_drops(shoppers, events, absent, paths.consent)
    none = EVENTS.arrow().empty_table()
    inputs = InputData(
        mask_credentials(paths.events), none, none, None, has_clock=True,
        duplicates=table.duplicates, future_events=table.future, consent=consent,
    )  # fmt: skip
    order = ComparisonOrder(inputs, settings, like_paper, address)
    content = tasks.share(read_content(paths, config.of, settings.fit.modality, videos, consents))
    memory = BASE_BYTES + PAIR_BYTES * sum(rows for (_, rows), _ in weighed)
    call = TaskCall(_compare, (order, content, *(payloads[0] for _, payloads in weighed)), memory)
    return tasks.run([call])[0][0]


def _weigh(
    job: WeighJob, videos: pa.Table | None, consents: ShopperConsents, file: ShardFile
) -> tuple[tuple[ShardCounts, int], pa.Table]:
    """Return counts, and the INTERACTIONS of a shard with their number."""
    weighed = weigh_shard(job, videos, consents, file)
    return (weighed.counts, weighed.interactions.num_rows), weighed.interactions


def _compare(
    order: ComparisonOrder, content: CatalogContent | None, *interactions: pa.Table
) -> ComparisonReport:
    inputs = replace(order.inputs, content=content, interactions=pa.concat_tables(interactions))
    outcome = run_comparison(inputs, order.settings, like_paper=order.like_paper, address=order.address)
    return build_report(outcome, order.settings.evaluate)
