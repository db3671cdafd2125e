"""How `vrec train encoder` makes features and behaviour, and learns from them."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from vrec.core.config import BaseConfig
from vrec.encoders.learned.encoder import AnyHeadConfig
from vrec.encoders.learned.heads.gated import GatedHeadConfig
from vrec.encoders.learned.train import EncoderTrainingConfig
from vrec.media.augment import AugmentConfig
from vrec.retrieval.models.als import AlsConfig
from vrec.training.workers import WorkersConfig


class EncoderFeaturesConfig(BaseConfig):
    """What is kept of a catalogue to train on; how it is decoded and encoded, `embed` says."""

    views: int = Field(default=2, ge=0, le=32)
    """Changed copies of each video beside itself, which must be told to be the same. Each costs as much
    encoding, memory and disk as the video."""
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    """How far a copy is changed."""
    seed: int = Field(default=0, ge=0)
    """Seed of the changes."""


class BehaviorConfig(BaseConfig):
    """How interactions become pairs of videos, and vectors to learn from."""

    window: int = Field(default=10, ge=1)
    """Steps in a shopper's history within which two videos are a pair."""
    pairs_per_user: int = Field(default=50, ge=1)
    """The most pairs of one shopper, drawn at random: else those with the longest histories would say it
    all."""
    least_users: int = Field(default=2, ge=1)
    """Shoppers that a video needs; with fewer it is in no pair, has no vector, and counts as unwatched."""
    targets: Literal["als", "none"] = "als"
    """Which model of collaborative filtering gives the vectors."""
    als: AlsConfig = Field(default_factory=lambda: AlsConfig(factors=32))
    """Its settings."""
    seed: int = Field(default=0, ge=0)
    """Seed of the pairs that are drawn."""


class TrainEncoderConfig(WorkersConfig):
    """How `vrec train encoder` learns from features and, where there are events, from behaviour."""

    learned: AnyHeadConfig = Field(default_factory=GatedHeadConfig)
    """The head that is trained."""
    training: EncoderTrainingConfig = Field(default_factory=EncoderTrainingConfig)
    """How. With events, `objective.kind` is `aligned` unless it is set."""
    features: EncoderFeaturesConfig = Field(default_factory=EncoderFeaturesConfig)
    """What is kept of the videos."""
    behavior: BehaviorConfig = Field(default_factory=BehaviorConfig)
    """What is learned from events."""
    alone_below: int = Field(default=2_000_000, ge=0)
    """Examples of all epochs together below which the command trains in its own process, on all cores and
    without checkpoints: Ray Train's workers take longer to start. 0 always starts them."""

    @model_validator(mode="before")
    @classmethod
    def _default_to_gated_head(cls, values: Any) -> Any:
        # So that `train.encoder.learned.dim=64` alone means something.
        if isinstance(values, Mapping):
            learned = values.get("learned")
            if isinstance(learned, Mapping) and "kind" not in learned:
                return {**values, "learned": {"kind": "gated", **learned}}
        return values
