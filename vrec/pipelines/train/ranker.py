"""`vrec train ranker`: from logged impressions to a ranker's folder, tested on the latest of them.

`train_on_inputs` reads in the order of its stages: build examples → train → predict → evaluate → save.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from vrec.config.settings import Settings
from vrec.config.train_ranker import TrainRankerConfig
from vrec.core.digest import digest
from vrec.core.tables import StorageFolder
from vrec.core.types import CatalogContent
from vrec.core.uris import absolute_uri
from vrec.evaluation.ranking.run import (
    RankerComparison,
    RankerEvaluation,
    RankerMetricsConfig,
    compare_rankers,
    evaluate_ranker,
)
from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
from vrec.pipelines.gates import GateOptions
from vrec.pipelines.inputs import (
    InputData,
    InputPaths,
    input_fingerprint,
    inputs_report,
    log_end,
    read_inputs,
)
from vrec.pipelines.train.data_parallel import CHECKPOINTS, TrainingResult, TrainingTask, train_network
from vrec.pipelines.train.impressions import ImpressionDataset, build_examples, choose_heads
from vrec.ranking.features.arrays import ImpressionLabels, RankingFeatures
from vrec.ranking.features.space import FeatureSpace
from vrec.ranking.network_ranker import NetworkRanker, build_untrained
from vrec.ranking.registry import LOG_END, TEST_REPORT
from vrec.ranking.training import RankerTrainer, heads_without_validation
from vrec.training.epochs import TrainingWorker
from vrec.training.workers import WORKER_FIELDS, WorkersConfig

_log = logging.getLogger(__name__)

METRICS_CONFIG = RankerMetricsConfig()


@dataclass(frozen=True, slots=True)
class RankerTrainingTask:
    """Training of a ranking network on impressions; implements `TrainingTask`."""

    config: TrainRankerConfig
    train: tuple[RankingFeatures, ImpressionLabels]
    valid: tuple[RankingFeatures, ImpressionLabels]

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


@dataclass(frozen=True, slots=True)
class RankerTestResult:
    """Evaluations of a ranker and of the smoothed-rate baseline on the same impressions."""

    ranker: RankerEvaluation
    rates: RankerEvaluation


def train_ranker(
    inputs: InputPaths, out: str, settings: Settings, *, address: str | None = None
) -> dict[str, Any]:
    """Train a ranker, write it to the folder `out` and return a summary with its test metrics.

    The log is replayed and split by time into train, validation and test; Ray Train trains the network and
    continues from its last epoch where an earlier run with the same log and settings was interrupted.
    `test.json` in the folder holds all metrics, and in `unjudged` the heads that the validation split could
    not evaluate.

    Raises:
        EventsError, SchemaError, SourceError, RankError: the input cannot be used.
        OutputError: the folder cannot be written.
        ClusterError: Ray cannot be reached, or workers were lost more often than `failures` allows.
    """
    StorageFolder(out).check_writable()
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
    train: Callable[[TrainingTask, str, str], TrainingResult] = train_network,
) -> dict[str, Any]:
    """Train like `train_ranker`, on inputs that have been read.

    `train` is `train_network` or `train_in_process`.
    """
    out, begun = absolute_uri(out), time.perf_counter()
    folder, content = StorageFolder(out), inputs.content or CatalogContent()
    config, left_out = choose_heads(inputs.events, content, config)
    for head, reason in left_out.items():
        _log.info("the head %s is left out: %s", head, reason)
    with connect_cluster(address), unwrap_ray_errors():
        # Build examples.
        _log.info("replaying %s events for the features of each impression", f"{inputs.events.num_rows:,}")
        examples = build_examples(inputs.events, content, config)
        replayed = time.perf_counter()

        # Train.
        sizes = len(examples.train.labels), len(examples.validation.labels)
        _log.info("training on {:,} impressions, validated on {:,}".format(*sizes))
        train_split, valid_split = (
            (split.features, split.labels) for split in (examples.train, examples.validation)
        )
        task = RankerTrainingTask(config, train_split, valid_split)
        trained = train(task, run_name(inputs, config), out)
        ended = time.perf_counter()

        # Predict.
        _log.info(
            "best epoch %d of %d; predicting the latest impressions", trained.best_epoch, trained.epochs
        )
        ranker = _ranker(task, examples.space, content, trained)
        predictions = ranker.predict(examples.test.features, at_logged_positions=True)

    # Evaluate.
    test, cold = examples.test, examples.cold
    tested = RankerTestResult(
        ranker=evaluate_ranker(predictions, test.labels, cold, METRICS_CONFIG),
        rates=evaluate_ranker(test.rates, test.labels, cold, METRICS_CONFIG),
    )
    compared = compare_rankers(
        predictions.p_click, test.rates.p_click, test.labels.click, test.labels.user, METRICS_CONFIG
    )
    unjudged = heads_without_validation(config.model.heads, examples.validation.labels)

    # Save.
    ranker.metrics = tested.ranker.overall.metrics
    ranker.save(out)
    report = {**asdict(tested), "against_rates": asdict(compared), "unjudged": unjudged}
    folder.write_json(TEST_REPORT, report | inputs_report(inputs) | {LOG_END: log_end(inputs.events)})
    if train is train_network:
        folder.remove_folder(CHECKPOINTS)
    seconds = {"replay_s": round(replayed - begun, 3), "train_s": round(ended - replayed, 3)}
    summary = _summary(ranker, examples=examples, trained=trained, tested=tested, compared=compared)
    summary |= {"heads_left_out": left_out, "unjudged": unjudged, **inputs_report(inputs)}
    return {"out": out, **summary, **seconds}


def _summary(
    ranker: NetworkRanker,
    *,
    examples: ImpressionDataset,
    trained: TrainingResult,
    tested: RankerTestResult,
    compared: RankerComparison,
) -> dict[str, Any]:
    """Return what `vrec train ranker --json` prints of a trained ranker."""
    return {
        "model": ranker.name,
        "impressions": {
            split: len(getattr(examples, split).labels) for split in ("train", "validation", "test")
        },
        "cold": int(examples.cold.sum()),
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "resumed_from": trained.resumed_from,
        "workers": trained.workers,
        "examples_per_s": round(trained.examples_per_s),
        "test": {
            name: evaluation.overall.metrics
            for name, evaluation in (("ranker", tested.ranker), ("rates", tested.rates))
        },
        "left_out": tested.ranker.overall.left_out,
        "click_auc_above_rates": asdict(compared.auc),
    }


def _ranker(
    task: RankerTrainingTask, space: FeatureSpace, content: CatalogContent, trained: TrainingResult
) -> NetworkRanker:
    config, train, valid = task.config.model, task.train, task.valid
    network, head = build_untrained(config, train[0].shape, train[1])
    network.load_state_dict({n: torch.from_numpy(np.array(array)) for n, array in trained.weights.items()})
    return NetworkRanker.from_training(config, space, content, network, head, train=train, valid=valid)


def run_name(inputs: InputData, config: TrainRankerConfig) -> str:
    """Return a name that only runs with the same inputs and settings share, and with it their checkpoints.

    The number of workers and their resources may differ.
    """
    settings = config.model_dump_json(exclude=set(WORKER_FIELDS))
    return digest({"data": input_fingerprint(inputs), "config": settings})
