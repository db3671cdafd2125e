"""`vrec train encoder`: from videos, and shoppers' events with them, to a learned encoder's folder."""

import hashlib
import logging
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
from vrec.core.tables import StorageFolder
from vrec.core.uris import absolute_uri, join_uri
from vrec.encoders.learned.behavior import BehaviorSignals
from vrec.encoders.learned.encoder import LearnedEncoder, init_head
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.train import EncoderTrainer
from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
from vrec.pipelines.evaluate.validation import train_test_split
from vrec.pipelines.features.run import ExtractedFeatures, extract_features
from vrec.pipelines.inputs import InputPaths, read_inputs
from vrec.pipelines.train.behavior import BehaviorSummary, build_behavior
from vrec.pipelines.train.data_parallel import CHECKPOINTS, TrainingResult, train_in_process, train_network
from vrec.training.epochs import SINGLE_WORKER, TrainingWorker
from vrec.training.workers import WORKER_FIELDS, WorkersConfig

_log = logging.getLogger(__name__)

FEATURES = "features"
"""The subfolder of `--out` for features, where `--features` names no other folder."""


@dataclass(frozen=True, slots=True)
class EncoderInputs:
    """Data that an encoder is trained on."""

    features: FeatureSet
    interactions: pa.Table | None
    """INTERACTIONS from before the test split, None to learn from the videos only."""


@dataclass(frozen=True, slots=True)
class EncoderTrainingTask:
    """Training of a head on features and behavior; implements `TrainingTask`."""

    config: TrainEncoderConfig
    features: FeatureSet
    behavior: BehaviorSignals | None

    @property
    def workers_config(self) -> WorkersConfig:
        """Number and resources of the workers."""
        return self.config

    @property
    def examples(self) -> int:
        """Examples of all epochs together, including those to hold out."""
        count = len(self.features) if self.behavior is None else len(self.behavior.left)
        return count * self.config.training.epochs

    def trainer(self, worker: TrainingWorker) -> EncoderTrainer:
        """Return the trainer of one worker; raises FitError where there is too little to learn from."""
        training = self.config.training
        head = init_head(self.config.learned, self.features, training.seed)
        return EncoderTrainer(
            head,
            # A head that ignores the frames' order sees only their mean, which is computed once here.
            features=self.features if head.ordered else mean_pool_frames(self.features),
            behavior=self.behavior,
            config=training,
            worker=worker,
        )


def mean_pool_frames(features: FeatureSet) -> FeatureSet:
    """Return the features with one frame per video and view, the mean of the frames that are present."""
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
    """Train an encoder, write it to the folder `out` and return a summary.

    An interrupted training continues from its last epoch if features, events and settings are the same.

    Args:
        inputs: events; those before the cutoff of `evaluate.split` align the encoder. None trains on the
            videos only.
        videos: the catalog whose features are computed, as far as they changed; None reads `features`.
        features: the folder of the features, by default a folder in `out`.
        out: the folder of the encoder.
        settings: `train.encoder`, `embed`, `events` and `evaluate.split` apply.
        address: the Ray cluster, as `connect_cluster` takes it.

    Raises:
        SourceError, SchemaError, EventsError, EvaluationError, ModelError, ConfigError, FitError: the input
            cannot be used.
        OutputError: the folder cannot be written.
        ClusterError: Ray cannot be reached, or workers were lost more often than `failures` allows.
    """
    StorageFolder(out).check_writable()
    begun = time.perf_counter()
    extracted = _features(videos, features, out, settings, address)
    ready = time.perf_counter()
    interactions = None if inputs is None else read_training_interactions(inputs, settings)
    task, summary = build_training_task(EncoderInputs(extracted.features, interactions), settings)
    _log.info("training on the features of %s videos", f"{len(extracted.features):,}")
    trained = _train(task, absolute_uri(out), address)
    ended = time.perf_counter()
    encoder = _encoder(task, trained)
    encoder.save(out)
    failures = extracted.failures
    return {
        "model": encoder.name,
        "out": out,
        "objective": task.config.training.objective.kind,
        "takes": list(encoder.head.dims),
        "features": extracted.uri,
        "reused": extracted.reused,
        "videos": {"features": len(extracted.features), "new": extracted.new, "failed": failures.num_rows},
        "behaviour": None if summary is None else _counts(summary),
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
        "resumed_from": trained.resumed_from,
        "stopped": trained.stopped,
        "judged": "mrr" in trained.losses,
        "workers": trained.workers,
        "examples_per_s": round(trained.examples_per_s),
        "validation": dict(trained.losses),
        "use": _embed_options(absolute_uri(out), encoder),
        "failures": failures.select(["video_id", "error", "message"]).to_pylist(),
        "features_s": round(ready - begun, 3),
        "train_s": round(ended - ready, 3),
    }


def read_training_interactions(paths: InputPaths, settings: Settings) -> pa.Table:
    """Read the INTERACTIONS before the test split; raises EventsError, SchemaError or EvaluationError."""
    inputs = read_inputs(paths, settings.events, settings.fit.modality)
    return train_test_split(inputs, settings).train


def build_training_task(
    inputs: EncoderInputs, settings: Settings
) -> tuple[EncoderTrainingTask, BehaviorSummary | None]:
    """Return the training task, and a summary of the interactions where it uses any.

    With interactions the objective is `aligned`, unless the settings name one. Raises FitError.
    """
    config, summary = settings.train.encoder, None
    objective = config.training.objective
    if inputs.interactions is not None and "kind" not in objective.model_fields_set:
        objective = objective.model_copy(update={"kind": "aligned"})
        training = config.training.model_copy(update={"objective": objective})
        config = config.model_copy(update={"training": training})
    if objective.kind == "aligned":
        if inputs.interactions is None:
            raise FitError(
                "training: train.encoder.training.objective.kind=aligned learns from what was watched",
                fix="give --events, or leave the kind out",
            )
        summary = build_behavior(
            inputs.interactions, inputs.features, config.behavior, settings.events.interest
        )
    behavior = None if summary is None else summary.behavior
    return EncoderTrainingTask(config, inputs.features, behavior), summary


def run_encoder_trial(inputs: EncoderInputs, settings: Settings) -> Iterator[float]:
    """Train in this process and yield the validation MRR after each epoch; higher is better.

    Raises FitError where there is too little to learn from, or to hold out for validation.
    """
    trainer = build_training_task(inputs, settings)[0].trainer(SINGLE_WORKER)
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
        raise ConfigError(
            "there is nothing to train on", fix="give --videos, or --features with a folder of an earlier run"
        )
    nothing = FAILURES.arrow().empty_table()
    return ExtractedFeatures(FeatureSet.load(features), features, reused=True, new=0, failures=nothing)


def _train(task: EncoderTrainingTask, out: str, address: str | None) -> TrainingResult:
    name = run_name(task)
    if trains_in_process(task):
        return train_in_process(task, name, out)
    with connect_cluster(address), unwrap_ray_errors():
        trained = train_network(task, name, out)
    StorageFolder(out).remove_folder(CHECKPOINTS)
    return trained


def trains_in_process(task: EncoderTrainingTask) -> bool:
    """Return whether a training is small enough to do without Ray Train's workers."""
    config = task.config
    wants_workers = config.gpus_per_worker > 0 or (config.workers or 1) > 1
    return task.examples < config.alone_below and not wants_workers


def _encoder(task: EncoderTrainingTask, trained: TrainingResult) -> LearnedEncoder:
    data = {
        "training": task.config.training.model_dump(mode="json"),
        "pairs": 0 if task.behavior is None else len(task.behavior.left),
        "epochs": trained.epochs,
        "best_epoch": trained.best_epoch,
    }
    return LearnedEncoder.from_weights(
        task.config.learned, task.features, trained.weights, data=data, metrics=trained.losses
    )


def _counts(summary: BehaviorSummary) -> dict[str, int]:
    names = ("pairs", "videos", "paired", "targets", "unknown")
    return {name: getattr(summary, name) for name in names}


def _embed_options(out: str, encoder: LearnedEncoder) -> str:
    """Return the options of `vrec embed` that run the encoder."""
    if set(encoder.head.dims) == {"frames"}:
        return f"--set embed.encoders.frames.kind=gru --set embed.encoders.frames.model={out}"
    return f"--set embed.encoders.fusion.kind=learned --set embed.encoders.fusion.model={out}"


def run_name(task: EncoderTrainingTask) -> str:
    """Return a name that only runs with the same features, behavior and settings share."""
    return digest(
        {
            "features": task.features.fingerprint,
            "config": task.config.model_dump(mode="json", exclude={*WORKER_FIELDS, "alone_below"}),
            "behavior": _behavior_digest(task.behavior),
        }
    )


def _behavior_digest(behavior: BehaviorSignals | None) -> str | None:
    if behavior is None:
        return None
    state = hashlib.sha256()
    for array in (behavior.left, behavior.right, behavior.popularity, behavior.targets):
        if array is not None:
            state.update(np.ascontiguousarray(array).data)
    return state.hexdigest()
