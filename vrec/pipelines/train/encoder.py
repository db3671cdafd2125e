"""`vrec train encoder`: from videos, and what shoppers did with them, to a learned encoder's folder."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.config.settings import Settings
from vrec.config.train_encoder import TrainEncoderConfig
from vrec.core.digest import digest
from vrec.core.errors import ConfigError, FitError
from vrec.core.schema import FAILURES
from vrec.core.tables import StorageFolder, absolute_uri, join_uri
from vrec.encoders.learned.behavior import BehaviorSignals
from vrec.encoders.learned.encoder import LearnedEncoder, init_head
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.train import EncoderTrainer
from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
from vrec.pipelines.evaluate.validation import test_split
from vrec.pipelines.features.run import ExtractedFeatures, extract_features
from vrec.pipelines.inputs import InputPaths, read_inputs
from vrec.pipelines.train.behavior import BehaviorSummary, build_behavior
from vrec.pipelines.train.data_parallel import CHECKPOINTS, TrainingResult, train_in_process, train_network
from vrec.training.epochs import SINGLE_WORKER, TrainingWorker
from vrec.training.workers import WorkersConfig

FEATURES = "features"
"""The subfolder of `--out` that features are kept in where `--features` names no other."""


@dataclass(frozen=True, slots=True)
class EncoderInputs:
    """What an encoder is trained on."""

    features: FeatureSet
    interactions: pa.Table | None
    """INTERACTIONS from before the test part, None to learn from the videos alone."""


@dataclass(frozen=True, slots=True)
class EncoderTrainingTask:
    """A head to train, on features and behaviour; implements `Lesson`."""

    config: TrainEncoderConfig
    features: FeatureSet
    behaviour: BehaviorSignals | None

    @property
    def workers_config(self) -> WorkersConfig:
        """Over how many workers the training is spread."""
        return self.config

    @property
    def examples(self) -> int:
        """Examples of all epochs together, before any are held out."""
        count = len(self.features) if self.behaviour is None else len(self.behaviour.left)
        return count * self.config.training.epochs

    def trainer(self, worker: TrainingWorker) -> EncoderTrainer:
        """The trainer of one worker; raises FitError where there is too little to learn from."""
        training = self.config.training
        head = init_head(self.config.learned, self.features, training.seed)
        return EncoderTrainer(
            head,
            # A head that sees no order sees a mean, which need not be taken anew at every step.
            features=self.features if head.ordered else mean_pool_frames(self.features),
            behaviour=self.behaviour,
            config=training,
            worker=worker,
        )


def mean_pool_frames(features: FeatureSet) -> FeatureSet:
    """The same features with one frame a video and view: the mean of those that are there."""
    count = np.maximum(features.lengths, 1)[:, None, None]
    means = features.frames.sum(axis=2, dtype=np.float32) / count  # (N, V, D)
    return replace(
        features,
        frames=means[:, :, None].astype(np.float16),
        lengths=np.minimum(features.lengths, 1).astype(np.int16),
    )


def train_encoder(
    inputs: InputPaths | None,
    videos: str | None,
    features: str | None,
    out: str,
    settings: Settings,
    *,
    address: str | None = None,
) -> dict[str, Any]:
    """What was trained, after writing the encoder to the folder `out`.

    The features of `videos` are made, or taken as they are where they are unchanged, in the folder `features`
    (by default one within `out`); without `videos` that folder is read as it is. `where` names events: those
    before the cut of `settings.evaluate.split` make what the encoder is aligned with. A training that was
    stopped goes on from its last epoch if features, events and settings are the same.

    Raises SourceError, SchemaError, EventsError, EvaluationError, ModelError, ConfigError or FitError for
    what cannot be used, OutputError for a folder that cannot be written, ClusterError where Ray cannot be
    reached or workers are lost again and again.
    """
    StorageFolder(out).check_writable()
    begun = time.perf_counter()
    made = _features(videos, features, out, settings, address)
    ready = time.perf_counter()
    material = EncoderInputs(
        made.features, None if inputs is None else read_training_interactions(inputs, settings)
    )
    lesson, watched = build_training_task(material, settings)
    trained = _train(lesson, absolute_uri(out), address)
    ended = time.perf_counter()
    encoder = _encoder(lesson, trained)
    encoder.save(out)
    return {
        "model": encoder.name,
        "out": out,
        "objective": lesson.config.training.objective.kind,
        "takes": list(encoder.head.dims),
        "features": made.uri,
        "reused": made.reused,
        "videos": {"features": len(made.features), "new": made.new, "failed": made.failures.num_rows},
        "behaviour": None if watched is None else _counts(watched),
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "resumed_from": trained.resumed_from,
        "stopped": trained.stopped,
        "judged": "mrr" in trained.losses,
        "workers": trained.workers,
        "examples_per_s": round(trained.examples_per_s),
        "validation": dict(trained.losses),
        "use": _embed_options(absolute_uri(out), encoder),
        "failures": made.failures.select(["video_id", "error", "message"]).to_pylist(),
        "features_s": round(ready - begun, 3),
        "train_s": round(ended - ready, 3),
    }


def read_training_interactions(where: InputPaths, settings: Settings) -> pa.Table:
    """The INTERACTIONS from before the test part; raises EventsError, SchemaError or EvaluationError."""
    material = read_inputs(where, settings.events, settings.fit.modality)
    return test_split(material, settings).train


def build_training_task(
    material: EncoderInputs, settings: Settings
) -> tuple[EncoderTrainingTask, BehaviorSummary | None]:
    """What is to be trained, and what became of the interactions.

    Where there are some the objective is `aligned`, unless the settings name one. Raises FitError.
    """
    config, watched = settings.train.encoder, None
    objective = config.training.objective
    if material.interactions is not None and "kind" not in objective.model_fields_set:
        objective = objective.model_copy(update={"kind": "aligned"})
        training = config.training.model_copy(update={"objective": objective})
        config = config.model_copy(update={"training": training})
    if objective.kind == "aligned":
        if material.interactions is None:
            raise FitError(
                "training: train.encoder.training.objective.kind=aligned learns from what was watched",
                fix="give --events, or leave the kind out",
            )
        interest = settings.events.interest
        watched = build_behavior(material.interactions, material.features, config.behavior, interest)
    behaviour = None if watched is None else watched.behavior
    return EncoderTrainingTask(config, material.features, behaviour), watched


def run_encoder_trial(material: EncoderInputs, settings: Settings) -> Iterator[float]:
    """The validation MRR after each epoch, higher is better, of training in this process.

    Raises FitError where there is too little to learn from, or to hold out and judge by.
    """
    trainer = build_training_task(material, settings)[0].trainer(SINGLE_WORKER)
    if trainer.no_validation_reason:
        raise FitError(
            f"tuning: no trial can be judged: {trainer.no_validation_reason}", fix="tune on more videos"
        )
    while not trainer.done:
        trainer.run_epoch()
        yield trainer.validate()["mrr"]


def _features(
    videos: str | None, features: str | None, out: str, settings: Settings, address: str | None
) -> ExtractedFeatures:
    if videos is not None:
        return extract_features(videos, features or join_uri(out, FEATURES), settings, address=address)
    if features is None:
        raise ConfigError("there is nothing to train on", fix="give --videos, or --features made before")
    nothing = FAILURES.arrow().empty_table()
    return ExtractedFeatures(FeatureSet.load(features), features, reused=True, new=0, failures=nothing)


def _train(lesson: EncoderTrainingTask, out: str, address: str | None) -> TrainingResult:
    name = _run_name(lesson)
    config = lesson.config
    if lesson.examples < config.alone_below and not config.gpus_per_worker and (config.workers or 1) == 1:
        return train_in_process(lesson, name, out)
    with connect_cluster(address), unwrap_ray_errors():
        trained = train_network(lesson, name, out)
    folder = StorageFolder(out)
    folder.filesystem.delete_dir(folder.path_of(CHECKPOINTS))
    return trained


def _encoder(lesson: EncoderTrainingTask, trained: TrainingResult) -> LearnedEncoder:
    taught = lesson.behaviour
    data = {
        "training": lesson.config.training.model_dump(mode="json"),
        "pairs": 0 if taught is None else len(taught.left),
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
    }
    return LearnedEncoder.from_weights(
        lesson.config.learned, lesson.features, trained.weights, data=data, metrics=trained.losses
    )


def _counts(watched: BehaviorSummary) -> dict[str, int]:
    names = ("pairs", "videos", "paired", "targets", "unknown")
    return {name: getattr(watched, name) for name in names}


def _embed_options(out: str, encoder: LearnedEncoder) -> str:
    """The options of `vrec embed` that run the encoder."""
    if set(encoder.head.dims) == {"frames"}:
        return f"--set embed.encoders.frames.kind=gru --set embed.encoders.frames.model={out}"
    return f"--set embed.encoders.fusion.kind=learned --set embed.encoders.fusion.model={out}"


def _run_name(lesson: EncoderTrainingTask) -> str:
    """A name that runs with the same features, behaviour and settings share."""
    config = lesson.config.model_dump(mode="json", exclude={"failures", "alone_below"})
    return digest(
        {
            "features": lesson.features.fingerprint,
            "config": config,
            "taught": _behavior_digest(lesson.behaviour),
        }
    )


def _behavior_digest(behaviour: BehaviorSignals | None) -> str | None:
    if behaviour is None:
        return None
    found = hashlib.sha256()
    for array in (behaviour.left, behaviour.right, behaviour.popularity, behaviour.targets):
        if array is not None:
            found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
