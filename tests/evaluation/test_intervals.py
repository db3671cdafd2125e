"""Intervals of means over users: by hand, and their coverage from few users and rare hits to many."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from vrec.evaluation.intervals import count_outcomes, mean_intervals, paired_differences
from vrec.evaluation.ranking.run import RankerMetricsConfig, compare_rankers

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
from metric_intervals import METRICS, run_cell

REPLICATIONS = 1000


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("users", "rate"),
    [(10, 0.5), (30, 0.05), (30, 0.5), (30, 0.8), (100, 0.1), (300, 0.05)],
)
def test_intervals_miss_in_one_of_twenty_at_most(metric, users, rate):
    """What `python benchmarks/metric_intervals.py` sweeps, in part; 5 % and what the draw adds to it."""
    tally = run_cell(metric, rate, users, REPLICATIONS)
    assert tally.missed <= stats.binom.ppf(0.999, REPLICATIONS, 0.05)
    if users == 30 and rate == 0.05:
        assert tally.given < 0.01 * REPLICATIONS


def test_the_sweep_sees_that_percentile_bootstrap_missed():
    tally = run_cell("hit rate", 0.05, 30, 300)
    assert tally.bootstrap_missed > 0.15 * 300


def test_a_symmetric_sample_has_student_s_interval():
    values = np.concatenate([np.arange(20.0), -np.arange(20.0)])[:, None]
    found = mean_intervals(values, 0.9, 10)
    want = stats.t.interval(0.9, 39, loc=0, scale=stats.sem(values[:, 0]))
    assert (found.low[0], found.high[0]) == pytest.approx(want)
    # The level decides the width.
    assert mean_intervals(values, 0.5, 10).high[0] < 0.5 * found.high[0]


def test_a_rare_hit_s_interval_is_near_that_of_counts():
    """Poisson's exact limits of 10 hits, which normal theory puts at 3.8 and 16.2."""
    values = np.zeros((10_000, 1))
    values[:10] = 1
    found = mean_intervals(values, 0.95, 10)
    assert 10_000 * found.low[0] < stats.chi2.ppf(0.025, 20) / 2 + 0.2
    assert 10_000 * found.high[0] == pytest.approx(stats.chi2.ppf(0.975, 22) / 2, rel=0.05)


def test_a_mirrored_sample_has_a_mirrored_interval_within_the_bounds():
    values = (np.random.default_rng(0).random((25, 1)) < 0.5).astype(float)
    values[:10], values[10:14] = 1, 0
    found, mirrored = mean_intervals(values, 0.95, 10), mean_intervals(1 - values, 0.95, 10)
    assert found.low[0] == pytest.approx(1 - mirrored.high[0])
    assert found.high[0] == pytest.approx(1 - mirrored.low[0])
    wide = np.vstack([np.ones((15, 1)), np.zeros((11, 1))])
    assert (
        mean_intervals(wide, 1 - 1e-9, 10, bounds=(0, 1)).high[0]
        == 1
        < mean_intervals(wide, 1 - 1e-9, 10).high[0]
    )


def test_few_outcomes_have_no_interval_but_a_count():
    values = np.zeros((500, 3))
    values[:9, 0], values[:10, 1] = 1, 0.5
    found = mean_intervals(values, 0.95, 10)
    assert found.outcomes.tolist() == [9, 10, 0]
    assert found.ends(0) == found.ends(2) == (None, None)
    low, high = found.ends(1)
    assert 0 < low < 0.01 < high
    assert mean_intervals(values, 0.95, 9).ends(0) != (None, None)
    assert mean_intervals(values[:0], 0.95, 10).ends(0) == (None, None)


def test_users_without_a_value_are_left_out():
    rng = np.random.default_rng(0)
    values = rng.random((60, 2))
    values[::3, 0] = np.nan
    found = mean_intervals(values, 0.95, 10)
    known = values[:, :1][~np.isnan(values[:, 0])]
    assert found.ends(0) == mean_intervals(known, 0.95, 10).ends(0)
    assert found.outcomes.tolist() == [39, 59]


def test_outcomes_are_those_apart_from_the_most_frequent():
    assert count_outcomes(np.array([1.0, 1, 1, 0, 0.5])) == 2
    assert count_outcomes(np.array([0.1 + 0.2, 0.3, 0.3])) == 0
    assert count_outcomes(np.empty(0)) == 0


def test_differences_keep_their_sign_and_drop_rounding():
    assert paired_differences(np.array([0.3]), np.array([0.1])) == pytest.approx(0.2)
    gap = paired_differences(np.array([0.1 + 0.2]), np.array([0.3]))
    assert gap[0] == 0
    assert not np.signbit(gap[0])


@pytest.mark.parametrize(
    ("users", "each", "rate"), [(20, 3, 0.02), (40, 5, 0.1), (60, 20, 0.5), (200, 5, 0.05)]
)
def test_intervals_of_rankers_differences_hold_or_are_not_given(users, each, rate):
    """Two rankers with equally good scores; users' clicks go together."""
    rng = np.random.default_rng([users, each])
    logs, missed = 300, {"auc": 0, "gauc": 0}
    user = np.repeat(np.arange(users), each)
    for _ in range(logs):
        taste = np.repeat(rng.normal(0, 1, users), each)
        chance = stats.norm.cdf(taste + rng.normal(0, 1, len(user)) + stats.norm.ppf(rate))
        click = (rng.random(len(user)) < chance).astype(float)
        by_user = click.reshape(users, each).mean(axis=1)
        if not ((by_user > 0) & (by_user < 1)).any():
            continue  # A gAUC needs a user with both outcomes.
        ours, theirs = taste + rng.normal(0, 1, (2, len(user)))
        found = compare_rankers(ours, theirs, click, user, RankerMetricsConfig())
        for name in missed:
            gap = getattr(found, name)
            assert (gap.low is None) == (gap.outcomes < 10)
            missed[name] += gap.low is not None and not gap.low <= 0 <= gap.high
    assert max(missed.values()) <= stats.binom.ppf(0.999, logs, 0.06)
