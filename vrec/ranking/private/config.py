"""Settings of the private ranker. Imports no torch."""

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.ranking.networks.config import LogisticRegressionConfig, NetworkConfig


class PrivateRankerConfig(BaseConfig):
    """Settings of `vrec train ranker --privacy.epsilon`, all fixed before the training begins."""

    network: NetworkConfig = Field(default_factory=lambda: LogisticRegressionConfig(content=False))
    """Network architecture, in the place of `train.ranker.network`. Noise grows with the number of weights,
    so that few shoppers teach a small network better."""
    surfaces: tuple[str, ...] = ()
    """Surfaces with weights of their own. They are not read from the events, which may name rare ones."""
    steps: int = Field(default=100, ge=1, le=100_000)
    """Steps of training, fixed: no step is chosen by a validation."""
    sampling: float = Field(default=0.25, gt=0, le=1)
    """Probability with which each shopper takes part in a step."""
    examples: int = Field(default=16, ge=1, le=10_000)
    """Most impressions of a shopper in a step, drawn anew for each. Together they give one gradient, which is
    clipped as a whole."""
    clip: float = Field(default=0.3, gt=0, allow_inf_nan=False)
    """Euclidean norm to which a shopper's gradient is clipped."""
    learning_rate: float = Field(default=0.02, gt=0, le=10)
    """Step size of Adam."""
    impressions: float = Field(default=30.0, ge=1, le=100_000)
    """Impressions and clicks of a shopper up to which all count in full in the noised counts of videos."""
    count_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the precision (1 / noise multiplier²) that ε allows to a single sum, which the counts of
    videos get; the training gets what is left of ε."""
