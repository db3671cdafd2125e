"""Sweeps on a real Ray: failures are rows, the default is first and never beaten, a killed driver goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from vrec.config.load import load_settings
from vrec.core.errors import ConfigError
from vrec.pipelines.cluster import ClusterError
from vrec.pipelines.fit.run import fit
from vrec.pipelines.tune.run import tune
from vrec.pipelines.tune.targets import TuneData, TuneTarget, recommender_target
from vrec.pipelines.tune.trial_log import TuneError

SPACE = "retrieval.als.factors: {int: [1, 200]}\nretrieval.als.alpha: {log_uniform: [0.1, 100]}\n"


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return path


def subject_of(trial, *, epochs: bool = False, data: str = "one") -> TuneTarget:
    """A subject whose trials do as the test says."""
    return TuneTarget(
        kind="cf",
        model="als",
        metric="closeness",
        tunable=("retrieval.als",),
        reports_epochs=epochs,
        read=lambda: TuneData("made up", data, lambda: 150),
        run_trial=trial,
        command="vrec fit --model als",
    )


def make_trial():
    """Better the nearer to 150 factors; with 1, 2 or 3 of them it fails, each in its way."""

    def trial(aim, settings):
        import os
        import signal

        factors = settings.retrieval.als.factors
        match factors:
            case 1:
                raise ZeroDivisionError("these settings divide by nothing")
            case 2:
                yield 0.5
                yield float("nan")
            case 3:
                os.kill(os.getpid(), signal.SIGKILL)
        for epoch in range(1, 5):
            yield -abs(factors - aim) / 100 - 1 / epoch

    return trial


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_trials_that_fail_are_rows_and_the_sweep_ends(space, tmp_path, local_ray):
    out = tmp_path / "out"
    space.write_text("retrieval.als.factors: {choice: [64, 1, 2, 3, 20, 150]}")
    # With this seed 3, 150, 1, 150, 20, 150 and 2 factors are drawn: every worker that is lost takes a while.
    draws = ["tune.seed=41", "tune.concurrent=1", "tune.max_failures=1"]
    settings = load_settings(overrides=["tune.trials=8", *draws])
    subject = subject_of(make_trial(), epochs=True)
    seen: list[int] = []
    done = tune(subject, space, str(out), settings, on_trials=lambda trials: seen.append(len(trials)))
    assert (done["trials"], max(seen)) == (8, 8)
    rows = json.loads((out / "leaderboard.json").read_text())["trials"]
    assert {row["number"]: row["error"].partition(":")[0] for row in rows if row["state"] == "failed"} == {
        1: "WorkerLost",
        3: "ZeroDivisionError",
        7: "TuneError",
    }
    assert {failed["trial"] for failed in done["failed"]} == {1, 3, 7}
    scores = [row["score"] for row in rows if row["score"] is not None]
    assert scores == sorted(scores, reverse=True)
    assert done["best"]["score"] == scores[0] == -0.25 > done["default"]
    (stopped,) = (row for row in rows if row["state"] == "stopped")
    assert (stopped["changes"], len(stopped["values"])) == ({"retrieval.als.factors": 20}, 1)
    default = next(row for row in rows if row["number"] == 0)
    assert (default["state"], len(default["values"])) == ("done", 4)
    assert load_settings(out / "best.yaml").retrieval.als.factors == 150
    page = (out / "report.html").read_text()
    assert "ZeroDivisionError" in page
    assert "Learning curves" in page
    # A trial whose process was lost, twice here, is no result: the next call is free to try it again.
    assert not (out / "trials" / "00001.json").exists()
    more = tune(subject, space, str(out), load_settings(overrides=["tune.trials=8", *draws]))
    assert (more["trials"], more["resumed_from"]) == (8, 7)
    with pytest.raises(TuneError, match="another data"):
        tune(subject_of(make_trial(), epochs=True, data="other"), space, str(out), settings)


def test_the_best_settings_are_what_fit_takes_and_no_worse_than_the_default(shop, tmp_path, local_ray):
    space = tmp_path / "space.yaml"
    space.write_text("retrieval.als.factors: {int: [1, 200]}\nretrieval.als.alpha: {uniform: [-5.0, 4.0]}\n")
    # With this seed one of three has an alpha that the settings refuse, which no check of choices can see.
    settings = load_settings(overrides=["tune.trials=4", "tune.seed=0", "retrieval.als.iterations=3"])
    done = tune(recommender_target(shop.where, settings, "als"), space, str(tmp_path / "out"), settings)
    assert done["best"]["score"] >= done["default"] > 0
    (failed,) = done["failed"]
    assert failed["error"].startswith("ConfigError: retrieval.als.alpha")
    best = load_settings(done["config"])
    assert best.retrieval.als.iterations == 3
    assert "tune" not in yaml.safe_load(Path(done["config"]).read_text())
    fitted = fit(shop.where, str(tmp_path / "model"), best, model="als")
    assert fitted["users"] > 0
    again = tune(recommender_target(shop.where, settings, "als"), space, str(tmp_path / "out"), settings)
    assert again["resumed_from"] == 4
    assert again["best"] == done["best"]


def test_what_cannot_be_run_is_said_before_anything_is(shop, space, tmp_path, local_ray):
    greedy = load_settings(overrides=["tune.cpus=64"])
    with pytest.raises(ClusterError, match="a trial wants 64 CPUs"):
        tune(recommender_target(shop.where, greedy, "als"), space, str(tmp_path / "out"), greedy)
    space.write_text("retrieval.als.factor: {int: [1, 2]}")
    with pytest.raises(ConfigError, match=r"did you mean retrieval\.als\.factors\?"):
        tune(recommender_target(shop.where, greedy, "als"), space, str(tmp_path / "other"), greedy)
    space.write_text(SPACE)

    def trial(material, settings):
        yield float("inf")

    settings = load_settings(overrides=["tune.trials=1"])
    with pytest.raises(TuneError, match="none of 1 trials has a figure"):
        tune(subject_of(trial), space, str(tmp_path / "none"), settings)
    assert "No trial of als succeeded" in (tmp_path / "none" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sweep_whose_driver_is_killed_goes_on_with_the_same_command(shop, space, tmp_path, ray_cluster):
    out = tmp_path / "out"
    command = [sys.executable, "-c", "from vrec.cli.main import main; main()", "tune", "cf", "--events"]
    command += [
        shop.where.events,
        "--model",
        "als",
        "--space",
        str(space),
        "--out",
        str(out),
        "--address",
        ray_cluster.address,
    ]
    command += ["--json", "--set", "tune.trials=12", "--set", "retrieval.als.iterations=3"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list((out / "trials").glob("*.json")) if (out / "trials").exists() else []) < 3:
        assert first.poll() is None
        time.sleep(0.02)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    kept = {path.name: path.read_bytes() for path in (out / "trials").glob("*.json")}
    assert 3 <= len(kept) < 12
    done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert (done["trials"], done["resumed_from"]) == (12, len(kept))
    for name, content in kept.items():
        assert (out / "trials" / name).read_bytes() == content
    assert done["best"]["score"] >= done["default"]
