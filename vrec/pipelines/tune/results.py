"""What a sweep leaves: a leaderboard, the best settings as YAML, and a page."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import optuna
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from vrec.config.patch import differences, value_of, with_changes
from vrec.config.settings import Settings
from vrec.core.tables import Folder
from vrec.evaluation.reports.tuning import SweepReport, Tried, Varied, write_sweep
from vrec.pipelines.tune.search import silent_optuna
from vrec.pipelines.tune.space import Dimension, Space
from vrec.pipelines.tune.targets import Subject
from vrec.pipelines.tune.trial_log import Trial, ranked

BEST, LEADERBOARD = "best.yaml", "leaderboard.json"
_FEWEST = 4
"""Scored trials below which nothing is said of importance."""


def write_results(
    out: str, subject: Subject, settings: Settings, space: Space, trials: Sequence[Trial], *, data: str
) -> Mapping[str, float]:
    """The importance of each setting, after writing `leaderboard.json`, `best.yaml` where a trial has a
    score, and `report.html`. `data` is its name. Raises OutputError.
    """
    folder, order = Folder(out), ranked(trials)
    rows = [asdict(trial) | {"score": trial.score} for trial in order]
    folder.write_json(LEADERBOARD, {"metric": subject.metric, "trials": rows})
    best = best_yaml(settings, order[0].changes) if order[0].score is not None else ""
    if best:
        folder.write(BEST, best.encode())
    found = importance(space, trials, settings.tune.seed)
    report = SweepReport(
        model=subject.model,
        data=data,
        metric=subject.metric,
        trials=[_tried(trial, settings, space) for trial in order],
        varied=[_varied(dimension) for dimension in space.dimensions.values()],
        importance=found,
        best=best,
        taken_by=subject.taken_by,
    )
    write_sweep(report, out)
    return found


def best_yaml(settings: Settings, changes: Mapping[str, Any]) -> str:
    """What was set, with these changes, as YAML that every command's --config takes."""
    whole = differences(with_changes(settings, changes))
    whole.pop("tune", None)
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)


def importance(space: Space, trials: Sequence[Trial], seed: int) -> dict[str, float]:
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


def _tried(trial: Trial, settings: Settings, space: Space) -> Tried:
    given = {key: value_of(settings, key) for key in space.dimensions}
    return Tried(
        number=trial.number,
        settings=given | dict(trial.changes),
        state="done" if trial.state == "running" else trial.state,
        score=trial.score,
        values=trial.values,
        seconds=trial.seconds,
        error=trial.error,
    )


def _varied(dimension: Dimension) -> Varied:
    match dimension.distribution:
        case CategoricalDistribution(choices=choices):
            return Varied(dimension.key, choices=[dimension.value(choice) for choice in choices])
        case FloatDistribution(low=low, high=high, log=log) | IntDistribution(low=low, high=high, log=log):
            return Varied(dimension.key, low=low, high=high, log=log)
    raise AssertionError(dimension)
