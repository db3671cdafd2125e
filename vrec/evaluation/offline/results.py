"""What an evaluation finds, as plain data: estimates with intervals, paired differences, slices."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from vrec.core.config import BaseConfig

SliceSide = Literal["all", "users", "videos"]


class EvaluationConfig(BaseConfig):
    """How models are compared."""

    ks: tuple[int, ...] = Field(default=(10, 20, 50), min_length=1)
    """Lengths of list that are judged. Recommendations must be asked for down to the longest."""
    headline_metric: Literal["ndcg", "recall", "hit_rate", "map", "mrr", "precision"] = "ndcg"
    """Orders the models, and chooses the best single one that others are compared with."""
    headline_k: int = Field(default=10, ge=1)
    """The length that the headline table shows; one of `ks`."""
    resamples: int = Field(default=1000, ge=100)
    """Bootstrap resamples of the users. More steady the intervals' ends; the time grows in proportion."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Share of resamples that an interval holds."""
    seed: int = Field(default=0, ge=0)
    """Of the bootstrap's draws."""

    @model_validator(mode="after")
    def _check_headline(self) -> "EvaluationConfig":
        if min(self.ks) < 1 or len(set(self.ks)) < len(self.ks):
            raise ValueError("ks must be different lengths of at least 1")
        if self.headline_k not in self.ks:
            raise ValueError(f"headline_k is {self.headline_k}, which is not one of ks")
        return self

    @property
    def headline(self) -> str:
        """The headline metric as estimates are keyed, such as "ndcg@10"."""
        return f"{self.headline_metric}@{self.headline_k}"


@dataclass(frozen=True, slots=True)
class MetricEstimate:
    """A mean over users with its bootstrap interval."""

    mean: float
    low: float | None
    """None where an interval has no meaning: coverage and Gini belong to all users' lists together."""
    high: float | None
    users: int
    """Over how many users: fewer than the population where some have no such figure, 1 for coverage and
    Gini."""
    seeds_sd: float | None
    """Standard deviation of the mean over the model's seeds; None for one seed."""


@dataclass(frozen=True, slots=True)
class MetricDifference:
    """One model's mean minus another's over the same users, with its paired bootstrap interval."""

    mean: float
    low: float
    high: float

    @property
    def is_significant(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class MetricLeader:
    """The model with the highest mean of a metric, and how far the others are behind."""

    model: str
    runner_up: str | None
    """The next by its mean; None where there is only one model."""
    lead: MetricDifference | None
    """Against the runner-up."""
    level_with: Sequence[str]
    """Models, best first, that it is not clearly ahead of: the interval of the paired difference holds 0.
    It can be one whose mean is lower than the runner-up's."""

    @property
    def is_significant(self) -> bool:
        """Whether the lead's interval excludes 0 against every other model, and there is one."""
        return self.runner_up is not None and not self.level_with


@dataclass(frozen=True, slots=True)
class PopulationScores:
    """All models over one population. Estimates are keyed by metric, such as "recall@20"."""

    name: str
    side: SliceSide
    """What the population is a slice of."""
    users: int
    relevant: int
    """Pairs of a user and a video that is relevant to them."""
    metrics: Mapping[str, Mapping[str, MetricEstimate]]
    """Model → metric → estimate; no metrics where there are no users."""
    against_popular: Mapping[str, Mapping[str, MetricDifference]]
    against_best: Mapping[str, Mapping[str, MetricDifference]]
    """Against `Evaluation.best_single`."""
    leaders: Mapping[str, MetricLeader]
    """Metric → leader."""


@dataclass(frozen=True, slots=True)
class ListLengths:
    """How much a model had to say; for several seeds, their mean."""

    seeds: int
    served: float
    """Test users with a list of any length."""
    full: Mapping[int, float]
    """Test users whose list reaches each k."""


@dataclass(frozen=True, slots=True)
class TestSetSummary:
    """What the models were judged on."""

    test_users: int
    test_pairs: int
    train_users: int
    train_pairs: int
    catalogue: int
    """Videos that coverage and Gini are counted over."""
    new_users: int
    """Test users without a row in train."""
    new_videos: int
    """Videos of the test pairs without a row in train."""


@dataclass(frozen=True, slots=True)
class OfflineEvaluation:
    """The outcome of `evaluate`."""

    config: EvaluationConfig
    facts: TestSetSummary
    models: Sequence[str]
    """By the headline metric, best first."""
    best_single: str
    """The model with the highest headline metric that does not combine others. It is chosen on the test
    part, which flatters it: a model that beats it would beat any other single one."""
    lengths: Mapping[str, ListLengths]
    overall: PopulationScores
    slices: Sequence[PopulationScores]
    beyond: Mapping[str, Mapping[str, MetricEstimate]]
    """Model → such as "coverage@10" → estimate."""

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values; a figure that does not exist is null."""
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return to_plain_json({**found, "config": self.config.model_dump(mode="json")})


def to_plain_json(value: Any) -> Any:
    """Dataclasses, mappings and sequences as JSON's own kinds; NaN becomes None, keys become strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_plain_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain_json(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
