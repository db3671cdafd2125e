"""Grid search of settings on the validation split, one Ray task per trial."""

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from vrec.config.evaluate import EvaluateConfig
from vrec.config.patch import patch_settings
from vrec.config.settings import Settings
from vrec.core.types import CatalogContent
from vrec.evaluation.offline.config import EvaluationConfig
from vrec.pipelines.evaluate.validation import validation_score
from vrec.retrieval.config import COMBINED_KINDS, RetrievalConfig


@dataclass(frozen=True, slots=True)
class GridTrial:
    """One combination of settings with its score on the validation split."""

    model: str
    settings: Mapping[str, Any]
    """Values by the name of the setting within the model's settings."""
    score: float
    """The headline metric, the mean over the validation users."""
    seconds: float
    """Time to fit, recommend and score."""


@dataclass(frozen=True, slots=True)
class GridSearchResult:
    """The best settings, and all trials."""

    config: RetrievalConfig
    trials: Sequence[GridTrial]


def grid_combinations(grid: Mapping[str, Sequence[Any]], most: int, seed: int) -> list[dict[str, Any]]:
    """Return every combination of the listed values, or `most` of them at random where there are more."""
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    if len(combinations) > most:
        drawn = np.random.default_rng(seed).choice(len(combinations), most, replace=False)
        combinations = [combinations[i] for i in sorted(drawn)]
    return combinations


def with_model_settings(config: RetrievalConfig, model: str, changes: Mapping[str, Any]) -> RetrievalConfig:
    """Return the config with some settings of one model changed; raises ConfigError for an unknown one."""
    dotted = {f"retrieval.{model}.{name}": value for name, value in changes.items()}
    return patch_settings(Settings(retrieval=config), dotted).retrieval


def grid_search(
    models: Sequence[str],
    config: RetrievalConfig,
    evaluate: EvaluateConfig,
    *,
    train: pa.Table,
    validation: pa.Table,
    content: CatalogContent | None,
) -> GridSearchResult:
    """Choose the settings of each model in `evaluate.search` by their score on the validation split.

    Models that are not searched keep their settings. A hybrid is searched last, with the settings chosen for
    its members. Of equal scores the first combination wins.

    Args:
        models: the models to search, as far as `evaluate.search` names them.
        config: the settings to start from.
        evaluate: `search`, `most_trials` and `metrics` apply.
        train: INTERACTIONS to fit on.
        validation: INTERACTIONS to score on.
        content: the catalogue's content.

    Raises:
        ConfigError: the grid has a wrong name or value.
    """
    refs = ray.put(train), ray.put(validation), ray.put(content)
    trials: list[GridTrial] = []
    combined = [model for model in models if model in COMBINED_KINDS]
    for wave in ([model for model in models if model not in combined], combined):
        pending: list[tuple[str, dict[str, Any], Any]] = []
        for model in wave:
            grid = evaluate.search.get(model)
            seed = evaluate.metrics.seed
            for changes in grid_combinations(grid, evaluate.most_trials, seed) if grid else ():
                changed = with_model_settings(config, model, changes)
                pending.append((model, changes, _run_trial.remote(model, changed, refs, evaluate.metrics)))
        finished = [GridTrial(model, changes, *ray.get(ref)) for model, changes, ref in pending]
        config = apply_best(config, finished)
        trials += finished
    return GridSearchResult(config, trials)


def apply_best(config: RetrievalConfig, trials: Sequence[GridTrial]) -> RetrievalConfig:
    """Return the config with the settings of each model's best trial, the first of equal ones."""
    for model in dict.fromkeys(trial.model for trial in trials):
        best = max((trial for trial in trials if trial.model == model), key=lambda trial: trial.score)
        config = with_model_settings(config, model, best.settings)
    return config


@ray.remote(num_cpus=1)
def _run_trial(
    model: str, config: RetrievalConfig, refs: tuple[Any, Any, Any], metrics: EvaluationConfig
) -> tuple[float, float]:
    train, validation, content = ray.get([*refs])
    begun = time.perf_counter()
    score = validation_score(model, config, train, validation, content=content, metrics=metrics)
    return score, time.perf_counter() - begun
