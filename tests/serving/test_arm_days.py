"""Figures of arms by day: those of a test that saw only that day's impressions and what followed them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serving.test_experiments import SHORT, TWO, table
from vrec.evaluation.online import OnlineConfig
from vrec.serving import arm_days as module
from vrec.serving.arm_days import DAY_US, ArmDayCounts
from vrec.serving.experiments import MINUTE_US, ArmCounts

DAY = 20_000
MIDNIGHT = DAY * DAY_US
HOURS = st.integers(-40, 40).map(lambda half: MIDNIGHT + half * 30 * MINUTE_US)
OUTCOMES = st.sampled_from(["click", "purchase", "watch", ""])
VISITS = st.lists(st.tuples(st.integers(0, 9).map("u{}".format), HOURS, OUTCOMES), min_size=20, max_size=60)
SUMS_ONLY = OnlineConfig(min_users=1_000)
"""Intervals would take most of the time."""


def figures(counts, most):
    return [one for day in counts.days(most) for one in counts.figures(day)]


@settings(max_examples=40, deadline=None)
@given(visits=VISITS, late=st.integers(0, 3))
def test_a_day_is_a_test_of_its_own_over_the_visits_of_that_day(visits, late):
    config = SHORT.model_copy(update={"window_hours": 48.0})
    rows = []
    for number, (user, at, outcome) in enumerate(visits):
        rows.append((user, "impression", None, at, "v", f"r{number}"))
        if outcome:
            value = 5.0 if outcome == "purchase" else 3.0
            rows.append((user, outcome, value, at + late * 30 * MINUTE_US, "v", f"r{number}"))
    now, both = MIDNIGHT + DAY_US, ArmCounts(config, SUMS_ONLY)
    both.add(table(rows), now)
    told = {(one.at // DAY_US, one.arm): one for one in figures(both.days, 9)}
    for day in sorted({at // DAY_US for _, at, _ in visits}):
        own = {f"r{n}" for n, (_, at, _) in enumerate(visits) if at // DAY_US == day}
        alone = ArmCounts(config, SUMS_ONLY)
        alone.add(table([row for row in rows if row[5] in own]), now)
        bought = {arm.name: 0.0 for arm in TWO.arms}
        for arm in alone.snapshot().arms:
            one = told[day, arm.name]
            assert (one.users, one.impressions, one.clicks) == (arm.users, arm.impressions, arm.clicks)
            assert (one.watch_s, one.conversions) == (arm.watch_s, arm.conversions)
            assert one.ctr.value == arm.ctr.value
            bought[arm.name] = 5.0 * arm.conversions
            assert one.revenue == bought[arm.name]
            expected = bought[arm.name] / arm.impressions if arm.impressions else None
            assert one.revenue_per_impression.value == pytest.approx(expected)


def test_a_day_has_intervals_once_it_has_shoppers_and_a_quiet_day_costs_no_second_computation(monkeypatch):
    rng, counts = np.random.default_rng(1), ArmDayCounts(("a", "b"), OnlineConfig())
    for user in range(300):
        counts.add(f"u{user}", "a", DAY, 0, 5.0)
        if rng.random() < 0.3:
            counts.add(f"u{user}", "a", DAY, 1, 1.0)
        counts.add(f"u{user}", "a", DAY, 4, float(rng.gamma(2, 10)))
    one, other = figures(counts, 5)
    assert one.ctr.low < one.ctr.value < one.ctr.high
    assert one.revenue_per_impression.low < one.revenue_per_impression.value
    assert (one.conversion.value, one.conversion.low) == (0.0, None)
    assert (other.arm, other.impressions, other.ctr.value) == ("b", 0, None)
    monkeypatch.setattr(module.RatioCounts, "rate", None)
    assert figures(counts, 5) == [one, other]


def test_only_the_newest_days_are_kept(monkeypatch):
    monkeypatch.setattr(module, "MAX_DAYS", 3)
    counts = ArmDayCounts(("a",), OnlineConfig())
    for day in (5, 1, 2, 9, 4):
        counts.add("u", "a", day, 0, 1.0)
    assert counts.days(9) == [4, 5, 9]
    assert counts.days(2) == [5, 9]
