"""Settings of every command in one place."""

from collections.abc import Collection
from typing import Any, Literal

from pydantic import Field

from vrec.bundle.config import BundleConfig
from vrec.compression.config import CompressConfig
from vrec.config.serve import ServeConfig
from vrec.config.train_encoder import TrainEncoderConfig
from vrec.config.tune import TuneConfig
from vrec.core.config import BaseConfig
from vrec.core.types import Modality
from vrec.encoders.config import EmbedConfig
from vrec.evaluation.offline.results import EvaluationConfig
from vrec.evaluation.offline.sampled import SampledConfig
from vrec.evaluation.reports.gallery.report import GalleryConfig
from vrec.events.interactions import InterestConfig
from vrec.events.read import EventReadConfig
from vrec.events.split import SplitConfig, TimeSplitConfig
from vrec.media.posters import PosterConfig
from vrec.profiles.update import ProfilesConfig
from vrec.ranking.labels import LogSplitConfig
from vrec.ranking.network_ranker import RankerConfig
from vrec.retrieval.registry import RetrievalConfig
from vrec.synthetic.shop.shop import SimulationConfig
from vrec.synthetic.videos import SyntheticVideosConfig
from vrec.training.workers import WorkersConfig


class EventsConfig(BaseConfig):
    """How events are read, and what they say about interest."""

    read: EventReadConfig = Field(default_factory=EventReadConfig)
    """How a table of events is read."""
    interest: InterestConfig = Field(default_factory=InterestConfig)
    """How much interest an event shows, and how it fades."""


class FitConfig(BaseConfig):
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


class EvaluateConfig(BaseConfig):
    """How recommenders are compared."""

    models: tuple[str, ...] = ("popular", "item_knn", "user_knn", "als", "ease", "content", "hybrid")
    """Which recommenders are compared; `content` is left out where there is none."""
    split: SplitConfig = Field(default_factory=TimeSplitConfig)
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


class TrainRankerConfig(WorkersConfig):
    """How `vrec train ranker` makes examples of a log and learns from them."""

    ranker: RankerConfig = Field(default_factory=RankerConfig)
    """The ranker: its network, heads, labels, features and calibration."""
    parts: LogSplitConfig = Field(default_factory=LogSplitConfig)
    """Where the log is cut into parts to train, validate and test on."""
    profiles: ProfilesConfig = Field(default_factory=ProfilesConfig)
    """How profiles are made of events; serve with the same."""
    shards: int | None = Field(default=None, ge=1)
    """Parts in which the log is replayed at the same time, by default one a CPU of the cluster."""


class DemoRankerConfig(BaseConfig):
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

    def apply_to(self, train: TrainRankerConfig, kinds: Collection[str]) -> TrainRankerConfig:
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


class DemoConfig(BaseConfig):
    """What `vrec demo` draws and shows."""

    draw: SyntheticVideosConfig = Field(default_factory=SyntheticVideosConfig)
    """The drawn catalogue."""
    poster: PosterConfig = Field(default_factory=PosterConfig)
    """The pictures on the page."""
    gallery: GalleryConfig = Field(default_factory=GalleryConfig)
    """The page."""
    shop: SimulationConfig = Field(default_factory=lambda: SimulationConfig(users=600, slots=5))
    """The shoppers who are simulated in the catalogue."""
    ranker: DemoRankerConfig = Field(default_factory=DemoRankerConfig)
    """The ranker that is trained on what they did."""
    least_videos: int = Field(default=20, ge=4)
    """Embedded videos that a shop needs: with fewer, nobody is simulated."""


class Settings(BaseConfig):
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
    train: TrainRankerConfig = Field(default_factory=TrainRankerConfig)
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
