"""Settings chosen on the validation part: every combination of a grid, one task a trial."""

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from vrec.config.patch import patch_settings
from vrec.config.settings import EvaluateConfig, Settings
from vrec.core.types import CatalogContent
from vrec.evaluation.offline.results import EvaluationConfig
from vrec.pipelines.evaluate.validation import validation_score
from vrec.retrieval.registry import RetrievalConfig


@dataclass(frozen=True, slots=True)
class GridTrial:
    """One combination of settings and what it reached on the validation part."""

    model: str
    settings: Mapping[str, Any]
    score: float
    """The mean over the validation users of the headline metric."""
    seconds: float
    """To fit, and to ask and judge."""


@dataclass(frozen=True, slots=True)
class GridSearchResult:
    """The settings that were best, and all that were tried."""

    config: RetrievalConfig
    trials: Sequence[GridTrial]


def grid_combinations(grid: Mapping[str, Sequence[Any]], most: int, seed: int) -> list[dict[str, Any]]:
    """Every combination of the listed values, or `most` of them drawn at random where there are more."""
    found = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    if len(found) > most:
        kept = np.random.default_rng(seed).choice(len(found), most, replace=False)
        found = [found[i] for i in sorted(kept)]
    return found


def with_model_settings(config: RetrievalConfig, model: str, changes: Mapping[str, Any]) -> RetrievalConfig:
    """The config with some settings of one model changed; raises ConfigError for one that is none."""
    whole = {f"retrieval.{model}.{name}": value for name, value in changes.items()}
    return patch_settings(Settings(retrieval=config), whole).retrieval


def grid_search(
    models: Sequence[str],
    config: RetrievalConfig,
    evaluate: EvaluateConfig,
    *,
    train: pa.Table,
    validation: pa.Table,
    content: CatalogContent | None,
) -> GridSearchResult:
    """The settings under which each model of `evaluate.search` is best at finding `validation` from `train`.

    Both are INTERACTIONS. Models that are not searched keep their settings. A hybrid is searched last, with
    the settings that its members got. Raises ConfigError for a grid with a wrong name or value.
    """
    refs = ray.put(train), ray.put(validation), ray.put(content)
    trials: list[GridTrial] = []
    for wave in ([m for m in models if m != "hybrid"], ["hybrid"] if "hybrid" in models else []):
        pending: list[tuple[str, dict[str, Any], Any]] = []
        for model in wave:
            grid = evaluate.search.get(model, {})
            for changes in (
                grid_combinations(grid, evaluate.most_trials, evaluate.metrics.seed) if grid else ()
            ):
                changed = with_model_settings(config, model, changes)
                pending.append((model, changes, _run_trial.remote(model, changed, refs, evaluate.metrics)))
        done = [GridTrial(model, changes, *ray.get(ref)) for model, changes, ref in pending]
        for model in wave:
            if mine := [trial for trial in done if trial.model == model]:
                config = with_model_settings(config, model, max(mine, key=lambda trial: trial.score).settings)
        trials += done
    return GridSearchResult(config, trials)


@ray.remote(num_cpus=1)
def _run_trial(
    model: str, config: RetrievalConfig, refs: tuple[Any, Any, Any], metrics: EvaluationConfig
) -> tuple[float, float]:
    train, validation, content = ray.get([*refs])
    begun = time.perf_counter()
    score = validation_score(model, config, train, validation, content=content, metrics=metrics)
    return score, time.perf_counter() - begun
