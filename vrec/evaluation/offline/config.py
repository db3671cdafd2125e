"""Settings of the evaluation of recommenders."""

from typing import Literal

from pydantic import Field, model_validator

from vrec.core.config import BaseConfig


class EvaluationConfig(BaseConfig):
    """Settings of the comparison of models."""

    ks: tuple[int, ...] = Field(default=(10, 20, 50), min_length=1)
    """Cutoffs: lengths of list at which metrics are computed. Recommendations must reach the largest."""
    headline_metric: Literal["ndcg", "recall", "hit_rate", "map", "mrr", "precision"] = "ndcg"
    """Metric that orders the models and picks the best single one, which others are compared with."""
    headline_k: int = Field(default=10, ge=1)
    """Cutoff of the headline table; one of `ks`."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Confidence level of the intervals."""
    min_outcomes: int = Field(default=10, ge=2)
    """Fewest users for an interval whose value is not the most frequent one: users with a hit where most have
    none, users for whom two models differ where they mostly do not."""
    seed: int = Field(default=0, ge=0)
    """Random seed of the example shoppers, and of the combinations that `evaluate.search` tries."""

    @model_validator(mode="after")
    def _check_headline(self) -> "EvaluationConfig":
        if min(self.ks) < 1 or len(set(self.ks)) < len(self.ks):
            raise ValueError("ks must be different lengths of at least 1")
        if self.headline_k not in self.ks:
            raise ValueError(f"headline_k is {self.headline_k}, which is not one of ks")
        return self

    @property
    def headline(self) -> str:
        """Key of the headline metric, such as "ndcg@10"."""
        return f"{self.headline_metric}@{self.headline_k}"


class SampledConfig(BaseConfig):
    """Settings of the sampled metrics."""

    negatives: int = Field(default=100, ge=1)
    """Random videos per user, outside the user's train and test, that the test video is ranked among."""
    ks: tuple[int, ...] = Field(default=(1, 5, 10), min_length=1)
    """Cutoffs at which hit rate and NDCG are computed."""
    seed: int = Field(default=0, ge=0)
    """Random seed of the negatives, which are the same for all models."""
