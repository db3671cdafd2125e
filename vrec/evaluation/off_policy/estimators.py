"""Off-policy estimators of a target policy's value from the log of another policy.

The log's rows are independent draws of a context, an action that the logging policy drew with a known
probability, and its reward. Slates are used slot by slot: in the first slot the logged propensity is the
policy's own; in a later slot it is conditional on the slots before, which are then part of the context.
Estimates without support in the log are refused.
"""

from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.checks import find_bad_rows
from vrec.core.config import BaseConfig
from vrec.core.errors import EvaluationError
from vrec.evaluation.off_policy.intervals import (
    IntervalKind,
    OutcomeTerms,
    betting_interval,
    doubly_robust_terms,
    normal_interval,
    weighted_terms,
)
from vrec.evaluation.off_policy.log import Codes, Floats, LoggedBandit, RewardModel

EstimatorKind = Literal["ips", "clipped_ips", "snips", "dr"]

SUPPORT_SIGMAS = 4.0
"""Standard errors by which the mean weight must deviate from 1 before the estimate is refused."""


class OffPolicyConfig(BaseConfig):
    """Settings of off-policy estimates."""

    method: EstimatorKind = "snips"
    """Estimator. ips is unbiased with high variance; clipped_ips has less variance and a bias towards 0;
    snips has a bias that vanishes with more rows; dr is unbiased, with less variance the better its reward
    model."""
    interval: IntervalKind = "betting"
    """Kind of interval. betting holds for few rows and rare rewards too; normal is about two thirds as wide,
    and refused below `normal_min_outcomes`."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Confidence level of the interval."""
    max_reward: float = Field(default=1.0, gt=0)
    """Largest possible reward; rewards are from 0 to it, and so are estimates and intervals."""
    min_rewards: int = Field(default=10, ge=1)
    """Fewest rows (groups of rows, where the log has groups) with a reward and a weight above 0; below it the
    estimate is refused."""
    normal_min_outcomes: float = Field(default=400.0, ge=1)
    """Fewest effective outcomes for a normal interval: for rare rewards their number, less where weights
    differ."""
    clip: float = Field(default=20.0, gt=0)
    """Largest weight of clipped_ips; a smaller value has less variance and more bias."""
    min_effective_sample: float = Field(default=100.0, ge=1)
    """Smallest effective sample size, in rows; below it the estimate is refused."""
    max_missing_mass: float = Field(default=0.05, gt=0, lt=1)
    """Largest share of the target's probability on actions that the log never shows."""
    seed: int = Field(default=0, ge=0)
    """Random seed of the order in which a betting interval takes the rows."""


@dataclass(frozen=True, slots=True)
class PolicyValueEstimate:
    """Estimated value of a policy, with its confidence interval, all cut to [0, max_reward]."""

    value: float
    low: float
    high: float
    effective_sample_size: float
    """Equivalent number of rows from the target policy: (Σw)² / Σw² (Kish 1965)."""
    n: int
    """Rows of the log."""
    method: str
    clipped: float = 0.0
    """Value lost to clipping on this log (the bias of clipped_ips); 0 for other estimators."""


def estimate_policy_value(
    log: LoggedBandit, target: Floats, config: OffPolicyConfig, model: RewardModel | None = None
) -> PolicyValueEstimate:
    """Estimate the mean reward of the target policy.

    With weights w = target / propensity: ips is the mean of w·r (Horvitz and Thompson 1952); clipped_ips the
    mean of min(w, clip)·r (Strehl et al. 2010); snips is Σw·r / Σw (Swaminathan and Joachims 2015); dr the
    mean of q̄ + w·(r − q) (Dudík et al. 2011).

    A betting interval misses the true value with probability 1 − level at most, for any number of rows:

    - clipped_ips: whatever the weights. The upper end allows for the largest reward where weights are cut, as
      1 − E[min(w, clip)·(1 − r)] does, so that it also holds for the unclipped value.
    - ips, snips: if weights are not much larger than those in the log; a larger one that the log lacks cannot
      be known from it.
    - dr: likewise, with a reward model from other data. A cross-fitted one makes folds depend on each other,
      which is neglected.

    A normal interval holds in the limit of many rows.

    Args:
        log: N rows.
        target: (N,) probabilities with which the target policy shows the logged actions in their contexts.
        config: Estimator, interval and limits.
        model: Reward model; required for dr, ignored otherwise.

    Raises:
        EvaluationError: If the log does not support the target: propensities outside (0, 1], target mass on
            actions that the log never shows, too few effective rows, or too few rewards.
    """
    weights = _weights(log, target, config)
    size, ones = float(weights.sum() ** 2 / (weights**2).sum()), np.ones(len(log))
    if size < config.min_effective_sample:
        raise EvaluationError(
            f"off_policy: the effective sample size of {len(log):,} rows is {size:.1f}, below "
            f"min_effective_sample {config.min_effective_sample:g}",
            fix="log more rows, or evaluate a policy closer to the logging policy",
        )
    rewards, clipped, upper = log.rewards / config.max_reward, 0.0, None
    match config.method:
        case "ips":
            terms = weighted_terms(rewards, weights, ones)
        case "clipped_ips":
            cut = np.minimum(weights, config.clip)
            terms, upper = weighted_terms(rewards, cut, ones), weighted_terms(1 - rewards, cut, ones)
            clipped = float(((weights - cut) * log.rewards).mean())
        case "snips":
            terms = weighted_terms(rewards, weights, weights)
        case "dr":
            model = _validate_model(model, log)
            logged, mean = model.logged / config.max_reward, model.target_mean / config.max_reward
            terms = doubly_robust_terms(rewards, weights, logged, mean)
        case _ as never:
            assert_never(never)
    _refuse_few_rewards(weighted_terms(rewards, weights, ones).summed(log.groups), config)
    ends = _value_and_interval(terms, upper, log.groups, config)
    return PolicyValueEstimate(*ends, size, len(log), config.method, clipped)


def replay_estimate(log: LoggedBandit, chosen: Codes, config: OffPolicyConfig) -> PolicyValueEstimate:
    """Return the mean reward of the rows whose logged action is the target's choice (for comparison only).

    Replay is unbiased for a deterministic target on a uniformly random log (Li et al. 2011), and biased
    elsewhere: the contexts in which the two policies agree are not all contexts.

    Args:
        log: N rows.
        chosen: (N,) most likely action of the target policy.
        config: Interval and level.

    Raises:
        EvaluationError: If fewer than two rows agree, or too few of them have a reward.
    """
    _refuse_rewards(log, config)
    agree = np.flatnonzero(chosen == log.actions)
    if len(agree) < 2:
        raise EvaluationError(
            f"off_policy: the target's choice is in {len(agree)} of {len(log):,} rows",
            fix="log more rows, or evaluate a policy closer to the logging policy",
        )
    groups, ones = log.groups[agree] if len(log.groups) else log.groups, np.ones(len(agree))
    terms = weighted_terms(log.rewards[agree] / config.max_reward, ones, ones)
    _refuse_few_rewards(terms.summed(groups), config)
    ends = _value_and_interval(terms, None, groups, config)
    return PolicyValueEstimate(*ends, len(agree), len(log), "naive replay")


def _value_and_interval(
    terms: OutcomeTerms, upper: OutcomeTerms | None, groups: Codes, config: OffPolicyConfig
) -> tuple[float, float, float]:
    """Return the estimate Σy / Σn and its interval over independent groups of rows.

    Args:
        terms: Terms of the rows.
        upper: Terms whose lower end, taken from 1, is the upper end; None takes that of `terms`.
        groups: (N,) codes of the groups, or none.
        config: Kind and level of the interval.
    """

    def interval(terms: OutcomeTerms) -> tuple[float, float]:
        grouped = terms.summed(groups)
        if config.interval == "normal":
            return normal_interval(grouped, config.level, config.normal_min_outcomes)
        return betting_interval(grouped, config.level, config.seed)

    low, high = interval(terms)
    if upper is not None:
        high = 1 - interval(upper)[0]
    value, most = min(max(terms.value, 0.0), 1.0), config.max_reward
    # The few rows that count in part can leave the value just outside.
    return most * value, most * min(low, value), most * max(high, value)


def _refuse_few_rewards(grouped: OutcomeTerms, config: OffPolicyConfig) -> None:
    rewarded, rows = int((grouped.y > 0).sum()), len(grouped.y)
    if rewarded < config.min_rewards:
        raise EvaluationError(
            f"off_policy: {rewarded:,} of {rows:,} independent rows or groups have a reward that the target "
            f"can earn, below min_rewards {config.min_rewards}",
            fix="log more rows, or count a more frequent reward, such as clicks for purchases",
        )


def _refuse_rewards(log: LoggedBandit, config: OffPolicyConfig) -> None:
    bad = ~np.isfinite(log.rewards) | (log.rewards < 0) | (log.rewards > config.max_reward)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise EvaluationError(
            f"off_policy: rewards must be from 0 to max_reward {config.max_reward:g}; {int(bad.sum()):,} of "
            f"{len(bad):,} are not, such as {log.rewards[first]} in row {first}",
            fix="set max_reward to the largest possible reward, and shift rewards so that they begin at 0",
        )


def _weights(log: LoggedBandit, target: Floats, config: OffPolicyConfig) -> Floats:
    """Return (N,) importance weights target / propensity, after validation."""
    for name, values in (("rewards", log.rewards), ("propensities", log.propensities), ("target", target)):
        if values.shape != (len(log),) or len(log) < 2:
            raise EvaluationError(
                f"off_policy: {name} are {values.shape}, want ({len(log)},) and 2 at least",
                fix="give one value per row of the log, for at least 2 rows",
            )
        _refuse(name, values, ~np.isfinite(values), "finite")
    _refuse_rewards(log, config)
    _refuse("propensities", log.propensities, (log.propensities <= 0) | (log.propensities > 1), "in (0, 1]")
    _refuse("target", target, (target < 0) | (target > 1 + 1e-9), "in [0, 1]")
    weights = target / log.propensities
    mean, error = float(weights.mean()), float(weights.std() / np.sqrt(len(weights)))
    if mean + SUPPORT_SIGMAS * error < 1 - config.max_missing_mass or not weights.any():
        raise EvaluationError(
            f"off_policy: the weights' mean is {mean:.3f} ± {error:.3f}, not 1: about {1 - mean:.0%} of the "
            "target's choices are never in the log",
            fix="restrict the target to actions that the logging policy can show, or log more exploration",
        )
    if mean - SUPPORT_SIGMAS * error > 1 + config.max_missing_mass:
        raise EvaluationError(
            f"off_policy: the weights' mean is {mean:.3f} ± {error:.3f}, not 1: target or propensities are "
            "not probabilities of these actions",
            fix="normalize the target over the available actions, and log the true propensities",
        )
    return weights


def _refuse(name: str, values: Floats, bad: npt.NDArray[np.bool_], want: str) -> None:
    if rows := find_bad_rows(bad):
        raise EvaluationError(
            f"off_policy: {name} must be {want}; {rows.count:,} of {len(values):,} are not, such as "
            f"{values[rows.first]} in row {rows.first}",
            fix="log the probability with which each video was drawn, and leave out rows without it",
        )


def _validate_model(model: RewardModel | None, log: LoggedBandit) -> RewardModel:
    if model is None:
        raise EvaluationError(
            "off_policy: dr needs a reward model", fix="pass `model`, such as one from fit_reward_means"
        )
    for name, values in (("model.logged", model.logged), ("model.target_mean", model.target_mean)):
        if values.shape != (len(log),) or not np.isfinite(values).all():
            raise EvaluationError(
                f"off_policy: {name} must be {len(log):,} finite predictions",
                fix="fit the reward model on this log",
            )
    return model
