"""Federated fits with differential privacy of shoppers: each client adds a share of the noise to its sums.

The noise of the clients that stay adds up to that of the fit in one place, or more (Dwork et al. 2006, "Our
data, ourselves"; Kairouz, Liu and Steinke 2021). Masked sums let the coordinator see nothing with less noise.
"""

from collections.abc import Mapping
from math import sqrt

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.artifact import Arrays
from vrec.core.errors import FederatedError
from vrec.privacy.accounting import MechanismCost
from vrec.privacy.config import PrivacyConfig
from vrec.privacy.mechanisms import (
    GRID,
    NoisedGram,
    clipped_counts,
    clipped_gram,
    count_sensitivity,
    gram_sensitivity,
    watched_rows,
)
from vrec.privacy.noise import NormalSource, system_normals, whole_noise
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.federated.sums import COUNTS, GRAM
from vrec.retrieval.interaction_matrix import IdVocabulary
from vrec.retrieval.private_fit import (
    ReleasedStatistics,
    check_private_fit,
    choose_videos,
    popular_of_counts,
    private_costs,
    released_model,
)

CHOSEN, VARIANCE = "chosen", "variance"
LEAST_BITS = 20
"""Fewest bits after the point with which steps of the grid are whole."""


class PrivateSums:
    """Coordinator's part: a round of noised counts and one of a noised Gram matrix, which `popular` lacks."""

    def __init__(
        self, kind: str, config: RetrievalConfig, privacy: PrivacyConfig, videos: IdVocabulary
    ) -> None:
        """Prepare the rounds; raises ConfigError or FitError where there is no such private fit."""
        check_private_fit(kind, config, privacy, videos.ids.to_pylist())
        self.kind, self.config, self.privacy, self.videos = kind, config, privacy, videos
        self.costs: tuple[MechanismCost, ...] = private_costs(kind, privacy, public_catalog=True)
        self.rounds = len(self.costs)
        self._size = min(privacy.gram_videos, len(videos))

    def start(self) -> Arrays:
        """Return the state before the first round: nothing."""
        return {}

    def shapes(self, number: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of the counts, or of the upper triangle of the Gram matrix and its noise."""
        if number == 1:
            return {COUNTS: (len(self.videos),)}
        return {GRAM: (self._size * (self._size + 1) // 2,), VARIANCE: (1,)}

    def step(self, state: Arrays, sums: Arrays, number: int) -> Arrays:
        """Return the state with the counts and the videos chosen by them, or with the Gram matrix."""
        chosen = {CHOSEN: choose_videos(sums[COUNTS], self.privacy)} if number == 1 else {}
        return state | dict(sums) | chosen

    def model(self, state: Arrays) -> MatrixRecommender:
        """Return the recommender."""
        if self.kind == "popular":
            return popular_of_counts(self.config, self.videos, state[COUNTS])
        # With more clients than must stay there is more noise than the fit's.
        more = sqrt(max(float(state[VARIANCE][0]), 1.0))
        noise = more * self.costs[1].noise_multiplier * gram_sensitivity(self.privacy.pair_videos)
        gram = NoisedGram.from_triangle(state[GRAM], self._size, noise)
        released = ReleasedStatistics(self.videos, state[COUNTS], state[CHOSEN], gram)
        return released_model(self.kind, self.config, self.privacy, released)


class PrivateShard:
    """Client's part: clipped sums of its shoppers, with the client's share of the noise."""

    def __init__(
        self,
        kind: str,
        privacy: PrivacyConfig,
        interactions: pa.Table,
        videos: IdVocabulary,
        normals: NormalSource = system_normals,
    ) -> None:
        """Take INTERACTIONS of the client, neither decayed nor aggregated; raises FederatedError for none."""
        columns = videos.find(interactions.column("video_id"))
        names = interactions.column("user_id").combine_chunks().dictionary_encode()
        rows, known = np.asarray(names.indices).astype(np.int64), columns >= 0
        if not known.any():
            raise FederatedError(
                "no interaction is with a video of the catalog", fix="give all clients ids of the same VIDEOS"
            )
        self._watched = watched_rows(rows[known], columns[known], len(videos))
        self._privacy, self._normals = privacy, normals
        self._costs = private_costs(kind, privacy, public_catalog=True)

    def contribute_noised(self, state: Arrays, number: int, stay: int) -> Arrays:
        """Return the noised sums of a round; each call draws new noise."""
        privacy = self._privacy
        if number == 1:
            total = clipped_counts(self._watched, privacy.count_videos)
            return {COUNTS: self._noised(total, count_sensitivity(privacy.count_videos), number, stay)}
        total = clipped_gram(self._watched[:, state[CHOSEN]], privacy.pair_videos)
        noised = self._noised(total, gram_sensitivity(privacy.pair_videos), number, stay)
        return {GRAM: noised, VARIANCE: np.array([1 / stay])}

    def _noised(
        self, total: npt.NDArray[np.int64], sensitivity: float, number: int, stay: int
    ) -> npt.NDArray[np.float64]:
        # `stay` clients or more are in the sum, so that their noise has at least the variance of the fit's.
        scale = self._costs[number - 1].noise_multiplier * sensitivity / sqrt(stay)
        return (total + whole_noise(scale * GRID, len(total), self._normals)) / GRID
