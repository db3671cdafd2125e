"""Settings of every command in one tree: a key is the path of its command."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from vrec.bundle.config import BundleConfig
from vrec.compression.config import CompressConfig
from vrec.config.demo import DemoConfig
from vrec.config.evaluate import EvaluateConfig
from vrec.config.events import EventsConfig
from vrec.config.fit import FitConfig
from vrec.config.loop import LoopConfig
from vrec.config.serve import ServeConfig
from vrec.config.train_encoder import TrainEncoderConfig
from vrec.config.train_ranker import TrainRankerConfig
from vrec.config.tune import TuneConfig
from vrec.core.config import BaseConfig
from vrec.encoders.config import EmbedConfig
from vrec.privacy.config import PrivacyConfig
from vrec.retrieval.config import RetrievalConfig
from vrec.robustness.config import RobustnessConfig
from vrec.training.federated.config import FederatedConfig


class TrainConfig(BaseConfig):
    """Settings for `vrec train`."""

    ranker: TrainRankerConfig = Field(default_factory=TrainRankerConfig)
    """`vrec train ranker`."""
    encoder: TrainEncoderConfig = Field(default_factory=TrainEncoderConfig)
    """`vrec train encoder`."""


OWN_KINDS_KEY = "events.interest.own_kinds"
"""Setting that declares the shop's own kinds of events."""
OWN_KINDS_COPIES = ("train.ranker.profiles.user.interest.own_kinds", "serve.own_kinds")
"""Settings that take the kinds of OWN_KINDS_KEY where they are not set themselves."""


class Settings(BaseConfig):
    """Settings of every command."""

    embed: EmbedConfig = Field(default_factory=EmbedConfig)
    """`vrec embed`."""
    events: EventsConfig = Field(default_factory=EventsConfig)
    """Events, as every command reads them."""
    retrieval: RetrievalConfig = Field(default_factory=RetrievalConfig)
    """Recommenders, by name."""
    privacy: PrivacyConfig = Field(default_factory=PrivacyConfig)
    """Differential privacy of `vrec fit`."""
    robustness: RobustnessConfig = Field(default_factory=RobustnessConfig)
    """Defences of `vrec fit` against fake shoppers, and `vrec robustness bench`."""
    fit: FitConfig = Field(default_factory=FitConfig)
    """`vrec fit` and `vrec recommend`."""
    federated: FederatedConfig = Field(default_factory=FederatedConfig)
    """`vrec federate`."""
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
    loop: LoopConfig = Field(default_factory=LoopConfig)
    """`vrec loop`."""
    demo: DemoConfig = Field(default_factory=DemoConfig)
    """`vrec demo`."""

    @model_validator(mode="before")
    @classmethod
    def _share_own_kinds(cls, values: Any) -> Any:
        """Copy the shop's own kinds of events, so that one declaration counts for every command."""
        declared: Any = values
        for part in OWN_KINDS_KEY.split("."):
            declared = declared.get(part) if isinstance(declared, Mapping) else getattr(declared, part, None)
        if declared and isinstance(values, Mapping):
            for key in OWN_KINDS_COPIES:
                values = _with_default(values, key.split("."), declared)
        return values


def _with_default(values: Mapping[str, Any], path: Sequence[str], value: Any) -> Mapping[str, Any]:
    """Return nested settings with a value at a path, unless there is one, or something other than a group."""
    first, *rest = path
    if not rest:
        return {first: value, **values}
    inner = values.get(first, {})
    return {**values, first: _with_default(inner, rest, value)} if isinstance(inner, Mapping) else values
