"""Recommender of creators: a linear model of watch counts, a graph filter, and what friends watch."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.artifact import Arrays
from vrec.core.errors import FitError
from vrec.core.types import CatalogContent
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import CreatorsConfig
from vrec.retrieval.creators.inputs import friends_of
from vrec.retrieval.dual_ease import Floats, fit_ease, restore_ease
from vrec.retrieval.interaction_matrix import Indices, InteractionMatrix, Matrix, csr_arrays, restore_csr
from vrec.retrieval.models.graph_filter import (
    LowPassFilter,
    binary,
    choose_settings,
    restore_settings,
    settings_arrays,
)
from vrec.retrieval.topk import Scores, mask_scores
from vrec.retrieval.validation import CUTOFF, ndcg

GRAPH_WEIGHTS = (1.0, 0.5, 0.25, 2.0, 4.0, 1e6)
"""Weights of the graph filter tried; the last one leaves the linear part without any say."""
FRIENDS_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Weights of friends tried, relative to the linear part and the graph filter together; the first is none."""
HELD_OUT, SHORTENED = 0.2, 0.2
"""Share of the interactions, and of the users whose histories are shortened, for the choice."""
FEWEST_USERS = 20
"""Users below which nothing is chosen, in each group."""
MOST_USERS = 1000
"""Users that are used for the choice."""
SURE = 1.96
"""Standard errors by which friends must help on held-out interactions."""
BLOCK_USERS = 256

Parts = tuple[Floats, Floats, Floats]
Weights = npt.NDArray[np.float64]
"""(2, 2): graph filter and friends, for short histories and for others."""


class CreatorRecommender(MatrixRecommender[CreatorsConfig]):
    """Recommender of creators, with creators in the place of videos.

    A score is the sum of three standardized parts: EASE (Steck 2019) on the log of the weights relative to
    the user's mean, so that what a shopper watches most counts most; a graph filter (Shen et al. 2021), which
    is better for short histories; and the mean history of the shopper's friends. The weights are chosen by
    held-out interactions, apart for short histories and others; that of friends is 0 where they do not
    clearly help.

    Args:
        config: Settings.
        friends: Rows of `user_id` and `friend_id`, each a friendship of both; None takes those of the
            content's FOLLOWS at the time of the fit, if any.
    """

    kind = "creators"
    Config = CreatorsConfig

    def __init__(self, config: CreatorsConfig | None = None, friends: pa.Table | None = None) -> None:
        super().__init__(config)
        self.friend_rows = friends

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        smaller, most = min(histories.users, histories.videos), self.config.max_smaller
        if smaller > most:
            raise FitError(
                f"{self.kind}: {histories.users:,} shoppers and {histories.videos:,} creators are both more "
                f"than max_smaller, {most:,}",
                fix="fit graph_filter, or raise max_smaller if there is enough memory",
            )
        if self.friend_rows is None and content is not None and content.follows is not None:
            self.friend_rows = friends_of(content.follows, datetime.now(UTC))
        self.friends = self._friend_matrix()
        self.settings = choose_settings(histories, self.config.graph)
        self.blend = self._choose(histories.weights)
        self._fit_parts(histories.weights)
        self.report = {
            "graph_weight": dict(zip(("short", "others"), self.blend[:, 0].tolist(), strict=True)),
            "friends_weight": dict(zip(("short", "others"), self.blend[:, 1].tolist(), strict=True)),
        }

    def score_block(self, histories: InteractionMatrix, users: Indices) -> Scores:
        return self._blended(histories.weights, users, self.blend).astype(np.float32)

    def _arrays(self) -> Arrays:
        return {
            "inverse": self.linear.inverse,
            "vectors": self.filter.vectors,
            "blend": self.blend,
            **settings_arrays(self.settings),
            **csr_arrays("friends.", self.friends),
        }

    def _restore(self, arrays: Arrays) -> None:
        self.blend = arrays["blend"]
        self.settings = restore_settings(arrays)
        self.friends = restore_csr(arrays, "friends.", (len(self.users), len(self.users)))
        weights = self.histories.weights
        self.filter = LowPassFilter.restore(weights, self.settings, arrays["vectors"])
        self.linear = restore_ease(relative_logs(weights), arrays["inverse"], self.config.regularization)
        self.watched = _unit_histories(weights)

    def _fit_parts(self, weights: Matrix) -> None:
        self.linear = fit_ease(relative_logs(weights), self.config.regularization)
        self.filter = LowPassFilter.fit(weights, self.settings)
        self.watched = _unit_histories(weights)

    def _friend_matrix(self) -> Matrix:
        """Return the symmetric (users, users) matrix of friendships, 1 each."""
        size, none = len(self.users), np.zeros(0, np.int64)
        rows = self.friend_rows
        names = ("user_id", "friend_id")
        one, other = (none if rows is None else self.users.find(rows.column(name)) for name in names)
        known = (one >= 0) & (other >= 0) & (one != other)
        ones = np.ones(known.sum(), np.float32)
        found = sparse.csr_matrix((ones, (one[known], other[known])), (size, size))
        found = found.maximum(found.T).tocsr()
        found.data[:] = 1
        return found

    def _parts(self, weights: Matrix, users: Indices) -> Parts:
        """Return three (B, creators) standardized scores: linear, graph filter, friends."""
        friends = np.zeros(weights.shape)
        known = users >= 0
        if self.friends.nnz and known.any():
            own = self.friends[users[known]]
            count = np.maximum(np.diff(own.indptr), 1)[:, None]
            friends[known] = (own @ self.watched).toarray() / count
        linear, graph = self.linear.scores(relative_logs(weights)), self.filter.scores(binary(weights))
        return _standardized(linear), _standardized(graph), _standardized(friends)

    def _blended(self, weights: Matrix, users: Indices, blend: Weights) -> Floats:
        linear, graph, friends = self._parts(weights, users)
        own = np.where(np.diff(weights.indptr) <= self.config.few, 0, 1)
        return _mix(linear, graph, friends, blend[own])

    def _choose(self, weights: Matrix) -> Weights:
        """Return the weights of the parts with the best NDCG of held-out interactions."""
        graphs = GRAPH_WEIGHTS if self.config.graph_weight == "auto" else (self.config.graph_weight,)
        friends = FRIENDS_WEIGHTS if self.config.friends_weight == "auto" else (self.config.friends_weight,)
        if not self.friends.nnz:
            friends = (0.0,)
        chosen = np.array([[graphs[0], friends[0]]] * 2)
        if len(graphs) * len(friends) == 1:
            return chosen
        kept, held = _hold_out(weights, self.config.few, np.random.default_rng(self.config.seed))
        self._fit_parts(kept)
        # The graph filter's weight first, then that of friends with the best of these.
        for column, values in enumerate((graphs, friends)):
            options = [_replaced(chosen, column, value) for value in values]
            for group, gains in enumerate(self._gains(kept, held, options)):
                best = int(gains.sum(axis=0).argmax()) if len(gains) >= FEWEST_USERS else 0
                if column == 0 or _is_clear(gains[:, best] - gains[:, 0]):
                    chosen[group, column] = values[best]
        return chosen

    def _gains(self, kept: Matrix, held: Matrix, options: Sequence[Weights]) -> list[Floats]:
        """Return the (users, options) NDCG of users with short histories, and of others."""
        gains: list[list[Floats]] = [[], []]
        users = np.flatnonzero(np.diff(held.indptr))
        for block in _blocks(np.random.default_rng(self.config.seed).permutation(users)[:MOST_USERS]):
            shown, parts = kept[block], self._parts(kept[block], block)
            own = np.where(np.diff(shown.indptr) <= self.config.few, 0, 1)
            values = np.zeros((len(block), len(options)))
            for column, blend in enumerate(options):
                scores = _mix(*parts, blend[own]).astype(np.float32)
                mask_scores(scores, shown, None)
                values[:, column] = ndcg(scores, held[block], CUTOFF)
            for group in (0, 1):
                gains[group].append(values[own == group])
        return [np.concatenate(group) if group else np.zeros((0, len(options))) for group in gains]


def _is_clear(gains: Floats) -> bool:
    """Return whether the mean of users' gains is above 0 by more than chance."""
    if len(gains) < FEWEST_USERS:
        return False
    return bool(gains.mean() > SURE * gains.std() / len(gains) ** 0.5)


def _replaced(blend: Weights, column: int, value: float) -> Weights:
    other = blend.copy()
    other[:, column] = value
    return other


def relative_logs(weights: Matrix) -> Matrix:
    """Return log(1 + weight) of each entry relative to the mean of its row."""
    logs = np.log1p(weights.data.astype(np.float64))
    counts = np.diff(weights.indptr)
    row = np.repeat(np.arange(len(counts)), counts)
    means = np.bincount(row, logs, minlength=len(counts)) / np.maximum(counts, 1)
    return sparse.csr_matrix((logs / means[row], weights.indices, weights.indptr), weights.shape)


def _mix(linear: Floats, graph: Floats, friends: Floats, weights: Weights) -> Floats:
    """Return (B, creators) sums with the (B, 2) weights of the graph filter and of friends."""
    share = weights[:, :1] / (1 + weights[:, :1])
    return (1 - share) * linear + share * graph + weights[:, 1:] * friends


def _standardized(scores: Floats) -> Floats:
    deviation = scores.std(axis=1, keepdims=True)
    return (scores - scores.mean(axis=1, keepdims=True)) / np.where(deviation > 0, deviation, 1.0)


def _unit_histories(weights: Matrix) -> Matrix:
    """Return histories of 1 per entry, divided by the root of their length."""
    data = np.repeat(1 / np.sqrt(np.maximum(np.diff(weights.indptr), 1)), np.diff(weights.indptr))
    return sparse.csr_matrix((data, weights.indices, weights.indptr), weights.shape)


def _hold_out(weights: Matrix, few: int, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
    """Return interactions that are kept and those held out; of some users at most `few` are kept."""
    counts = np.diff(weights.indptr)
    row = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((rng.random(len(row)), row))
    place = np.empty(len(row), np.int64)
    place[order] = np.arange(len(row)) - np.repeat(weights.indptr[:-1], counts)
    limit = np.ceil(counts * (1 - HELD_OUT)).astype(np.int64)
    shortened = (rng.random(len(counts)) < SHORTENED) & (counts > few)
    limit[shortened] = rng.integers(1, max(few, 1) + 1, shortened.sum())
    kept = place < limit[row]
    parts = (kept, ~kept)
    return tuple(  # type: ignore[return-value]
        sparse.csr_matrix((weights.data[part], (row[part], weights.indices[part])), weights.shape)
        for part in parts
    )


def _blocks(users: Indices) -> Iterator[Indices]:
    for start in range(0, len(users), BLOCK_USERS):
        yield users[start : start + BLOCK_USERS]
