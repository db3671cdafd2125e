"""Decisions about challengers: properties, and how often equal, worse and leaky ones pass."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vrec.evaluation.promotion.decision import (
    GuardFigure,
    PairedGain,
    PolicyValues,
    at_least,
    at_most,
    decide,
    paired_gain,
)
from vrec.evaluation.promotion.leak import check_leak

LEVEL, FEWEST = 0.95, 30
VALUES = st.sampled_from([0.0, 0.2, 0.5, 0.63, 1.0])


@st.composite
def metrics(draw):
    """Metric values of the same shoppers under two bundles."""
    size = draw(st.integers(0, 120))
    rows = draw(st.lists(st.tuples(VALUES, VALUES), min_size=size, max_size=size))
    pairs = np.array(rows, float).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def gain_of(challenger, in_service, **more) -> PairedGain:
    return paired_gain(challenger, in_service, LEVEL, FEWEST, **more)


def nights(seed: int, shoppers: int, shift: float = 0.0):
    """Metrics of one night: mostly 0 as NDCG is, of lists that agree for most shoppers."""
    rng = np.random.default_rng(seed)
    base = np.where(rng.random(shoppers) < 0.15, rng.random(shoppers), 0.0)
    moved = rng.random(shoppers) < 0.3
    other = np.where(rng.random(shoppers) < 0.15 + shift, rng.random(shoppers), 0.0)
    again = np.where(rng.random(shoppers) < 0.15, rng.random(shoppers), 0.0)
    return np.where(moved, other, base), np.where(moved, again, base)


@given(metrics())
def test_of_two_bundles_at_most_one_is_better_and_the_intervals_mirror(pair):
    ours, theirs = pair
    one, other = gain_of(ours, theirs), gain_of(theirs, ours)
    assert not (one.is_better and other.is_better)
    assert one.is_better == other.is_worse
    if one.low is not None:
        assert one.low == pytest.approx(-other.high)
        assert one.low <= one.difference <= one.high


@given(metrics(), st.randoms(use_true_random=False))
def test_the_order_of_the_shoppers_does_not_matter(pair, random):
    order = list(range(len(pair[0])))
    random.shuffle(order)
    one, other = gain_of(*pair), gain_of(*(values[order] for values in pair))
    assert decide(one).verdict == decide(other).verdict
    assert one.difference == pytest.approx(other.difference)


@given(metrics(), st.integers(1, 5))
def test_more_tests_at_once_never_make_a_challenger_better(pair, tests):
    if gain_of(*pair, tests=tests + 1).is_better:
        assert gain_of(*pair, tests=tests).is_better


@given(metrics())
def test_a_bundle_against_itself_is_never_promoted(pair):
    assert decide(gain_of(pair[0], pair[0])).verdict == "too few"


@given(
    metrics(),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.booleans()), max_size=4),
)
def test_only_a_better_challenger_without_a_worse_guard_is_promoted(pair, figures):
    guards = [
        at_least("g", ours, theirs, tolerance) if higher else at_most("g", ours, theirs, tolerance)
        for ours, theirs, tolerance, higher in figures
    ]
    gain = gain_of(*pair)
    decision = decide(gain, guards)
    assert decision.promotes == (gain.is_better and not any(guard.is_worse for guard in guards))
    # A guard that gets worse keeps, and never promotes.
    worse = [replace(g, challenger=g.challenger + (-1 if g.higher_is_better else 1)) for g in guards]
    assert not decide(gain, worse).promotes or decision.promotes
    assert decision.reasons


def test_guards_allow_their_tolerance_and_nothing_more():
    assert not at_least("coverage", 0.8, 1.0, 0.2).is_worse
    assert at_least("coverage", 0.799, 1.0, 0.2).is_worse
    assert not at_most("calibration", 0.03, 0.01, 0.02).is_worse
    assert at_most("calibration", 0.031, 0.01, 0.02).is_worse
    assert GuardFigure("latency", float("nan"), 1.0, 2.0, higher_is_better=False).is_worse
    assert not at_least("new videos", 0.0, 0.0, 0.3).is_worse, "there are none to show"


BETTER = PairedGain(0.2, 0.1, 0.1, 0.05, 0.15, 500, 200)


def test_an_off_policy_estimate_that_is_clearly_worse_keeps_the_bundle_in_service():
    values = PolicyValues((0.02, 0.01, 0.03), (0.05, 0.04, 0.06))
    assert decide(BETTER, (), values).verdict == "off-policy"
    unclear = PolicyValues((0.02, 0.01, 0.045), (0.05, 0.04, 0.06))
    assert decide(BETTER, (), unclear).promotes


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match="want one per shopper"):
        gain_of(np.zeros(3), np.zeros(4))
    with pytest.raises(ValueError, match="not finite"):
        gain_of(np.array([np.nan]), np.zeros(1))


def test_equal_challengers_are_seldom_and_worse_ones_never_promoted():
    equal = [decide(gain_of(*nights(seed, 400))).promotes for seed in range(300)]
    worse = [decide(gain_of(*reversed(nights(seed, 400, shift=0.1)))).promotes for seed in range(300)]
    better = [decide(gain_of(*nights(seed, 2_000, shift=0.3))).promotes for seed in range(50)]
    # One-sided 2.5 %: of 300 nights 15 or more have a chance below .6 %.
    assert sum(equal) < 15
    assert sum(worse) == 0
    assert sum(better) == 50


def test_a_gain_that_is_gone_on_later_events_is_a_suspected_leak():
    gone = replace(BETTER, challenger=0.1, difference=0.0, low=-0.01, high=0.01)
    found = check_leak(BETTER, gone)
    assert found.suspected
    assert found.low == pytest.approx(0.1 - np.hypot(0.05, 0.01))


def test_a_gain_that_only_shrank_or_stays_is_no_leak():
    shrunk = replace(BETTER, challenger=0.13, difference=0.03, low=0.02, high=0.04)
    assert not check_leak(BETTER, shrunk).suspected, "still better by itself"
    assert not check_leak(BETTER, BETTER).suspected
    unknown = replace(BETTER, low=None, high=None)
    assert not check_leak(BETTER, unknown).suspected
    assert "too few" in str(check_leak(BETTER, unknown))


def test_honest_gains_are_seldom_called_leaks():
    found = [
        check_leak(gain_of(*nights(seed, 600, 0.1)), gain_of(*nights(10_000 + seed, 600, 0.1))).suspected
        for seed in range(200)
    ]
    assert sum(found) <= 10
