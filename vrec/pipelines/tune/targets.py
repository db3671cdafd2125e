"""Targets of `vrec tune`: recommenders, the ranker, encoders. A trial sees nothing of the test split."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from vrec.config.settings import Settings
from vrec.core.tables import tables_digest
from vrec.core.types import CatalogContent
from vrec.encoders.learned.features import FeatureSet
from vrec.events.interactions import aggregate_interactions
from vrec.events.split import InteractionSplit
from vrec.pipelines.evaluate.validation import train_test_split, validation_score, validation_split
from vrec.pipelines.inputs import InputData, InputPaths, input_fingerprint, read_inputs
from vrec.pipelines.train.encoder import EncoderInputs, read_training_interactions, run_encoder_trial
from vrec.pipelines.train.impressions import build_examples, choose_heads
from vrec.ranking.features.arrays import ImpressionLabels, RankingFeatures
from vrec.ranking.registry import build_trainer
from vrec.retrieval.config import COMBINED_KINDS, check_kind

# Training settings of an encoder that do not change the videos and pairs that it is validated on.
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
    """Data of a sweep."""

    name: str
    """Name for people."""
    fingerprint: str
    """Digest of all of the data."""
    prepare: Callable[[], Any]
    """Returns the data that all trials share, without the test split; called with a cluster connected."""


@dataclass(frozen=True, slots=True)
class TuneTarget:
    """Model whose settings can be tuned, and how a trial of it is scored."""

    kind: str
    """`cf`, `ranker` or `encoder`."""
    model: str
    """Name of the recommender; for other kinds the kind again."""
    metric: str
    """Name of the maximized metric, for people."""
    tunable: tuple[str, ...]
    """Groups of settings, or settings, that affect a trial."""
    reports_epochs: bool
    """Whether a trial has a value after each epoch, not only one at its end."""
    read: Callable[[], TuneData]
    """Reads the data; raises EventsError, SchemaError or SourceError for a table that cannot be read."""
    run_trial: Callable[[Any, Settings], Iterator[float]]
    """Yields the value after each epoch for the prepared data and a trial's settings; runs on a worker."""
    command: str
    """The command that takes the best settings as its --config."""


@dataclass(frozen=True, slots=True)
class RecommenderTrialData:
    """Data that trials of a recommender share."""

    inner: InteractionSplit
    """The training split, split once more into train and validation; its rows are not aggregated."""
    content: CatalogContent | None


def recommender_target(inputs: InputPaths, settings: Settings, model: str) -> TuneTarget:
    """Return the recommender named `model` on these events as a target.

    The test split is that of `vrec evaluate` with the same settings. Raises FitError for an unknown name.
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


def _read(paths: InputPaths, settings: Settings, prepare: Callable[[InputData, Settings], Any]) -> TuneData:
    inputs = read_inputs(paths, settings.events, settings.fit.modality)
    return TuneData(inputs.name, input_fingerprint(inputs), partial(prepare, inputs, settings))


def _members(model: str) -> tuple[str, ...]:
    # The members of a hybrid use the settings under their own names unless it overrides them.
    return ("retrieval",) if model in COMBINED_KINDS else ()


def recommender_trial_data(inputs: InputData, settings: Settings) -> RecommenderTrialData:
    """Return the interactions before the test split, split in the same way; raises EvaluationError."""
    return RecommenderTrialData(
        validation_split(train_test_split(inputs, settings).train, settings, inputs), inputs.content
    )


def run_recommender_trial(model: str, data: RecommenderTrialData, settings: Settings) -> Iterator[float]:
    """Yield the headline metric of `evaluate.metrics` over the validation users, once."""
    inner = data.inner
    train = aggregate_interactions(inner.train, settings.events.interest, inner.cutoff)
    yield validation_score(
        model,
        settings.retrieval,
        train,
        inner.test,
        content=data.content,
        metrics=settings.evaluate.metrics,
    )


@dataclass(frozen=True, slots=True)
class RankerTrialData:
    """Data that trials of the ranker share: impressions to train and to validate on."""

    train: tuple[RankingFeatures, ImpressionLabels]
    valid: tuple[RankingFeatures, ImpressionLabels]


def ranker_target(inputs: InputPaths, settings: Settings) -> TuneTarget:
    """Return the ranker on this log as a target, with the splits of `vrec train ranker`.

    Settings that make examples, or define a loss, are not tunable: with them losses would not be comparable.
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


def ranker_trial_data(inputs: InputData, settings: Settings) -> RankerTrialData:
    """Return the log as examples, without the test split; raises RankError. Needs a cluster."""
    content = inputs.content or CatalogContent()
    config, _ = choose_heads(inputs.events, content, settings.train.ranker)
    examples = build_examples(inputs.events, content, config)
    train, valid = ((split.features, split.labels) for split in (examples.train, examples.validation))
    return RankerTrialData(train, valid)


def run_ranker_trial(data: RankerTrialData, settings: Settings) -> Iterator[float]:
    """Yield the negative validation loss after each epoch, by which a training selects its best weights."""
    _, trainer = build_trainer(settings.train.ranker.model, data.train[0].shape, data.train, data.valid)
    while not trainer.done:
        trainer.run_epoch()
        yield -trainer.validate()["total"]


def encoder_target(features: str, inputs: InputPaths | None, settings: Settings) -> TuneTarget:
    """Return the encoder's head as a target, on the FeatureSet in a folder and, with events, on behavior.

    Behavior is made of the events before the test split of `evaluate.split`.
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


def _read_features(uri: str, paths: InputPaths | None, settings: Settings) -> TuneData:
    features = FeatureSet.load(uri)
    interactions = None if paths is None else read_training_interactions(paths, settings)
    inputs = EncoderInputs(features, interactions)
    return TuneData(uri, f"{features.fingerprint}-{tables_digest(interactions)}", lambda: inputs)
