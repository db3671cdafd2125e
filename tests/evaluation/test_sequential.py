"""Confidence sequences of rates: bets by hand, monotone ends, and misses over rare rates and small arms."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from vrec.evaluation.sequential import (
    BET_WEIGHTS,
    BETS,
    BetSizes,
    RatioSums,
    UserLimits,
    difference_interval,
    log_wealth,
    ratio_interval,
    running_sums,
    weigh_users,
)

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
import online_intervals as simulation

SIZES = BetSizes(1000.0, math.log(40))


def sums_of(y, n) -> RatioSums:
    weighted_y, weighted_n, limits = weigh_users(np.array(y, float), np.array(n, float))
    rows = running_sums(weighted_y, weighted_n, np.ones(len(y), bool))
    return RatioSums(*rows[:, -1].tolist(), limits[-1])


def drawn(rate: float, users: int = 2000, seed: int = 0) -> RatioSums:
    rng = np.random.default_rng(seed)
    n = 1 + rng.poisson(4, users)
    return sums_of(rng.binomial(n, rate), n)


def test_bets_are_at_most_the_wealth_that_products_would_have():
    """Wealth from sums is a lower bound of the mean of Π(1 + λ(y − θn)), which is a martingale."""
    rng = np.random.default_rng(0)
    n = 1.0 + rng.poisson(4, 300)
    y = rng.binomial(n.astype(int), 0.2).astype(float)
    wy, wn, limits = weigh_users(y, n)
    sums = sums_of(y, n)
    for rate in (0.05, 0.15, 0.2, 0.3, 0.6):
        for high in (False, True):
            z = (rate * wn - wy) * (1 if high else -1)
            loss = limits[-1].outcome if high else rate * limits[-1].trials
            bets = math.sqrt(2 * SIZES.budget / (1000 * 10 * rate)) * BETS
            kept = bets * loss <= 0.9
            products = np.exp(np.log1p(bets[kept, None] * z).sum(axis=1))
            most = math.log(BET_WEIGHTS[kept] @ products)
            found = float(log_wealth(sums, np.array([rate]), SIZES, too_high=high)[0])
            assert found <= most + 1e-9
            if most > 1:
                assert found > 0.25 * most


@pytest.mark.parametrize("rate", [0.0005, 0.01, 0.1, 0.5])
def test_wealth_grows_with_the_distance_from_the_rate(rate: float):
    sums = drawn(rate)
    for too_high, rates in ((True, np.linspace(1, 4, 200)), (False, np.linspace(1, 0.02, 200))):
        wealth = log_wealth(sums, sums.value * rates, SIZES, too_high=too_high)
        # Beyond what rules a rate out, the sums' bound may lose some of what it has, but not go back below.
        within = int(np.argmax(wealth > 10)) if wealth.max() > 10 else len(wealth)
        assert (np.diff(wealth[:within]) > -0.01).all()
        assert (wealth[within:] > 10).all()


@pytest.mark.parametrize("rate", [0.001, 0.02, 0.5])
def test_intervals_hold_the_value_and_narrow_with_level_and_users(rate: float):
    narrow, wide = (ratio_interval(drawn(rate), level, 2000) for level in (0.8, 0.99))
    assert 0 <= wide[0] <= narrow[0] < drawn(rate).value < narrow[1] < wide[1]
    more = ratio_interval(drawn(rate, 20_000), 0.95, 2000)
    less = ratio_interval(drawn(rate, 2000), 0.95, 2000)
    assert more[1] - more[0] < 0.6 * (less[1] - less[0])


def test_arms_are_interchangeable_and_a_sure_arm_adds_nothing():
    first, second = drawn(0.1, seed=1), drawn(0.15, seed=2)
    low, high = difference_interval(second, first, 0.95, 4000)
    assert difference_interval(first, second, 0.95, 4000) == pytest.approx((-high, -low))
    assert low < second.value - first.value < high
    sure = drawn(0.1, 400_000)
    alone = ratio_interval(second, 0.95, 2000)
    low, high = difference_interval(second, sure, 0.95, 4000)
    assert high - low == pytest.approx(alone[1] - alone[0], rel=0.25)


def test_no_outcome_rules_out_high_rates_only():
    low, high = ratio_interval(sums_of(np.zeros(1000), np.full(1000, 5)), 0.95, 1000)
    assert low == 0
    assert 4 / 5000 < high < 20 / 5000


def test_limits_are_the_largest_before_and_at_most_double():
    limits = UserLimits()
    assert limits.weight(0, 5) == limits.weight(1, 10) == 1
    assert limits.weight(1, 20) == 0.5
    limits.update(1e9, 12)
    assert (limits.outcome, limits.trials) == (2, 12)
    assert limits.weight(8, 6) == 0.25
    limits.update(0, 0)
    assert (limits.outcome, limits.trials) == (2, 12)
    y, n, after = weigh_users(np.array([1.0, 4, 2, 8]), np.array([10.0, 8, 8, 8]))
    assert y.tolist() == [1, 1, 2, 2]
    assert n.tolist() == [10, 2, 8, 2]
    assert [one.outcome for one in after] == [1, 2, 2, 4]


def test_a_user_is_taken_off_as_added():
    sums = drawn(0.1)
    before = (sums.users, sums.holders, sums.y, sums.n, sums.yy, sums.yn, sums.nn)
    sums.add(3.0, 5.0)
    sums.add(3.0, 5.0, -1.0)
    assert (sums.users, sums.holders, sums.y, sums.n, sums.yy, sums.yn, sums.nn) == before


@pytest.mark.parametrize(
    "share", [*(pytest.param(share, marks=pytest.mark.slow) for share in (0.01, 0.1)), 0.5]
)
@pytest.mark.parametrize("rate", [0.0005, 0.01, 0.5])
def test_misses_are_rare_over_rates_and_shares_with_a_look_at_every_shopper(rate: float, share: float):
    replications = 30
    cell = simulation.simulate(rate, share, "different", replications, 4000 if share > 0.1 else 8000)
    assert cell.betting * replications <= binom.ppf(0.995, replications, 0.05)


def test_normal_theory_fails_where_outcomes_are_rare_and_arms_small():
    """The case that was found: A/A, an arm of 10 %, .05 % purchases."""
    replications = 40
    cell = simulation.simulate(0.0005, 0.1, "alike", replications, 6000)
    assert cell.betting * replications <= binom.ppf(0.995, replications, 0.05)
    assert cell.normal > 0.1
