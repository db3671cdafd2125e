import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.robustness.behavior.logs import MINUTE_US, events_of, honest_log
from vrec.robustness.behavior.activity import activity_ranks, activity_scores, tails
from vrec.robustness.behavior.features import REASONS, shopper_features
from vrec.robustness.behavior.lockstep import choice_surprise, first_choices
from vrec.robustness.behavior.log import BehaviorLog

DAY = 86_400_000_000
START = 1_700_000_000_000_000


def test_each_feature_is_what_its_name_says():
    rows = [("calm", f"v{n}", "click", None, START + n * DAY + n * 3 * 60 * MINUTE_US) for n in range(6)]
    rows += [("calm", f"v{n}", "watch", 10.0 + n, START + n * DAY + MINUTE_US) for n in range(6)]
    rows += [("farm", "v0", "click", None, START + n * MINUTE_US) for n in range(10)]
    rows += [("bot", f"v{n}", "watch", 90.0, START + n * MINUTE_US) for n in range(6)]
    videos = pa.table({"video_id": [f"v{n}" for n in range(6)], "duration_s": [30.0] * 6})
    log = BehaviorLog.from_events(events_of(rows), videos)
    found = {
        name: dict(zip(log.shoppers.to_pylist(), v, strict=True)) for name, v in shopper_features(log).items()
    }
    assert found["repetition"]["farm"] == pytest.approx(np.log(10))
    assert found["repetition"]["bot"] == 0
    assert found["overlong"]["bot"] == 1
    assert found["overlong"]["calm"] == 0
    assert found["equal_watches"]["bot"] == 1
    assert found["equal_watches"]["calm"] == pytest.approx(1 / 6)
    assert found["watch_spread"]["bot"] == pytest.approx(0, abs=1e-6)
    assert found["busiest_hour"]["farm"] == 1
    assert found["busiest_hour"]["calm"] <= 2 / 12
    assert found["hours"]["farm"] == 0
    assert found["regularity"]["farm"] == pytest.approx(0, abs=1e-6)
    assert found["days"]["farm"] == pytest.approx(0.1)
    assert set(found) <= set(REASONS)


def test_without_a_clock_nothing_is_said_of_times():
    with_clock, without = (
        set(shopper_features(BehaviorLog.from_events(honest_log(), has_clock=clock)))
        for clock in (True, False)
    )
    assert with_clock - without == {
        "hours", "busiest_hour", "days", "pauses", "regularity", "lockstep", "sharpest_lockstep"
    }  # fmt: skip


def test_ids_do_not_matter():
    log = honest_log()
    renamed = log.set_column(
        1, "user_id", pa.array([f"z{name[::-1]}" for name in log["user_id"].to_pylist()])
    )
    renamed = renamed.set_column(
        2, "video_id", pa.array([f"q{name}" for name in log["video_id"].to_pylist()])
    )
    first, second = BehaviorLog.from_events(log), BehaviorLog.from_events(renamed)
    place = [second.shoppers.to_pylist().index(f"z{name[::-1]}") for name in first.shoppers.to_pylist()]
    ours, theirs = shopper_features(first), shopper_features(second)
    for name in ("repetition", "evenness", "hours", "pauses", "lockstep", "watch_spread"):
        if name in ours:
            np.testing.assert_allclose(ours[name], theirs[name][place])


def test_lockstep_is_that_of_one_video_and_not_of_the_whole_shop():
    rng, rows = np.random.default_rng(0), []
    for shopper in range(200):  # an evening on which everybody comes
        for video in rng.choice(30, 3, replace=False):
            rows.append(
                (f"u{shopper}", f"v{video}", "click", None, START + 30 * DAY + int(rng.integers(MINUTE_US)))
            )
    for shopper in range(200):
        for video in rng.choice(30, 3, replace=False):
            rows.append((f"w{shopper}", f"v{video}", "click", None, START + int(rng.random() * 60 * DAY)))
    burst = [(f"fake{n}", "v7", "click", None, START + 10 * DAY + n * MINUTE_US) for n in range(20)]
    log = BehaviorLog.from_events(events_of([*rows, *burst]))
    user, surprise = choice_surprise(log)
    names = np.array(log.shoppers.to_pylist())[user]
    assert surprise[np.char.startswith(names, "fake")].min() > 4 * np.median(
        surprise[np.char.startswith(names, "u")]
    )
    assert len(first_choices(log)[0]) == len(user)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-5, 5) | st.just(float("nan")), min_size=1, max_size=60), st.integers(0, 99))
def test_ranks_are_within_0_and_1_and_equal_for_equal_shoppers(values, seed):
    lengths = np.random.default_rng(seed).integers(1, 4, len(values))
    ranks = activity_ranks(np.array(values), lengths)
    assert ((ranks >= 0) & (ranks <= 1)).all()
    assert (ranks[np.isnan(values)] == 0.5).all()
    assert np.isfinite(tails(ranks)).all()


def test_a_trend_with_activity_makes_no_heavy_shopper_stand_out():
    rng = np.random.default_rng(0)
    lengths = np.sort(np.exp(rng.normal(2, 1.2, 3000)).astype(int) + 1)
    values = np.log(lengths) * 2 + rng.normal(size=3000)
    heavy = activity_ranks(values, lengths)[-30:]
    assert 0.3 < heavy.mean() < 0.7
    assert activity_scores(values, lengths)[-30:].max() < 5
