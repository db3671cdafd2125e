"""Off-policy intervals hold for rare rewards, small logs and far policies, or are refused."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from vrec.core.errors import EvaluationError
from vrec.evaluation.off_policy.estimators import OffPolicyConfig, estimate_policy_value, replay_estimate
from vrec.evaluation.off_policy.log import LoggedBandit, RewardModel

sys.path.append(str(Path(__file__).resolve().parents[3] / "benchmarks"))
from off_policy_intervals import METHODS, POLICIES, run_cell

REPLICATIONS = 40
KINDS = ("ips", "clipped_ips", "snips", "dr")


def log_of(rewards):
    rewards = np.asarray(rewards, float)
    return LoggedBandit(
        np.zeros(len(rewards), int), rewards, np.full(len(rewards), 0.5), np.zeros(len(rewards), int)
    )


def half(log):
    """The logging policy's own probabilities: weights of 1."""
    return np.full(len(log), 0.5)


# `python benchmarks/off_policy_intervals.py` has more rates and sizes, and more of each.
@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("rate", "size"), [(0.1, 300), (0.01, 2_000), (0.5, 2_000), (0.001, 20_000)])
def test_intervals_miss_no_more_than_they_may(policy, rate, size):
    tallies = run_cell((policy, rate, size, REPLICATIONS))
    most = binom.ppf(0.999, REPLICATIONS, 0.05)
    for name in set(METHODS) - {"before"}:
        assert tallies[name].missed <= most, name
    if policy in ("same", "near"):
        assert min(tallies[name].given for name in KINDS) > REPLICATIONS / 4


def test_the_sweep_sees_the_intervals_that_were_too_narrow():
    """Normal theory without a minimum of rewards misses far more often than it may."""
    before = run_cell(("far", 0.001, 10_000, 60))["before"]
    assert before.missed > 0.2 * 60


@pytest.mark.parametrize("interval", ["betting", "normal"])
@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("rewarded", [0, 1, 9])
def test_a_log_with_few_rewards_is_refused(method, interval, rewarded):
    log = log_of([1.0] * rewarded + [0.0] * 4000)
    model = RewardModel(np.zeros(len(log)), np.zeros(len(log)))
    with pytest.raises(EvaluationError, match=rf"{rewarded} of {len(log):,} .* below min_rewards 10") as told:
        estimate_policy_value(log, half(log), OffPolicyConfig(method=method, interval=interval), model)
    assert "log more rows" in told.value.fix
    with pytest.raises(EvaluationError, match="below min_rewards 10"):
        replay_estimate(log, log.actions, OffPolicyConfig(interval=interval))


def test_rewards_that_the_target_cannot_earn_and_those_of_one_group_do_not_count():
    log = log_of([1.0] * 40 + [0.0] * 4000)
    target = half(log)
    target[5:40] = 0
    with pytest.raises(EvaluationError, match="5 of 4,040 independent rows or groups"):
        estimate_policy_value(log, target, OffPolicyConfig())
    grouped = replace(log, groups=np.maximum(np.arange(4040) - 32, 0))
    with pytest.raises(EvaluationError, match="8 of 4,008 independent rows or groups"):
        estimate_policy_value(grouped, half(log), OffPolicyConfig())


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("interval", ["betting", "normal"])
@pytest.mark.parametrize(
    "rewards", [[1.0] * 1999 + [0.0], [1.0] * 1990 + [0.0] * 10, [1.0] * 10 + [0.0] * 1990]
)
def test_ends_are_possible_values_around_the_estimate(method, interval, rewards):
    log = log_of(rewards)
    rng = np.random.default_rng(0)
    target = np.where(rng.random(len(log)) < 0.5, 0.9, 0.1)
    model = RewardModel(np.full(len(log), log.rewards.mean()), np.full(len(log), log.rewards.mean()))
    config = OffPolicyConfig(method=method, interval=interval, normal_min_outcomes=1)
    found = estimate_policy_value(log, target, config, model)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0


def test_an_interval_of_nothing_but_rewards_still_says_how_sure_it_is():
    log = log_of([1.0] * 200)
    found = estimate_policy_value(log, half(log), OffPolicyConfig())
    assert (found.value, found.high) == (1, 1)
    # No policy of less would earn 200 of 200 once in twenty times.
    assert 0.9 < found.low < 0.05 ** (1 / 200)
    with pytest.raises(EvaluationError, match=r"0\.0 effective outcomes"):
        estimate_policy_value(log, half(log), OffPolicyConfig(interval="normal"))


def test_a_normal_interval_is_refused_where_the_weights_leave_few_outcomes():
    rng = np.random.default_rng(1)
    log = log_of(rng.random(4000) < 0.5)
    config = OffPolicyConfig(interval="normal")
    assert estimate_policy_value(log, half(log), config).high < 1
    rare = np.arange(4000) % 20 == 0
    skewed = replace(log, propensities=np.where(rare, 0.05, 0.95))
    with pytest.raises(EvaluationError, match="effective outcomes, below normal_min_outcomes 400") as told:
        estimate_policy_value(skewed, half(log), config)
    assert "interval betting" in told.value.fix


@pytest.mark.parametrize("reward", [-0.1, 1.5])
def test_rewards_out_of_range_are_refused(reward):
    log = log_of([1.0] * 50 + [0.0] * 500 + [reward])
    with pytest.raises(EvaluationError, match=r"rewards must be from 0 to max_reward 1; 1 of 551") as told:
        estimate_policy_value(log, half(log), OffPolicyConfig())
    assert "max_reward" in told.value.fix
    with pytest.raises(EvaluationError, match="max_reward 1"):
        replay_estimate(log, log.actions, OffPolicyConfig())


def test_an_unclipped_value_lies_in_the_interval_of_clipped_weights():
    """What is cut is allowed for: without it the upper end would be far below."""
    rng = np.random.default_rng(2)
    chances = np.array([0.98, 0.02])
    actions = (rng.random(50_000) < 0.02).astype(int)
    rewards = (rng.random(50_000) < np.array([0.05, 0.4])[actions]).astype(float)
    log = LoggedBandit(actions, rewards, chances[actions], np.zeros(50_000, int))
    found = estimate_policy_value(
        log, np.array([0.3, 0.7])[actions], OffPolicyConfig(method="clipped_ips", clip=5)
    )
    truth = 0.3 * 0.05 + 0.7 * 0.4
    assert found.value < 0.5 * truth
    assert found.low <= truth <= found.high


def test_the_order_of_the_rows_hardly_matters():
    rng = np.random.default_rng(3)
    actions = (rng.random(3000) < 0.1).astype(int)
    rewards = (rng.random(3000) < 0.1).astype(float)
    target, chances = np.array([0.5, 0.5])[actions], np.array([0.9, 0.1])[actions]
    log = LoggedBandit(actions, rewards, chances, np.zeros(3000, int))
    widths = []
    for order in (np.arange(3000), np.argsort(rewards), np.argsort(-rewards), np.argsort(chances)):
        rows = LoggedBandit(*(a[order] for a in (actions, rewards, chances, log.positions)))
        found = estimate_policy_value(rows, target[order], OffPolicyConfig())
        widths.append((found.low, found.high))
    assert np.ptp(np.array(widths), axis=0) == pytest.approx(0, abs=0.02)
