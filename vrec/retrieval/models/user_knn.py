"""User-based neighborhood model."""

import numpy as np
import numpy.typing as npt

from vrec.core.artifact import Arrays
from vrec.core.types import CatalogContent
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import SimilarityConfig
from vrec.retrieval.interaction_matrix import InteractionMatrix, Matrix
from vrec.retrieval.similarity import (
    RowMoments,
    RowWeighting,
    SimilarityTask,
    nearest_rows,
    score_product,
    weight_range,
)
from vrec.retrieval.topk import Scores, mask_zero_scores

HISTORY_KEY_SEED = 0x5EED
"""Seed of the random keys by which equal sets of videos are recognized."""


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
        self._prepare()

    def score_block(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        return mask_zero_scores(score_product(self.nearest_users(histories), self.histories.weights))

    def nearest_users(self, histories: InteractionMatrix) -> Matrix:
        """Return the similarities of some histories to their nearest fitted users.

        Args:
            histories: (N, videos) histories in the fitted videos' columns.

        Returns:
            (N, fitted users) sparse float32 with the `neighbours` greatest similarities per row.
        """
        left = self.weighting.apply(histories.weights)
        task = SimilarityTask(
            left,
            self.weighted,
            RowMoments.from_rows(left, self.config.similarity),
            self.moments,
            self.config,
            self._keys_of(histories.weights),
            self.user_keys,
            self.weighted_range,
        )
        return nearest_rows(task, range(histories.users))

    def _prepare(self) -> None:
        weights = self.histories.weights
        self.weighting = RowWeighting.fit(weights, self.config.weighting)
        weighted = self.weighting.apply(weights)
        self.moments = RowMoments.from_rows(weighted, self.config.similarity)
        self.weighted: Matrix = weighted.T.tocsr()
        self.weighted_range = weight_range(self.weighted)
        self.video_keys = np.random.default_rng(HISTORY_KEY_SEED).integers(
            0, 2**63, len(self.videos), np.uint64
        )
        self.user_keys = self._keys_of(weights)

    def _keys_of(self, weights: Matrix) -> npt.NDArray[np.uint64]:
        # The sum of random 64-bit keys identifies a set of videos: two sets collide with probability 2^-63.
        keys = np.concatenate([[np.uint64(0)], np.cumsum(self.video_keys[weights.indices], dtype=np.uint64)])
        return keys[weights.indptr[1:]] - keys[weights.indptr[:-1]]

    def _arrays(self) -> Arrays:
        return {}

    def _restore(self, arrays: Arrays) -> None:
        # Everything follows from the histories, in less time than reading it would take.
        self._prepare()
