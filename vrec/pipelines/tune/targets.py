"""What can be tuned: recommenders, the ranker, encoders. A trial sees nothing of the test part."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from vrec.config.settings import Settings
from vrec.core.protocols import Content
from vrec.encoders.learned.features import FeatureSet
from vrec.events.interactions import gather
from vrec.events.split import Split
from vrec.pipelines.evaluate.validation import inner_split, outer_split, validated
from vrec.pipelines.inputs import Material, Where, read_material
from vrec.pipelines.train.encoder import EncoderMaterial, interactions_of, tune_trial
from vrec.pipelines.train.impressions import make_examples
from vrec.ranking.features.arrays import Features, Labels
from vrec.ranking.network_ranker import untrained
from vrec.ranking.training import Trainer
from vrec.retrieval.registry import check_kind

# Of an encoder's training, what leaves the videos and pairs that it is judged by as they are.
_TAUGHT = (
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
class Data:
    """What a sweep learns from."""

    name: str
    """For people."""
    fingerprint: str
    """A digest of all of it."""
    prepare: Callable[[], Any]
    """Gives what all trials share, once connected to the cluster; nothing of the test part is in it."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that has settings, and a way to judge them."""

    kind: str
    """`cf`, `ranker` or `encoder`."""
    model: str
    """Which recommender; else the kind again."""
    metric: str
    """What is made as high as it goes, for people."""
    follows: tuple[str, ...]
    """Groups of settings, or settings, that a trial follows."""
    epochs: bool
    """Whether a trial has a figure after each epoch, not one at its end alone."""
    read: Callable[[], Data]
    """Gives the data; raises EventsError, SchemaError or SourceError for what cannot be read."""
    trial: Callable[[Any, Settings], Iterator[float]]
    """The figure after each epoch, of what `prepare` gave and a trial's settings; runs on a worker."""
    taken_by: str
    """The command that takes the best settings as its --config."""


@dataclass(frozen=True, slots=True)
class CfMaterial:
    """What trials of a recommender share."""

    inner: Split
    """The part that may be learned from, split once more; its rows are not gathered."""
    content: Content | None


def cf_subject(where: Where, settings: Settings, model: str) -> Subject:
    """The recommender of that name on these events.

    The test part is what `vrec evaluate` with the same settings would test on. Raises FitError for a name
    that is none.
    """
    check_kind(model)
    return Subject(
        kind="cf",
        model=model,
        metric=settings.evaluate.metrics.headline,
        follows=(f"retrieval.{model}", *_members(model), "events.interest.half_life_days"),
        epochs=False,
        read=partial(_read, where, settings, cf_material),
        trial=partial(try_cf, model),
        taken_by=f"vrec fit --model {model}",
    )


def _read(where: Where, settings: Settings, prepare: Callable[[Material, Settings], Any]) -> Data:
    material = read_material(where, settings.events, settings.fit.modality)
    return Data(material.name, fingerprint(material), partial(prepare, material, settings))


def _members(model: str) -> tuple[str, ...]:
    # A hybrid's members have the settings of their own names unless it gives others.
    return ("retrieval",) if model == "hybrid" else ()


def cf_material(material: Material, settings: Settings) -> CfMaterial:
    """The part that comes before the test part, split as that was; raises EvaluationError."""
    return CfMaterial(inner_split(outer_split(material, settings).train, settings), material.content)


def try_cf(model: str, material: CfMaterial, settings: Settings) -> Iterator[float]:
    """The headline metric of `evaluate.metrics` over the validation users, once."""
    inner = material.inner
    train = gather(inner.train, settings.events.interest, inner.cut)
    yield validated(
        model,
        settings.retrieval,
        train,
        inner.test,
        content=material.content,
        metrics=settings.evaluate.metrics,
    )


@dataclass(frozen=True, slots=True)
class RankerMaterial:
    """What trials of the ranker share: impressions to train and to validate on."""

    train: tuple[Features, Labels]
    valid: tuple[Features, Labels]


def ranker_subject(where: Where, settings: Settings) -> Subject:
    """The ranker on this log; parts are cut as `vrec train ranker` cuts them.

    What makes examples, or decides what a loss means, is the same for all trials: else their losses could
    not be compared.
    """
    return Subject(
        kind="ranker",
        model="ranker",
        metric="−validation loss",
        follows=(
            "train.ranker.network",
            "train.ranker.training",
            *(f"train.ranker.heads.{name}" for name in ("experts", "expert_width", "tower")),
        ),
        epochs=True,
        read=partial(_read, where, settings, ranker_material),
        trial=try_ranker,
        taken_by="vrec train ranker",
    )


def ranker_material(material: Material, settings: Settings) -> RankerMaterial:
    """The log as examples, without those of the test part; raises RankError. Needs a cluster."""
    found = make_examples(material.events, material.content or Content(), settings.train)
    train, valid = ((some.features, some.labels) for some in (found.train, found.validation))
    return RankerMaterial(train, valid)


def try_ranker(material: RankerMaterial, settings: Settings) -> Iterator[float]:
    """The negative of the validation loss after each epoch, which is what a training keeps weights by."""
    config = settings.train.ranker
    network, head = untrained(config, material.train[0].shape, material.train[1])
    train, valid = material.train, material.valid
    trainer = Trainer(network, config.heads, head, train=train, valid=valid, config=config.training)
    while not trainer.done:
        trainer.run_epoch()
        yield -trainer.validate()["total"]


def encoder_subject(features: str, where: Where | None, settings: Settings) -> Subject:
    """The head that is trained on the FeatureSet in a folder and, where there are events, on behaviour.

    Behaviour is of what lies before the test part of `evaluate.split`.
    """
    return Subject(
        kind="encoder",
        model="encoder",
        metric="validation MRR",
        follows=("encoder.learned", *(f"encoder.training.{name}" for name in _TAUGHT)),
        epochs=True,
        read=partial(_read_features, features, where, settings),
        trial=tune_trial,
        taken_by="vrec train encoder",
    )


def _read_features(uri: str, where: Where | None, settings: Settings) -> Data:
    features = FeatureSet.load(uri)
    seen = None if where is None else interactions_of(where, settings)
    material = EncoderMaterial(features, seen)
    return Data(uri, f"{features.fingerprint}-{_digest(seen)}", lambda: material)


def fingerprint(material: Material) -> str:
    """A digest of all that is learned from."""
    content = material.content or Content()
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
