"""What can be tuned: recommenders, the ranker, encoders. A trial sees nothing of the test part."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from vrec.config.settings import Settings
from vrec.core.types import CatalogContent
from vrec.encoders.learned.features import FeatureSet
from vrec.events.interactions import aggregate_interactions
from vrec.events.split import InteractionSplit
from vrec.pipelines.evaluate.validation import test_split, validation_score, validation_split
from vrec.pipelines.inputs import InputData, InputPaths, read_inputs
from vrec.pipelines.train.encoder import EncoderInputs, read_training_interactions, run_encoder_trial
from vrec.pipelines.train.impressions import build_examples
from vrec.ranking.features.arrays import ImpressionLabels, RankingFeatures
from vrec.ranking.network_ranker import build_untrained
from vrec.ranking.training import RankerTrainer
from vrec.retrieval.registry import check_kind

# Of an encoder's training, what leaves the videos and pairs that it is judged by as they are.
_TUNABLE_TRAINING = (
    "learning_rate",
    "batch_size",
    "epochs",
    "patience",
    "weight_decay",
    "objective.temperature",
    "objective.watched_temperature",
    "objective.audio_agreement",
    "objective.popularity_correction",
    "objective.distillation",
    "objective.distillation_weight",
    "objective.unwatched_weight",
)


@dataclass(frozen=True, slots=True)
class TuneData:
    """What a sweep learns from."""

    name: str
    """For people."""
    fingerprint: str
    """A digest of all of it."""
    prepare: Callable[[], Any]
    """Gives what all trials share, once connected to the cluster; nothing of the test part is in it."""


@dataclass(frozen=True, slots=True)
class TuneTarget:
    """Something that has settings, and a way to judge them."""

    kind: str
    """`cf`, `ranker` or `encoder`."""
    model: str
    """Which recommender; else the kind again."""
    metric: str
    """What is made as high as it goes, for people."""
    tunable: tuple[str, ...]
    """Groups of settings, or settings, that a trial follows."""
    reports_epochs: bool
    """Whether a trial has a figure after each epoch, not one at its end alone."""
    read: Callable[[], TuneData]
    """Gives the data; raises EventsError, SchemaError or SourceError for what cannot be read."""
    run_trial: Callable[[Any, Settings], Iterator[float]]
    """The figure after each epoch, of what `prepare` gave and a trial's settings; runs on a worker."""
    command: str
    """The command that takes the best settings as its --config."""


@dataclass(frozen=True, slots=True)
class RecommenderTrialData:
    """What trials of a recommender share."""

    inner: InteractionSplit
    """The part that may be learned from, split once more; its rows are not gathered."""
    content: CatalogContent | None


def recommender_target(inputs: InputPaths, settings: Settings, model: str) -> TuneTarget:
    """The recommender of that name on these events.

    The test part is what `vrec evaluate` with the same settings would test on. Raises FitError for a name
    that is none.
    """
    check_kind(model)
    return TuneTarget(
        kind="cf",
        model=model,
        metric=settings.evaluate.metrics.headline,
        tunable=(f"retrieval.{model}", *_members(model), "events.interest.half_life_days"),
        reports_epochs=False,
        read=partial(_read, inputs, settings, recommender_trial_data),
        run_trial=partial(run_recommender_trial, model),
        command=f"vrec fit --model {model}",
    )


def _read(where: InputPaths, settings: Settings, prepare: Callable[[InputData, Settings], Any]) -> TuneData:
    material = read_inputs(where, settings.events, settings.fit.modality)
    return TuneData(material.name, input_fingerprint(material), partial(prepare, material, settings))


def _members(model: str) -> tuple[str, ...]:
    # A hybrid's members have the settings of their own names unless it gives others.
    return ("retrieval",) if model == "hybrid" else ()


def recommender_trial_data(material: InputData, settings: Settings) -> RecommenderTrialData:
    """The part that comes before the test part, split as that was; raises EvaluationError."""
    return RecommenderTrialData(
        validation_split(test_split(material, settings).train, settings), material.content
    )


def run_recommender_trial(model: str, material: RecommenderTrialData, settings: Settings) -> Iterator[float]:
    """The headline metric of `evaluate.metrics` over the validation users, once."""
    inner = material.inner
    train = aggregate_interactions(inner.train, settings.events.interest, inner.cutoff)
    yield validation_score(
        model,
        settings.retrieval,
        train,
        inner.test,
        content=material.content,
        metrics=settings.evaluate.metrics,
    )


@dataclass(frozen=True, slots=True)
class RankerTrialData:
    """What trials of the ranker share: impressions to train and to validate on."""

    train: tuple[RankingFeatures, ImpressionLabels]
    valid: tuple[RankingFeatures, ImpressionLabels]


def ranker_target(inputs: InputPaths, settings: Settings) -> TuneTarget:
    """The ranker on this log; parts are cut as `vrec train ranker` cuts them.

    What makes examples, or decides what a loss means, is the same for all trials: else their losses could
    not be compared.
    """
    return TuneTarget(
        kind="ranker",
        model="ranker",
        metric="−validation loss",
        tunable=(
            "train.ranker.network",
            "train.ranker.training",
            *(f"train.ranker.heads.{name}" for name in ("experts", "expert_width", "tower")),
        ),
        reports_epochs=True,
        read=partial(_read, inputs, settings, ranker_trial_data),
        run_trial=run_ranker_trial,
        command="vrec train ranker",
    )


def ranker_trial_data(material: InputData, settings: Settings) -> RankerTrialData:
    """The log as examples, without those of the test part; raises RankError. Needs a cluster."""
    found = build_examples(material.events, material.content or CatalogContent(), settings.train.ranker)
    train, valid = ((some.features, some.labels) for some in (found.train, found.validation))
    return RankerTrialData(train, valid)


def run_ranker_trial(material: RankerTrialData, settings: Settings) -> Iterator[float]:
    """The negative of the validation loss after each epoch, which is what a training keeps weights by."""
    config = settings.train.ranker.model
    network, head = build_untrained(config, material.train[0].shape, material.train[1])
    train, valid = material.train, material.valid
    trainer = RankerTrainer(network, config.heads, head, train=train, valid=valid, config=config.training)
    while not trainer.done:
        trainer.run_epoch()
        yield -trainer.validate()["total"]


def encoder_target(features: str, inputs: InputPaths | None, settings: Settings) -> TuneTarget:
    """The head that is trained on the FeatureSet in a folder and, where there are events, on behaviour.

    Behaviour is of what lies before the test part of `evaluate.split`.
    """
    return TuneTarget(
        kind="encoder",
        model="encoder",
        metric="validation MRR",
        tunable=("train.encoder.learned", *(f"train.encoder.training.{name}" for name in _TUNABLE_TRAINING)),
        reports_epochs=True,
        read=partial(_read_features, features, inputs, settings),
        run_trial=run_encoder_trial,
        command="vrec train encoder",
    )


def _read_features(uri: str, where: InputPaths | None, settings: Settings) -> TuneData:
    features = FeatureSet.load(uri)
    seen = None if where is None else read_training_interactions(where, settings)
    material = EncoderInputs(features, seen)
    return TuneData(uri, f"{features.fingerprint}-{_digest(seen)}", lambda: material)


def input_fingerprint(material: InputData) -> str:
    """A digest of all that is learned from."""
    content = material.content or CatalogContent()
    return _digest(material.events, material.interactions, content.videos, content.embeddings)


def _digest(*tables: pa.Table | None) -> str:
    state = hashlib.sha256()
    for table in tables:
        if table is not None:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table.combine_chunks())
            state.update(sink.getvalue())
    return state.hexdigest()[:12]
