"""Every component's config in one place, and the only reader of YAML."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, ValidationError

from vrec.bundle.config import BundleConfig
from vrec.compression.config import CompressConfig
from vrec.core.config import Config
from vrec.core.errors import ConfigError, plain_reason
from vrec.core.protocols import Modality
from vrec.encoder_config import TrainEncoderConfig
from vrec.encoders.embed_config import EmbedConfig
from vrec.evaluation.gallery.report import GalleryConfig
from vrec.evaluation.outcome import EvaluationConfig
from vrec.evaluation.sampled import SampledConfig
from vrec.events.log import InterestConfig
from vrec.events.read import ReadConfig
from vrec.events.shop import SimulateConfig
from vrec.events.split import SplitConfig, TimeSplit
from vrec.media.draw import DrawConfig
from vrec.media.posters import PosterConfig
from vrec.profiles.update import ProfilesConfig
from vrec.ranking.labels import TimePartsConfig
from vrec.ranking.model import RankerConfig
from vrec.retrieval.build import RetrievalConfig
from vrec.serve_config import ServeConfig
from vrec.training.workers import WorkersConfig
from vrec.tune_config import TuneConfig


class EventsConfig(Config):
    """How events are read, and what they say about interest."""

    read: ReadConfig = Field(default_factory=ReadConfig)
    """How a table of events is read."""
    interest: InterestConfig = Field(default_factory=InterestConfig)
    """How much interest an event shows, and how it fades."""


class FitConfig(Config):
    """How recommenders are fitted and asked in batches."""

    modality: Modality = "fused"
    """Which of a video's embeddings content-based recommenders use."""
    cpus: float = Field(default=1.0, ge=0)
    """CPUs that Ray sets aside for one fit."""
    gpus: float = Field(default=0.0, ge=0, le=8)
    """GPUs that Ray sets aside for one fit; the neural models use one where they see it."""
    blocks: Literal["auto", "threads", "tasks"] = "auto"
    """Where blocks of neighbours are computed: by the fit's own threads, or by tasks all over the cluster;
    `auto` is tasks where the cluster has more than one node."""
    shard_users: int = Field(default=20_000, ge=1)
    """Users that one task recommends to, and that one file of recommendations holds."""


class EvaluateConfig(Config):
    """How recommenders are compared."""

    models: tuple[str, ...] = ("popular", "item_knn", "user_knn", "als", "ease", "content", "hybrid")
    """Which recommenders are compared; `content` is left out where there is none."""
    split: SplitConfig = Field(default_factory=TimeSplit)
    """How the interactions are split; the cut in time is the one to trust."""
    metrics: EvaluationConfig = Field(default_factory=EvaluationConfig)
    """What is measured, and how its intervals are drawn."""
    search: dict[str, dict[str, list[Any]]] = Field(default_factory=dict)
    """Settings to choose from on the validation part, such as `{ease: {l2: [100, 500]}}`: every combination
    is tried, by model. Nothing is searched by default."""
    most_trials: int = Field(default=60, ge=1)
    """Combinations tried for one model; where there are more, this many are drawn at random."""
    seeds: int = Field(default=1, ge=1, le=100)
    """Fits of each model that has a seed, each with another; the others are fitted once."""
    cold_most: int = Field(default=0, ge=0)
    """A video or user is cold with at most this many interactions before the cut."""
    sampled: SampledConfig = Field(default_factory=SampledConfig)
    """The papers' sampled protocol, followed with `--like-paper` only."""
    shoppers: int = Field(default=5, ge=0)
    """Test users whom the report shows, with what they watched and what they were given."""
    shopper_videos: int = Field(default=8, ge=1)
    """Videos shown of each."""


class TrainConfig(WorkersConfig):
    """How `vrec train ranker` makes examples of a log and learns from them."""

    ranker: RankerConfig = Field(default_factory=RankerConfig)
    """The ranker: its network, heads, labels, features and calibration."""
    parts: TimePartsConfig = Field(default_factory=TimePartsConfig)
    """Where the log is cut into parts to train, validate and test on."""
    profiles: ProfilesConfig = Field(default_factory=ProfilesConfig)
    """How profiles are made of events; serve with the same."""
    shards: int | None = Field(default=None, ge=1)
    """Parts in which the log is replayed at the same time, by default one a CPU of the cluster."""


class DemoRankerConfig(Config):
    """In what the demo's ranker differs from `train.ranker`: it is small, as the shop and its log are."""

    width: int = Field(default=8, ge=1)
    """Width of the network's embeddings; of no effect on one that has none."""
    hidden: tuple[int, ...] = (64, 32)
    """Widths of its dense layers."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of their outputs that is left out while training."""
    history: int = Field(default=20, ge=1)
    """Videos of a shopper's history that it sees."""
    epochs: int = Field(default=6, ge=1)
    """The most passes over the shop's impressions."""
    conversion_window_hours: float = Field(default=24.0, gt=0)
    """Hours within which a purchase counts: short, as the simulated log is."""

    def of(self, train: TrainConfig, kinds: Collection[str]) -> TrainConfig:
        """The same training with these differences, of a log with events of these kinds.

        Where there are no conversions, none are learned: videos without a price are never bought.
        """
        ranker, heads = train.ranker, train.ranker.heads.heads
        if not set(ranker.labels.conversion_kinds) & set(kinds):
            heads = tuple(head for head in heads if head != "conversion")
        layers = {"width": self.width, "hidden": self.hidden, "dropout": self.dropout}
        known = {name: value for name, value in layers.items() if name in type(ranker.network).model_fields}
        changes = {
            "network": known,
            "heads": {"heads": heads},
            "features": {"history": self.history},
            "labels": {"conversion_window_hours": self.conversion_window_hours},
            "training": {"epochs": self.epochs},
        }
        parts = {name: getattr(ranker, name).model_copy(update=more) for name, more in changes.items()}
        return train.model_copy(update={"ranker": ranker.model_copy(update=parts)})


class DemoConfig(Config):
    """What `vrec demo` draws and shows."""

    draw: DrawConfig = Field(default_factory=DrawConfig)
    """The drawn catalogue."""
    poster: PosterConfig = Field(default_factory=PosterConfig)
    """The pictures on the page."""
    gallery: GalleryConfig = Field(default_factory=GalleryConfig)
    """The page."""
    shop: SimulateConfig = Field(default_factory=lambda: SimulateConfig(users=600, slots=5))
    """The shoppers who are simulated in the catalogue."""
    ranker: DemoRankerConfig = Field(default_factory=DemoRankerConfig)
    """The ranker that is trained on what they did."""
    least_videos: int = Field(default=20, ge=4)
    """Embedded videos that a shop needs: with fewer, nobody is simulated."""


class Settings(Config):
    """All of vrec's settings."""

    embed: EmbedConfig = Field(default_factory=EmbedConfig)
    """`vrec embed`."""
    events: EventsConfig = Field(default_factory=EventsConfig)
    """What shoppers did."""
    retrieval: RetrievalConfig = Field(default_factory=RetrievalConfig)
    """The recommenders."""
    fit: FitConfig = Field(default_factory=FitConfig)
    """`vrec fit` and `vrec recommend`."""
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    """`vrec evaluate`."""
    train: TrainConfig = Field(default_factory=TrainConfig)
    """`vrec train ranker`."""
    encoder: TrainEncoderConfig = Field(default_factory=TrainEncoderConfig)
    """`vrec train encoder`."""
    tune: TuneConfig = Field(default_factory=TuneConfig)
    """`vrec tune`."""
    compress: CompressConfig = Field(default_factory=CompressConfig)
    """`vrec compress`."""
    bundle: BundleConfig = Field(default_factory=BundleConfig)
    """`vrec bundle`."""
    serve: ServeConfig = Field(default_factory=ServeConfig)
    """`vrec serve`."""
    demo: DemoConfig = Field(default_factory=DemoConfig)
    """`vrec demo`."""


def load_settings(config: Path | str | None = None, overrides: Sequence[str] = ()) -> Settings:
    """The defaults, changed by a YAML file of differences, changed by `a.b=c` overrides.

    Raises ConfigError that lists every wrong key and value at once, with the nearest right key.
    """
    changes: dict[str, Any] = {}
    if config is not None:
        changes = read_yaml(Path(config))
    for override in overrides:
        _apply_override(changes, override)
    return validate_settings(changes)


def validate_settings(changes: Mapping[str, Any]) -> Settings:
    """Settings from a nested mapping of differences; raises ConfigError as `load_settings`."""
    try:
        return Settings.model_validate(changes)
    except ValidationError as error:
        keys = setting_keys(Settings)
        raise ConfigError("; ".join(_explain(problem, keys) for problem in error.errors())) from None


def setting_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """The dotted names of all settings below a model, groups and leaves."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        for inner in _models(field.annotation):
            keys.extend(k for k in setting_keys(inner, f"{prefix}{name}.") if k not in keys)
    return keys


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return [model for part in get_args(annotation) for model in _models(part)]
    return []


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; raises ConfigError where it cannot be read or holds another."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {plain_reason(error)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path} holds a {type(value).__name__}, want settings such as `embed:`")
    return value


def _apply_override(changes: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override}: want name=value, such as embed.batch_size=16")
    *groups, last = key.strip().split(".")
    level = changes
    for group in groups:
        inner = level.setdefault(group, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: {group} is a value, not a group of settings")
        level = inner
    try:
        level[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        level[last] = text


def _explain(problem: Any, keys: list[str]) -> str:
    # A discriminated union puts its tag in the location; no setting is called so.
    parts = [str(part) for part in problem["loc"]]
    name = ".".join(parts)
    if problem["type"] != "extra_forbidden":
        if problem["type"] == "value_error":
            return str(problem["ctx"]["error"])
        return f"{name}: {problem['msg'].lower()}, got {problem['input']!r}"
    near = difflib.get_close_matches(name, keys, n=1, cutoff=0.6)
    if not near:
        ending = difflib.get_close_matches(parts[-1], [k.rsplit(".", 1)[-1] for k in keys], n=1, cutoff=0.7)
        near = [k for k in keys if ending and k.rsplit(".", 1)[-1] == ending[0]][:1]
    return f"{name}: unknown" + (f"; did you mean {near[0]}?" if near else "")
