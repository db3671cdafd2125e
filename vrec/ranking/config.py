"""Settings of labels, splits and training of the ranker. Imports no torch."""

from typing import Literal

from pydantic import Field, model_validator

from vrec.core.config import BaseConfig
from vrec.events.config import OwnKindName
from vrec.ranking.calibration import CalibrationConfig
from vrec.ranking.features.space import RankerFeaturesConfig
from vrec.ranking.networks.config import CreadConfig, DinConfig, NetworkConfig, RankerHeadsConfig, WatchConfig
from vrec.ranking.reranking.utility import UtilityConfig
from vrec.ranking.uncertainty import LaplaceConfig
from vrec.training.config import TrainingConfig

OutcomeKind = Literal["click", "watch", "like", "share", "follow", "cart", "purchase"]
"""Kinds of vrec's that can be an outcome of an impression."""


class LabelsConfig(BaseConfig):
    """Definition of clicks, watches and conversions as outcomes of an impression."""

    conversion_kinds: tuple[OutcomeKind | OwnKindName, ...] = Field(default=("purchase",), min_length=1)
    """Event kinds that count as a conversion when they follow a click; any one is enough. Kinds of the shop's
    own may be among them, vrec's negative ones not. A purchase that the log refunds does not count."""
    conversion_window_hours: float = Field(default=72.0, gt=0)
    """Hours after an impression within which a conversion counts. Impressions younger than this at the end
    of the log are not mature: their outcome is not known yet."""
    response_window_hours: float = Field(default=24.0, gt=0)
    """Hours after an impression within which clicks and watches count."""


class LogSplitConfig(BaseConfig):
    """Shares of the validation and test splits."""

    validation_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the impressions, those before the test split, for early stopping and calibration."""
    test_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the impressions, the latest, for testing."""

    @model_validator(mode="after")
    def _some_left(self) -> "LogSplitConfig":
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave nothing to train on")
        return self


class RankerTrainingConfig(TrainingConfig):
    """Settings of the training of a ranking network."""

    epochs: int = Field(default=10, ge=1)
    """Maximum number of passes over the impressions."""
    batch_size: int = Field(default=1024, ge=2)
    """Impressions per step, of all workers together. Larger batches make an epoch faster, but with fewer
    updates."""
    patience: int = Field(default=2, ge=1)
    """Epochs without a lower validation loss after which training stops; the weights of the best epoch are
    used. Ranking networks are often best after one or two epochs."""
    weight_decay: float = Field(default=1e-5, ge=0)
    """Weight decay of all weights except the position biases: a step subtracts this share of a weight, times
    the learning rate (AdamW: Loshchilov & Hutter 2019). Limits overfitting to users and videos."""
    position_learning_rate: float = Field(default=0.05, gt=0, le=1)
    """Learning rate of the position biases, a few numbers that every impression informs. At the learning rate
    of the other weights they still converge while those begin to overfit; the validation loss would keep
    falling and training would stop too late."""


class RankerConfig(BaseConfig):
    """Settings of a network ranker."""

    network: NetworkConfig = Field(default_factory=DinConfig)
    """Network architecture."""
    heads: RankerHeadsConfig = Field(default_factory=RankerHeadsConfig)
    """Prediction heads, and the parameters they share."""
    watch: WatchConfig = Field(default_factory=CreadConfig)
    """Target and loss of the watch head; no effect without that head."""
    features: RankerFeaturesConfig = Field(default_factory=RankerFeaturesConfig)
    """Input features."""
    labels: LabelsConfig = Field(default_factory=LabelsConfig)
    """Definition of clicks, watches and conversions."""
    training: RankerTrainingConfig = Field(default_factory=RankerTrainingConfig)
    """Training loop and optimizer."""
    calibration: CalibrationConfig = Field(default_factory=CalibrationConfig)
    """Calibration of predictions on the validation split."""
    laplace: LaplaceConfig = Field(default_factory=LaplaceConfig)
    """Uncertainty of the click prediction, used by exploration."""
    utility: UtilityConfig = Field(default_factory=UtilityConfig)
    """Weights of clicks, minutes and sales in the utility."""


class NeighborRankerConfig(BaseConfig):
    """Settings of the ranker that a bundle without a trained one gets."""

    history: int = Field(default=50, ge=1)
    """Latest liked videos whose neighbors count."""
    recency: float = Field(default=0.9, gt=0, le=1)
    """Factor on the neighbors of a liked video for each video liked after it."""
