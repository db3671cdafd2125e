"""Figures of a bundle's creators, and its recommender of creators."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.bundle.catalog import BundleCatalog
from vrec.profiles.profile import Profile
from vrec.profiles.user import followed_creators
from vrec.ranking.reranking.catalog import Floats
from vrec.retrieval.creators.inputs import FOLLOW_WEIGHT
from vrec.retrieval.interaction_matrix import InteractionMatrix
from vrec.retrieval.models.creators import CreatorRecommender

INTEREST_PREFIX = "creator:"
"""Prefix of the counts of a profile that hold the interest in a creator's videos."""
LEAST_RATE = 1e-6
"""Rate below which no logarithm is taken."""


class CreatorFigures:
    """CREATORS of a bundle by id, and the recommender that was fitted on them, if any."""

    def __init__(self, creators: pa.Table, model: CreatorRecommender | None = None) -> None:
        """Read the rows of CREATORS."""
        self.rows: Mapping[str, Mapping[str, Any]] = {row["creator_id"]: row for row in creators.to_pylist()}
        self._model = model
        quality = np.array([_quality(row) for row in self.rows.values()])
        spread = float(quality.std()) if len(quality) else 0.0
        scaled = (quality - quality.mean()) / spread if spread > 0 else np.zeros(len(quality))
        self._quality = dict(zip(self.rows, scaled.tolist(), strict=True))

    @classmethod
    def load(cls, bundle: BundleCatalog) -> Self:
        """Load the figures of a bundle, and its recommender of creators.

        Raises:
            ModelError: The recommender is incomplete or damaged.
        """
        folder = bundle.creator_model
        return cls(bundle.creators, None if folder is None else CreatorRecommender.load(folder))

    def quality(self, names: Sequence[str]) -> Floats:
        """Return the (C,) quality of creators in standard deviations; 0, the mean, for unknown ones."""
        return np.array([self._quality.get(name, 0.0) for name in names])

    def impressions(self, names: Sequence[str]) -> Floats:
        """Return the (C,) impressions of the creators' videos; 0 for unknown ones."""
        return np.array([self.rows[name]["impressions"] if name in self.rows else 0 for name in names], float)

    def model_scores(self, user: Profile, names: Sequence[str]) -> Floats | None:
        """Return the (C,) scores of creators by the recommender, NaN for those that it does not know.

        None if there is no recommender, or it knows nothing that the shopper watches or follows.
        """
        model = self._model
        if model is None:
            return None
        interest = creator_interest(user)
        known = model.videos.find(pa.array(list(interest), pa.string()))
        weights = np.array(list(interest.values()), np.float32)[known >= 0]
        if not len(weights):
            return None
        shape = (1, len(model.videos))
        history = sparse.csr_matrix((weights, (np.zeros(len(weights), np.int64), known[known >= 0])), shape)
        at = np.zeros(history.nnz, np.int64)
        row = model.users.find(pa.array([user.entity_id], pa.string()))
        scores = model.score_block(InteractionMatrix(history, at), row)[0].astype(np.float64)
        column = model.videos.find(pa.array(list(names), pa.string()))
        return np.where(column >= 0, scores[column], np.nan)


def creator_interest(user: Profile) -> dict[str, float]:
    """Return a shopper's interest in creators: events of interest in their videos, and follows."""
    found: dict[str, float] = dict.fromkeys(followed_creators(user), FOLLOW_WEIGHT)
    for key, count in user.counts.items():
        if key.startswith(INTEREST_PREFIX) and count > 0:
            name = key.removeprefix(INTEREST_PREFIX)
            found[name] = found.get(name, 0.0) + count
    return found


def standardized(values: npt.NDArray[np.floating[Any]]) -> Floats:
    """Return (C,) values as standard deviations from their mean; those that are NaN or all equal as 0."""
    known = values[~np.isnan(values)]
    spread = float(known.std()) if len(known) else 0.0
    if spread == 0:
        return np.zeros(len(values))
    return np.nan_to_num((values - known.mean()) / spread, nan=0.0).astype(np.float64)


def _quality(row: Mapping[str, Any]) -> float:
    """Return the log of the product of a creator's rates: what is liked, times what is not regretted."""
    good = (row["click_ratio"], row["completion_rate"], 1 + row["repeat_viewers"])
    regretted = (1 - row[name] for name in ("skip_rate", "refund_rate", "report_rate"))
    return float(np.log(np.maximum([*good, *regretted], LEAST_RATE)).sum())
