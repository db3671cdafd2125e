"""Neighbourhood models: videos that share users, and users that share videos."""

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import sparse

from vrec.core.artifact import Arrays
from vrec.core.types import CatalogContent
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.interaction_matrix import InteractionMatrix, Matrix, csr_arrays, restore_csr
from vrec.retrieval.similarity import (
    BlockMapper,
    RowMoments,
    RowWeighting,
    SimilarityConfig,
    SimilarityTask,
    dense_product,
    map_in_threads,
    nearest_rows,
    row_blocks,
    stack_rows,
)
from vrec.retrieval.topk import Scores, row_chunks

HISTORY_KEY_SEED = 0x5EED


class ItemKnnConfig(SimilarityConfig):
    """How videos are compared by their users, and how a history counts."""

    recency_half_life: float | None = Field(default=None, gt=0)
    """After how many newer videos in the user's history a video counts half; never by default. Counted in
    videos, not days: it then means the same for a shopper who comes daily and one who comes monthly."""


class ItemKnn(MatrixRecommender[ItemKnnConfig]):
    """Scores a video by its similarity to the user's videos: Σ weight · similarity over those of the history
    that have it among their `neighbours` (Deshpande and Karypis 2004).

    Similarities are as in `vrec.retrieval.similarity.nearest`; the choices of shrinkage and weighting are
    those of Ferrari Dacrema et al. 2019. A video that no neighbour leads to gets no score.
    """

    kind = "item_knn"
    Config = ItemKnnConfig

    def __init__(self, config: ItemKnnConfig | None = None, spread: BlockMapper = map_in_threads) -> None:
        super().__init__(config)
        self.spread = spread

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        self.similarities = similar_videos(histories.weights, self.config, self.spread)

    def _scores(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        weights = histories.weights
        if self.config.recency_half_life is not None:
            discount = np.exp2(-_newer_counts(histories) / self.config.recency_half_life).astype(np.float32)
            weights = sparse.csr_matrix(
                (weights.data * discount, weights.indices, weights.indptr), weights.shape
            )
        return _mark_unscored(dense_product(weights, self.similarities))

    def _arrays(self) -> Arrays:
        return csr_arrays("", self.similarities)

    def _restore(self, arrays: Arrays) -> None:
        videos = len(self.videos)
        self.similarities: Matrix = restore_csr(arrays, "", (videos, videos))


class UserKnn(MatrixRecommender[SimilarityConfig]):
    """Scores a video by the users most similar to this one: Σ similarity · weight over the `neighbours`
    (Herlocker et al. 1999, without mean ratings, which acts of interest do not have).

    Whoever has the very same videos is no neighbour, and so nobody is their own: they have nothing to add,
    and a fitted user's answer is the same as a newcomer's of the same history. Similarities are as in
    `vrec.retrieval.similarity.nearest`. A video that no neighbour has gets no score.
    """

    kind = "user_knn"
    Config = SimilarityConfig

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        self._prepare()

    def _scores(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        return _mark_unscored(dense_product(self.nearest_users(histories), self.histories.weights))

    def nearest_users(self, histories: InteractionMatrix) -> Matrix:
        """(N, fitted users) float32 similarities of some histories' nearest fitted users, absent for others.

        `histories` has the fitted videos as columns.
        """
        left = self.weighting.apply(histories.weights)
        comparison = SimilarityTask(
            left,
            self.weighted,
            RowMoments.from_rows(left, self.config.similarity),
            self.moments,
            self.config,
            self._keys_of(histories.weights),
            self.user_keys,
        )
        return nearest_rows(comparison, range(histories.users))

    def _prepare(self) -> None:
        weights = self.histories.weights
        self.weighting = RowWeighting.fit(weights, self.config.weighting)
        weighted = self.weighting.apply(weights)
        self.moments = RowMoments.from_rows(weighted, self.config.similarity)
        self.weighted: Matrix = weighted.T.tocsr()
        self.video_keys = np.random.default_rng(HISTORY_KEY_SEED).integers(
            0, 2**63, len(self.videos), np.uint64
        )
        self.user_keys = self._keys_of(weights)

    def _keys_of(self, weights: Matrix) -> npt.NDArray[np.uint64]:
        # The sum of random 64-bit keys names a set of videos: two sets share one with probability 2^-63.
        keys = np.concatenate([[np.uint64(0)], np.cumsum(self.video_keys[weights.indices], dtype=np.uint64)])
        return keys[weights.indptr[1:]] - keys[weights.indptr[:-1]]

    def _arrays(self) -> Arrays:
        return {}

    def _restore(self, arrays: Arrays) -> None:
        # All of it follows from the histories, in less time than it would take to read.
        self._prepare()


def similar_videos(weights: Matrix, config: SimilarityConfig, spread: BlockMapper = map_in_threads) -> Matrix:
    """(videos, videos) float32 similarities of each video's nearest, absent for others.

    `weights` is (users, videos) float32; the blocks of rows are computed as `spread` does.
    """
    videos = weights.shape[1]
    return stack_rows(spread(nearest_rows, _compare_videos(weights, config), row_blocks(videos)), videos)


def _compare_videos(weights: Matrix, config: SimilarityConfig) -> SimilarityTask:
    rows = weights.T.tocsr()
    rows = RowWeighting.fit(rows, config.weighting).apply(rows)
    moments = RowMoments.from_rows(rows, config.similarity)
    itself = np.arange(rows.shape[0])
    right = weights
    if config.weighting != "none":
        # The same places as in `weights`: they are held once.
        right = sparse.csr_matrix((rows.T.tocsr().data, weights.indices, weights.indptr), weights.shape)
    return SimilarityTask(rows, right, moments, moments, config, itself, itself)


def _newer_counts(histories: InteractionMatrix) -> npt.NDArray[np.int64]:
    # How many of the same history are newer, for each entry; those of one time are not newer than each other.
    lengths = np.diff(histories.weights.indptr)
    rows = np.repeat(np.arange(histories.users), lengths)
    order = np.lexsort((-histories.at, rows))
    sorted_rows, at = rows[order], histories.at[order]
    place = np.arange(len(order)) - histories.weights.indptr[:-1][sorted_rows]
    new = np.ones(len(order), bool)
    new[1:] = (at[1:] != at[:-1]) | (sorted_rows[1:] != sorted_rows[:-1])
    newer = np.empty(len(order), np.int64)
    newer[order] = place[np.flatnonzero(new)][np.cumsum(new) - 1]
    return newer


def _mark_unscored(scores: Scores) -> Scores:
    # ln 1 is 0 and ln 0 is −inf: a fifth of the time of an assignment under a mask.
    with np.errstate(divide="ignore"):
        for part in row_chunks(scores):
            np.add(part, np.log(part != 0, dtype=np.float32), out=part)
    return scores
