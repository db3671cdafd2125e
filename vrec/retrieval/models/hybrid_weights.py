"""Weights for a sum of recommenders' scores, learned from the videos that users watched next."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.retrieval.config import BlendConfig
from vrec.retrieval.interaction_matrix import InteractionMatrix
from vrec.retrieval.score_panel import ScorePanel
from vrec.retrieval.topk import Scores, topk_dense

Weights = npt.NDArray[np.float64]
"""(2, features): the weights at history length 0 (see `history_length`), and their slope with it."""


@dataclass(frozen=True)
class ChoiceExamples:
    """Videos that users chose and did not choose, with their features; the rows of a user are contiguous."""

    features: npt.NDArray[np.float32]
    """(N, features) the panel's features, 0 for no opinion."""
    chosen: npt.NDArray[np.bool_]
    """(N,) whether the user watched the video next."""
    sampling_weight: npt.NDArray[np.float32]
    """(N,) number of videos that each row represents: 1, or more for those drawn from the rest."""
    starts: npt.NDArray[np.int64]
    """(users,) first row of each user."""
    length: npt.NDArray[np.float64]
    """(users,) `history_length` of each user."""

    def select(self, users: npt.NDArray[np.bool_]) -> "ChoiceExamples":
        """Return the examples of the users where the (users,) mask is True."""
        sizes = np.diff(np.append(self.starts, len(self.chosen)))
        rows = np.repeat(users, sizes)
        starts = np.cumsum(np.concatenate([[0], sizes[users]]))[:-1]
        return ChoiceExamples(
            self.features[rows], self.chosen[rows], self.sampling_weight[rows], starts, self.length[users]
        )


def equal_weights(features: int, members: int) -> Weights:
    """Return (2, features) weights of 1 for the members, which are the first features, and 0 elsewhere."""
    weights = np.zeros((2, features))
    weights[0, :members] = 1
    return weights


def history_length(histories: InteractionMatrix) -> npt.NDArray[np.float64]:
    """Return ln((n + 1) / 11) / ln 5 for (B,) histories of n videos: about −1 for 2, 0 for 10, 1 for 50."""
    counts = np.diff(histories.weights.indptr)
    return np.log((counts + 1) / 11) / np.log(5)


def user_weights(weights: Weights, histories: InteractionMatrix) -> npt.NDArray[np.float32]:
    """Return the (B, features) weights of users with (B,) histories."""
    return (weights[0] + history_length(histories)[:, None] * weights[1]).astype(np.float32)


def blend_scores(
    panel: ScorePanel, weights: Weights, histories: InteractionMatrix, users: pa.Array
) -> Scores:
    """Return (B, videos) float32 weighted sums of the panel's features, −inf where no member has a score."""
    return sum_features(panel.rows(histories, users), user_weights(weights, histories), len(panel.members))


def sum_features(features: Iterable[Scores], weights: npt.NDArray[np.float32], members: int) -> Scores:
    """Return the (B, videos) float32 weighted sum of features, −inf where no member has a score.

    Args:
        features: (B, videos) features, those of the members first; NaN is no opinion and counts as 0.
        weights: (B, features) weights.
        members: Number of the members.
    """
    total = np.zeros(0, np.float32)
    scored = np.zeros(0, bool)
    for number, feature in enumerate(features):
        missing = np.isnan(feature)
        if not number:
            total, scored = np.zeros(feature.shape, np.float32), np.zeros(feature.shape, bool)
        total += weights[:, number, None] * np.where(missing, np.float32(0), feature)
        if number < members:
            scored |= ~missing
    total[~scored] = -np.inf
    return total


def collect_choices(
    panel: ScorePanel,
    before: InteractionMatrix,
    after: InteractionMatrix,
    users: pa.Array,
    config: BlendConfig,
) -> ChoiceExamples:
    """Return the videos that users chose, among those that they could have chosen.

    Args:
        panel: Members fitted on nothing but the earlier interactions.
        before: (users, videos) earlier histories in the panel's columns, from which features are computed.
        after: (users, videos) later histories, with the chosen videos.
        users: (users,) ids.
        config: Numbers of videos to compare with, and the seed.

    Returns:
        For each user the chosen videos, each member's best, and a sample of the rest, without earlier ones.
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
            chosen, watched = _row(future, row), _row(past, row)
            certain = np.setdiff1d(np.concatenate([*(columns[row] for columns in best), chosen]), watched)
            others = _sample_negatives(
                rng, np.concatenate([certain, watched]), len(panel.videos), config.others
            )
            columns = np.concatenate([certain, others])
            rest = len(panel.videos) - len(certain) - len(watched)
            weights = np.repeat([1.0, rest / max(1, len(others))], [len(certain), len(others)])
            features = np.nan_to_num(stack[row, columns], nan=0.0)
            rows.append((features, np.isin(columns, chosen), weights.astype(np.float32)))
    features, chosen, sampling_weight = (np.concatenate(part) for part in zip(*rows, strict=True))
    starts = np.cumsum([0, *(len(row[1]) for row in rows[:-1])])
    return ChoiceExamples(features, chosen, sampling_weight, starts, history_length(before))


def _sample_negatives(
    rng: np.random.Generator, excluded: npt.NDArray[np.integer], videos: int, count: int
) -> npt.NDArray[np.int64]:
    """Draw up to `count` distinct columns that are not excluded, uniformly."""
    if videos <= 4 * (count + len(excluded)):
        return rng.permutation(np.setdiff1d(np.arange(videos), excluded))[:count]
    drawn = np.setdiff1d(rng.integers(0, videos, 2 * count), excluded)
    return rng.permutation(drawn)[:count]


def fit_blend_weights(
    choices: ChoiceExamples, ridge: float, initial: Weights, free: npt.NDArray[np.bool_] | None = None
) -> Weights:
    """Fit weights by maximum likelihood of the choices under a softmax over each user's catalog.

    The softmax's denominator is exact for the members' best videos and estimated for the rest by importance
    sampling: over the best alone, being one of them would carry no information. The loss is convex, and each
    user counts the same, however many videos they chose. Cao et al. 2007 (ListNet), with a target that is
    uniform over the chosen videos.

    Args:
        choices: Chosen and other videos of at least one user; every user has a chosen one.
        ridge: Factor of the sum of squared weights in the loss.
        initial: (2, features) weights that the optimization starts from.
        free: (features,) mask of the features that may have a weight. With it, weights are not negative and
            do not depend on the length of the history; without it, they are not constrained.

    Returns:
        (2, features) weights.
    """
    # Imported here, so that a service that only blends does not wait for it.
    from scipy.optimize import minimize

    users = len(choices.starts)
    sizes = np.diff(np.append(choices.starts, len(choices.chosen)))
    owner = np.repeat(np.arange(users), sizes)
    target = choices.chosen / np.add.reduceat(choices.chosen.astype(float), choices.starts)[owner]
    features = choices.features.astype(np.float64)
    by_length = features * choices.length[owner, None]

    def loss(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        level, slope = flat.reshape(initial.shape)
        scores = features @ level + by_length @ slope
        scores -= np.maximum.reduceat(scores, choices.starts)[owner]
        odds = choices.sampling_weight * np.exp(scores)
        total = np.add.reduceat(odds, choices.starts)
        value = (target * (np.log(total)[owner] - scores)).sum() / users + ridge * (flat**2).sum()
        residual = (odds / total[owner] - target) / users
        return value, np.concatenate([features.T @ residual, by_length.T @ residual]) + 2 * ridge * flat

    bounds = None
    if free is not None:
        highest = np.concatenate([np.where(free, np.inf, 0), np.zeros(initial.shape[1])])
        bounds = list(zip(np.zeros(initial.size), highest, strict=True))
    result = minimize(
        loss, initial.ravel(), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 300}
    )
    return result.x.reshape(initial.shape)


def _row(histories: InteractionMatrix, row: int) -> npt.NDArray[np.int32]:
    start, end = histories.weights.indptr[row], histories.weights.indptr[row + 1]
    return histories.weights.indices[start:end]
