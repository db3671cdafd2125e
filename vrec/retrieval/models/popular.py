"""The popular videos: what a shop can recommend to anyone, and what every model must beat."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field
from scipy import sparse

from vrec.core.artifact import Arrays
from vrec.core.config import BaseConfig
from vrec.core.types import CatalogContent
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.interaction_matrix import InteractionMatrix
from vrec.retrieval.topk import Scores

DAY_US = 86_400_000_000


class PopularConfig(BaseConfig):
    """How popularity is counted."""

    half_life_days: float | None = Field(default=None, gt=0)
    """Days after which an interaction counts half; never by default. A short one follows trends."""


class PopularRecommender(MatrixRecommender[PopularConfig]):
    """Ranks videos by how many users they have, each counted by how long ago that was; weights are not used.

    The present is the time of the last interaction that it was fitted on.
    """

    kind = "popular"
    Config = PopularConfig

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        counts = np.ones(len(histories.at))
        if self.config.half_life_days is not None:
            age_days = (histories.at.max() - histories.at) / DAY_US
            counts = np.exp2(-age_days / self.config.half_life_days)
        # Sorted by count within a video, so that the sum does not depend on users' ids.
        order = np.lexsort((counts, histories.weights.indices))
        total = np.bincount(
            histories.weights.indices[order], weights=counts[order], minlength=histories.videos
        )
        self.popularity = total.astype(np.float32)

    def _scores(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        return np.tile(self.popularity, (histories.users, 1))

    def recommend_unpersonalized(
        self,
        users: Sequence[str],
        k: int,
        exclude: Mapping[str, Sequence[str]] | None = None,
        candidates: Sequence[str] | None = None,
    ) -> pa.Table:
        """RECOMMENDATIONS for users of whom nothing is known; raises FitError where k < 1."""
        self._check(k)
        asked = pa.array(dict.fromkeys(users), pa.string())
        rows = np.arange(len(asked))
        empty = (np.empty(0, np.float32), np.empty(0, np.int32), np.zeros(len(asked) + 1, np.int32))
        nothing = sparse.csr_matrix(empty, shape=(len(asked), len(self.videos)))
        histories = InteractionMatrix(nothing, np.empty(0, np.int64))
        return self._recommend_rows(
            asked, np.full(len(asked), -1), histories, rows=rows, k=k, exclude=exclude, candidates=candidates
        )

    def _arrays(self) -> Arrays:
        return {"popularity": self.popularity}

    def _restore(self, arrays: Arrays) -> None:
        self.popularity = arrays["popularity"]
