"""Off-policy estimates: closed forms, coverage of a planted truth, and refusals without support."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from vrec.core.compute import pc
from vrec.core.errors import EvaluationError
from vrec.evaluation.off_policy.estimators import OffPolicyConfig, estimate_policy_value, replay_estimate
from vrec.evaluation.off_policy.log import (
    LoggedBandit,
    RewardModel,
    RewardModelConfig,
    fit_reward_means,
    read_logged_bandit,
)
from vrec.synthetic.shop.simulate import SimulationConfig, simulate

sys.path.append(str(Path(__file__).resolve().parents[3] / "benchmarks"))
import open_bandit
from off_policy import SHOP, coverage

LOOSE = {"min_effective_sample": 1, "max_missing_mass": 0.99}


def drawn(n=4000, actions=4, seed=0, reward=(0.02, 0.1, 0.3, 0.05)):
    """A context-free log of a skewed policy, the target (another one), and the target's exact value."""
    rng = np.random.default_rng(seed)
    logging, target = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.1, 0.2, 0.4, 0.3])
    shown = rng.choice(actions, n, p=logging)
    rewards = (rng.random(n) < np.array(reward)[shown]).astype(float)
    log = LoggedBandit(shown, rewards, logging[shown], np.zeros(n, np.int64))
    return log, target[shown], float(target @ reward)


def config(method="snips", **more):
    return OffPolicyConfig(method=method, **more)


def normal(method="snips", **more):
    return config(method, interval="normal", normal_min_outcomes=1, **more)


def test_each_estimator_is_its_formula():
    log, target, _ = drawn()
    w, r = target / log.propensities, log.rewards
    model = RewardModel(np.linspace(0, 1, len(log)), np.linspace(1, 0.5, len(log)))
    z = norm.ppf(0.95)

    def of(method, **more):
        found = estimate_policy_value(log, target, normal(method, level=0.9, **more), model)
        return found.value, (found.low + found.high) / 2, (found.high - found.low) / 2

    def mean(terms):
        return terms.mean(), terms.mean(), z * terms.std(ddof=1) / np.sqrt(len(terms))

    assert of("ips") == pytest.approx(mean(w * r))
    cut = estimate_policy_value(log, target, normal("clipped_ips", level=0.9, clip=2))
    (value, _, half), (other, _, other_half) = mean(np.minimum(w, 2) * r), mean(np.minimum(w, 2) * (1 - r))
    assert (cut.value, cut.low, cut.high) == pytest.approx((value, value - half, 1 - other + other_half))
    assert of("dr") == pytest.approx(mean(model.target_mean + w * (r - model.logged)))
    value = (w * r).sum() / w.sum()
    spread = np.sqrt((w**2 * (r - value) ** 2).sum()) / w.sum() * np.sqrt(len(w) / (len(w) - 1))
    assert of("snips") == pytest.approx((value, value, z * spread))
    assert estimate_policy_value(log, target, config()).effective_sample_size == pytest.approx(
        w.sum() ** 2 / (w**2).sum()
    )
    clipped = estimate_policy_value(log, target, config("clipped_ips", clip=2))
    assert clipped.clipped == pytest.approx((w * r).mean() - clipped.value)
    assert clipped.clipped > 0


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_the_logging_policy_s_own_value_is_the_plain_mean_by_every_method(seed):
    log, _, _ = drawn(n=300, seed=seed)
    model = RewardModel(np.full(300, 0.1), np.full(300, 0.1))
    for method in ("ips", "clipped_ips", "snips", "dr"):
        found = estimate_policy_value(log, log.propensities, config(method, min_rewards=1), model)
        assert found.value == pytest.approx(log.rewards.mean())
        assert found.effective_sample_size == pytest.approx(300)
        assert found.low <= found.value <= found.high


@settings(deadline=None)
@given(st.floats(0.1, 10), st.sampled_from(["ips", "clipped_ips", "snips", "dr"]))
def test_estimates_scale_with_the_rewards(scale, method):
    log, target, _ = drawn(n=500)
    model = RewardModel(np.linspace(0, 0.2, 500), np.full(500, 0.1))
    larger = RewardModel(scale * model.logged, scale * model.target_mean)
    plain = estimate_policy_value(log, target, config(method), model)
    scaled = config(method, max_reward=scale)
    found = estimate_policy_value(replace(log, rewards=scale * log.rewards), target, scaled, larger)
    for name in ("value", "low", "high"):
        assert getattr(found, name) == pytest.approx(scale * getattr(plain, name), abs=1e-9)


def test_rows_of_one_group_count_as_one():
    log, target, _ = drawn(n=800)
    groups = np.repeat(np.arange(400), 2)
    twice = LoggedBandit(
        *(np.repeat(a, 2) for a in (log.actions, log.rewards, log.propensities, log.positions))
    )
    once, doubled = estimate_policy_value(log, target, config()), np.repeat(target, 2)
    naive = estimate_policy_value(twice, doubled, normal())
    grouped = estimate_policy_value(replace(twice, groups=np.repeat(np.arange(800), 2)), doubled, config())
    assert (grouped.value, grouped.low, grouped.high) == pytest.approx((once.value, once.low, once.high))
    single = estimate_policy_value(log, target, normal())
    assert naive.high - naive.low == pytest.approx((single.high - single.low) / np.sqrt(2), rel=0.01)
    relabelled = estimate_policy_value(replace(log, groups=groups * 7 + 3), target, config())
    assert relabelled == estimate_policy_value(replace(log, groups=groups), target, config())


def test_the_reward_model_never_looks_at_the_row_that_it_predicts():
    log, _, _ = drawn(n=200)
    model = fit_reward_means(log, lambda rows: np.full((len(rows), 4), 0.25), RewardModelConfig())
    for row in (0, 17, 150):
        other = log.rewards.copy()
        other[row] = 1000.0
        changed = fit_reward_means(
            replace(log, rewards=other), lambda rows: np.full((len(rows), 4), 0.25), RewardModelConfig()
        )
        assert changed.logged[row] == model.logged[row]
        assert changed.target_mean[row] == model.target_mean[row]
        assert (changed.logged != model.logged).any()


def test_the_reward_model_is_a_smoothed_mean_of_action_and_position():
    log = LoggedBandit(
        np.array([0, 0, 1, 1]), np.array([1.0, 0, 0, 0]), np.full(4, 0.5), np.array([0, 0, 0, 1])
    )
    target = np.array([[0.2, 0.5, 0.3]])
    setting = RewardModelConfig(folds=2, strength=3.0, seed=0)
    model = fit_reward_means(log, lambda rows: np.repeat(target, len(rows), axis=0), setting)
    deal = np.random.default_rng(0).permutation(4) % 2
    for row in range(4):
        others = np.flatnonzero(deal != deal[row])
        overall, position = log.rewards[others].mean(), log.positions[row]
        here = others[log.positions[others] == position]
        level = (log.rewards[here].sum() + 3 * overall) / (len(here) + 3)
        mean = np.array(
            [
                (log.rewards[c].sum() + 3 * level) / (len(c) + 3)
                for c in (here[log.actions[here] == a] for a in range(3))
            ]
        )
        assert model.logged[row] == pytest.approx(mean[log.actions[row]])
        assert model.target_mean[row] == pytest.approx(target[0] @ mean)


@pytest.mark.slow
def test_intervals_cover_the_planted_truth_and_naive_replay_s_do_not():
    replications = 60
    shop = SHOP.model_copy(update={"users": 200, "videos": 40})
    tallies = coverage(replications, shop)
    least = binom.ppf(0.001, replications, 0.95)
    # Of the right width, and not one that covers because it is too wide.
    widest = {"ips": 2.4, "snips": 2.4, "dr, smoothed means": 2.4, "dr, true rewards": 2.4}
    for name, most in {**widest, "clipped ips (at 5)": 6.0, "snips, normal": 1.3}.items():
        tally = tallies[name]
        assert tally.covered >= least, name
        assert 0.8 < np.mean(tally.widths) / (2 * 1.96 * np.std(tally.errors)) < most, name
    for name in ("naive replay", "naive mean of the log"):
        assert tallies[name].covered < 0.5 * replications, name


def test_better_reward_models_give_narrower_intervals():
    log, target, _ = drawn(n=5000)
    rates = np.array([0.02, 0.1, 0.3, 0.05])
    good = RewardModel(rates[log.actions], np.full(5000, np.array([0.1, 0.2, 0.4, 0.3]) @ rates))
    widths = [
        (e.high - e.low)
        for e in (
            estimate_policy_value(log, target, config("ips")),
            estimate_policy_value(log, target, config("dr"), good),
        )
    ]
    assert widths[1] < 0.95 * widths[0]


def test_what_has_no_support_is_refused():
    log, target, _ = drawn()
    never = replace(log, propensities=np.where(log.actions == 3, 0.0, log.propensities))
    with pytest.raises(
        EvaluationError, match=r"propensities must be in \(0, 1\]; \d+ of 4,000 are not, such as 0\.0"
    ):
        estimate_policy_value(never, target, config())
    with pytest.raises(EvaluationError, match="propensities must be finite"):
        estimate_policy_value(replace(log, propensities=np.full(4000, np.nan)), target, config())
    with pytest.raises(EvaluationError, match=r"target must be in \[0, 1\]"):
        estimate_policy_value(log, target * 4, config())
    seen = log.actions != 2
    cut = LoggedBandit(*(a[seen] for a in (log.actions, log.rewards, log.propensities / 0.85, log.positions)))
    with pytest.raises(EvaluationError, match=r"about 4\d% of the target's choices are never in the log"):
        estimate_policy_value(cut, target[seen], config())
    with pytest.raises(EvaluationError, match="never in the log"):
        estimate_policy_value(log, np.zeros(4000), config())
    with pytest.raises(EvaluationError, match="not probabilities of these actions"):
        estimate_policy_value(log, np.minimum(target * 1.5, 1), config())
    with pytest.raises(
        EvaluationError, match=r"size of 4,000 rows is \d+\.\d, below min_effective_sample 3000"
    ):
        estimate_policy_value(log, target, config(min_effective_sample=3000))
    with pytest.raises(EvaluationError, match=r"target are \(3,\), want \(4000,\)"):
        estimate_policy_value(log, target[:3], config())


def test_misuse_is_refused():
    log, target, _ = drawn()
    with pytest.raises(EvaluationError, match="dr needs a reward model"):
        estimate_policy_value(log, target, config("dr"))
    with pytest.raises(EvaluationError, match=r"model\.logged must be 4,000 finite"):
        estimate_policy_value(log, target, config("dr"), RewardModel(np.ones(3), np.ones(3)))
    with pytest.raises(EvaluationError, match="choice is in 0 of 4,000 rows"):
        replay_estimate(log, np.full(4000, 9), config())
    with pytest.raises(EvaluationError, match="2 groups cannot be split into 5 folds"):
        fit_reward_means(
            replace(log, groups=log.actions % 2),
            lambda rows: np.ones((len(rows), 4)) / 4,
            RewardModelConfig(),
        )
    with pytest.raises(EvaluationError, match="the target has 2 actions, the log 4"):
        fit_reward_means(log, lambda rows: np.ones((len(rows), 2)) / 2, RewardModelConfig())


def test_events_become_a_log():
    events = simulate(SimulationConfig(users=20, videos=10, days=3, slots=2, click_rate=0.4)).events
    rows, log = read_logged_bandit(events, position=None)
    shown = [e for e in events.to_pylist() if e["kind"] == "impression"]
    clicked = {(e["request_id"], e["video_id"]) for e in events.to_pylist() if e["kind"] == "click"}
    assert rows.column("event_id").to_pylist() == [e["event_id"] for e in shown]
    assert log.rewards.tolist() == [(e["request_id"], e["video_id"]) in clicked for e in shown]
    assert log.positions.tolist() == [e["position"] for e in shown]
    names = sorted({e["video_id"] for e in shown})
    assert [names[a] for a in log.actions] == [e["video_id"] for e in shown]
    assert len(np.unique(log.groups)) == len({e["user_id"] for e in shown})
    assert len(read_logged_bandit(events)[1]) == len(shown) / 2
    place = events.column_names.index("propensity")
    without = events.set_column(place, "propensity", pa.nulls(events.num_rows, pa.float32()))
    with pytest.raises(EvaluationError, match="is an impression with request_id, propensity and position 0"):
        read_logged_bandit(without)
    assert pc.all(pc.equal(rows.column("kind"), "impression")).as_py()


def test_thompson_s_click_rate_is_found_in_the_random_log_and_the_reverse(shared_data):
    logs = {name: open_bandit.read_log(shared_data / "interactions", name) for name in ("random", "bts")}
    policies = {"random": np.full((3, 34), 1 / 34), "bts": open_bandit.shares(logs["bts"], 34)}
    for own, other in (("bts", "random"), ("random", "bts")):
        truth = logs[own].rewards.mean()
        for name, found in open_bandit.estimated(logs[other], policies[own]).items():
            assert found.low <= truth <= found.high, (own, name)
        naive = open_bandit.on_policy(logs[other])
        assert not naive.low <= truth <= naive.high
