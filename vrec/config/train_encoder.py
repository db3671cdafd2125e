"""Settings for `vrec train encoder`."""

from typing import Literal

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.encoders.learned.heads.config import AnyHeadConfig, GatedHeadConfig
from vrec.encoders.learned.training_config import EncoderTrainingConfig
from vrec.media.augment_config import AugmentConfig
from vrec.retrieval.config import AlsConfig
from vrec.training.workers import WorkersConfig


class EncoderFeaturesConfig(BaseConfig):
    """Frozen features to train on; `embed` sets how videos are decoded and encoded."""

    views: int = Field(default=2, ge=0, le=32)
    """Augmented copies of each video, which the encoder learns to match with it. Each costs as much encoding,
    memory and disk as the video."""
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    """Strength of the augmentation."""
    seed: int = Field(default=0, ge=0)
    """Random seed of the augmentation."""


class BehaviorConfig(BaseConfig):
    """Pairs of videos and target vectors, made from interactions."""

    window: int = Field(default=10, ge=1)
    """Steps in a user's history within which two videos form a pair."""
    pairs_per_user: int = Field(default=50, ge=1)
    """Maximum pairs per user, drawn at random, so that long histories do not dominate."""
    least_users: int = Field(default=2, ge=1)
    """Users that a video needs; with fewer it has no pair and no target vector, and counts as unwatched."""
    targets: Literal["als", "none"] = "als"
    """Collaborative model that gives the target vectors, or `none`."""
    als: AlsConfig = Field(default_factory=lambda: AlsConfig(factors=32))
    """Settings of that model."""
    seed: int = Field(default=0, ge=0)
    """Random seed of the drawn pairs."""


class TrainEncoderConfig(WorkersConfig):
    """Settings for training an encoder on features and, with events, on behavior."""

    learned: AnyHeadConfig = Field(default_factory=GatedHeadConfig)
    """Head to train."""
    training: EncoderTrainingConfig = Field(default_factory=EncoderTrainingConfig)
    """Training; with events, `objective.kind` is `aligned` unless it is set."""
    features: EncoderFeaturesConfig = Field(default_factory=EncoderFeaturesConfig)
    """Features of the videos."""
    behavior: BehaviorConfig = Field(default_factory=BehaviorConfig)
    """Signals learned from events."""
    alone_below: int = Field(default=2_000_000, ge=0)
    """Examples, summed over all epochs, below which the command trains in its own process, on all cores and
    without checkpoints, since Ray Train's workers take longer to start. 0 always uses Ray Train."""
