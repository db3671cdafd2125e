"""Logs and estimates of a few rows by hand, and every setting's effect."""

import numpy as np
import pytest

from tests.evaluation.tables import events
from vrec.core.errors import EvaluationError
from vrec.evaluation.off_policy.estimators import OffPolicyConfig, estimate_policy_value, replay_estimate
from vrec.evaluation.off_policy.log import (
    LoggedBandit,
    RewardModelConfig,
    fit_reward_means,
    read_logged_bandit,
)

ROWS = 400
FREE = OffPolicyConfig(interval="normal", min_effective_sample=1, min_rewards=1, normal_min_outcomes=1)


@pytest.fixture
def log():
    rng = np.random.default_rng(0)
    actions = rng.integers(0, 4, ROWS)
    rewards = (rng.random(ROWS) < 0.2 + 0.1 * actions).astype(float)
    return LoggedBandit(actions, rewards, np.full(ROWS, 0.25), rng.integers(0, 2, ROWS))


def target(log):
    return np.array([0.1, 0.2, 0.3, 0.4])[log.actions]


def event(kind, video, request, user="u", position=0, propensity=0.5):
    return {
        "user_id": user, "video_id": video, "kind": kind, "request_id": request, "position": position,
        "propensity": propensity,
    }  # fmt: skip


def test_a_click_belongs_to_its_own_request_and_video():
    rows, log = read_logged_bandit(
        events(
            [
                event("impression", "b", "r1"),
                event("impression", "a", "r2", propensity=0.25),
                event("impression", "a", "r3", user="a"),
                event("impression", "a", "r4", position=1),
                event("impression", "a", "r5", position=None),
                event("impression", "a", "r6", propensity=None),
                event("impression", "a", None),
                event("click", "b", "r2"),
                event("click", "a", "r3"),
                event("click", "a", "r3"),
                event("click", "a", None),
            ]
        )
    )
    assert rows.column("request_id").to_pylist() == ["r1", "r2", "r3"]
    assert log.actions.tolist() == [1, 0, 0]
    assert log.rewards.tolist() == [0, 0, 1]
    assert log.propensities.tolist() == [0.5, 0.25, 0.5]
    assert log.groups.tolist() == [0, 0, 1]
    assert log.positions.tolist() == [0, 0, 0]


def test_all_positions_or_one():
    table = events([event("impression", v, v, position=p) for v, p in (("a", 0), ("b", 1), ("c", None))])
    assert [len(read_logged_bandit(table, position)[1]) for position in (0, 1, None)] == [1, 1, 3]
    assert read_logged_bandit(table, None)[1].positions.tolist() == [0, 1, 0]
    with pytest.raises(EvaluationError, match=r"none of 3 events .* and position 2"):
        read_logged_bandit(table, 2)


def width(log, config):
    found = estimate_policy_value(log, target(log), config)
    return found.high - found.low


@pytest.mark.parametrize("interval", ["betting", "normal"])
def test_the_level_widens_both_kinds_of_interval(log, interval):
    narrow, wide = (FREE.model_copy(update={"level": level, "interval": interval}) for level in (0.5, 0.99))
    assert width(log, narrow) < 0.7 * width(log, wide)


def test_the_seed_decides_the_rows_that_only_set_limits(log):
    def found(**more):
        return estimate_policy_value(log, target(log), OffPolicyConfig(**more))

    assert found() == found()
    assert found(seed=1).low != found().low
    assert found(seed=1).value == found().value


def test_the_clip_is_the_largest_weight(log):
    values = [
        estimate_policy_value(log, target(log), OffPolicyConfig(method="clipped_ips", clip=c))
        for c in (0.4, 1.0, 1.6)
    ]
    assert values[0].value == pytest.approx(0.4 * log.rewards.mean())
    assert values[0].value < values[1].value < values[2].value
    assert values[2].clipped == 0
    assert values[2].value == estimate_policy_value(log, target(log), OffPolicyConfig(method="ips")).value


def test_the_effective_sample_is_kish_s_and_its_limit_is_allowed(log):
    w = target(log) / 0.25
    size = w.sum() ** 2 / (w**2).sum()
    found = estimate_policy_value(log, target(log), OffPolicyConfig(min_effective_sample=size))
    assert found.effective_sample_size == pytest.approx(size)
    assert (found.n, found.method, found.clipped) == (ROWS, "snips", 0)
    with pytest.raises(EvaluationError, match="effective sample size of 400 rows"):
        estimate_policy_value(log, target(log), OffPolicyConfig(min_effective_sample=size + 0.1))


def test_missing_mass_is_refused_above_its_limit(log):
    part = target(log) * 0.8
    with pytest.raises(EvaluationError, match="never in the log"):
        estimate_policy_value(log, part, OffPolicyConfig(max_missing_mass=0.05, min_effective_sample=1))
    estimate_policy_value(log, part, OffPolicyConfig(max_missing_mass=0.3, min_effective_sample=1))


def test_replay_counts_agreeing_rows_and_their_groups(log):
    chosen = np.where(np.arange(ROWS) < 100, log.actions, (log.actions + 1) % 4)
    found = replay_estimate(log, chosen, FREE)
    rewards = log.rewards[:100]
    assert found.value == pytest.approx(rewards.mean())
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * rewards.std(ddof=1) / 10, rel=1e-6)
    assert (found.n, found.effective_sample_size) == (ROWS, 100)
    grouped = LoggedBandit(log.actions, log.rewards, log.propensities, log.positions, np.arange(ROWS) // 10)
    means = rewards.reshape(10, 10).mean(axis=1)
    found = replay_estimate(grouped, chosen, FREE)
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * means.std(ddof=1) / np.sqrt(10), rel=1e-6)


def uniform(rows):
    return np.full((len(rows), 4), 0.25)


def test_folds_hold_whole_groups(log):
    groups = np.arange(ROWS) // 40
    grouped = LoggedBandit(log.actions, log.rewards, log.propensities, log.positions, groups)
    model = fit_reward_means(grouped, uniform, RewardModelConfig())
    rewards = log.rewards.copy()
    rewards[groups == 3] = 50
    other = fit_reward_means(
        LoggedBandit(log.actions, rewards, log.propensities, log.positions, groups),
        uniform,
        RewardModelConfig(),
    )
    same = groups == 3
    assert (other.logged[same] == model.logged[same]).all()
    assert (other.target_mean[same] == model.target_mean[same]).all()
    assert (other.logged != model.logged).any()


@pytest.mark.parametrize("change", [{"folds": 7}, {"strength": 200.0}, {"seed": 1}])
def test_settings_of_the_reward_model_change_it(log, change):
    plain = fit_reward_means(log, uniform, RewardModelConfig())
    changed = fit_reward_means(log, uniform, RewardModelConfig(**change))
    assert (plain.logged != changed.logged).any()
    if "strength" in change:
        assert changed.logged.std() < 0.5 * plain.logged.std()


def test_as_many_groups_as_folds_are_enough(log):
    few = LoggedBandit(log.actions, log.rewards, log.propensities, log.positions, np.arange(ROWS) % 5)
    assert np.isfinite(fit_reward_means(few, uniform, RewardModelConfig(folds=5)).logged).all()


def test_one_row_is_too_little():
    single = LoggedBandit(np.zeros(1, int), np.ones(1), np.ones(1), np.zeros(1, int))
    with pytest.raises(EvaluationError, match="2 at least"):
        estimate_policy_value(single, np.ones(1), FREE)
