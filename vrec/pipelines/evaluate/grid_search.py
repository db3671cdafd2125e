"""Grid search of settings on the validation split."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vrec.config.evaluate import EvaluateConfig
from vrec.config.patch import patch_settings
from vrec.config.settings import Settings
from vrec.pipelines.evaluate.local import ComparisonRunner, ValidationData
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
    runner: ComparisonRunner,
    models: Sequence[str],
    config: RetrievalConfig,
    evaluate: EvaluateConfig,
    data: ValidationData,
) -> GridSearchResult:
    """Choose the settings of each model in `evaluate.search` by their score on the validation split.

    Models that are not searched keep their settings. A hybrid is searched last, with the settings chosen for
    its members. Of equal scores the first combination wins.

    Args:
        runner: Place where the trials run.
        models: Models to search, as far as `evaluate.search` names them.
        config: Settings to start from.
        evaluate: `search`, `most_trials` and `metrics` apply.
        data: Tables to fit on and to score on.

    Raises:
        ConfigError: The grid has a wrong name or value.
    """
    trials: list[GridTrial] = []
    combined = [model for model in models if model in COMBINED_KINDS]
    for wave in ([model for model in models if model not in combined], combined):
        tried: list[tuple[str, dict[str, Any]]] = []
        for model in wave:
            grid = evaluate.search.get(model)
            seed = evaluate.metrics.seed
            combinations = grid_combinations(grid, evaluate.most_trials, seed) if grid else []
            tried += [(model, changes) for changes in combinations]
        configs = [(model, with_model_settings(config, model, changes)) for model, changes in tried]
        found = runner.score(configs, data)
        finished = [GridTrial(*trial, *scored) for trial, scored in zip(tried, found, strict=True)]
        config = apply_best(config, finished)
        trials += finished
    return GridSearchResult(config, trials)


def apply_best(config: RetrievalConfig, trials: Sequence[GridTrial]) -> RetrievalConfig:
    """Return the config with the settings of each model's best trial, the first of equal ones."""
    for model in dict.fromkeys(trial.model for trial in trials):
        best = max((trial for trial in trials if trial.model == model), key=lambda trial: trial.score)
        config = with_model_settings(config, model, best.settings)
    return config
