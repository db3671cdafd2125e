"""Results, limits and failures of sweeps, without Ray."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ray import cloudpickle
from ray.exceptions import RayTaskError, WorkerCrashedError

from vrec.config.load import load_settings
from vrec.config.settings import Settings
from vrec.config.tune import TuneConfig
from vrec.core.errors import FitError
from vrec.pipelines.cluster import ClusterError, ClusterResources
from vrec.pipelines.tune import sweep
from vrec.pipelines.tune.results import best_yaml, setting_importance, write_results
from vrec.pipelines.tune.run import tune
from vrec.pipelines.tune.search import ERROR
from vrec.pipelines.tune.space import SearchSpace, read_search_space
from vrec.pipelines.tune.sweep import max_concurrent
from vrec.pipelines.tune.targets import TuneData, TuneTarget
from vrec.pipelines.tune.trial_log import TrialLog, TuneError, TuneTrial, rank_trials

FACTORS, ALPHA = "retrieval.als.factors", "retrieval.als.alpha"


def cluster(cpus: float, gpus: float = 0) -> ClusterResources:
    return ClusterResources(1, cpus, gpus, "0")


@pytest.mark.parametrize(
    ("settings", "resources", "expected"),
    [
        ({}, (4, 0), 4),
        ({"cpus": 3}, (8, 0), 2),
        ({"cpus": 0.5}, (2, 0), 4),
        ({"gpus": 0.5}, (8, 2), 4),
        ({"gpus": 1, "cpus": 4}, (8, 8), 2),
        ({"concurrent": 3}, (8, 0), 3),
        ({"concurrent": 9}, (2, 0), 2),
    ],
)
def test_as_many_trials_at_once_as_fit_and_are_allowed(settings, resources, expected):
    assert max_concurrent(TuneConfig(**settings), cluster(*resources)) == expected


def test_a_cluster_too_small_for_one_trial_is_refused():
    with pytest.raises(ClusterError, match="wants 4 CPUs and 1 GPUs; the cluster has 2 and 0"):
        max_concurrent(TuneConfig(cpus=4, gpus=1), cluster(2))
    with pytest.raises(ClusterError):
        max_concurrent(TuneConfig(gpus=1), cluster(2))


@pytest.fixture
def space(tmp_path) -> SearchSpace:
    path = tmp_path / "space.yaml"
    path.write_text(f"{FACTORS}: {{int: [1, 100]}}\n{ALPHA}: {{uniform: [0.5, 9.5]}}")
    return read_search_space(path, Settings(), ("retrieval.als",))


def trial(number: int, factors: int, score: float | None = None, **more: Any) -> TuneTrial:
    changes = {FACTORS: factors, ALPHA: 1.0 + number % 3}
    values = () if score is None else (score - 1, score)
    return TuneTrial(number, changes, more.pop("state", "done"), values, drawn=changes, **more)


def test_the_setting_that_makes_the_difference_is_the_important_one(space):
    trials = [trial(i, factors=10 * i, score=float(i)) for i in range(1, 10)]
    found = setting_importance(space, trials, seed=0)
    assert list(found) == [FACTORS, ALPHA]
    assert found[FACTORS] > 0.8
    assert sum(found.values()) == pytest.approx(1)


def test_importance_needs_four_finished_trials_of_the_space_that_differ(space):
    trials = [trial(i, factors=10 * i, score=float(i)) for i in range(1, 5)]
    assert setting_importance(space, trials, 0)
    assert setting_importance(space, trials[:3], 0) == {}
    stopped = [*trials[:3], trial(4, 40, 4.0, state="stopped")]
    assert setting_importance(space, stopped, 0) == {}
    outside = [*trials[:3], TuneTrial(0, {}, "done", (4.0,))]
    assert setting_importance(space, outside, 0) == {}
    assert setting_importance(space, [trial(i, 10 * i, 1.0) for i in range(1, 9)], 0) == {}


def test_the_best_yaml_is_what_was_set_with_the_changes_and_no_sweep():
    given = load_settings(overrides=["retrieval.als.iterations=3", "tune.trials=4"])
    written = yaml.safe_load(best_yaml(given, {FACTORS: 7}))
    assert written == {"retrieval": {"als": {"iterations": 3, "factors": 7}}}


def target() -> TuneTarget:
    return TuneTarget(
        "cf",
        "als",
        "closeness",
        ("retrieval.als",),
        False,
        lambda: TuneData("made up", "1", lambda: 0),
        lambda data, settings: iter([0.0]),
        "vrec fit",
    )


def test_results_are_ranked_and_the_best_is_written(space, tmp_path):
    trials = [trial(0, 5, 0.5), trial(1, 6, 0.9), trial(2, 7, 0.9), trial(3, 8, state="failed", error="E: x")]
    write_results(str(tmp_path), target(), Settings(), space, trials, data="made up")
    board = json.loads((tmp_path / "leaderboard.json").read_text())
    assert board["metric"] == "closeness"
    assert [(row["number"], row["score"]) for row in board["trials"]] == [
        (1, 0.9),
        (2, 0.9),
        (0, 0.5),
        (3, None),
    ]
    assert load_settings(tmp_path / "best.yaml").retrieval.als.factors == 6
    assert "made up" in (tmp_path / "report.html").read_text()


def test_without_a_score_there_is_no_best(space, tmp_path):
    write_results(
        str(tmp_path), target(), Settings(), space, [trial(0, 5, state="failed", error="E: x")], data="d"
    )
    assert not (tmp_path / "best.yaml").exists()
    assert (tmp_path / "leaderboard.json").exists()


def test_a_sweep_that_is_complete_needs_no_trial_and_says_what_was_found(space, tmp_path, inline_ray):
    out, file = str(tmp_path / "out"), tmp_path / "space.yaml"
    settings = load_settings(overrides=["tune.trials=4"])
    log = TrialLog(out, {})
    (tmp_path / "out" / "sweep.json").unlink()
    for each in (
        TuneTrial(0, {}, "done", (0.1, 0.3, 0.2)),
        trial(1, 6, 0.9),
        trial(2, 7, 0.4, state="stopped"),
        trial(3, 8, 0.99, state="failed", error="E: x"),
    ):
        log.write(each)
    done = tune(target(), file, out, settings)
    assert (done["trials"], done["stopped"], done["resumed_from"]) == (4, 1, 4)
    assert done["best"] == {"trial": 1, "score": 0.9, "changes": {FACTORS: 6, ALPHA: 2.0}}
    assert done["default"] == 0.3, "the best of its epochs"
    assert [(row["trial"], row["error"]) for row in done["failed"]] == [(3, "E: x")]
    more = load_settings(overrides=["tune.trials=3", "tune.cpus=9", "tune.concurrent=1"])
    assert tune(target(), file, out, more)["trials"] == 4, "these may differ"
    other = load_settings(overrides=["tune.trials=4", "tune.seed=1"])
    with pytest.raises(TuneError, match="another settings"):
        tune(target(), file, out, other)


def test_trials_without_a_score_come_last_by_number():
    trials = [trial(3, 1), trial(1, 1, -5.0), trial(0, 1, state="failed"), trial(2, 1, -4.0)]
    assert [t.number for t in rank_trials(trials)] == [2, 1, 0, 3]


def test_a_score_leaves_out_what_is_not_finite():
    assert TuneTrial(0, {}, "done", (float("nan"), 0.5, float("inf"))).score == 0.5
    assert TuneTrial(0, {}, "running").score is None


def failure(tmp_path, error: Exception | None) -> str:
    path = tmp_path / "error.pkl"
    if error is not None:
        path.write_bytes(cloudpickle.dumps(error))
    trial: Any = SimpleNamespace(pickled_error_file=str(path))
    return sweep.describe_error(sweep.trial_error(trial))


def test_a_failure_is_told_in_one_line(tmp_path):
    assert failure(tmp_path, None) == "WorkerLost: Ray does not say why"
    assert failure(tmp_path, FitError("a\n  b")) == "FitError: a b"
    assert failure(tmp_path, RayTaskError("f", "traceback", FitError("no"))) == "FitError: no"
    assert failure(tmp_path, WorkerCrashedError()).startswith("WorkerLost: ")


def ray_trial(number: int) -> Any:
    return SimpleNamespace(
        trial_id=f"t{number}",
        config={"number": number, "changes": {FACTORS: 3}, "drawn": None},
        pickled_error_file=None,
    )


def test_trials_are_recorded_as_they_go(tmp_path):
    log, seen = TrialLog(str(tmp_path), {}), []
    watch = lambda trials: seen.append([(t.number, t.state, tuple(t.values)) for t in trials])  # noqa: E731
    recorder = sweep.TrialRecorder(log, [TuneTrial(0, {}, "done", (1.0,))], {"t2"}, watch)
    for number in (1, 2, 3, 4):
        recorder.on_trial_start(0, [], ray_trial(number))
    recorder.on_trial_result(0, [], ray_trial(1), {"value": 0.5})
    recorder.on_trial_result(0, [], ray_trial(1), {"value": 0.25})
    recorder.on_trial_result(0, [], ray_trial(2), {"value": 0.1})
    recorder.on_trial_result(0, [], ray_trial(3), {"other": 0.1})
    assert len(seen) == 7, "not for a result without a value"
    recorder.on_trial_complete(0, [], ray_trial(1))
    recorder.on_trial_complete(0, [], ray_trial(2))
    recorder.on_trial_complete(0, [], ray_trial(3))
    recorder.on_trial_error(0, [], ray_trial(4))
    assert [(n, s) for n, s, _ in seen[-1]] == [
        (0, "done"),
        (1, "done"),
        (2, "stopped"),
        (3, "failed"),
        (4, "failed"),
    ]
    found = {t.number: t for t in log.trials()}
    assert found[1].values == [0.5, 0.25]
    assert found[1].seconds >= 0
    assert found[3].error == "TuneError: it ended without a figure"
    assert sorted(found) == [1, 2, 3], "what was lost is no result"
    assert [(t.number, t.error) for t in recorder.lost] == [(4, "WorkerLost: Ray does not say why")]
    assert recorder.__getstate__()["on_trials"] is None


def test_a_trial_reports_its_best_and_its_last_value(monkeypatch):
    reports = []
    monkeypatch.setattr(sweep.tune, "report", reports.append)
    config = {"changes": {FACTORS: 9}}

    def values(data, settings):
        yield data + settings.retrieval.als.factors
        yield 1.0
        yield 20.0

    sweep.run_trial(config, base=Settings(), trial=values, data=1)
    assert reports == [
        {"score": 10, "value": 10},
        {"score": 10, "value": 1.0},
        {"score": 20.0, "value": 20.0},
    ]
    sweep.run_trial(config, base=Settings(), trial=lambda d, s: iter([1.0, float("nan")]), data=1)
    assert reports[-1] == {"score": 1.0, ERROR: "TuneError: the figure after epoch 2 is nan"}


def test_a_trial_whose_own_tasks_were_lost_is_raised_so_that_it_is_repeated(monkeypatch):
    monkeypatch.setattr(sweep.tune, "report", lambda values: pytest.fail(f"{values} were reported"))

    def lost(data, settings):
        raise RayTaskError("f", "traceback", WorkerCrashedError())
        yield

    with pytest.raises(RayTaskError):
        sweep.run_trial({"changes": {}}, base=Settings(), trial=lost, data=1)


def test_a_failed_trial_is_recorded_with_its_error_and_is_no_observation(tmp_path):
    log = TrialLog(str(tmp_path), {})
    recorder = sweep.TrialRecorder(log, [], set(), None)
    recorder.on_trial_start(0, [], ray_trial(1))
    recorder.on_trial_result(0, [], ray_trial(1), {"score": 0.5, "value": 0.5})
    recorder.on_trial_result(0, [], ray_trial(1), {"score": 0.5, ERROR: "FitError: no"})
    recorder.on_trial_complete(0, [], ray_trial(1))
    (found,) = log.trials()
    assert (found.state, found.error, found.values, found.score) == ("failed", "FitError: no", [0.5], None)


def test_a_trial_that_is_repeated_begins_with_no_values(tmp_path):
    log = TrialLog(str(tmp_path), {})
    recorder = sweep.TrialRecorder(log, [], set(), None)
    for values in ((0.5,), (0.5, 0.75)):
        recorder.on_trial_start(0, [], ray_trial(1))
        for value in values:
            recorder.on_trial_result(0, [], ray_trial(1), {"value": value})
    recorder.on_trial_complete(0, [], ray_trial(1))
    assert [(t.values, t.state) for t in log.trials()] == [([0.5, 0.75], "done")]
