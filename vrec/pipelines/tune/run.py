"""`vrec tune`: settings that are best on the validation part, from those given on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vrec.config.patch import explicit_settings
from vrec.config.settings import Settings
from vrec.core.tables import StorageFolder, absolute_uri, join_uri
from vrec.evaluation.reports.tuning import PAGE
from vrec.pipelines.cluster import connect_cluster, unwrap_ray_errors
from vrec.pipelines.tune.results import BEST, write_results
from vrec.pipelines.tune.search import DEFAULT
from vrec.pipelines.tune.space import SearchSpace, read_search_space
from vrec.pipelines.tune.sweep import TrialListener, run_sweep
from vrec.pipelines.tune.targets import TuneData, TuneTarget
from vrec.pipelines.tune.trial_log import TrialLog, TuneError, TuneTrial, rank_trials

_NOT_COMPARED = ("trials", "concurrent", "cpus", "gpus")
"""Settings of a sweep with others of which it may go on."""


def tune(
    target: TuneTarget,
    space: Path,
    out: str,
    settings: Settings,
    *,
    address: str | None = None,
    on_trials: TrialListener | None = None,
) -> dict[str, Any]:
    """What was found, after trying `tune.trials` settings of the `space` in a YAML file.

    `out` gets `trials/*.json` as they end, and then `leaderboard.json`, `best.yaml` and `report.html`. The
    same call goes on where one was stopped: what is finished is not made again. The settings as given are
    the first trial, so the best are never worse on the validation part. A trial that fails, or whose process
    is lost, is a row with its reason. Raises ConfigError for a wrong space, TuneError where `out` holds
    another sweep or no trial has a figure, ClusterError, OutputError, and what `subject.read` raises.
    """
    out = absolute_uri(out)
    StorageFolder(out).check_writable()
    found = read_search_space(space, settings, target.tunable)
    data = target.read()
    journal = TrialLog(out, _comparability_key(target, data, found, settings))
    before = len(journal.trials())
    with connect_cluster(address) as resources, unwrap_ray_errors():
        trials = run_sweep(target, data, settings, found, journal, resources=resources, on_trials=on_trials)
    importance = write_results(out, target, settings, found, trials, data=data.name)
    best = rank_trials(trials)[0]
    if best.score is None:
        raise TuneError(
            f"none of {len(trials)} trials has a figure; the first: {best.error}",
            fix=f"see {join_uri(out, PAGE)}; remove {out} to begin anew",
        )
    return {
        "model": target.model,
        "metric": target.metric,
        "out": out,
        "resumed_from": before,
        **_summarize(trials),
        "importance": dict(importance),
        "config": join_uri(out, BEST),
        "report": join_uri(out, PAGE),
        "taken_by": target.command,
    }


def _comparability_key(
    subject: TuneTarget, data: TuneData, space: SearchSpace, settings: Settings
) -> dict[str, Any]:
    """All that must be the same for trials to be comparable."""
    given = explicit_settings(settings)
    given["tune"] = {k: v for k, v in settings.tune.model_dump().items() if k not in _NOT_COMPARED}
    return {
        "kind": subject.kind,
        "model": subject.model,
        "data": data.fingerprint,
        "metric": subject.metric,
        "space": {key: [d.kind, str(d.distribution)] for key, d in space.dimensions.items()},
        "settings": given,
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
