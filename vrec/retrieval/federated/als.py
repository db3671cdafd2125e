"""Federated alternating least squares: clients solve their shoppers, the coordinator solves the videos.

Hu, Koren and Volinsky 2008, with exact solutions on both sides. A video's equations are sums over shoppers,
so that a round over all clients is what an iteration over all shoppers would be. A shopper's vector never
leaves its client (Ammad-ud-din et al. 2019, "Federated collaborative filtering", send gradients instead).
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy import sparse
from threadpoolctl import threadpool_limits

from vrec.core.artifact import Arrays
from vrec.core.errors import FederatedError
from vrec.retrieval.config import AlsConfig, RetrievalConfig
from vrec.retrieval.federated.sums import COUNTS, shopper_counts
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix
from vrec.retrieval.models.als import USUAL_CONFIDENCE, Als

Doubles = npt.NDArray[np.float64]

WEIGHTS, FACTORS, ALPHA = "weights", "factors", "alpha"
USERS_GRAM, LEFT, RIGHT = "users_gram", "left", "right"
INITIAL_SCALE = 0.01
"""Greatest initial factor, as in `implicit`."""
BLOCK = 512
"""Shoppers, or videos, whose equations are in memory at once."""


def _model(config: AlsConfig, factors: Doubles, alpha: float) -> Als:
    model = Als(config)
    model.report = {"alpha": alpha}
    model.use_item_factors(factors.astype(np.float32))
    return model


class AlsSums:
    """Coordinator's part: a round of counts and weights, then one per iteration."""

    def __init__(self, config: RetrievalConfig, videos: IdVocabulary) -> None:
        self.config, self.videos = config.als, videos
        self.rounds = 1 + self.config.iterations

    def start(self) -> Arrays:
        """Return random factors of the videos."""
        rng = np.random.default_rng(self.config.seed)
        factors = rng.random((len(self.videos), self.config.factors)) * INITIAL_SCALE
        return {FACTORS: factors, ALPHA: np.zeros(1)}

    def shapes(self, number: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of counts and weights, or of the equations of the videos."""
        videos, factors = len(self.videos), self.config.factors
        if number == 1:
            return {COUNTS: (videos,), WEIGHTS: (1,)}
        triangle = factors * (factors + 1) // 2
        return {USERS_GRAM: (triangle,), LEFT: (videos, triangle), RIGHT: (videos, factors)}

    def step(self, state: Arrays, sums: Arrays, number: int) -> Arrays:
        """Return the state with α, or with the solved factors.

        Raises:
            FederatedError: No client has an interaction.
        """
        if number == 1:
            alpha = self.config.alpha
            if not sums[COUNTS].sum():
                raise FederatedError(
                    "no client has an interaction with a video of VIDEOS", fix="check VIDEOS"
                )
            if alpha == "auto":
                alpha = USUAL_CONFIDENCE * float(sums[COUNTS].sum() / sums[WEIGHTS][0])
            return state | {COUNTS: sums[COUNTS], ALPHA: np.array([alpha])}
        shared = _symmetric(sums[USERS_GRAM][None], self.config.factors)[0]
        shared = shared + self.config.regularization * np.eye(self.config.factors)
        factors = np.zeros_like(state[FACTORS])
        for start in range(0, len(factors), BLOCK):
            rows = slice(start, start + BLOCK)
            left = shared + _symmetric(sums[LEFT][rows], self.config.factors)
            factors[rows] = np.linalg.solve(left, sums[RIGHT][rows][:, :, None])[:, :, 0]
        return state | {FACTORS: factors}

    def model(self, state: Arrays) -> Als:
        """Return the recommender."""
        model = _model(self.config, state[FACTORS], float(state[ALPHA][0]))
        model.hold_no_histories(self.videos, state[COUNTS])
        return model


class AlsShard:
    """Client's part: its shoppers' vectors, and what they add to the equations of the videos."""

    def __init__(self, config: RetrievalConfig, histories: InteractionMatrix) -> None:
        self.config, self.histories = config.als, histories

    def contribute(self, state: Arrays, number: int) -> Arrays:
        """Return counts and the sum of weights in round 1, and the sums of the equations afterwards."""
        weights = self.histories.weights
        if number == 1:
            total = float(weights.data.sum(dtype=np.float64))
            return {COUNTS: shopper_counts(self.histories), WEIGHTS: np.array([total])}
        factors = self.config.factors
        model = _model(self.config, state[FACTORS], float(state[ALPHA][0]))
        users = model.fold_in(self.histories)
        confidence = model.confidence(weights.data).astype(np.float64)
        parts = (weights.indices, weights.indptr)
        above = sparse.csr_matrix((confidence - 1, *parts), weights.shape)
        full = sparse.csr_matrix((confidence, *parts), weights.shape)
        rows, columns = np.triu_indices(factors)
        left = np.zeros((weights.shape[1], len(rows)))
        for start in range(0, len(users), BLOCK):
            some = users[start : start + BLOCK]
            left += above[start : start + BLOCK].T @ (some[:, rows] * some[:, columns])
        with threadpool_limits(1, "blas"):
            gram = users.T @ users
        return {USERS_GRAM: gram[rows, columns], LEFT: left, RIGHT: np.asarray(full.T @ users)}


def _symmetric(triangles: Doubles, size: int) -> Doubles:
    """Return (N, size, size) symmetric matrices from their (N, size (size + 1) / 2) upper triangles."""
    rows, columns = np.triu_indices(size)
    full = np.empty((len(triangles), size, size))
    full[:, rows, columns] = triangles
    full[:, columns, rows] = triangles
    return full
