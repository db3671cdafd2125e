"""`vrec train ranker`: from logged impressions to a ranker's folder, tested on the latest of them."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from vrec.config.settings import Settings, TrainConfig
from vrec.core.digest import digest
from vrec.core.protocols import Content
from vrec.core.tables import Folder, absolute
from vrec.evaluation.ranking.run import RankerJudgement, RankerMetricsConfig, compare_rankers, judge_ranker
from vrec.pipelines.cluster import connected, vrec_errors
from vrec.pipelines.inputs import Material, Where, read_material
from vrec.pipelines.train.data_parallel import CHECKPOINTS, Lesson, Trained, train_network
from vrec.pipelines.train.impressions import make_examples
from vrec.ranking.examples import unjudged
from vrec.ranking.features.arrays import Features, Labels
from vrec.ranking.features.space import FeatureSpace
from vrec.ranking.network_ranker import NetworkRanker, untrained
from vrec.ranking.training import Trainer
from vrec.training.epochs import Worker
from vrec.training.workers import WorkersConfig

REPORT = "test.json"
"""What the test part says of the ranker, beside its manifest."""
JUDGED = RankerMetricsConfig()


@dataclass(frozen=True, slots=True)
class RankerLesson:
    """A ranking network to train, and impressions; implements `Lesson`."""

    config: TrainConfig
    train: tuple[Features, Labels]
    valid: tuple[Features, Labels]

    @property
    def spread(self) -> WorkersConfig:
        """Over how many workers the training is spread."""
        return self.config

    def trainer(self, worker: Worker) -> Trainer:
        """The trainer of one worker; raises RankError for impressions that cannot teach."""
        config = self.config.ranker
        network, head = untrained(config, self.train[0].shape, self.train[1])
        parts = {"train": self.train, "valid": self.valid}
        return Trainer(network, config.heads, head, **parts, config=config.training, worker=worker)


@dataclass(frozen=True, slots=True)
class Tested:
    """A ranker and the one on counts alone, judged on the same impressions."""

    ranker: RankerJudgement
    rates: RankerJudgement


def train_ranker(where: Where, out: str, settings: Settings, *, address: str | None = None) -> dict[str, Any]:
    """What was trained and how good it is, after writing the ranker to the folder `out`.

    The log is replayed and cut by time into parts to train, validate and test on; the network is trained by
    Ray Train and goes on from its last epoch where an earlier run with the same log and settings was stopped.
    `test.json` in the folder holds all metrics, and in `unjudged` the heads that the validation part could
    not judge. Raises EventsError, SchemaError, SourceError or RankError for what cannot be used, OutputError
    for a folder that cannot be written, ClusterError where Ray cannot be reached or workers are lost again
    and again.
    """
    Folder(out).check_writable()
    material = read_material(where, settings.events, settings.fit.modality)
    return train_on(material, out, settings.train, address=address)


def train_on(
    material: Material,
    out: str,
    config: TrainConfig,
    *,
    address: str | None = None,
    train: Callable[[Lesson, str, str], Trained] = train_network,
) -> dict[str, Any]:
    """As `train_ranker`, of what has been read already; `train` is `train_network` or `train_here`."""
    out = absolute(out)
    content = material.content or Content()
    begun = time.perf_counter()
    with connected(address), vrec_errors():
        found = make_examples(material.events, content, config)
        replayed = time.perf_counter()
        parts = ((some.features, some.labels) for some in (found.train, found.validation))
        lesson = RankerLesson(config, *parts)
        trained = train(lesson, _run_name(material, config), out)
        ended = time.perf_counter()
        ranker = _ranker(lesson, found.space, content, trained)
        predictions = ranker.predict(found.test.features, as_shown=True)
    labels, rates = found.test.labels, found.test.rates
    tested = Tested(*(judge_ranker(p, labels, found.cold, JUDGED) for p in (predictions, rates)))
    compared = compare_rankers(predictions.p_click, rates.p_click, labels.click, labels.user, JUDGED)
    ranker.metrics = tested.ranker.overall.metrics
    ranker.save(out)
    folder = Folder(out)
    blind = unjudged(config.ranker.heads, found.validation.labels)
    folder.write_json(REPORT, {**asdict(tested), "against_rates": asdict(compared), "unjudged": blind})
    if train is train_network:
        folder.filesystem.delete_dir(folder.at(CHECKPOINTS))
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
        "test": {who: getattr(tested, who).overall.metrics for who in Tested.__slots__},
        "left_out": tested.ranker.overall.left_out,
        "unjudged": blind,
        "click_auc_above_rates": [clicks.value, clicks.low, clicks.high],
        "replay_s": round(replayed - begun, 3),
        "train_s": round(ended - replayed, 3),
    }


def _ranker(lesson: RankerLesson, space: FeatureSpace, content: Content, trained: Trained) -> NetworkRanker:
    config, train, valid = lesson.config.ranker, lesson.train, lesson.valid
    network, head = untrained(config, train[0].shape, train[1])
    network.load_state_dict({n: torch.from_numpy(np.array(array)) for n, array in trained.weights.items()})
    return NetworkRanker.fitted(config, space, content, network, head, train=train, valid=valid)


def _run_name(material: Material, config: TrainConfig) -> str:
    """A name that runs with the same log and settings share, so that no other's checkpoint is taken up."""
    events = material.events
    last = events.column("at")[-1].as_py().isoformat() if events.num_rows else ""
    about = {"events": events.num_rows, "last": last, "data": material.name}
    return digest(about | {"config": config.model_dump_json()})
