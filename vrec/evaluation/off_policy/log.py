"""Logged bandit feedback as arrays, and reward models fitted to it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from vrec.core.compute import pc
from vrec.core.config import BaseConfig
from vrec.core.errors import EvaluationError
from vrec.core.schema import EVENTS, conform

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

NO_GROUPS: Codes = np.empty(0, np.int64)


class RewardModelConfig(BaseConfig):
    """Settings of the reward model for the doubly robust estimate."""

    folds: int = Field(default=5, ge=2)
    """Folds of cross-fitting: each row is predicted from the other folds."""
    strength: float = Field(default=20.0, gt=0)
    """Smoothing, in rows: with this many rows in a position, an action's own mean and the position's mean
    weigh the same."""
    seed: int = Field(default=0, ge=0)
    """Random seed of the folds."""


@dataclass(frozen=True)
class LoggedBandit:
    """Log of one policy: N rows of action, reward and propensity."""

    actions: Codes
    """(N,) codes from 0 of the actions shown."""
    rewards: Floats
    """(N,) such as 1 for a click."""
    propensities: Floats
    """(N,) probabilities with which the logging policy showed the actions, in (0, 1]."""
    positions: Codes
    """(N,) slots from 0."""
    groups: Codes = field(default_factory=lambda: NO_GROUPS)
    """(N,) codes of dependent rows, such as one user's; intervals treat groups, not rows, as independent.
    Empty where all rows are independent."""

    def __len__(self) -> int:
        return len(self.rewards)


@dataclass(frozen=True, slots=True)
class RewardModel:
    """Predicted rewards for the rows of a log."""

    logged: Floats
    """(N,) predicted reward of the logged action."""
    target_mean: Floats
    """(N,) predicted reward of the target policy: the mean over actions, weighted by its probabilities."""


def read_logged_bandit(events: pa.Table, position: int | None = 0) -> tuple[pa.Table, LoggedBandit]:
    """Read the impressions of EVENTS that have a propensity; the reward is 1 for a click, else 0.

    A click belongs to the impression with the same request_id and video_id.

    Args:
        events: EVENTS.
        position: Slot to keep; None keeps all.

    Returns:
        The impressions' rows of EVENTS, and the log in the same order. Actions are codes of video_id in
        ascending order over these rows; groups are users.

    Raises:
        SchemaError: If the table is not EVENTS.
        EvaluationError: If no row is left.
    """
    events = conform(events, EVENTS, stage="off_policy")
    kind, known = events.column("kind"), pc.is_valid(events.column("request_id"))
    shown = pc.and_(pc.equal(kind, "impression"), pc.and_(known, pc.is_valid(events.column("propensity"))))
    if position is not None:
        shown = pc.and_(shown, pc.equal(events.column("position"), position))
    rows = events.filter(shown)
    if not rows.num_rows:
        raise EvaluationError(
            f"off_policy: none of {events.num_rows:,} events is an impression with request_id, propensity"
            + ("" if position is None else f" and position {position}"),
            fix="log the propensities of the logging policy with the impressions",
        )
    clicks = events.filter(pc.and_(pc.equal(kind, "click"), known))
    videos = pc.unique(rows.column("video_id")).sort()
    log = LoggedBandit(
        actions=_codes(rows.column("video_id"), videos),
        rewards=np.asarray(pc.is_in(_pair_keys(rows), value_set=_pair_keys(clicks).combine_chunks())).astype(
            float
        ),
        propensities=np.asarray(rows.column("propensity")).astype(float),
        positions=np.asarray(pc.fill_null(rows.column("position"), 0)).astype(np.int64),
        groups=_codes(rows.column("user_id"), pc.unique(rows.column("user_id"))),
    )
    return rows, log


def fit_reward_means(
    log: LoggedBandit, target: Callable[[Codes], Floats], config: RewardModelConfig
) -> RewardModel:
    """Fit a reward model of smoothed means per action and position, cross-fitted over folds of groups.

    Cross-fitting keeps the doubly robust estimate free of the model's overfitting (Chernozhukov et al. 2018).

    Args:
        log: N rows.
        target: Function of (B,) row numbers of the log that returns the (B, A) probabilities with which the
            target policy shows each of the A actions, in the order of their codes.
        config: Folds, smoothing and seed.

    Raises:
        EvaluationError: If there are fewer groups than folds, or the target has fewer actions than the log.
    """
    groups = log.groups if len(log.groups) else np.arange(len(log))
    names, group = np.unique(groups, return_inverse=True)
    if len(names) < config.folds:
        raise EvaluationError(
            f"off_policy: {len(names)} groups cannot be split into {config.folds} folds",
            fix="set fewer folds, or log more groups",
        )
    fold_of_group = np.random.default_rng(config.seed).permutation(len(names)) % config.folds
    fold = fold_of_group[group]
    logged, target_mean = np.empty(len(log)), np.empty(len(log))
    shape = (int(log.positions.max()) + 1, target(np.zeros(1, np.int64)).shape[1])
    if log.actions.max() >= shape[1]:
        raise EvaluationError(
            f"off_policy: the target has {shape[1]} actions, the log {log.actions.max() + 1}",
            fix="give the target's probabilities of every action of the log",
        )
    for held_out in range(config.folds):
        rows = np.flatnonzero(fold == held_out)
        means = _smoothed_means(log, np.flatnonzero(fold != held_out), shape, config.strength)
        logged[rows] = means[log.positions[rows], log.actions[rows]]
        for chunk in np.array_split(rows, 1 + len(rows) * shape[1] // 1_000_000):
            target_mean[chunk] = (target(chunk) * means[log.positions[chunk]]).sum(axis=1)
    return RewardModel(logged, target_mean)


def _smoothed_means(log: LoggedBandit, rows: Codes, shape: tuple[int, int], strength: float) -> Floats:
    """Return (positions, actions) means, shrunk to the position's mean, itself shrunk to the overall mean."""
    cell = log.positions[rows] * shape[1] + log.actions[rows]
    size = shape[0] * shape[1]
    count = np.bincount(cell, minlength=size).reshape(shape)
    total = np.bincount(cell, weights=log.rewards[rows], minlength=size).reshape(shape)
    overall = log.rewards[rows].mean()
    position_mean = (total.sum(axis=1) + strength * overall) / (count.sum(axis=1) + strength)
    return (total + strength * position_mean[:, None]) / (count + strength)


def _codes(column: pa.ChunkedArray, names: pa.Array) -> Codes:
    return np.asarray(pc.index_in(column, value_set=names)).astype(np.int64)


def _pair_keys(rows: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(rows.column("request_id"), rows.column("video_id"), "\x1f")
