"""`vrec train ranker`: from logged impressions to a ranker's folder, tested on the latest of them."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from vrec.config.settings import Settings
from vrec.config.train_ranker import TrainRankerConfig
from vrec.core.digest import digest
from vrec.core.tables import StorageFolder, absolute_uri
from vrec.core.types import CatalogContent
from vrec.evaluation.ranking.run import (
    RankerEvaluation,
    RankerMetricsConfig,
    compare_rankers,
    evaluate_ranker,
)
from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
from vrec.pipelines.inputs import InputData, InputPaths, read_inputs
from vrec.pipelines.train.data_parallel import CHECKPOINTS, TrainingResult, TrainingTask, train_network
from vrec.pipelines.train.impressions import build_examples
from vrec.ranking.features.arrays import ImpressionLabels, RankingFeatures
from vrec.ranking.features.space import FeatureSpace
from vrec.ranking.network_ranker import NetworkRanker, build_untrained
from vrec.ranking.training import RankerTrainer, heads_without_validation
from vrec.training.epochs import TrainingWorker
from vrec.training.workers import WorkersConfig

REPORT = "test.json"
"""What the test part says of the ranker, beside its manifest."""
METRICS_CONFIG = RankerMetricsConfig()


@dataclass(frozen=True, slots=True)
class RankerTrainingTask:
    """A ranking network to train, and impressions; implements `Lesson`."""

    config: TrainRankerConfig
    train: tuple[RankingFeatures, ImpressionLabels]
    valid: tuple[RankingFeatures, ImpressionLabels]

    @property
    def workers_config(self) -> WorkersConfig:
        """Over how many workers the training is spread."""
        return self.config

    def trainer(self, worker: TrainingWorker) -> RankerTrainer:
        """The trainer of one worker; raises RankError for impressions that cannot teach."""
        config = self.config.model
        network, head = build_untrained(config, self.train[0].shape, self.train[1])
        parts = {"train": self.train, "valid": self.valid}
        return RankerTrainer(network, config.heads, head, **parts, config=config.training, worker=worker)


@dataclass(frozen=True, slots=True)
class RankerTestResult:
    """A ranker and the one on counts alone, judged on the same impressions."""

    ranker: RankerEvaluation
    rates: RankerEvaluation


def train_ranker(
    inputs: InputPaths, out: str, settings: Settings, *, address: str | None = None
) -> dict[str, Any]:
    """What was trained and how good it is, after writing the ranker to the folder `out`.

    The log is replayed and cut by time into parts to train, validate and test on; the network is trained by
    Ray Train and goes on from its last epoch where an earlier run with the same log and settings was stopped.
    `test.json` in the folder holds all metrics, and in `unjudged` the heads that the validation part could
    not judge. Raises EventsError, SchemaError, SourceError or RankError for what cannot be used, OutputError
    for a folder that cannot be written, ClusterError where Ray cannot be reached or workers are lost again
    and again.
    """
    StorageFolder(out).check_writable()
    material = read_inputs(inputs, settings.events, settings.fit.modality)
    return train_on_inputs(material, out, settings.train.ranker, address=address)


def train_on_inputs(
    inputs: InputData,
    out: str,
    config: TrainRankerConfig,
    *,
    address: str | None = None,
    train: Callable[[TrainingTask, str, str], TrainingResult] = train_network,
) -> dict[str, Any]:
    """As `train_ranker`, of what has been read already; `train` is `train_network` or `train_here`."""
    out = absolute_uri(out)
    content = inputs.content or CatalogContent()
    begun = time.perf_counter()
    with connect_cluster(address), unwrap_ray_errors():
        found = build_examples(inputs.events, content, config)
        replayed = time.perf_counter()
        parts = ((some.features, some.labels) for some in (found.train, found.validation))
        lesson = RankerTrainingTask(config, *parts)
        trained = train(lesson, _run_name(inputs, config), out)
        ended = time.perf_counter()
        ranker = _ranker(lesson, found.space, content, trained)
        predictions = ranker.predict(found.test.features, at_logged_positions=True)
    labels, rates = found.test.labels, found.test.rates
    tested = RankerTestResult(
        *(evaluate_ranker(p, labels, found.cold, METRICS_CONFIG) for p in (predictions, rates))
    )
    compared = compare_rankers(predictions.p_click, rates.p_click, labels.click, labels.user, METRICS_CONFIG)
    ranker.metrics = tested.ranker.overall.metrics
    ranker.save(out)
    folder = StorageFolder(out)
    blind = heads_without_validation(config.model.heads, found.validation.labels)
    folder.write_json(REPORT, {**asdict(tested), "against_rates": asdict(compared), "unjudged": blind})
    if train is train_network:
        folder.filesystem.delete_dir(folder.path_of(CHECKPOINTS))
    clicks = compared.auc
    return {
        "model": ranker.name,
        "out": out,
        "impressions": {part: len(getattr(found, part).labels) for part in ("train", "validation", "test")},
        "cold": int(found.cold.sum()),
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "resumed_from": trained.resumed_from,
        "workers": trained.workers,
        "examples_per_s": round(trained.examples_per_s),
        "test": {who: getattr(tested, who).overall.metrics for who in RankerTestResult.__slots__},
        "left_out": tested.ranker.overall.left_out,
        "unjudged": blind,
        "click_auc_above_rates": [clicks.value, clicks.low, clicks.high],
        "replay_s": round(replayed - begun, 3),
        "train_s": round(ended - replayed, 3),
    }


def _ranker(
    lesson: RankerTrainingTask, space: FeatureSpace, content: CatalogContent, trained: TrainingResult
) -> NetworkRanker:
    config, train, valid = lesson.config.model, lesson.train, lesson.valid
    network, head = build_untrained(config, train[0].shape, train[1])
    network.load_state_dict({n: torch.from_numpy(np.array(array)) for n, array in trained.weights.items()})
    return NetworkRanker.from_training(config, space, content, network, head, train=train, valid=valid)


def _run_name(material: InputData, config: TrainRankerConfig) -> str:
    """A name that runs with the same log and settings share, so that no other's checkpoint is taken up."""
    events = material.events
    last = events.column("at")[-1].as_py().isoformat() if events.num_rows else ""
    about = {"events": events.num_rows, "last": last, "data": material.name}
    return digest(about | {"config": config.model_dump_json()})
