"""Trials and fits of a comparison in the process that asks for them; tasks on a cluster do the same."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from vrec.core.errors import FitError
from vrec.core.types import CatalogContent
from vrec.evaluation.offline.config import EvaluationConfig
from vrec.pipelines.evaluate.validation import validation_score
from vrec.pipelines.fit.local import fit_model
from vrec.retrieval.config import RetrievalConfig

ModelConfigs = Sequence[tuple[str, RetrievalConfig]]
"""Names of models, each with the settings of one fit."""


@dataclass(frozen=True, slots=True)
class ValidationData:
    """Tables to fit on and to score on, and the metric of the score."""

    train: pa.Table
    """INTERACTIONS, aggregated."""
    validation: pa.Table
    """INTERACTIONS."""
    content: CatalogContent | None
    metrics: EvaluationConfig


@dataclass(frozen=True, slots=True)
class TestQuery:
    """Interactions to fit on, and lists to recommend afterwards."""

    __test__ = False

    train: pa.Table
    """INTERACTIONS, aggregated."""
    content: CatalogContent | None
    users: Sequence[str]
    depth: int
    """Length of a list."""
    shard: int
    """Users for whom lists are made at once."""

    @property
    def shards(self) -> list[list[str]]:
        """The users, in shards."""
        return [list(self.users[i : i + self.shard]) for i in range(0, len(self.users), self.shard)]


@dataclass(frozen=True, slots=True)
class FittedLists:
    """Lists of one fitted model."""

    lists: pa.Table
    """RECOMMENDATIONS."""
    fit_s: float
    recommend_s: float
    report: Mapping[str, Any]
    """What the fit chose; see `MatrixRecommender.report`."""


class ComparisonRunner(Protocol):
    """Place where trials and fits run."""

    def score(self, trials: ModelConfigs, data: ValidationData) -> Iterable[tuple[float, float]]:
        """Return the validation score and the seconds of each trial, in order."""
        ...

    def recommend(self, fits: ModelConfigs, query: TestQuery) -> Iterable[FittedLists | FitError]:
        """Return the lists of each fit, or why there are none, in order."""
        ...


class LocalRunner:
    """Runner in this process, one fit after the other, with one model in memory at a time."""

    def score(self, trials: ModelConfigs, data: ValidationData) -> Iterator[tuple[float, float]]:
        """Yield the validation score and the seconds of each trial."""
        for model, config in trials:
            yield timed_score(model, config, data)

    def recommend(self, fits: ModelConfigs, query: TestQuery) -> Iterator[FittedLists | FitError]:
        """Yield the lists of each fit, or why there are none."""
        for model, config in fits:
            try:
                yield _fit_and_recommend(model, config, query)
            except FitError as error:
                yield error


def timed_score(model: str, config: RetrievalConfig, data: ValidationData) -> tuple[float, float]:
    """Return the validation score of a trial, and its seconds."""
    begun = time.perf_counter()
    score = validation_score(
        model, config, data.train, data.validation, content=data.content, metrics=data.metrics
    )
    return score, time.perf_counter() - begun


def _fit_and_recommend(model: str, config: RetrievalConfig, query: TestQuery) -> FittedLists:
    fitted, fit_s = fit_model(model, config, query.train, query.content)
    begun = time.perf_counter()
    lists = pa.concat_tables([fitted.recommend(users, query.depth) for users in query.shards])
    return FittedLists(lists, fit_s, time.perf_counter() - begun, fitted.report)
