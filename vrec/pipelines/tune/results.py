"""Results of a sweep: a leaderboard, the best settings as YAML, and a report page."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import optuna
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from vrec.config.patch import explicit_settings, patch_settings, setting_value
from vrec.config.settings import Settings
from vrec.core.masking import mask_credentials
from vrec.core.tables import StorageFolder
from vrec.evaluation.reports.tuning import SweepReport, TrialSummary, VariedSetting, write_sweep_report
from vrec.pipelines.tune.search import silent_optuna
from vrec.pipelines.tune.space import SearchDimension, SearchSpace
from vrec.pipelines.tune.targets import TuneTarget
from vrec.pipelines.tune.trial_log import TuneTrial, rank_trials

BEST, LEADERBOARD = "best.yaml", "leaderboard.json"
_FEWEST = 4
"""Fewest finished trials from which importance is estimated."""


def write_results(
    out: str,
    target: TuneTarget,
    settings: Settings,
    space: SearchSpace,
    trials: Sequence[TuneTrial],
    *,
    data: str,
) -> Mapping[str, float]:
    """Write the results to the folder `out` and return the importance of each setting.

    `leaderboard.json` and `report.html` are always written, `best.yaml` where a trial has a score.

    Args:
        out: the folder of the sweep.
        target: the target that was tuned.
        settings: the settings as given.
        space: the settings that were varied.
        trials: all finished trials.
        data: the name of the data, for people.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder, order = StorageFolder(out), rank_trials(trials)
    rows = [asdict(trial) | {"score": trial.score} for trial in order]
    folder.write_json(LEADERBOARD, {"metric": target.metric, "trials": rows})
    best = best_yaml(settings, order[0].changes) if order[0].score is not None else ""
    if best:
        folder.write(BEST, best.encode())
    importance = setting_importance(space, trials, settings.tune.seed)
    report = SweepReport(
        model=target.model,
        data=mask_credentials(data),
        metric=target.metric,
        trials=[_trial_summary(trial, settings, space) for trial in order],
        varied=[_varied_setting(dimension) for dimension in space.dimensions.values()],
        importance=importance,
        best=mask_credentials(best),
        command=target.command,
    )
    write_sweep_report(report, out)
    return importance


def best_yaml(settings: Settings, changes: Mapping[str, Any]) -> str:
    """Return the explicit settings with these changes as YAML, which every command takes as --config."""
    explicit = explicit_settings(patch_settings(settings, changes))
    explicit.pop("tune", None)
    return yaml.safe_dump(explicit, sort_keys=False, allow_unicode=True)


def setting_importance(space: SearchSpace, trials: Sequence[TuneTrial], seed: int) -> dict[str, float]:
    """Return the share of each setting in the variance of scores, the largest first.

    Functional ANOVA (Hutter et al. 2014) over the trials that ran to their end and lie in the space; empty
    for fewer than 4 of them, or where all scores are equal.
    """
    with silent_optuna():
        study = optuna.create_study(direction="maximize")
    for trial in trials:
        in_space = trial.drawn.keys() == space.dimensions.keys()
        if trial.state == "done" and in_space:
            frozen = optuna.trial.create_trial(
                params=dict(trial.drawn), distributions=space.distributions, value=trial.score
            )
            study.add_trial(frozen)
    if len({trial.value for trial in study.trials}) < 2 or len(study.trials) < _FEWEST:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: float(share) for key, share in shares.items()}


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
