"""A logging policy's log as arrays, and predictions of its rewards."""

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
    """How rewards are predicted for the doubly robust estimate."""

    folds: int = Field(default=5, ge=2)
    """Each row is predicted by the rows of the other folds, so that no row predicts itself."""
    strength: float = Field(default=20.0, gt=0)
    """Rows that an action's mean in the same position must have to weigh as much as what it is drawn to:
    the position's mean."""
    seed: int = Field(default=0, ge=0)
    """Decides the folds."""


@dataclass(frozen=True)
class LoggedBandit:
    """N rows of one policy's log."""

    actions: Codes
    """(N,) what was shown, as codes from 0."""
    rewards: Floats
    """(N,) such as 1 for a click."""
    propensities: Floats
    """(N,) the chance with which the logging policy showed it, in (0, 1]."""
    positions: Codes
    """(N,) slots from 0."""
    groups: Codes = field(default_factory=lambda: NO_GROUPS)
    """(N,) rows of one group, such as one user's, may depend on each other; empty where none do. The
    intervals then count groups and not rows."""

    def __len__(self) -> int:
        return len(self.rewards)


@dataclass(frozen=True, slots=True)
class RewardModel:
    """Predicted rewards of the log's rows."""

    logged: Floats
    """(N,) of the action that was shown."""
    target_mean: Floats
    """(N,) of the actions that the target would show, averaged by its probabilities."""


def read_logged_bandit(events: pa.Table, position: int | None = 0) -> tuple[pa.Table, LoggedBandit]:
    """The impressions of EVENTS that carry a propensity, and their log, whose reward is 1 for a click.

    A click belongs to the impression of the same request_id and video_id. `position` keeps one slot, None all
    of them. Actions are coded by video_id in ascending order over these rows. Raises SchemaError, and
    EvaluationError where no row is left.
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
            fix="log the logging policy's propensities with the impressions",
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
    """A reward model for dr by smoothed means of actions in positions, cross-fitted over folds of groups.

    `target` gives for (B,) rows of the log the (B, A) chances with which the target policy shows each of the
    A actions, in the order of their codes. Predicting
    each row by other folds keeps the estimate free of the model's overfitting (Chernozhukov et al. 2018).
    Raises EvaluationError for fewer groups than folds, or a
    target that does not know all actions of the log.
    """
    groups = log.groups if len(log.groups) else np.arange(len(log))
    names, group = np.unique(groups, return_inverse=True)
    if len(names) < config.folds:
        raise EvaluationError(f"off_policy: {len(names)} groups cannot be split into {config.folds} folds")
    deal = np.random.default_rng(config.seed).permutation(len(names)) % config.folds
    fold = deal[group]
    logged, target_mean = np.empty(len(log)), np.empty(len(log))
    shape = (int(log.positions.max()) + 1, target(np.zeros(1, np.int64)).shape[1])
    if log.actions.max() >= shape[1]:
        raise EvaluationError(
            f"off_policy: the target has {shape[1]} actions, the log {log.actions.max() + 1}"
        )
    for one in range(config.folds):
        rows = np.flatnonzero(fold == one)
        means = _smoothed_means(log, np.flatnonzero(fold != one), shape, config.strength)
        logged[rows] = means[log.positions[rows], log.actions[rows]]
        for some in np.array_split(rows, 1 + len(rows) * shape[1] // 1_000_000):
            target_mean[some] = (target(some) * means[log.positions[some]]).sum(axis=1)
    return RewardModel(logged, target_mean)


def _smoothed_means(log: LoggedBandit, rows: Codes, shape: tuple[int, int], strength: float) -> Floats:
    """(positions, actions) mean rewards, drawn to the position's mean, and that to the mean of all."""
    cell = log.positions[rows] * shape[1] + log.actions[rows]
    size = shape[0] * shape[1]
    count = np.bincount(cell, minlength=size).reshape(shape)
    total = np.bincount(cell, weights=log.rewards[rows], minlength=size).reshape(shape)
    overall = log.rewards[rows].mean()
    level = (total.sum(axis=1) + strength * overall) / (count.sum(axis=1) + strength)
    return (total + strength * level[:, None]) / (count + strength)


def _codes(column: pa.ChunkedArray, names: pa.Array) -> Codes:
    return np.asarray(pc.index_in(column, value_set=names)).astype(np.int64)


def _pair_keys(rows: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(rows.column("request_id"), rows.column("video_id"), "\x1f")
