"""Alarms about a model: what they are made of, and months of simulated hours."""

import copy
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrec.evaluation.health.alarms import HealthAlarms
from vrec.evaluation.health.config import ModelHealthConfig
from vrec.evaluation.health.hours import (
    CALIBRATION,
    COVERAGE,
    GAUC,
    LISTS_PER_BLOCK,
    ServedImpressions,
    measure_hour,
)
from vrec.evaluation.ranking.metrics import ece, grouped_auc
from vrec.synthetic.served_hours import ServedHours, ServedShop

CONFIG = ModelHealthConfig()
SHOP = ServedShop(shoppers=60)


def hour_of(shopper, click, p_click, *, video=None, lists=None):
    numbers = np.asarray(shopper, np.int64)
    return ServedImpressions(
        shopper=numbers,
        list=numbers if lists is None else np.asarray(lists, np.int64),
        video=np.arange(len(numbers)) if video is None else np.asarray(video, np.int64),
        p_click=np.asarray(p_click, np.float64),
        click=np.asarray(click, np.float64),
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.floats(0.01, 0.5)), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_sums_and_figures_are_those_of_the_evaluation(rows):
    shopper, click, p_click = (list(column) for column in zip(*rows, strict=True))
    one = measure_hour(hour_of(shopper, click, p_click), 7, "b", 30)
    assert one.metrics["click_ece"] == ece(np.array(click, float), np.array(p_click), 10)
    assert one.metrics["coverage"] == pytest.approx(len(rows) / 30)
    if "click_gauc" in one.metrics:
        found = grouped_auc(np.array(click, float), np.array(p_click), np.array(shopper))
        assert one.sums[GAUC].value == pytest.approx(found.value)
        assert one.metrics["click_gauc"] == found.value
        assert one.sums[GAUC].users == found.users
    else:
        assert one.sums[GAUC].users == 0
    if max(np.bincount(shopper, weights=click)) <= 3 and max(np.bincount(shopper, weights=p_click)) <= 3:
        assert one.sums[CALIBRATION].value == pytest.approx(sum(click) / sum(p_click))


def test_one_shopper_counts_no_more_than_a_cap():
    clicks = [1] * 500
    one = measure_hour(hour_of([0] * 500, clicks, [0.1] * 500), 0, "b", 500)
    assert one.sums[CALIBRATION].y == 3
    assert one.sums[CALIBRATION].value == pytest.approx(10)


def test_coverage_counts_the_first_list_of_each_shopper_in_blocks():
    lists = np.repeat(np.arange(2 * LISTS_PER_BLOCK + 3), 4)
    shopper = lists.copy()
    video = np.where(lists < LISTS_PER_BLOCK, np.arange(len(lists)), 5)
    # A further list of the first shopper, which no block has.
    more = hour_of(
        [*shopper, 0, 0], [0] * (len(lists) + 2), [0.1] * (len(lists) + 2), video=[*video, 900, 901],
        lists=[*lists, 999, 999],
    )  # fmt: skip
    one = measure_hour(more, 0, "b", 1_000)
    assert one.sums[COVERAGE].users == 2
    assert one.sums[COVERAGE].y == pytest.approx(1 + 1 / (4 * LISTS_PER_BLOCK))


def after(hours, shop=SHOP, seed=1, config=CONFIG):
    """Alarms that have seen a shop's clean hours, and the shop."""
    made, alarms = ServedHours(shop, seed), HealthAlarms(config)
    for _ in range(hours):
        alarms.add(made.next())
    return alarms, made


def raised(alarms):
    return {state.kind for state in alarms.states() if state.since is not None}


@pytest.fixture(scope="module")
def week():
    return after(48)


FAULTS = {"shuffled": "order", "shifted": "clicks_above", "raised": "clicks_below", "collapsed": "coverage"}


@pytest.mark.parametrize(("fault", "name"), FAULTS.items())
def test_a_broken_model_is_alarmed_by_its_own_alarm_and_a_sound_one_ends_it(week, fault, name):
    alarms, made = copy.deepcopy(week)
    assert not raised(alarms)
    hours = 0
    while name not in raised(alarms) and hours < 30:
        hours += 1
        alarms.add(made.next(fault, bundle="broken"))
    assert name in raised(alarms)
    state = next(state for state in alarms.states() if state.kind == name)
    assert state.evidence > 0.99
    for _ in range(36):
        alarms.add(made.next())
    assert not raised(alarms)


def test_ten_days_of_a_small_shop_raises_no_alarm():
    alarms, made = after(0, ServedShop(shoppers=12), seed=77)
    for _ in range(240):
        alarms.add(made.next())
        assert not raised(alarms)


def test_few_events_are_no_evidence(week):
    alarms, _ = copy.deepcopy(week)
    rows = hour_of(np.repeat([0, 1, 2], 4), [0, 0, 0, 1] * 3, [0.9, 0.8, 0.7, 0.01] * 3)
    alarms.add(measure_hour(rows, 10_000, "a", 2_000))
    assert not raised(alarms)
    alarms, _ = copy.deepcopy(week)
    for hour in range(100):
        alarms.add(measure_hour(hour_of([], [], []), 10_000 + hour, "a", 2_000))
    assert not raised(alarms)


def test_without_a_reference_nothing_is_alarmed():
    made, alarms = ServedHours(SHOP, 3), HealthAlarms(CONFIG)
    for _ in range(CONFIG.min_reference_hours):
        alarms.add(made.next("shuffled"))
    assert not raised(alarms)
    assert all(math.isnan(state.limit) for state in alarms.states())


def test_a_new_bundle_is_compared_with_the_hours_before_it(week):
    alarms, made = copy.deepcopy(week)
    clean = alarms.memory.reference
    for _ in range(20):
        alarms.add(made.next("shuffled"))
    alarms.add(made.next(bundle="next"))
    # The hours before it are twenty bad ones too.
    assert alarms.memory.reference[GAUC].value < clean[GAUC].value - 0.01
    assert alarms.memory.reference_hours == len(alarms.hours) - 1


def test_hours_that_look_bad_do_not_become_the_reference(week):
    alarms, made = copy.deepcopy(week)
    sizes = set()
    for _ in range(60):
        alarms.add(made.next("shuffled"))
        sizes.add(alarms.memory.reference_hours)
    assert max(sizes) < CONFIG.reference_hours
    assert "order" in raised(alarms)
