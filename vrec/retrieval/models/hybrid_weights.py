"""Weights for a sum of recommenders' scores, learned from what users watched next."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.retrieval.interaction_matrix import InteractionMatrix
from vrec.retrieval.score_panel import ScorePanel
from vrec.retrieval.topk import Scores, topk_dense

Weights = npt.NDArray[np.float64]
"""(2, features): the weights of a user with a history of average length, and their change with its length."""


class BlendConfig(BaseConfig):
    """How a hybrid's weights are learned."""

    users: int = Field(default=3000, ge=1)
    """Most users to learn from; drawn at random where there are more."""
    least_users: int = Field(default=20, ge=1)
    """Fewer users than this are nothing to learn from: all members then count the same."""
    best: int = Field(default=60, ge=1)
    """Each member's best videos that a user's choice is compared with."""
    others: int = Field(default=200, ge=1)
    """Further videos, drawn at random, that stand for all the rest in the comparison."""
    ridge: float = Field(default=0.003, ge=0)
    """Pull of the weights towards zero, as a multiple of their squares."""
    seed: int = Field(default=0, ge=0)
    """Of the draws of users and videos."""


@dataclass(frozen=True)
class ChoiceExamples:
    """What users chose among what they might have been shown; the rows of one user lie together."""

    features: npt.NDArray[np.float32]
    """(N, features)."""
    chosen: npt.NDArray[np.bool_]
    """(N,)."""
    sampling_weight: npt.NDArray[np.float32]
    """(N,) how many videos each row stands for: 1, or more for those that were drawn from the rest."""
    starts: npt.NDArray[np.int64]
    """(users,) each user's first row."""
    length: npt.NDArray[np.float64]
    """(users,) standardised logarithm of the history's length."""


def equal_weights(features: int, members: int) -> Weights:
    """(2, features) the weights under which all members count the same."""
    weights = np.zeros((2, features))
    weights[0, :members] = 1
    return weights


def history_length(histories: InteractionMatrix) -> npt.NDArray[np.float64]:
    """(B,) about −1 for a history of 2 videos, 0 for 10, 1 for 50."""
    counts = np.diff(histories.weights.indptr)
    return np.log((counts + 1) / 11) / np.log(5)


def blend_scores(
    panel: ScorePanel, weights: Weights, histories: InteractionMatrix, users: pa.Array
) -> Scores:
    """(B, videos) float32: the weighted sum of the panel's features, −inf where no member has an opinion."""
    mine = (weights[0] + history_length(histories)[:, None] * weights[1]).astype(np.float32)
    total = np.zeros((histories.users, len(panel.videos)), np.float32)
    heard = np.zeros(total.shape, bool)
    for place, feature in enumerate(panel.rows(histories, users)):
        silent = np.isnan(feature)
        total += mine[:, place, None] * np.where(silent, np.float32(0), feature)
        if place < len(panel.members):
            heard |= ~silent
    total[~heard] = -np.inf
    return total


def collect_choices(
    panel: ScorePanel,
    before: InteractionMatrix,
    after: InteractionMatrix,
    users: pa.Array,
    config: BlendConfig,
) -> ChoiceExamples:
    """The choices that users made `after`, among what the panel would have shown them by `before`.

    Both histories have the rows `users` and the panel's columns.
    """
    rng = np.random.default_rng(config.seed)
    size = max(1, 2_000_000 // max(1, len(panel.videos)))
    rows: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.float32]]] = []
    for start in range(0, len(users), size):
        block = np.arange(start, min(start + size, len(users)))
        past, future = before.rows(block), after.rows(block)
        stack = np.stack([*panel.rows(past, users.take(pa.array(block)))], axis=-1)
        best = [topk_dense(stack[:, :, m], config.best)[0] for m in range(len(panel.members))]
        for row in range(len(block)):
            wanted = _row(future, row)
            sure = np.setdiff1d(np.concatenate([*(places[row] for places in best), wanted]), _row(past, row))
            others = _sample_negatives(
                rng, np.concatenate([sure, _row(past, row)]), len(panel.videos), config.others
            )
            places = np.concatenate([sure, others])
            rest = len(panel.videos) - len(sure) - len(_row(past, row))
            stands = np.repeat([1.0, rest / max(1, len(others))], [len(sure), len(others)]).astype(np.float32)
            rows.append((np.nan_to_num(stack[row, places], nan=0.0), np.isin(places, wanted), stands))
    features, chosen, stands_for = (np.concatenate(part) for part in zip(*rows, strict=True))
    starts = np.cumsum([0, *(len(row[1]) for row in rows[:-1])])
    return ChoiceExamples(features, chosen, stands_for, starts, history_length(before))


def _sample_negatives(
    rng: np.random.Generator, barred: npt.NDArray[np.integer], videos: int, count: int
) -> npt.NDArray[np.int64]:
    """Up to `count` different places that are not barred, each as likely."""
    if videos <= 4 * (count + len(barred)):
        return rng.permutation(np.setdiff1d(np.arange(videos), barred))[:count]
    found = np.setdiff1d(rng.integers(0, videos, 2 * count), barred)
    return rng.permutation(found)[:count]


def fit_blend_weights(choices: ChoiceExamples, ridge: float, first: Weights) -> Weights:
    """The (2, features) weights that make the choices most likely: a softmax over each user's catalogue.

    The sum over the catalogue is exact for the members' best and estimated for the rest (importance
    sampling: with the best alone, being one of them would tell nothing). The loss is convex; each user
    counts the same, however much they chose. Cao et al. 2007 (ListNet), with the chosen sharing the target.
    """
    # Here: a service that blends would wait for the import.
    from scipy.optimize import minimize

    users = len(choices.starts)
    sizes = np.diff(np.append(choices.starts, len(choices.chosen)))
    owner = np.repeat(np.arange(users), sizes)
    target = choices.chosen / np.add.reduceat(choices.chosen.astype(float), choices.starts)[owner]
    features = choices.features.astype(np.float64)
    bent = features * choices.length[owner, None]

    def loss(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        level, slope = flat.reshape(first.shape)
        scores = features @ level + bent @ slope
        scores -= np.maximum.reduceat(scores, choices.starts)[owner]
        odds = choices.sampling_weight * np.exp(scores)
        total = np.add.reduceat(odds, choices.starts)
        value = (target * (np.log(total)[owner] - scores)).sum() / users + ridge * (flat**2).sum()
        slack = (odds / total[owner] - target) / users
        return value, np.concatenate([features.T @ slack, bent.T @ slack]) + 2 * ridge * flat

    found = minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return found.x.reshape(first.shape)


def _row(histories: InteractionMatrix, row: int) -> npt.NDArray[np.int32]:
    start, end = histories.weights.indptr[row], histories.weights.indptr[row + 1]
    return histories.weights.indices[start:end]
