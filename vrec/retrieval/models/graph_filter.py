"""Graph filter: the closed-form kin of graph convolution networks on the graph of users and videos."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from vrec.core.artifact import Arrays
from vrec.core.types import CatalogContent, Vectors
from vrec.retrieval.base import BLOCK_CELLS, MatrixRecommender
from vrec.retrieval.config import GraphFilterConfig
from vrec.retrieval.deadline import TimeCheck, checked, no_limit
from vrec.retrieval.holdout import Holdout, hold_out_random
from vrec.retrieval.interaction_matrix import Indices, InteractionMatrix, Matrix
from vrec.retrieval.similarity import dense_product
from vrec.retrieval.topk import Scores, mask_scores
from vrec.retrieval.validation import DEEP_CUTOFF, ndcg

Floats = npt.NDArray[np.float64]

LEAST_SINGULAR_VALUE = 1e-6
"""Singular values below this share of the largest are rounding errors, and their vectors arbitrary."""
ROWS_PER_FACTOR = 4
"""Users, and videos, per factor at least: a low-pass filter with as many factors as videos passes all."""
POPULARITY_SHARE = 1e-6
"""Weight of the popularity in a score: it orders only videos that no path connects with the history."""
VALIDATION_USERS, LEAST_VALIDATION_USERS = 1000, 20
"""Most and fewest users by whom settings are chosen."""
VIDEO_SMOOTHINGS, FACTORS, LOW_PASSES = (10.0, 3.0, 1.0, 30.0), (32, 8, 128), (0.3, 0.1, 1.0)
"""Values to choose from, the first of each where there are too few users to choose by."""


@dataclass(frozen=True)
class FilterSettings:
    """Settings of a graph filter, after the choice of those that are `auto`."""

    user_smoothing: float
    video_smoothing: float
    factors: int
    low_pass: float
    seed: int


@dataclass(frozen=True)
class LowPassFilter:
    """Linear and ideal low-pass filter over the graph of users and videos.

    The normalized graph is R̃ = (D_U + s_U)^-½ R (D_V + s_V)^-½ with the binary interactions R, their row and
    column sums D and the smoothing s. The scores of a history r are

        r R̃ᵀR̃ + α r (D_V + s_V)^-½ V Vᵀ (D_V + s_V)^½,

    where V are the first right singular vectors of R̃: GF-CF (Shen et al., "How Powerful is Graph Convolution
    for Recommendation?", CIKM 2021), which has no smoothing.
    """

    normalized: Matrix
    """(users, videos) float64, R̃."""
    root_degrees: Floats
    """(videos,) (D_V + s_V)^½."""
    popularity: Floats
    """(videos,) share of the most popular video's users."""
    vectors: Vectors
    """(videos, factors) V, the vector of the largest singular value first."""
    low_pass: float
    """α."""

    @classmethod
    def fit(cls, weights: Matrix, settings: FilterSettings) -> Self:
        """Fit the filter on (users, videos) weights."""
        return cls.restore(weights, settings, _right_singular_vectors(weights, settings))

    @classmethod
    def restore(cls, weights: Matrix, settings: FilterSettings, vectors: Vectors) -> Self:
        """Return the filter that was fitted on the same weights, from its singular vectors."""
        normalized, root_degrees = _normalize(weights, settings)
        users = np.bincount(weights.indices, minlength=weights.shape[1])
        return cls(normalized, root_degrees, users / max(1, users.max()), vectors, settings.low_pass)

    def scores(self, histories: Matrix) -> Floats:
        """Return the (B, videos) float64 scores of (B, videos) histories, in which weights count."""
        return self.linear(histories) + self.low_pass * self.low(histories)

    def linear(self, histories: Matrix) -> Floats:
        """Return the (B, videos) scores by paths over common users, and the share of popularity."""
        near = sparse.csr_matrix(histories.astype(np.float64) @ self.normalized.T)
        return dense_product(near, self.normalized, np.float64) + POPULARITY_SHARE * self.popularity

    def low(self, histories: Matrix, factors: int | None = None) -> Floats:
        """Return the (B, videos) scores of the low-pass filter before α, by the first factors or all."""
        vectors, roots = self.vectors[:, :factors].astype(np.float64), self.root_degrees[:, None]
        return (histories @ (vectors * _inverse(roots))) @ (vectors * roots).T


class GraphFilter(MatrixRecommender[GraphFilterConfig]):
    """Graph filter: scores of a history by `LowPassFilter`, without training.

    Every interaction counts as 1. A history alone decides its scores, so that new users need no fit. A fit
    takes the time of a few truncated SVDs, and memory in proportion to the interactions.
    """

    kind = "graph_filter"
    Config = GraphFilterConfig

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        self.settings = choose_settings(histories, self.config, self.check_time)
        self.filter = LowPassFilter.fit(histories.weights, self.settings)

    def score_block(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        del users
        return self.filter.scores(binary(histories.weights)).astype(np.float32)

    def _arrays(self) -> Arrays:
        return {"vectors": self.filter.vectors} | settings_arrays(self.settings)

    def _restore(self, arrays: Arrays) -> None:
        self.settings = restore_settings(arrays)
        self.filter = LowPassFilter.restore(self.histories.weights, self.settings, arrays["vectors"])


def choose_settings(
    histories: InteractionMatrix, config: GraphFilterConfig, check: TimeCheck = no_limit
) -> FilterSettings:
    """Return the settings of a config, those that are `auto` by the NDCG of held-out videos.

    Args:
        histories: Histories of all users.
        config: Settings.
        check: Check of the time, after each block of held-out users.
    """
    smoothings = VIDEO_SMOOTHINGS if config.video_smoothing == "auto" else (config.video_smoothing,)
    factors = FACTORS if config.factors == "auto" else (config.factors,)
    low_passes = LOW_PASSES if config.low_pass == "auto" else (config.low_pass,)
    grid = [
        FilterSettings(config.user_smoothing, *values, seed=config.seed)
        for values in product(smoothings, factors, low_passes)
    ]
    if len(grid) == 1:
        return grid[0]
    holdout = hold_out_random(histories, VALIDATION_USERS, config.seed)
    if len(holdout.users) < LEAST_VALIDATION_USERS:
        return grid[0]
    gains = np.zeros((len(smoothings), len(factors), len(low_passes)))
    for place, smoothing in enumerate(smoothings):
        most = replace(grid[0], video_smoothing=smoothing, factors=max(factors))
        passed = LowPassFilter.fit(holdout.kept.weights, most)
        for block in checked(_blocks(holdout), check):
            gains[place] += _gains(passed, holdout, block, factors, low_passes)
    return grid[int(gains.argmax())]


def _gains(
    passed: LowPassFilter,
    holdout: Holdout,
    block: Indices,
    factors: Sequence[int],
    low_passes: Sequence[float],
) -> Floats:
    # (factors, low_passes) sums of the NDCG of a block of the users.
    gains = np.zeros((len(factors), len(low_passes)))
    seen = binary(holdout.before(block).weights)
    linear = passed.linear(seen)
    lows = [passed.low(seen, count) for count in factors]
    for (row, low), (column, share) in product(enumerate(lows), enumerate(low_passes)):
        scores = (linear + share * low).astype(np.float32)
        mask_scores(scores, seen, None)
        gains[row, column] = ndcg(scores, holdout.held_out[block], DEEP_CUTOFF).sum()
    return gains


def _blocks(holdout: Holdout) -> Iterator[Indices]:
    size = max(1, BLOCK_CELLS // holdout.kept.videos)
    for start in range(0, len(holdout.users), size):
        yield np.arange(start, min(start + size, len(holdout.users)))


def binary(weights: Matrix) -> Matrix:
    """Return the same entries with a weight of 1 each, as float64."""
    return sparse.csr_matrix((np.ones(weights.nnz), weights.indices, weights.indptr), weights.shape)


def settings_arrays(settings: FilterSettings) -> Arrays:
    """Return the settings as arrays, for `restore_settings`."""
    return {f"settings.{name}": np.array(value) for name, value in vars(settings).items()}


def restore_settings(arrays: Arrays) -> FilterSettings:
    """Return the settings whose arrays `settings_arrays` gave."""
    names = FilterSettings.__dataclass_fields__
    return FilterSettings(**{name: arrays[f"settings.{name}"].item() for name in names})


def _inverse(roots: Floats) -> Floats:
    # A video without interactions, where there is no smoothing, has no paths to divide.
    return np.divide(1, roots, out=np.zeros_like(roots), where=roots > 0)


def _normalize(weights: Matrix, settings: FilterSettings) -> tuple[Matrix, Floats]:
    # R̃ and the square roots of the smoothed degrees of the videos.
    users = np.sqrt(np.diff(weights.indptr) + settings.user_smoothing)
    videos = np.sqrt(np.bincount(weights.indices, minlength=weights.shape[1]) + settings.video_smoothing)
    data = np.repeat(_inverse(users), np.diff(weights.indptr)) * _inverse(videos)[weights.indices]
    return sparse.csr_matrix((data, weights.indices, weights.indptr), weights.shape), videos


def _right_singular_vectors(weights: Matrix, settings: FilterSettings) -> Vectors:
    # (videos, at most `factors`) float32, by randomized SVD (Halko, Martinsson and Tropp 2011).
    count = min(settings.factors, max(1, min(weights.shape) // ROWS_PER_FACTOR))
    if not count:
        return np.zeros((weights.shape[1], 0), np.float32)
    # Imported here: the import takes a second, which every command would pay.
    from sklearn.utils.extmath import randomized_svd

    _, sizes, right = randomized_svd(_normalize(weights, settings)[0], count, random_state=settings.seed)
    return np.ascontiguousarray(right[sizes > LEAST_SINGULAR_VALUE * sizes[0]].T, dtype=np.float32)
