"""Data gates on all shards of events."""

import pyarrow as pa

from vrec.events.consents import ShopperConsents
from vrec.events.links import without_accounts
from vrec.events.polars_tables import to_polars
from vrec.events.shards.manifest import EventShards
from vrec.events.shards.stages import read_shard
from vrec.events.shards.weigh import WeighJob
from vrec.pipelines.gates import batches_of, with_conflicts
from vrec.pipelines.task_runner import Payload, TaskCall, event_memory
from vrec.robustness.gates.check import EventsGate
from vrec.robustness.gates.config import GatesConfig
from vrec.robustness.gates.findings import GateReport
from vrec.robustness.gates.profile import GoodDays


def judge_call(
    table: EventShards,
    job: WeighJob,
    config: GatesConfig,
    good: GoodDays | None,
    *,
    videos: Payload,
    consents: Payload,
) -> TaskCall:
    """Return the call that counts all shards for the data gates, one after the other.

    It returns the report and the days as good ones. The counts are small, and cannot be added up.
    """
    memory = event_memory(max(file.rows for file in table.files))
    return TaskCall(_judge, (job.events, table, (config, good), videos, consents), memory)


def _judge(
    events: str,
    table: EventShards,
    judged_by: tuple[GatesConfig, GoodDays | None],
    videos: pa.Table | None,
    consents: ShopperConsents,
) -> tuple[GateReport, GoodDays]:
    config, good = judged_by
    gate = EventsGate(config, videos)
    for file in table.files:
        kept = consents.keep(without_accounts(read_shard(events, file)), "train")
        for batch in batches_of(to_polars(kept)):
            gate.add(batch)
    return with_conflicts(gate.report(good), table.conflicts), gate.good_days()
