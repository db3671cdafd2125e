"""`vrec train ranker`: from logged impressions to a ranker's folder, tested on the latest of them.

`train_on_inputs` and `train_on_shards` read in the order of their stages: build examples → train → predict,
evaluate and save.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vrec.config.settings import Settings
from vrec.config.train_ranker import TrainRankerConfig
from vrec.core.digest import digest
from vrec.core.tables import StorageFolder, tables_digest
from vrec.core.types import CatalogContent
from vrec.core.uris import absolute_uri
from vrec.events.shards.manifest import EventShards
from vrec.events.shards.weigh import WeighJob, sum_pairs
from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
from vrec.pipelines.consent_drops import consent_drops
from vrec.pipelines.fit.sharded import judge_shards, large_shards
from vrec.pipelines.gates import GateOptions
from vrec.pipelines.inputs import (
    InputData,
    InputPaths,
    check_recommended,
    consents_of,
    count_absent,
    input_fingerprint,
    inputs_report,
    log_end,
    read_content,
    read_inputs,
    read_videos,
    report_of,
)
from vrec.pipelines.ray_tasks import RayTasks
from vrec.pipelines.task_runner import BASE_BYTES, Payload, TaskCall, TaskRunner
from vrec.pipelines.train.data_parallel import CHECKPOINTS, TrainingResult, TrainingTask, train_network
from vrec.pipelines.train.event_shards import part_shards, read_shards
from vrec.pipelines.train.example_files import EXAMPLE_BYTES, EXAMPLES, FileParts, write_examples
from vrec.pipelines.train.example_stream import StreamedRankerTask
from vrec.pipelines.train.finish import METRICS_CONFIG, RankerOrder, finish_ranker
from vrec.pipelines.train.impressions import (
    Fitted,
    PartedLog,
    choose_heads,
    part_events,
    replay_parts,
)
from vrec.ranking.example_parts import Examples, as_parts
from vrec.ranking.example_tables import LABELS, ExampleTable
from vrec.ranking.network_ranker import build_untrained
from vrec.ranking.networks.watch_heads import WatchHead, fit_watch_head
from vrec.ranking.training import RankerTrainer
from vrec.training.epochs import TrainingWorker
from vrec.training.workers import WORKER_FIELDS, WorkersConfig

__all__ = ["METRICS_CONFIG", "RankerTrainingTask", "run_name", "train_on_inputs", "train_ranker"]

_log = logging.getLogger(__name__)

Train = Callable[[TrainingTask, str, str], TrainingResult]
"""`train_network` or `train_in_process`."""


@dataclass(frozen=True, slots=True)
class RankerTrainingTask:
    """Training of a ranking network on impressions in memory; implements `TrainingTask`."""

    config: TrainRankerConfig
    train: Examples
    valid: Examples

    @property
    def workers_config(self) -> WorkersConfig:
        """Number and resources of the workers."""
        return self.config

    def trainer(self, worker: TrainingWorker) -> RankerTrainer:
        """Return the trainer of one worker; raises RankError for impressions that are not sufficient."""
        config = self.config.model
        network, head = build_untrained(config, self.train[0].shape, self.train[1])
        splits = {"train": self.train, "valid": self.valid}
        return RankerTrainer(network, config.heads, head, **splits, config=config.training, worker=worker)


def train_ranker(
    inputs: InputPaths, out: str, settings: Settings, *, address: str | None = None
) -> dict[str, Any]:
    """Train a ranker, write it to the folder `out` and return a summary with its test metrics.

    The log is replayed and split by time into train, validation and test; Ray Train trains the network and
    continues from its last epoch where an earlier run with the same log and settings was interrupted.
    `test.json` in the folder holds all metrics, and in `unjudged` the heads that the validation split could
    not evaluate. Events in shards, if there are many, are read by tasks, and this process holds none of them;
    more examples than `train.ranker.local_examples` are written to files and read a part at a time.

    Raises:
        EventsError, SchemaError, SourceError, RankError: the input cannot be used.
        OutputError: the folder cannot be written.
        ClusterError: Ray cannot be reached, or workers were lost more often than `failures` allows.
    """
    StorageFolder(out).check_writable()
    if (table := large_shards(inputs, settings, address)) is not None:
        with connect_cluster(address), unwrap_ray_errors():
            done = train_on_shards(RayTasks(), table, inputs, out, settings)
        if done is not None:
            return done
    data = read_inputs(inputs, settings.events, settings.fit.modality, GateOptions(out))
    done = train_on_inputs(data, out, settings.train.ranker, address=address)
    if data.gates is not None:
        data.gates.save(out)
    return done


def train_on_inputs(
    inputs: InputData,
    out: str,
    config: TrainRankerConfig,
    *,
    address: str | None = None,
    train: Train = train_network,
) -> dict[str, Any]:
    """Train like `train_ranker`, on inputs that have been read."""
    out, begun, content = absolute_uri(out), time.perf_counter(), inputs.content or CatalogContent()
    config, left_out = choose_heads(inputs.events, content, config)
    name = run_name(input_fingerprint(inputs), config)
    order = RankerOrder(out, config, {**left_out}, name, inputs_report(inputs), log_end(inputs.events))
    with connect_cluster(address), unwrap_ray_errors():
        _log.info("replaying %s events for the features of each impression", f"{inputs.events.num_rows:,}")
        tasks = RayTasks()
        parted = part_events(inputs.events, content, config, tasks)
        return _train(order, parted, tasks, begun, train)


def train_on_shards(
    tasks: TaskRunner,
    table: EventShards,
    paths: InputPaths,
    out: str,
    settings: Settings,
    *,
    train: Train = train_network,
) -> dict[str, Any] | None:
    """Train like `train_ranker` on events in shards; None where rows at fault have to be cut first."""
    out, begun, config = absolute_uri(out), time.perf_counter(), settings.events
    videos = read_videos(paths.videos) if paths.videos else None
    check_recommended(config.of, videos)
    consents = consents_of(paths, config)
    job = WeighJob(absolute_uri(paths.events), config.interest, config.of)
    shared = tasks.share(videos), tasks.share(consents)
    outcome = judge_shards(tasks, table, job, (config.gates, GateOptions(out)), shared)
    if outcome is not None and outcome.policy == "cut" and outcome.report.faults:
        _log.info("rows at fault have to be cut: the events are read in this process")
        return None
    read = read_shards(table, job, *shared, tasks)
    consent = None
    if paths.consent is not None:
        absent = count_absent(consents, read.forms, paths)
        pairs = sum_pairs(read.counts, "shoppers"), sum_pairs(read.counts, "events")
        consent = consent_drops(*pairs, absent, paths.consent)
    content = read_content(paths, config.of, settings.fit.modality, videos, consents) or CatalogContent()
    parted, chosen, left_out = part_shards(read, content, settings.train.ranker, tasks)
    shards = [file.sha256 for file in table.files]
    data = digest({"shards": shards, "content": tables_digest(content.videos, content.embeddings)})
    name, report = run_name(data, chosen), report_of(consent, outcome)
    order = RankerOrder(out, chosen, {**left_out}, name, report, read.last)
    _log.info("replaying %s events for the features of each impression", f"{sum(read.rows):,}")
    done = _train(order, parted, tasks, begun, train)
    if outcome is not None:
        outcome.save(out)
    return done


def _train(
    order: RankerOrder, parted: PartedLog, tasks: TaskRunner, begun: float, train: Train
) -> dict[str, Any]:
    """Build the examples, train and finish; examples are in memory, or in files if there are many."""
    for head, reason in order.left_out.items():
        _log.info("the head %s is left out: %s", head, reason)
    in_files = train is train_network and parted.impressions > order.config.local_examples
    made = _train_on_files(order, parted, tasks) if in_files else _train_here(order, parted, tasks, train)
    summary, replayed, ended = made
    if train is train_network:
        StorageFolder(order.out).remove_folder(CHECKPOINTS)
    seconds = {"replay_s": round(replayed - begun, 3), "train_s": round(ended - replayed, 3)}
    return {"out": order.out, **summary, **seconds}


def _train_here(
    order: RankerOrder, parted: PartedLog, tasks: TaskRunner, train: Train
) -> tuple[dict[str, Any], float, float]:
    """Train on examples in memory; return a summary, and when the examples and the training were done."""
    config, content = order.config, parted.log.content
    examples = replay_parts(parted.parts, parted.log, tasks)
    replayed, test = time.perf_counter(), examples.test
    splits = tuple((split.features, split.labels) for split in (examples.train, examples.validation))
    _announce(*(len(labels) for _, labels in splits))
    trained = train(RankerTrainingTask(config, *splits), order.name, order.out)
    ended = time.perf_counter()
    _announce_best(trained)
    _, head = build_untrained(config.model, examples.space.shape, splits[0][1])
    parts = as_parts(splits[0]), as_parts(splits[1])
    tested = [ExampleTable(test.features, test.labels, test.rates, test.cold)]
    described = examples.space, content
    summary = finish_ranker(order, described, (trained, head), splits=parts, test=tested)
    return summary, replayed, ended


def _train_on_files(
    order: RankerOrder, parted: PartedLog, tasks: TaskRunner
) -> tuple[dict[str, Any], float, float]:
    """Train on example files like `_train_here`; this process holds none of the examples."""
    files = write_examples(parted, order.out, order.config.local_examples, tasks)
    replayed = time.perf_counter()
    space, catalog, *_ = tasks.fetch(files.fitted)
    train, valid, test = (files.parts(split, space, catalog) for split in ("train", "validation", "test"))
    _announce(sum(train.sizes), sum(valid.sizes))
    memory = BASE_BYTES + EXAMPLE_BYTES * max((*train.sizes, *valid.sizes, *test.sizes))
    head = None
    if "watch" in order.config.heads.tasks:
        head = tasks.run([TaskCall(_fit_head, (order.config, train), memory)])[0][0]
    trained = train_network(StreamedRankerTask(order.config, head, train, valid), order.name, order.out)
    ended = time.perf_counter()
    _announce_best(trained)
    content: Payload = tasks.share(parted.log.content)
    arguments = (order, files.fitted, content, (trained, head), (train, valid, test))
    summary = tasks.run([TaskCall(_finish, arguments, memory)])[0][0]
    StorageFolder(order.out).remove_folder(EXAMPLES)
    return summary, replayed, ended


def _announce(train: int, valid: int) -> None:
    _log.info("training on %s impressions, validated on %s", f"{train:,}", f"{valid:,}")


def _announce_best(trained: TrainingResult) -> None:
    _log.info("best epoch %d of %d; predicting the latest impressions", trained.best_epoch, trained.epochs)


def _fit_head(config: TrainRankerConfig, parts: FileParts) -> WatchHead:
    """Fit the watch head on the times of all training impressions."""
    folder, names = StorageFolder(parts.uri), [f"{LABELS}watch_s", f"{LABELS}duration_s"]
    tables = [folder.read_parquet(file.name, names) for file in parts.files]
    watch, duration = (
        np.concatenate([np.asarray(table.column(name).combine_chunks().flatten()) for table in tables])
        for name in names
    )
    return fit_watch_head(config.model.watch, watch, duration)


def _finish(
    order: RankerOrder,
    fitted: Fitted,
    content: CatalogContent,
    trained: tuple[TrainingResult, WatchHead | None],
    splits: tuple[FileParts, FileParts, FileParts],
) -> dict[str, Any]:
    train, valid, test = splits
    return finish_ranker(order, (fitted[0], content), trained, splits=(train, valid), test=test.tables())


def run_name(data: str, config: TrainRankerConfig) -> str:
    """Return a name that only runs with the same inputs and settings share, and with it their checkpoints.

    The number of workers and their resources may differ. `data` is a fingerprint of the inputs.
    """
    return digest({"data": data, "config": config.model_dump_json(exclude=set(WORKER_FIELDS))})
