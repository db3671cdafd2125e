"""Tests of drift against exact or simulated references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vrec.robustness.gates.statistics import compare_histograms, holm, low_count_p

COUNTS = st.lists(st.integers(0, 200), min_size=3, max_size=8)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0.001, 0.5))
def test_holm_is_the_step_down_procedure(p, alpha):
    p = np.array(p)
    found = holm(p, alpha)
    expected = np.zeros(len(p), bool)
    for step, place in enumerate(np.argsort(p, kind="stable")):
        if p[place] > alpha / (len(p) - step):
            break
        expected[place] = True
    assert (np.sort(p[found]) == np.sort(p[expected])).all()


@given(COUNTS.filter(lambda counts: sum(counts) > 0))
def test_equal_shares_are_no_drift(counts):
    counts = np.array([counts]) * 50
    tests = compare_histograms(counts, np.repeat(counts * 3, 4, axis=0), ordered=True)
    assert tests.psi[0] == pytest.approx(0, abs=0.05)
    assert tests.ks[0] == pytest.approx(0, abs=1e-12)
    assert tests.p[0] > 0.2


def test_p_values_of_equal_days_are_not_too_small():
    rng = np.random.default_rng(3)
    small = 0
    for _ in range(300):
        # A day's rates differ more than independent events do.
        days = rng.multinomial(500, [0.5, 0.3, 0.2], size=12) * rng.integers(1, 3, (12, 1))
        small += int((compare_histograms(days[7:], days[:7], ordered=True).p < 0.01).sum())
    assert small / 1500 < 0.02


def test_a_shift_is_found_and_its_size_told():
    rng = np.random.default_rng(4)
    good = rng.multinomial(2000, [0.1] * 10, size=7)
    shifted = np.roll(rng.multinomial(2000, np.linspace(0.01, 0.19, 10)), 0)[None]
    tests = compare_histograms(shifted, good, ordered=True)
    share, flat = np.linspace(0.01, 0.19, 10), np.full(10, 0.1)
    assert tests.psi[0] == pytest.approx(((share - flat) * np.log(share / flat)).sum(), rel=0.2)
    assert tests.ks[0] == pytest.approx(np.abs(np.cumsum(share - flat)).max(), rel=0.15)
    assert tests.p[0] < 1e-6


def test_few_events_are_no_evidence():
    good = np.full((7, 2), 500)
    assert compare_histograms(np.array([[4, 1]]), good).p[0] > 0.05


def test_one_bad_day_among_the_others_stands_out_and_they_do_not():
    rng = np.random.default_rng(5)
    days = rng.binomial(4000, 0.1, 14)
    days[6] = 50
    tests = compare_histograms(
        np.column_stack([4000 - days, days]), np.column_stack([4000 - days, days]), within=True
    )
    assert int(tests.p.argmin()) == 6
    assert (np.delete(tests.p, 6) > 1e-4).all()


@given(st.integers(1, 20), st.floats(10, 3000))
def test_an_empty_hour_is_as_likely_as_no_group_of_events(group, mean):
    assert low_count_p(np.zeros(1), np.array([mean]), group)[0] == pytest.approx(
        stats.poisson.pmf(0, mean / group)
    )
