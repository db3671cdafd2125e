"""Federated fits with differential privacy of shoppers: each client adds a share of the noise to its sums.

The noise of the clients that stay adds up to that of the fit in one place, or more (Dwork et al. 2006, "Our
data, ourselves"; Kairouz, Liu and Steinke 2021). Masked sums let the coordinator see nothing with less noise.
"""

from collections.abc import Mapping
from math import sqrt
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.artifact import Arrays
from vrec.core.errors import FederatedError
from vrec.privacy.accounting import MechanismCost
from vrec.privacy.config import PrivacyConfig
from vrec.privacy.mechanisms import (
    GRID,
    LENGTH_BOUNDS,
    NoisedGram,
    clipped_counts,
    clipped_gram,
    count_sensitivity,
    gram_sensitivity,
    length_histogram,
    length_quantile,
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

CHOSEN, LENGTHS, LIMIT, VARIANCE = "chosen", "lengths", "limit", "variance"
MOST_VIDEOS = 100_000
"""Greatest limit of counts that a client accepts."""
LEAST_BITS = 20
"""Fewest bits after the point with which steps of the grid are whole."""


class PrivateSums:
    """Coordinator's part: rounds of noised sums.

    They are a histogram of lengths, if the settings need one, counts, and a Gram matrix, not for `popular`.
    """

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
        """Return the state before the first round: the limit of counts, if the settings have it."""
        limit = self.privacy.count_videos
        return {} if limit == "auto" else {LIMIT: np.array([limit])}

    def shapes(self, number: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of a round's sums."""
        match _statistic(self.privacy, number):
            case "lengths":
                return {LENGTHS: (len(LENGTH_BOUNDS),)}
            case "counts":
                return {COUNTS: (len(self.videos),)}
            case _:
                return {GRAM: (self._size * (self._size + 1) // 2,), VARIANCE: (1,)}

    def step(self, state: Arrays, sums: Arrays, number: int) -> Arrays:
        """Return the state with the sums, and the limit of counts or the chosen videos that they give."""
        more: Arrays = {}
        if LENGTHS in sums:
            more = {LIMIT: np.array([length_quantile(sums[LENGTHS])])}
        elif COUNTS in sums:
            more = {CHOSEN: choose_videos(sums[COUNTS], self.privacy)}
        return state | dict(sums) | more

    def model(self, state: Arrays) -> MatrixRecommender:
        """Return the recommender."""
        if self.kind == "popular":
            return popular_of_counts(self.config, self.videos, state[COUNTS])
        # With more clients than must stay there is more noise than the fit's.
        more = sqrt(max(float(state[VARIANCE][0]), 1.0))
        noise = more * self.costs[-1].noise_multiplier * gram_sensitivity(self.privacy.pair_videos)
        gram = NoisedGram.from_triangle(state[GRAM], self._size, noise)
        released = ReleasedStatistics(self.videos, state[COUNTS], state[CHOSEN], gram)
        return released_model(self.kind, self.config, self.privacy, released)


def _statistic(privacy: PrivacyConfig, number: int) -> Literal["lengths", "counts", "gram"]:
    """Return what clients send in a round."""
    if privacy.count_videos == "auto":
        return ("lengths", "counts", "gram")[number - 1]
    return ("counts", "gram")[number - 1]


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
        privacy, statistic = self._privacy, _statistic(self._privacy, number)
        if statistic == "lengths":
            total = length_histogram(self._watched) * GRID
            return {LENGTHS: self._noised(total, 1.0, number, stay)}
        if statistic == "counts":
            # Whatever limit a coordinator sends, the noise fits what a shopper adds.
            limit = float(state[LIMIT][0])
            if not 1 <= limit <= MOST_VIDEOS:
                raise FederatedError(f"a limit of counts of {limit:g} was sent", fix="run the round again")
            total = clipped_counts(self._watched, limit)
            return {COUNTS: self._noised(total, count_sensitivity(limit), number, stay)}
        total = clipped_gram(self._watched[:, state[CHOSEN]], privacy.pair_videos)
        noised = self._noised(total, gram_sensitivity(privacy.pair_videos), number, stay)
        return {GRAM: noised, VARIANCE: np.array([1 / stay])}

    def _noised(
        self, total: npt.NDArray[np.int64], sensitivity: float, number: int, stay: int
    ) -> npt.NDArray[np.float64]:
        # `stay` clients or more are in the sum, so that their noise has at least the variance of the fit's.
        scale = self._costs[number - 1].noise_multiplier * sensitivity / sqrt(stay)
        return (total + whole_noise(scale * GRID, len(total), self._normals)) / GRID
