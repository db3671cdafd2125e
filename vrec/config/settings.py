"""Settings of every command in one tree: a key is the path of its command."""

from pydantic import Field

from vrec.bundle.config import BundleConfig
from vrec.compression.config import CompressConfig
from vrec.config.demo import DemoConfig
from vrec.config.evaluate import EvaluateConfig
from vrec.config.events import EventsConfig
from vrec.config.fit import FitConfig
from vrec.config.serve import ServeConfig
from vrec.config.train_encoder import TrainEncoderConfig
from vrec.config.train_ranker import TrainRankerConfig
from vrec.config.tune import TuneConfig
from vrec.core.config import BaseConfig
from vrec.encoders.config import EmbedConfig
from vrec.retrieval.config import RetrievalConfig


class TrainConfig(BaseConfig):
    """Settings for `vrec train`."""

    ranker: TrainRankerConfig = Field(default_factory=TrainRankerConfig)
    """`vrec train ranker`."""
    encoder: TrainEncoderConfig = Field(default_factory=TrainEncoderConfig)
    """`vrec train encoder`."""


class Settings(BaseConfig):
    """Settings of every command."""

    embed: EmbedConfig = Field(default_factory=EmbedConfig)
    """`vrec embed`."""
    events: EventsConfig = Field(default_factory=EventsConfig)
    """Events, as every command reads them."""
    retrieval: RetrievalConfig = Field(default_factory=RetrievalConfig)
    """Recommenders, by name."""
    fit: FitConfig = Field(default_factory=FitConfig)
    """`vrec fit` and `vrec recommend`."""
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    """`vrec evaluate`."""
    train: TrainConfig = Field(default_factory=TrainConfig)
    """`vrec train`."""
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
