"""User-based neighborhood model."""

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from vrec.core.artifact import Arrays
from vrec.core.types import CatalogContent
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import SimilarityConfig
from vrec.retrieval.interaction_matrix import InteractionMatrix, Matrix
from vrec.retrieval.row_statistics import RowMoments, RowWeighting
from vrec.retrieval.similarity import (
    SimilarityFormula,
    SimilarityTask,
    nearest_rows,
    score_product,
    weight_range,
)
from vrec.retrieval.similarity_choice import choose_user_formula
from vrec.retrieval.topk import Scores, mask_zero_scores

HISTORY_KEY_SEED = 0x5EED
"""Seed of the random keys by which equal sets of videos are recognized."""


@dataclass(frozen=True)
class FittedUsers:
    """Users that others are compared with."""

    formula: SimilarityFormula
    weighting: RowWeighting
    moments: RowMoments
    columns: Matrix
    """(videos, users) float32 weighted histories."""
    column_range: tuple[float, float]
    video_keys: npt.NDArray[np.uint64]
    user_keys: npt.NDArray[np.uint64]

    @classmethod
    def from_weights(cls, weights: Matrix, formula: SimilarityFormula) -> "FittedUsers":
        """Prepare (users, videos) float32 weights."""
        weighting = RowWeighting.fit(weights, formula.weighting)
        weighted = weighting.apply(weights)
        columns = weighted.T.tocsr()
        video_keys = np.random.default_rng(HISTORY_KEY_SEED).integers(0, 2**63, weights.shape[1], np.uint64)
        return cls(
            formula,
            weighting,
            RowMoments.from_rows(weighted, formula.similarity),
            columns,
            weight_range(columns),
            video_keys,
            _history_keys(weights, video_keys),
        )

    def compare(self, weights: Matrix) -> SimilarityTask:
        """Return the comparison of (N, videos) histories with these users."""
        left = self.weighting.apply(weights)
        return SimilarityTask(
            left,
            self.columns,
            RowMoments.from_rows(left, self.formula.similarity),
            self.moments,
            self.formula,
            _history_keys(weights, self.video_keys),
            self.user_keys,
            self.column_range,
        )


def _history_keys(weights: Matrix, video_keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    # The sum of random 64-bit keys identifies a set of videos: two sets collide with probability 2^-63.
    keys = np.concatenate([[np.uint64(0)], np.cumsum(video_keys[weights.indices], dtype=np.uint64)])
    return keys[weights.indptr[1:]] - keys[weights.indptr[:-1]]


class UserKnn(MatrixRecommender[SimilarityConfig]):
    """User-based neighborhood model: Σ similarity · weight over the user's `neighbours` nearest users.

    Herlocker et al. 1999, without mean ratings, which implicit feedback does not have. Users with exactly the
    same videos are not neighbors, so that nobody is their own: they have nothing to add, and a fitted user
    gets the same scores as a new user with the same history. Similarities are those of
    `vrec.retrieval.similarity.nearest_rows`. A video that no neighbor has gets no score.
    """

    kind = "user_knn"
    Config = SimilarityConfig

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        formula = choose_user_formula(
            histories.weights,
            self.config,
            lambda left, fitted, formula: FittedUsers.from_weights(fitted, formula).compare(left),
            self.check_time,
        )
        self.report = asdict(formula)
        self.check_time()
        self.fitted = FittedUsers.from_weights(histories.weights, formula)

    def score_block(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        return mask_zero_scores(score_product(self.nearest_users(histories), self.histories.weights))

    def nearest_users(self, histories: InteractionMatrix) -> Matrix:
        """Return the similarities of some histories to their nearest fitted users.

        Args:
            histories: (N, videos) histories in the fitted videos' columns.

        Returns:
            (N, fitted users) sparse float32 with the `neighbours` greatest similarities per row.
        """
        return nearest_rows(self.fitted.compare(histories.weights), range(histories.users))

    def _arrays(self) -> Arrays:
        return {}

    def _restore(self, arrays: Arrays) -> None:
        # Everything follows from the histories, in less time than reading it would take.
        self.fitted = FittedUsers.from_weights(self.histories.weights, SimilarityFormula(**self.report))
