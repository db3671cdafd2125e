"""Settings and results of an offline evaluation: estimates with intervals, paired differences, slices."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vrec.evaluation.offline.config import EvaluationConfig

SliceSide = Literal["all", "users", "videos"]


@dataclass(frozen=True, slots=True)
class MetricEstimate:
    """Mean of a metric over users, with its interval."""

    mean: float
    low: float | None
    """None where there is no interval: with too few outcomes, and for coverage, top share and Gini,
    which are computed over all users' lists together."""
    high: float | None
    users: int
    """Users with a value: fewer than the population where the metric is undefined for some; 1 for coverage
    and Gini."""
    seeds_sd: float | None
    """Standard deviation of the mean over the model's seeds; None for one seed."""
    outcomes: int | None = None
    """Users whose value is not the most frequent one; None for coverage and Gini."""

    @property
    def is_too_few(self) -> bool:
        """True if there are too few outcomes for an interval."""
        return self.low is None and self.outcomes is not None


@dataclass(frozen=True, slots=True)
class MetricDifference:
    """Difference of two models' means over the same users, with its paired interval."""

    mean: float
    low: float | None
    """None where there are too few outcomes for an interval."""
    high: float | None
    outcomes: int | None = None
    """Users for whom the models differ, or otherwise than for most."""

    @property
    def is_significant(self) -> bool:
        """True if there is an interval, and it excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class MetricLeader:
    """Model with the highest mean of a metric, and its lead over the others."""

    model: str
    runner_up: str | None
    """Model with the second highest mean; None if there is only one model."""
    lead: MetricDifference | None
    """Difference to the runner-up."""
    level_with: Sequence[str]
    """Models, best first, with a paired difference to the leader whose interval contains 0, or that has none.
    The runner-up need not be one of them."""

    @property
    def is_significant(self) -> bool:
        """True if the intervals of the differences to all other models, at least one, exclude 0."""
        return self.runner_up is not None and not self.level_with


@dataclass(frozen=True, slots=True)
class PopulationScores:
    """Scores of all models over one population; estimates are keyed by metric, such as "recall@20"."""

    name: str
    side: SliceSide
    """Kind of slice: of users, of videos, or all."""
    users: int
    relevant: int
    """Pairs of a user and a relevant video."""
    metrics: Mapping[str, Mapping[str, MetricEstimate]]
    """Model → metric → estimate; no metrics where there are no users."""
    against_popular: Mapping[str, Mapping[str, MetricDifference]]
    against_best: Mapping[str, Mapping[str, MetricDifference]]
    """Against `OfflineEvaluation.best_single`."""
    leaders: Mapping[str, MetricLeader]
    """Metric → leader."""

    def too_few(self, key: str) -> Mapping[str, int]:
        """Return the models without an interval of a metric, and their numbers of outcomes."""
        estimates = {model: found.get(key) for model, found in self.metrics.items()}
        return {m: e.outcomes or 0 for m, e in estimates.items() if e is not None and e.is_too_few}


@dataclass(frozen=True, slots=True)
class ListLengths:
    """Number of test users with a list of a model, averaged over its seeds."""

    seeds: int
    served: float
    """Test users with a list of any length."""
    full: Mapping[int, float]
    """Test users whose list has at least k videos, by k."""


@dataclass(frozen=True, slots=True)
class TestSetSummary:
    """Sizes of train, test and catalog."""

    test_users: int
    test_pairs: int
    train_users: int
    train_pairs: int
    catalogue: int
    """Videos over which coverage and Gini are computed."""
    new_users: int
    """Test users without a row in train."""
    new_videos: int
    """Videos of the test pairs without a row in train."""


@dataclass(frozen=True, slots=True)
class OfflineEvaluation:
    """Result of `evaluate_recommendations`."""

    config: EvaluationConfig
    facts: TestSetSummary
    models: Sequence[str]
    """By the headline metric, best first."""
    best_single: str
    """Model with the highest headline metric among those that do not combine others. It is selected on the
    test split, so its estimate is optimistic."""
    lengths: Mapping[str, ListLengths]
    overall: PopulationScores
    slices: Sequence[PopulationScores]
    beyond: Mapping[str, Mapping[str, MetricEstimate]]
    """Model → metric beyond accuracy, such as "coverage@10" → estimate."""

    def to_json(self) -> dict[str, Any]:
        """Return all fields as plain JSON values; an undefined metric is null."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return to_plain_json({**fields, "config": self.config.model_dump(mode="json")})


def to_plain_json(value: Any) -> Any:
    """Convert dataclasses, mappings and sequences to JSON types; NaN becomes None, keys become strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_plain_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain_json(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
