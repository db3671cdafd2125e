"""Settings for `vrec evaluate`."""

from typing import Any

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.evaluation.offline.config import EvaluationConfig, SampledConfig
from vrec.events.config import SplitConfig, TimeSplitConfig


class EvaluateConfig(BaseConfig):
    """Settings for comparing recommenders."""

    models: tuple[str, ...] = ("popular", "item_knn", "user_knn", "als", "ease", "content", "hybrid")
    """Recommenders to compare; `content` is skipped when the catalog has no content."""
    split: SplitConfig = Field(default_factory=TimeSplitConfig)
    """Split into train and test interactions. Trust `time`, which cuts the log at one moment."""
    most_users: int | None = Field(default=None, ge=1)
    """Maximum number of test users; of more, as many are drawn at random, and the intervals are wider. None
    tests all."""
    metrics: EvaluationConfig = Field(default_factory=EvaluationConfig)
    """Metrics and their intervals over users."""
    search: dict[str, dict[str, list[Any]]] = Field(default_factory=dict)
    """Grid of settings per model, chosen on the validation split, such as
    `{ease: {regularization: [100, 500]}}`: every combination is tried. Empty by default."""
    most_trials: int = Field(default=60, ge=1)
    """Combinations tried per model; of a larger grid, this many are drawn at random."""
    seeds: int = Field(default=1, ge=1, le=100)
    """Fits of each seeded model, each with a different seed; other models are fitted once."""
    cold_most: int = Field(default=0, ge=0)
    """Train interactions up to which a video or user counts as cold."""
    sampled: SampledConfig = Field(default_factory=SampledConfig)
    """Sampled-negatives protocol of many papers, used with `--like-paper` only."""
    shoppers: int = Field(default=5, ge=0)
    """Test users shown in the report, with their history and recommendations."""
    shopper_videos: int = Field(default=8, ge=1)
    """Videos shown per user in the report."""
