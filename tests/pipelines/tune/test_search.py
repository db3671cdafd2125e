"""What is suggested and what is stopped, without Ray: the default first, and earlier trials remembered."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from ray.tune.schedulers import TrialScheduler

from vrec.config.load import load_settings
from vrec.config.settings import Settings
from vrec.config.tune import TuneConfig
from vrec.pipelines.tune.search import OptunaSuggester, ResumableAsha, silent_optuna
from vrec.pipelines.tune.space import read_search_space
from vrec.pipelines.tune.trial_log import TrialLog, TuneError, TuneTrial, rank_trials

FACTORS = "retrieval.als.factors"


@pytest.fixture(params=["inside", "outside"])
def space(request, tmp_path: Path):
    """With the default inside the space, or outside."""
    path = tmp_path / "space.yaml"
    path.write_text(f"{FACTORS}: {{int: [{'1' if request.param == 'inside' else '65'}, 200]}}")
    return read_search_space(path, Settings(), ("retrieval.als",))


def closeness(suggestion) -> float:
    return -abs(suggestion["changes"].get(FACTORS, Settings().retrieval.als.factors) - 150) / 10


def sweep(space, settings, finished=(), trials=30) -> list[TuneTrial]:
    with silent_optuna():
        search = OptunaSuggester(space, settings, finished)
        found = []
        for n in range(trials):
            suggestion = search.suggest(f"t{n}")
            score = closeness(suggestion)
            search.on_trial_complete(f"t{n}", {"score": score})
            found.append(
                TuneTrial(
                    suggestion["number"], suggestion["changes"], "done", (score,), drawn=suggestion["drawn"]
                )
            )
    return found


def test_the_first_trial_is_the_settings_as_given_and_what_is_found_is_learned_from(space):
    found = sweep(space, load_settings(overrides=["tune.random_trials=5"]))
    assert [trial.number for trial in found] == list(range(30))
    assert found[0].changes == {}
    assert max(t.score for t in found[15:]) > -1
    assert np.mean([t.score for t in found[15:]]) > np.mean([t.score for t in found[1:6]])


def test_equal_seeds_draw_equal_settings_and_others_do_not(space):
    once, again = (sweep(space, load_settings(overrides=["tune.seed=3"]), trials=8) for _ in range(2))
    assert once == again
    other = sweep(space, load_settings(overrides=["tune.seed=4"]), trials=8)
    assert [t.changes for t in once[1:]] != [t.changes for t in other[1:]]


def test_a_sweep_that_goes_on_knows_what_was_found_and_draws_anew(space):
    settings = load_settings(overrides=["tune.random_trials=3"])
    before = sweep(space, settings, trials=12)
    after = sweep(space, settings, before, trials=6)
    assert [trial.number for trial in after] == list(range(12, 18))
    assert all(trial.changes for trial in after)
    assert [t.changes for t in after] != [t.changes for t in before[1:7]]
    # Of the earlier trials those near 150 were best: what is drawn next lies there too.
    assert np.mean([t.score for t in after]) > np.mean([t.score for t in before])


def test_a_sweep_that_goes_on_does_not_draw_the_same_at_random_again(space):
    settings = load_settings(overrides=["tune.random_trials=99"])
    before = sweep(space, settings, trials=5)
    after = sweep(space, settings, before, trials=4)
    assert [t.changes for t in after] != [t.changes for t in before[1:]]


def test_a_default_that_was_under_way_when_a_sweep_was_killed_comes_first(space):
    others = sweep(space, Settings(), trials=4)[2:]
    after = sweep(space, Settings(), others, trials=3)
    assert [trial.number for trial in after] == [0, 4, 5]


def test_failed_trials_teach_nothing_wrong(space):
    failed = TuneTrial(1, {FACTORS: 100}, "failed", error="ValueError: no", drawn={FACTORS: 100})
    assert len(sweep(space, Settings(), [failed], trials=3)) == 3


curves = st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=9), min_size=1, max_size=8)


def feed(halving: ResumableAsha, number: int, values: list[float]) -> int:
    """The epochs that a trial came to before it was stopped."""
    trial = SimpleNamespace(trial_id=f"t{number}", config={"number": number})
    halving.on_trial_add(None, trial)
    for epoch, score in enumerate(np.maximum.accumulate(values).tolist(), start=1):
        if halving.on_trial_result(None, trial, {"training_iteration": epoch, "score": score}) == (
            TrialScheduler.STOP
        ):
            return epoch
    return len(values)


@given(curves, st.lists(st.floats(-1, 1), min_size=9, max_size=9))
@hypothesis_settings(max_examples=50, deadline=None)
def test_a_sweep_that_goes_on_stops_what_it_would_have_stopped(earlier, last):
    config = TuneConfig(reduction=2)
    whole = ResumableAsha(config, [])
    finished = []
    for number, values in enumerate(earlier):
        came_to = feed(whole, number, values)
        finished.append(TuneTrial(number, {}, "done", values[:came_to]))
    resumed = ResumableAsha(config, finished)
    assert feed(resumed, 99, last) == feed(whole, 99, last)


@given(curves)
@hypothesis_settings(max_examples=30, deadline=None)
def test_the_settings_as_given_are_never_stopped(earlier):
    halving = ResumableAsha(TuneConfig(reduction=2), [])
    for number, values in enumerate(earlier, start=1):
        feed(halving, number, values)
    assert feed(halving, 0, [-2.0] * 9) == 9


def test_trials_that_lag_behind_are_stopped():
    halving = ResumableAsha(TuneConfig(reduction=3, grace_epochs=2), [])
    for number in range(1, 7):
        assert feed(halving, number, [number, number, number]) == 3
    assert feed(halving, 8, [0, 0, 0]) == 2
    assert halving.stopped == {"t8"}


def test_trials_on_disk_are_those_that_were_written(tmp_path):
    journal = TrialLog(str(tmp_path), {"space": {"a": [1, 2]}})
    trials = [
        TuneTrial(1, {"a": [1, None]}, "done", (0.25, 0.5), 3.5, drawn={"a": "[1, null]"}),
        TuneTrial(0, {}, "failed", (0.1,), 1.0, "TuneError: nan"),
        TuneTrial(2, {"a": 3}, "stopped", (0.75,)),
        TuneTrial(3, {"a": 4}, "done", (0.75,)),
    ]
    for trial in trials:
        journal.write(trial)
    found = TrialLog(str(tmp_path), {"space": {"a": (1, 2)}}).trials()
    assert [t.number for t in found] == [0, 1, 2, 3]
    assert [t.number for t in rank_trials(found)] == [2, 3, 1, 0]
    assert found[1].score == 0.5
    assert found[0].score is None
    with pytest.raises(TuneError, match="another space"):
        TrialLog(str(tmp_path), {"space": {"a": [1, 3]}})
