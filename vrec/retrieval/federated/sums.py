"""Federated `popular` and `ease`: one sum of statistics, equal to that of all shoppers together."""

from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from vrec.core.artifact import Arrays
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.ease_choice import USUAL_LAMBDA
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix
from vrec.retrieval.models.ease import Ease, history_gram
from vrec.retrieval.models.popular import PopularRecommender
from vrec.training.federated.task import FederatedTask

COUNTS, GRAM = "counts", "gram"


class RecommenderTask(FederatedTask, Protocol):
    """A task whose last state makes a recommender."""

    def model(self, state: Arrays) -> MatrixRecommender:
        """Return the recommender of the last state, without shoppers and histories."""
        ...


def shopper_counts(histories: InteractionMatrix) -> npt.NDArray[np.float64]:
    """Return the (videos,) numbers of users by video."""
    return np.bincount(histories.weights.indices, minlength=histories.videos).astype(np.float64)


M = TypeVar("M", bound=MatrixRecommender)


class _OneSum(Generic[M]):
    """A task of one round, whose state is the sums."""

    rounds = 1

    def __init__(self, config: RetrievalConfig, videos: IdVocabulary) -> None:
        self.config, self.videos = config, videos

    def start(self) -> Arrays:
        """Return the state before the round: nothing."""
        return {}

    def step(self, state: Arrays, sums: Arrays, number: int) -> Arrays:
        """Return the sums."""
        return dict(sums)


class PopularSums(_OneSum[PopularRecommender]):
    """Federated `popular`: the number of each video's shoppers."""

    def shapes(self, number: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shape of the counts."""
        return {COUNTS: (len(self.videos),)}

    def model(self, state: Arrays) -> PopularRecommender:
        """Return the recommender."""
        model = PopularRecommender(self.config.popular)
        model.hold_no_histories(self.videos, state[COUNTS])
        model.popularity = state[COUNTS].astype(np.float32)
        return model


class EaseSums(_OneSum[Ease]):
    """Federated `ease`: the upper triangle of XᵀX. With `binary` weights its sums are whole and so exact."""

    def shapes(self, number: int) -> Mapping[str, tuple[int, ...]]:
        """Return the shapes of the counts and of the triangle."""
        videos = len(self.videos)
        Ease(self.config.ease).check_size(videos)
        return {COUNTS: (videos,), GRAM: (videos * (videos + 1) // 2,)}

    def model(self, state: Arrays) -> Ease:
        """Return the recommender, with the usual λ where it is `auto`: no client's shoppers are left out."""
        model, videos = Ease(self.config.ease), len(self.videos)
        model.hold_no_histories(self.videos, state[COUNTS])
        gram = np.zeros((videos, videos), order="F")
        gram[np.triu_indices(videos)] = state[GRAM]
        gram = np.asfortranarray(gram + np.triu(gram, 1).T)
        regularization = self.config.ease.regularization
        model.use_gram(gram, USUAL_LAMBDA if regularization == "auto" else regularization)
        return model


class SumsShard:
    """Client of `popular` or `ease`."""

    def __init__(self, kind: str, config: RetrievalConfig, histories: InteractionMatrix) -> None:
        self.kind, self.config, self.histories = kind, config, histories

    def contribute(self, state: Arrays, number: int) -> Arrays:
        """Return the client's counts and, for `ease`, the upper triangle of its XᵀX."""
        counts = {COUNTS: shopper_counts(self.histories)}
        if self.kind == "popular":
            return counts
        gram = history_gram(Ease(self.config.ease).history_weights(self.histories))
        return counts | {GRAM: gram[np.triu_indices(len(gram))]}
