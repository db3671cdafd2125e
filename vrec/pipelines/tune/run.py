"""`vrec tune`: search for the settings that score best on the validation split.

`tune` reads in the order of its stages: read → search → report.
"""

import os
from collections.abc import Sequence
from typing import Any

from vrec.config.patch import explicit_settings
from vrec.config.settings import Settings
from vrec.core.tables import StorageFolder
from vrec.core.uris import absolute_uri, join_uri
from vrec.evaluation.reports.tuning import PAGE
from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
from vrec.pipelines.tune.results import BEST, write_results
from vrec.pipelines.tune.search import DEFAULT
from vrec.pipelines.tune.space import SearchSpace, read_search_space
from vrec.pipelines.tune.sweep import TrialListener, run_sweep
from vrec.pipelines.tune.targets import TuneData, TuneTarget
from vrec.pipelines.tune.trial_log import TrialLog, TuneError, TuneTrial, rank_trials

_NOT_COMPARED = ("trials", "concurrent", "cpus", "gpus", "max_failures")
"""Settings of `tune` that may differ when a sweep is continued."""


def tune(
    target: TuneTarget,
    space: str | os.PathLike[str],
    out: str,
    settings: Settings,
    *,
    address: str | None = None,
    on_trials: TrialListener | None = None,
) -> dict[str, Any]:
    """Try `tune.trials` settings of a space, write the results to the folder `out` and return a summary.

    `out` gets `trials/*.json` as trials end, and then `leaderboard.json`, `best.yaml` and `report.html`. The
    same call continues a sweep that was interrupted; finished trials are not repeated. The settings as given
    are the first trial, so the best are never worse on the validation split. A trial that fails is a row
    with its reason. One whose process or node is lost is repeated, up to `tune.max_failures` times; if that
    does not help it is in the results of this call, but not in `trials/`, so that the next call tries again.

    Args:
        target: the model, and how a trial of it is scored.
        space: a path or URI of YAML with the settings to vary.
        out: the folder of the sweep.
        settings: the settings to start from; `tune` controls the sweep.
        address: the Ray cluster, as `connect_cluster` takes it.
        on_trials: called with all trials whenever one has news.

    Raises:
        ConfigError: the space is not valid.
        TuneError: `out` holds another sweep, or no trial has a score.
        ClusterError, OutputError, and what `target.read` raises.
    """
    # Read the space, the data and the trials of an interrupted sweep.
    dimensions = read_search_space(space, settings, target.tunable)
    out = absolute_uri(out)
    StorageFolder(out).check_writable()
    data = target.read()
    log = TrialLog(out, _comparability_key(target, data, dimensions, settings))
    resumed_from = len(log.trials())

    # Search.
    with connect_cluster(address) as resources, unwrap_ray_errors():
        trials = run_sweep(target, data, settings, dimensions, log, resources=resources, on_trials=on_trials)

    # Report.
    importance = write_results(out, target, settings, dimensions, trials, data=data.name)
    best = rank_trials(trials)[0]
    if best.score is None:
        lost = len(log.trials()) < len(trials)
        again = "run the same command again" if lost else f"remove {out} to begin again"
        raise TuneError(
            f"none of {len(trials)} trials has a figure; the first: {best.error}",
            fix=f"see {join_uri(out, PAGE)}; {again}",
        )
    return {
        "model": target.model,
        "metric": target.metric,
        "out": out,
        "resumed_from": resumed_from,
        **_summarize(trials),
        "importance": dict(importance),
        "config": join_uri(out, BEST),
        "report": join_uri(out, PAGE),
        "taken_by": target.command,
    }


def _comparability_key(
    target: TuneTarget, data: TuneData, space: SearchSpace, settings: Settings
) -> dict[str, Any]:
    """Return all that must be equal for trials to be comparable, as JSON."""
    explicit = explicit_settings(settings)
    explicit["tune"] = {k: v for k, v in settings.tune.model_dump().items() if k not in _NOT_COMPARED}
    return {
        "kind": target.kind,
        "model": target.model,
        "data": data.fingerprint,
        "metric": target.metric,
        "space": {key: [d.kind, str(d.distribution)] for key, d in space.dimensions.items()},
        "settings": explicit,
    }


def _summarize(trials: Sequence[TuneTrial]) -> dict[str, Any]:
    best, default = rank_trials(trials)[0], next((t for t in trials if t.number == DEFAULT), None)
    failed = [trial for trial in trials if trial.state == "failed"]
    return {
        "trials": len(trials),
        "stopped": sum(trial.state == "stopped" for trial in trials),
        "failed": [{"trial": t.number, "error": t.error, "changes": dict(t.changes)} for t in failed],
        "best": {"trial": best.number, "score": best.score, "changes": dict(best.changes)},
        "default": None if default is None else default.score,
    }
