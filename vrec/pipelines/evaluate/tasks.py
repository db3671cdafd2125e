"""Trials and fits of a comparison as Ray tasks."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import ray

from vrec.config.fit import FitConfig
from vrec.core.errors import FitError
from vrec.pipelines.cluster import unwrap_ray_errors
from vrec.pipelines.evaluate.local import (
    FittedLists,
    ModelConfigs,
    TestQuery,
    ValidationData,
    timed_score,
)
from vrec.pipelines.fit.tasks import Ref, start_fit, start_recommending
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import COMBINED_KINDS, RetrievalConfig


class RayRunner:
    """Runner on a cluster that is connected: all trials and fits at once, as far as its resources go."""

    def __init__(self, resources: FitConfig) -> None:
        self.resources = resources

    def score(self, trials: ModelConfigs, data: ValidationData) -> Iterator[tuple[float, float]]:
        """Yield the validation score and the seconds of each trial."""
        ref = ray.put(data)
        for pending in [_run_trial.remote(model, config, ref) for model, config in trials]:
            yield ray.get(pending)

    def recommend(self, fits: ModelConfigs, query: TestQuery) -> Iterator[FittedLists | FitError]:
        """Yield the lists of each fit, or why there are none."""
        refs = ray.put(query.train), ray.put(query.content)
        started = [(model, start_fit(model, config, *refs, self.resources)) for model, config in fits]
        for model, fit in started:
            try:
                with unwrap_ray_errors():
                    yield _recommend(model, *fit, query)
            except FitError as error:
                yield error


def _recommend(model: str, fitted: Ref, fit_s: Ref, query: TestQuery) -> FittedLists:
    results = ray.get(start_recommending(fitted, query.users, query.depth, query.shard))
    lists = pa.concat_tables([table for table, _ in results])
    report: dict[str, Any] = {}
    if model in COMBINED_KINDS:
        local: MatrixRecommender = ray.get(fitted)
        report = local.report
    return FittedLists(lists, ray.get(fit_s), sum(seconds for _, seconds in results), report)


@ray.remote(num_cpus=1)
def _run_trial(model: str, config: RetrievalConfig, data: ValidationData) -> tuple[float, float]:
    return timed_score(model, config, data)
