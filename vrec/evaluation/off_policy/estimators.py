"""What another policy would have earned, estimated from the log of the one that ran, or a refusal to say.

The log's rows are independent draws: a context, an action that the logging policy drew with a known
probability, and its reward. Slates are used slot by slot: of a request's first slot the logged propensity is
the policy's own; of a later slot it is conditional on the slots before, which are then part of the context.
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
"""How sure a lack of support must be before it is refused."""


class OffPolicyConfig(BaseConfig):
    """How a policy's value is estimated from another's log, and when that is refused."""

    method: EstimatorKind = "snips"
    """ips has no bias and much variance; clipped_ips less variance and a bias towards 0; snips a bias that
    vanishes as rows grow; dr none, and less variance the better its reward model."""
    interval: Literal["normal", "bootstrap"] = "normal"
    """normal is symmetric and fast; bootstrap (percentile) follows the skew that rare clicks and large
    weights give."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """How often the interval shall cover the truth."""
    clip: float = Field(default=20.0, gt=0)
    """Largest weight of clipped_ips; a smaller one has less variance and more bias."""
    min_effective_sample: float = Field(default=100.0, ge=1)
    """Fewest rows that the weighted log may be worth; with fewer the estimate is refused."""
    max_missing_mass: float = Field(default=0.05, gt=0, lt=1)
    """Largest share of the target's probability that may lie on actions that the log never shows."""
    resamples: int = Field(default=1000, ge=100)
    """Bootstrap resamples."""
    seed: int = Field(default=0, ge=0)
    """Decides the bootstrap's draws."""


@dataclass(frozen=True, slots=True)
class PolicyValueEstimate:
    """A value with the interval that covers the truth at the level asked for."""

    value: float
    low: float
    high: float
    effective_sample_size: float
    """Rows of the target's own log that the weighted log is worth: (Σw)² / Σw² (Kish 1965)."""
    n: int
    method: str
    clipped: float = 0.0
    """Of clipped_ips: how much of the value the clipping took away on this log, which is its bias."""


def estimate_policy_value(
    log: LoggedBandit, target: Floats, config: OffPolicyConfig, model: RewardModel | None = None
) -> PolicyValueEstimate:
    """The mean reward that the target policy would have, with its interval.

    `target` is (N,): the chance with which the target shows the logged action in that row's context; `model`
    is needed for dr. With weights w = target / propensity: ips is the mean of w·r (Horvitz and Thompson
    1952); clipped_ips that of min(w, clip)·r (Strehl et al. 2010), whose interval does not count its bias;
    snips Σw·r / Σw (Swaminathan and Joachims 2015), with the delta method's variance; dr the mean of
    q̄ + w·(r − q) (Dudík et al. 2011). Raises EvaluationError without support: propensities outside (0, 1],
    target mass on what the log never shows, an effective sample below the setting.
    """
    weights = _weights(log, target, config)
    size, ones = float(weights.sum() ** 2 / (weights**2).sum()), np.ones(len(log))
    if size < config.min_effective_sample:
        raise EvaluationError(
            f"off_policy: {len(log):,} rows are worth {size:.1f} of the target's own, below "
            f"min_effective_sample {config.min_effective_sample:g}",
            fix="log more rows, or evaluate a policy nearer to the logging one",
        )
    clipped = 0.0
    match config.method:
        case "ips":
            gains, shares = weights * log.rewards, ones
        case "clipped_ips":
            gains, shares = np.minimum(weights, config.clip) * log.rewards, ones
            clipped = float((weights * log.rewards - gains).mean())
        case "snips":
            gains, shares = weights * log.rewards, weights
        case "dr":
            model = _checked_model(model, log)
            gains, shares = model.target_mean + weights * (log.rewards - model.logged), ones
        case _ as never:
            assert_never(never)
    value, low, high = _ratio(gains, shares, log.groups, config)
    return PolicyValueEstimate(value, low, high, size, len(log), config.method, clipped)


def replay_estimate(log: LoggedBandit, chosen: Codes, config: OffPolicyConfig) -> PolicyValueEstimate:
    """The mean reward of rows where the log shows what the target would choose: for comparison only.

    `chosen` is (N,), the target's likeliest action. It is right for a deterministic target on a uniformly
    random log (Li et al. 2011), and wrong elsewhere: contexts in which the two agree are not all contexts.
    Raises EvaluationError where they never agree.
    """
    agree = np.flatnonzero(chosen == log.actions)
    if len(agree) < 2:
        raise EvaluationError(f"off_policy: the target's choice is in {len(agree)} of {len(log):,} rows")
    groups = log.groups[agree] if len(log.groups) else log.groups
    value, low, high = _ratio(log.rewards[agree], np.ones(len(agree)), groups, config)
    return PolicyValueEstimate(value, low, high, len(agree), len(log), "naive replay")


def _ratio(
    gains: Floats, shares: Floats, groups: Codes, config: OffPolicyConfig
) -> tuple[float, float, float]:
    """Σgains / Σshares and its interval over independent groups of rows."""
    if len(groups):
        code = np.unique(groups, return_inverse=True)[1]
        gains, shares = _sums(gains, code), _sums(shares, code)
    n, value = len(gains), float(gains.sum() / shares.sum())
    if config.interval == "bootstrap":
        means = resampled_means(np.column_stack([gains, shares]), config.resamples, config.seed)
        low, high = percentile_interval(means[:, :1] / means[:, 1:], config.level)
        return value, float(low[0]), float(high[0])
    # The delta method for a ratio of means: the variance of gains − value·shares over the mean share.
    # With constant shares this is the plain standard error of a mean.
    influence = (gains - value * shares) / shares.mean()
    reach = ndtri((1 + config.level) / 2) * np.sqrt((influence**2).sum() / (n * (n - 1)))
    return value, value - float(reach), value + float(reach)


def _sums(values: Floats, code: Codes) -> Floats:
    return np.asarray(np.bincount(code, weights=values), np.float64)


def _weights(log: LoggedBandit, target: Floats, config: OffPolicyConfig) -> Floats:
    """(N,) target / propensity, after the checks that make them mean something."""
    for name, values in (("rewards", log.rewards), ("propensities", log.propensities), ("target", target)):
        if values.shape != (len(log),) or len(log) < 2:
            raise EvaluationError(f"off_policy: {name} are {values.shape}, want ({len(log)},) and 2 at least")
        _refuse(name, values, ~np.isfinite(values), "finite")
    _refuse("propensities", log.propensities, (log.propensities <= 0) | (log.propensities > 1), "in (0, 1]")
    _refuse("target", target, (target < 0) | (target > 1 + 1e-9), "in [0, 1]")
    weights = target / log.propensities
    mean, error = float(weights.mean()), float(weights.std() / np.sqrt(len(weights)))
    if mean + SUPPORT_SIGMAS * error < 1 - config.max_missing_mass or not weights.any():
        raise EvaluationError(
            f"off_policy: the weights' mean is {mean:.3f} ± {error:.3f}, not 1: about {1 - mean:.0%} of the "
            "target's choices are never in the log",
            fix="restrict the target to actions that the logging policy can show, or log wider",
        )
    if mean - SUPPORT_SIGMAS * error > 1 + config.max_missing_mass:
        raise EvaluationError(
            f"off_policy: the weights' mean is {mean:.3f} ± {error:.3f}, not 1: target or propensities are "
            "not probabilities of these actions",
            fix="normalise the target over the actions on offer, and log the true propensities",
        )
    return weights


def _refuse(name: str, values: Floats, bad: npt.NDArray[np.bool_], want: str) -> None:
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise EvaluationError(
            f"off_policy: {name} must be {want}; {int(bad.sum()):,} of {len(values):,} are not, such as "
            f"{values[first]} in row {first}",
            fix="log the chance with which each video was drawn, and leave out rows without it",
        )


def _checked_model(model: RewardModel | None, log: LoggedBandit) -> RewardModel:
    if model is None:
        raise EvaluationError(
            "off_policy: dr needs a reward model", fix="give one, such as fit_reward_means makes"
        )
    for name, values in (("model.logged", model.logged), ("model.target_mean", model.target_mean)):
        if values.shape != (len(log),) or not np.isfinite(values).all():
            raise EvaluationError(f"off_policy: {name} must be {len(log):,} finite predictions")
    return model
