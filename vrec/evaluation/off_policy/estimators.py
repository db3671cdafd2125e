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
from scipy.special import ndtri

from vrec.core.config import BaseConfig
from vrec.core.errors import EvaluationError
from vrec.evaluation.intervals import percentile_interval, resampled_means
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
    interval: Literal["normal", "bootstrap"] = "normal"
    """Kind of interval. normal is symmetric and fast; bootstrap (percentile) follows the skew of rare clicks
    and large weights."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Confidence level of the interval."""
    clip: float = Field(default=20.0, gt=0)
    """Largest weight of clipped_ips; a smaller value has less variance and more bias."""
    min_effective_sample: float = Field(default=100.0, ge=1)
    """Smallest effective sample size, in rows; below it the estimate is refused."""
    max_missing_mass: float = Field(default=0.05, gt=0, lt=1)
    """Largest share of the target's probability on actions that the log never shows."""
    resamples: int = Field(default=1000, ge=100)
    """Bootstrap resamples."""
    seed: int = Field(default=0, ge=0)
    """Random seed of the bootstrap."""


@dataclass(frozen=True, slots=True)
class PolicyValueEstimate:
    """Estimated value of a policy, with its confidence interval."""

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
    mean of min(w, clip)·r (Strehl et al. 2010), whose interval ignores its bias; snips is Σw·r / Σw
    (Swaminathan and Joachims 2015), with the delta method's variance; dr the mean of q̄ + w·(r − q) (Dudík et
    al. 2011).

    Args:
        log: N rows.
        target: (N,) probabilities with which the target policy shows the logged actions in their contexts.
        config: Estimator, interval and limits.
        model: Reward model; required for dr, ignored otherwise.

    Raises:
        EvaluationError: If the log does not support the target: propensities outside (0, 1], target mass on
            actions that the log never shows, or an effective sample size below the limit.
    """
    weights = _weights(log, target, config)
    size, ones = float(weights.sum() ** 2 / (weights**2).sum()), np.ones(len(log))
    if size < config.min_effective_sample:
        raise EvaluationError(
            f"off_policy: the effective sample size of {len(log):,} rows is {size:.1f}, below "
            f"min_effective_sample {config.min_effective_sample:g}",
            fix="log more rows, or evaluate a policy closer to the logging policy",
        )
    clipped = 0.0
    match config.method:
        case "ips":
            numerator, denominator = weights * log.rewards, ones
        case "clipped_ips":
            numerator, denominator = np.minimum(weights, config.clip) * log.rewards, ones
            clipped = float((weights * log.rewards - numerator).mean())
        case "snips":
            numerator, denominator = weights * log.rewards, weights
        case "dr":
            model = _validate_model(model, log)
            numerator, denominator = model.target_mean + weights * (log.rewards - model.logged), ones
        case _ as never:
            assert_never(never)
    value, low, high = _ratio_interval(numerator, denominator, log.groups, config)
    return PolicyValueEstimate(value, low, high, size, len(log), config.method, clipped)


def replay_estimate(log: LoggedBandit, chosen: Codes, config: OffPolicyConfig) -> PolicyValueEstimate:
    """Return the mean reward of the rows whose logged action is the target's choice (for comparison only).

    Replay is unbiased for a deterministic target on a uniformly random log (Li et al. 2011), and biased
    elsewhere: the contexts in which the two policies agree are not all contexts.

    Args:
        log: N rows.
        chosen: (N,) most likely action of the target policy.
        config: Interval and level.

    Raises:
        EvaluationError: If fewer than two rows agree.
    """
    agree = np.flatnonzero(chosen == log.actions)
    if len(agree) < 2:
        raise EvaluationError(
            f"off_policy: the target's choice is in {len(agree)} of {len(log):,} rows",
            fix="log more rows, or evaluate a policy closer to the logging policy",
        )
    groups = log.groups[agree] if len(log.groups) else log.groups
    value, low, high = _ratio_interval(log.rewards[agree], np.ones(len(agree)), groups, config)
    return PolicyValueEstimate(value, low, high, len(agree), len(log), "naive replay")


def _ratio_interval(
    numerator: Floats, denominator: Floats, groups: Codes, config: OffPolicyConfig
) -> tuple[float, float, float]:
    """Return Σnumerator / Σdenominator and its interval over independent groups of rows."""
    if len(groups):
        code = np.unique(groups, return_inverse=True)[1]
        numerator, denominator = _group_sums(numerator, code), _group_sums(denominator, code)
    n, value = len(numerator), float(numerator.sum() / denominator.sum())
    if config.interval == "bootstrap":
        means = resampled_means(np.column_stack([numerator, denominator]), config.resamples, config.seed)
        low, high = percentile_interval(means[:, :1] / means[:, 1:], config.level)
        return value, float(low[0]), float(high[0])
    # The delta method for a ratio of means: the variance of numerator − value·denominator, over the mean
    # denominator. With a constant denominator this is the standard error of a mean.
    influence = (numerator - value * denominator) / denominator.mean()
    half_width = ndtri((1 + config.level) / 2) * np.sqrt((influence**2).sum() / (n * (n - 1)))
    return value, value - float(half_width), value + float(half_width)


def _group_sums(values: Floats, code: Codes) -> Floats:
    return np.asarray(np.bincount(code, weights=values), np.float64)


def _weights(log: LoggedBandit, target: Floats, config: OffPolicyConfig) -> Floats:
    """Return (N,) importance weights target / propensity, after validation."""
    for name, values in (("rewards", log.rewards), ("propensities", log.propensities), ("target", target)):
        if values.shape != (len(log),) or len(log) < 2:
            raise EvaluationError(
                f"off_policy: {name} are {values.shape}, want ({len(log)},) and 2 at least",
                fix="give one value per row of the log, for at least 2 rows",
            )
        _refuse(name, values, ~np.isfinite(values), "finite")
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
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise EvaluationError(
            f"off_policy: {name} must be {want}; {int(bad.sum()):,} of {len(values):,} are not, such as "
            f"{values[first]} in row {first}",
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
