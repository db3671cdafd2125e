"""Arms compared: sums by hand, intervals against formulas, and false alarms under constant peeking."""

from datetime import timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from scipy.stats import binom

from vrec.core.compute import pc
from vrec.core.errors import EvaluationError
from vrec.evaluation.online import (
    METRICS,
    OnlineConfig,
    compare_arms,
    difference_over_time,
    fixed_horizon_interval,
    user_outcomes,
)
from vrec.events.interactions import DAY_US
from vrec.synthetic.shop.simulate import SimulationConfig, simulate

CONFIG = OnlineConfig(min_users=100, expected_users=2000)


def drawn_users(rng, users, lift=0.0):
    """Impressions and clicks of users who differ; in half of them, the arm, click rates are `lift` higher."""
    treated = rng.random(users) < 0.5
    impressions = 1.0 + rng.poisson(rng.gamma(1.0, 8.0, users))
    rates = rng.beta(1, 9, users) + lift * treated
    return rng.binomial(impressions.astype(int), rates).astype(float), impressions, treated


@pytest.fixture(scope="module")
def shop():
    simulation = simulate(SimulationConfig(users=60, days=20, videos=40, click_rate=0.3))
    arms = {u: "new" if i % 3 else "old" for i, u in enumerate(simulation.shop.users.to_pylist())}
    return simulation, arms


def test_outcomes_are_each_user_s_sums_over_their_window(shop):
    simulation, arms = shop
    config, events = OnlineConfig(window_days=5), simulation.events.to_pandas()
    durations = dict(
        zip(*(simulation.videos.column(n).to_pylist() for n in ("video_id", "duration_s")), strict=True)
    )
    outcomes = user_outcomes(simulation.events, arms, config, simulation.videos)
    found = {row["user_id"]: row for row in outcomes.to_dicts()}
    end, left_out = events["at"].max(), 0
    for user, rows in events.groupby("user_id"):
        closed = rows[rows.kind == "impression"]["at"].min() + timedelta(days=5)
        if closed > end:
            left_out += 1
            assert user not in found
            continue
        inside = rows[rows["at"] < closed]
        watches = inside[inside.kind == "watch"]
        row = found[user]
        assert row["arm"] == arms[user]
        assert row["closed_at"] == closed.value // 1000
        for kind, name in (("impression", "impressions"), ("click", "clicks"), ("purchase", "purchases")):
            assert row[name] == (inside.kind == kind).sum()
        assert row["impressions_timed"] == row["impressions"]
        assert row["watch_s"] == pytest.approx(watches.value.astype(float).sum())
        share = (watches.value.astype(float) / watches.video_id.map(durations).astype(float)).clip(upper=1)
        assert row["watch_share"] == pytest.approx(share.sum())
    assert outcomes["closed_at"].is_sorted()
    assert len(found) + left_out == 60


def test_a_window_is_over_by_the_log_s_clock_and_not_by_the_arms_own_events(shop):
    simulation, arms = shop
    everyone = user_outcomes(simulation.events, arms, CONFIG)
    for user in list(arms)[:10]:
        rows = everyone.filter(pl.col("user_id") == user)
        assert user_outcomes(simulation.events, {user: arms[user]}, CONFIG).equals(rows)


def test_what_has_no_length_does_not_count_in_the_normalised_watch_time(shop):
    simulation, arms = shop
    bare = user_outcomes(simulation.events, arms, CONFIG)
    assert bare["impressions_timed"].sum() == 0
    assert bare["watch_share"].sum() == 0
    assert bare["watch_s"].sum() > 0
    half = simulation.videos.slice(0, 20)
    timed = user_outcomes(simulation.events, arms, CONFIG, half)
    assert 0 < timed["impressions_timed"].sum() < timed["impressions"].sum()


def test_a_look_is_the_ratio_of_sums_with_the_delta_method_s_error():
    y, n, treated = drawn_users(np.random.default_rng(0), 1000)
    looks = difference_over_time(y, n, treated, CONFIG, looks=[300, 1000])
    low, high = fixed_horizon_interval(looks, CONFIG)
    for place, users in enumerate((300, 1000)):
        value, variance = {}, 0.0
        for arm in (True, False):
            some = np.flatnonzero(treated[:users] == arm)
            ratio = y[some].sum() / n[some].sum()
            value[arm] = ratio
            variance += np.var(y[some] - ratio * n[some], ddof=1) / len(some) / n[some].mean() ** 2
        assert looks.users[place] == users
        assert looks.difference[place] == pytest.approx(value[True] - value[False])
        assert looks.error[place] == pytest.approx(np.sqrt(variance))
        assert high[place] - low[place] == pytest.approx(2 * 1.959964 * np.sqrt(variance), rel=1e-6)


@pytest.mark.slow
def test_constant_peeking_raises_no_more_false_alarms_than_promised_and_a_fixed_interval_s_many():
    rng, experiments, alarms = np.random.default_rng(1), 30, {"sequence": 0, "fixed": 0}
    for _ in range(experiments):
        looks = difference_over_time(*drawn_users(rng, 3000), CONFIG, looks=range(200, 3001, 200))
        low, high = fixed_horizon_interval(looks, CONFIG)
        alarms["sequence"] += bool(((looks.low > 0) | (looks.high < 0)).any())
        alarms["fixed"] += bool(((low > 0) | (high < 0)).any())
    assert alarms["sequence"] <= binom.ppf(0.99, experiments, 0.05)
    assert alarms["fixed"] > 0.1 * experiments


@pytest.mark.slow
def test_a_planted_lift_is_found_and_held_by_the_intervals_throughout():
    rng, found, held = np.random.default_rng(2), 0, 0
    for _ in range(30):
        looks = difference_over_time(*drawn_users(rng, 4000, lift=0.05), CONFIG, looks=range(500, 4001, 500))
        found += looks.low[-1] > 0
        held += bool(((looks.low <= 0.05) & (looks.high >= 0.05)).all())
    assert found > 26
    assert held >= binom.ppf(0.01, 30, 0.95)


def test_every_arm_is_compared_with_the_control_in_every_metric(shop):
    simulation, arms = shop
    arms = {u: ("a", "b", "control")[i % 3] for i, u in enumerate(arms)}
    outcomes = user_outcomes(simulation.events, arms, CONFIG, simulation.videos)
    found = compare_arms(outcomes, "control", OnlineConfig(min_users=10, min_outcomes=1))
    assert [(c.arm, c.metric) for c in found] == [(arm, m) for arm in ("a", "b") for m in METRICS]
    for c in found:
        total, trials = METRICS[c.metric]
        for arm, value in ((c.arm, c.value), ("control", c.control_value)):
            rows = outcomes.filter(pl.col("arm") == arm)
            assert value == pytest.approx(rows[total].sum() / rows[trials].sum())
        assert c.low < c.difference < c.high
        assert c.users == outcomes.filter(pl.col("arm").is_in([c.arm, "control"])).height
    early = compare_arms(outcomes, "control", OnlineConfig(min_users=1000))
    assert all(np.isinf(c.low) and np.isinf(c.high) and np.isfinite(c.difference) for c in early)


def test_a_click_before_the_first_impression_and_users_without_an_arm_do_not_count(shop):
    simulation, arms = shop
    events, user = simulation.events, user_outcomes(simulation.events, arms, CONFIG)["user_id"][0]
    early = events.filter(
        pc.and_(pc.equal(events.column("user_id"), user), pc.equal(events.column("kind"), "click"))
    )
    place = early.column_names.index("at")
    shifted = pc.subtract(early.column("at"), pa.scalar(40 * DAY_US, pa.duration("us")))
    early = early.set_column(place, "at", shifted).cast(events.schema)
    with_early = user_outcomes(pa.concat_tables([early, events]), {user: "new"}, CONFIG)
    assert with_early.equals(user_outcomes(events, {user: "new"}, CONFIG))
    assert with_early.height == 1


def test_what_cannot_be_compared_is_refused(shop):
    simulation, arms = shop
    with pytest.raises(
        EvaluationError, match="none of 1 users with an arm has an impression and 7 days since"
    ):
        user_outcomes(simulation.events, {"nobody": "new"}, OnlineConfig())
    with pytest.raises(EvaluationError, match="none of 60 users"):
        user_outcomes(simulation.events.slice(0, 0), arms, CONFIG)
    with pytest.raises(EvaluationError, match="and 300 days since"):
        user_outcomes(simulation.events, arms, OnlineConfig(window_days=300))
    outcomes = user_outcomes(simulation.events, arms, CONFIG)
    with pytest.raises(EvaluationError, match="want users of control and of another arm, got new, old"):
        compare_arms(outcomes, "control", CONFIG)
    with pytest.raises(EvaluationError, match="got old"):
        compare_arms(outcomes.filter(pl.col("arm") == "old"), "old", CONFIG)
