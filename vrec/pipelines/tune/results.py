"""What a sweep leaves: a leaderboard, the best settings as YAML, and a page."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import optuna
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from vrec.config.patch import explicit_settings, patch_settings, setting_value
from vrec.config.settings import Settings
from vrec.core.tables import StorageFolder
from vrec.evaluation.reports.tuning import SweepReport, TrialSummary, VariedSetting, write_sweep_report
from vrec.pipelines.tune.search import silent_optuna
from vrec.pipelines.tune.space import SearchDimension, SearchSpace
from vrec.pipelines.tune.targets import TuneTarget
from vrec.pipelines.tune.trial_log import TuneTrial, rank_trials

BEST, LEADERBOARD = "best.yaml", "leaderboard.json"
_FEWEST = 4
"""Scored trials below which nothing is said of importance."""


def write_results(
    out: str,
    target: TuneTarget,
    settings: Settings,
    space: SearchSpace,
    trials: Sequence[TuneTrial],
    *,
    data: str,
) -> Mapping[str, float]:
    """The importance of each setting, after writing `leaderboard.json`, `best.yaml` where a trial has a
    score, and `report.html`. `data` is its name. Raises OutputError.
    """
    folder, order = StorageFolder(out), rank_trials(trials)
    rows = [asdict(trial) | {"score": trial.score} for trial in order]
    folder.write_json(LEADERBOARD, {"metric": target.metric, "trials": rows})
    best = best_yaml(settings, order[0].changes) if order[0].score is not None else ""
    if best:
        folder.write(BEST, best.encode())
    found = setting_importance(space, trials, settings.tune.seed)
    report = SweepReport(
        model=target.model,
        data=data,
        metric=target.metric,
        trials=[_trial_summary(trial, settings, space) for trial in order],
        varied=[_varied_setting(dimension) for dimension in space.dimensions.values()],
        importance=found,
        best=best,
        command=target.command,
    )
    write_sweep_report(report, out)
    return found


def best_yaml(settings: Settings, changes: Mapping[str, Any]) -> str:
    """What was set, with these changes, as YAML that every command's --config takes."""
    whole = explicit_settings(patch_settings(settings, changes))
    whole.pop("tune", None)
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)


def setting_importance(space: SearchSpace, trials: Sequence[TuneTrial], seed: int) -> dict[str, float]:
    """The share of each setting in what made scores differ, the largest first, of trials that ran to their
    end (functional ANOVA: Hutter et al. 2014); empty where they are too few or too like.
    """
    with silent_optuna():
        study = optuna.create_study(direction="maximize")
    for trial in trials:
        inside = trial.drawn.keys() == space.dimensions.keys()
        if trial.state == "done" and inside:
            made = optuna.trial.create_trial(
                params=dict(trial.drawn), distributions=space.distributions, value=trial.score
            )
            study.add_trial(made)
    if len({trial.value for trial in study.trials}) < 2 or len(study.trials) < _FEWEST:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: float(share) for key, share in found.items()}


def _trial_summary(trial: TuneTrial, settings: Settings, space: SearchSpace) -> TrialSummary:
    given = {key: setting_value(settings, key) for key in space.dimensions}
    return TrialSummary(
        number=trial.number,
        settings=given | dict(trial.changes),
        state="done" if trial.state == "running" else trial.state,
        score=trial.score,
        values=trial.values,
        seconds=trial.seconds,
        error=trial.error,
    )


def _varied_setting(dimension: SearchDimension) -> VariedSetting:
    match dimension.distribution:
        case CategoricalDistribution(choices=choices):
            return VariedSetting(dimension.key, choices=[dimension.value(choice) for choice in choices])
        case FloatDistribution(low=low, high=high, log=log) | IntDistribution(low=low, high=high, log=log):
            return VariedSetting(dimension.key, low=low, high=high, log=log)
    raise AssertionError(dimension)
