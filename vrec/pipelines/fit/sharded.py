"""`vrec fit` on many events in shards: weighed and fitted by tasks on Ray, none of them in this process."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from vrec.config.fit import FitConfig
from vrec.config.settings import Settings
from vrec.core.schema import INTERACTIONS
from vrec.core.tables import StorageFolder
from vrec.core.types import CatalogContent
from vrec.core.uris import absolute_uri, is_uri, join_uri
from vrec.events.shards.manifest import EventShards, open_shards
from vrec.events.shards.weigh import WeighJob
from vrec.pipelines.consent_drops import consent_drops
from vrec.pipelines.fit.local import fit_model
from vrec.pipelines.gates import (
    GateOptions,
    GateOutcome,
    good_days_of,
    show_findings,
    stop_at_faults,
)
from vrec.pipelines.inputs import (
    InputPaths,
    check_recommended,
    consents_of,
    count_absent,
    read_content,
    read_videos,
    report_of,
)
from vrec.pipelines.shards.gather import GatheredShards, gather_shards
from vrec.pipelines.shards.judge import judge_call
from vrec.pipelines.task_runner import BASE_BYTES, Payload, TaskCall, TaskRunner
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.fit_report import report_lines
from vrec.retrieval.interaction_blocks import InteractionBlock, merge_blocks
from vrec.retrieval.interaction_matrix import to_interactions
from vrec.retrieval.similarity import map_in_threads
from vrec.robustness.gates.config import GatesConfig

_log = logging.getLogger(__name__)

TRIALS = "trials"
"""Subfolder of a model for the finished trials of an unfinished fit; removed when the model is saved."""
PAIR_BYTES = 250
"""Memory of a fit for a pair of user and video, beside what the model itself needs."""


def trials_folder(out: str, address: str | None) -> str | None:
    """Return the folder for trials; None where a task cannot write there, as on another machine's disk."""
    return join_uri(out, TRIALS) if address is None or is_uri(out) else None


def large_shards(paths: InputPaths, settings: Settings, address: str | None) -> EventShards | None:
    """Return the shards of events that are to be weighed by tasks; None where this process reads them.

    It reads events that are few, linked to accounts of other domains, defended against fake shoppers,
    without shoppers in quarantine, or with videos that are held back.
    """
    if paths.dataset is not None or paths.links is not None or paths.mapping:
        return None
    if settings.events.quarantine is not None or settings.bundle.hold_back:
        return None
    table = open_shards(paths.events)
    if table is None or (address is None and table.rows <= settings.events.shards.local_events):
        return None
    defence = settings.robustness.defence
    if defence.drop_promoted or defence.clip_videos is not None or defence.shopper_weights is not None:
        return None
    missing = settings.events.read.missing_ids
    return table if table.settings["missing_ids"] in ("refuse", missing) else None


@dataclass(frozen=True, slots=True)
class FitOrder:
    """Fit for a task to run."""

    model: str
    config: RetrievalConfig
    resources: FitConfig
    report: dict[str, Any]
    """Entries of the model's report about its inputs."""
    out: str
    saves: bool
    """Whether the task can write to `out`; if not it returns the model."""
    trials: str | None
    on_ray: bool


@dataclass(frozen=True, slots=True)
class FitSummary:
    """Figures of a fit."""

    sizes: dict[str, int]
    report: dict[str, Any]
    fit_s: float
    save_s: float


def fit_shards(
    table: EventShards,
    paths: InputPaths,
    out: str,
    settings: Settings,
    *,
    model: str,
    address: str | None = None,
) -> dict[str, Any] | None:
    """Fit on a cluster like `fit`, on events in shards; None where rows at fault have to be cut first.

    This process holds counts, the catalog's content and references. The task of the fit writes the model,
    or returns it where `out` is on this machine's disk and the cluster elsewhere.
    """
    from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
    from vrec.pipelines.ray_tasks import RayTasks

    with connect_cluster(address), unwrap_ray_errors():
        return fit_with(RayTasks(), table, paths, out, settings, model=model, address=address)


def fit_with(
    tasks: TaskRunner,
    table: EventShards,
    paths: InputPaths,
    out: str,
    settings: Settings,
    *,
    model: str,
    address: str | None = None,
) -> dict[str, Any] | None:
    """Fit like `fit_shards`, by a runner of tasks."""
    out, config = absolute_uri(out), settings.events
    videos = read_videos(paths.videos) if paths.videos else None
    check_recommended(config.of, videos)
    consents = consents_of(paths, config)
    job = WeighJob(absolute_uri(paths.events), config.interest, config.of)
    shared = tasks.share(videos), tasks.share(consents)
    # After consent: nothing is counted of those who do not agree.
    outcome = judge_shards(tasks, table, job, (config.gates, GateOptions(out)), shared)
    if outcome is not None and outcome.policy == "cut" and outcome.report.faults:
        _log.info("rows at fault have to be cut: the events are read in this process")
        return None
    gathered = gather_shards(table, job, *shared, tasks)
    consent = None
    if paths.consent is not None:
        absent = count_absent(consents, gathered.forms, paths)
        consent = consent_drops(gathered.shoppers, gathered.events, absent, paths.consent)
    inputs = report_of(consent, outcome)
    _log.info("fitting %s on %s events", model, f"{gathered.recommended:,}")
    trials = trials_folder(out, address)
    order = FitOrder(
        model, settings.retrieval, settings.fit, inputs, out, trials is not None, trials, tasks.on_ray
    )
    content = tasks.share(read_content(paths, config.of, settings.fit.modality, videos, consents))
    summary, payloads = tasks.run([_fit_call(order, content, gathered)])[0]
    if not order.saves:
        save_model(tasks.fetch(payloads[0]), out)
    if outcome is not None:
        outcome.save(out)
    for line in report_lines(summary.report):
        _log.info("%s", line)
    return {
        "model": model,
        "out": out,
        "events": gathered.recommended,
        "duplicates": table.duplicates,
        "future": table.future,
        **inputs,
        **summary.sizes,
        "fit_s": round(summary.fit_s, 3),
        "save_s": round(summary.save_s, 3),
        "chosen": summary.report,
    }


def judge_shards(
    tasks: TaskRunner,
    table: EventShards,
    job: WeighJob,
    options: tuple[GatesConfig, GateOptions],
    shared: tuple[Payload, Payload],
) -> GateOutcome | None:
    """Judge the events by the data gates like `gate_events`, in a task; nothing is cut."""
    config, folder = options[1].apply(options[0]), options[1].folder
    if config.policy == "skip":
        return None
    videos, consents = shared
    good = good_days_of(config, folder)
    call = judge_call(table, job, config, good, videos=videos, consents=consents)
    report, days = tasks.run([call])[0][0]
    stop_at_faults(report, config)
    if config.policy != "cut" or not report.faults:
        show_findings(report, config)
    return GateOutcome(report, days, pa.array([], pa.string()), config.policy)


def _fit_call(order: FitOrder, content: Payload, gathered: GatheredShards) -> TaskCall:
    arguments = (order, content, len(gathered.blocks), *gathered.blocks, *gathered.hides)
    memory = BASE_BYTES + PAIR_BYTES * gathered.pairs
    resources = order.resources
    return TaskCall(_fit_blocks, arguments, memory, 1, cpus=resources.cpus, gpus=resources.gpus)


def _fit_blocks(
    order: FitOrder, content: CatalogContent | None, count: int, *payloads: Any
) -> tuple[FitSummary, MatrixRecommender | None]:
    """Fit on the first `count` payloads, blocks; the rest are hides. Return the model if it is not saved."""
    table = interactions_of(payloads[:count])
    mapper = map_in_threads
    if order.on_ray:
        from vrec.pipelines.fit.tasks import map_blocks_on_ray, spreads_blocks

        mapper = map_blocks_on_ray if spreads_blocks(order.resources) else map_in_threads
    fitted, fit_s = fit_model(order.model, order.config, table, content, mapper, trials=order.trials)
    pair = [("user_id", "ascending"), ("video_id", "ascending")]
    fitted.hides = pa.concat_tables(payloads[count:]).sort_by(pair).combine_chunks()
    fitted.report |= order.report
    begun = time.perf_counter()
    if order.saves:
        save_model(fitted, order.out)
    summary = FitSummary(fitted.sizes, fitted.report, fit_s, time.perf_counter() - begun)
    return summary, None if order.saves else fitted


def interactions_of(blocks: Sequence[InteractionBlock]) -> pa.Table:
    """Return the INTERACTIONS of blocks, sorted by user and video."""
    if not blocks:
        return INTERACTIONS.arrow().empty_table()
    block = merge_blocks(blocks)
    return to_interactions(block.histories, block.users, block.videos)


def save_model(fitted: MatrixRecommender, out: str) -> None:
    """Write a model, and remove the trials that it was chosen by."""
    fitted.save(out)
    StorageFolder(out).remove_folder(TRIALS)
