"""Popularity baseline: videos by their number of users."""

from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.artifact import Arrays
from vrec.core.types import CatalogContent, Ids, IdsByUser
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import PopularConfig
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix
from vrec.retrieval.topk import Scores

DAY_US = 86_400_000_000
"""Microseconds per day."""


class PopularRecommender(MatrixRecommender[PopularConfig]):
    """Popularity baseline: the number of a video's users, each discounted by age; weights are not used.

    An interaction counts 0.5 ** (age / half-life), with its age relative to the latest interaction of the
    fit.
    """

    kind = "popular"
    Config = PopularConfig
    weighs_shoppers = True

    @classmethod
    def from_counts(cls, videos: IdVocabulary, counts: npt.NDArray[np.float32]) -> Self:
        """Return a model without users that ranks videos by given (videos,) counts, such as noised ones."""
        model = cls()
        model.users, model.videos = IdVocabulary(pa.array([], pa.string())), videos
        model.histories = InteractionMatrix.empty(len(videos))
        model.popularity = np.asarray(counts, np.float32)
        return model

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        counts = np.ones(len(histories.at))
        if self.config.half_life_days is not None:
            age_days = (histories.at.max() - histories.at) / DAY_US
            counts = np.exp2(-age_days / self.config.half_life_days)
        if self.shopper_weights is not None:
            counts *= np.repeat(self.shopper_weights, np.diff(histories.weights.indptr))
        # Sorted by count within a video, so that the sum does not depend on the users' ids.
        order = np.lexsort((counts, histories.weights.indices))
        total = np.bincount(
            histories.weights.indices[order], weights=counts[order], minlength=histories.videos
        )
        self.popularity = total.astype(np.float32)

    def score_block(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        return np.tile(self.popularity, (histories.users, 1))

    def recommend_unpersonalized(
        self, users: Ids, k: int, exclude: IdsByUser | None = None, candidates: Ids | None = None
    ) -> pa.Table:
        """Return RECOMMENDATIONS of the popular videos for any users, without regard to their histories.

        Args:
            users: Ids, known or not; repeated ones count once.
            k: Maximum number of videos per user.
            exclude: Videos to exclude by user.
            candidates: Videos to restrict the results to; None allows all.

        Raises:
            FitError: The model is not fitted, or k is below 1.
        """
        self._check(k)
        user_ids = pa.array(dict.fromkeys(users), pa.string())
        count = len(user_ids)
        empty = (np.empty(0, np.float32), np.empty(0, np.int32), np.zeros(count + 1, np.int32))
        matrix = sparse.csr_matrix(empty, shape=(count, len(self.videos)))
        histories, rows = InteractionMatrix(matrix, np.empty(0, np.int64)), np.arange(count)
        return self._recommend_rows(
            user_ids, np.full(count, -1), histories, rows=rows, k=k, exclude=exclude, candidates=candidates
        )

    def _arrays(self) -> Arrays:
        return {"popularity": self.popularity}

    def _restore(self, arrays: Arrays) -> None:
        self.popularity = arrays["popularity"]
