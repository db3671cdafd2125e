"""Item-based neighborhood model."""

from dataclasses import asdict

import numpy as np
import numpy.typing as npt
from scipy import sparse

from vrec.core.artifact import Arrays
from vrec.core.types import CatalogContent
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import ItemKnnConfig
from vrec.retrieval.deadline import TimeCheck, checked, no_limit
from vrec.retrieval.interaction_matrix import InteractionMatrix, Matrix, csr_arrays, restore_csr
from vrec.retrieval.row_statistics import RowMoments, RowWeighting
from vrec.retrieval.shopper_weights import scale_users
from vrec.retrieval.similarity import (
    BlockMapper,
    SimilarityFormula,
    SimilarityTask,
    map_in_threads,
    nearest_rows,
    row_blocks,
    row_maxima,
    score_product,
    stack_nearest,
    weight_range,
    with_long_columns,
)
from vrec.retrieval.similarity_choice import choose_video_formula
from vrec.retrieval.topk import Scores, mask_zero_scores


class ItemKnn(MatrixRecommender[ItemKnnConfig]):
    """Item-based neighborhood model: Σ weight · similarity over the user's videos.

    Only the `neighbours` nearest videos of each video have a similarity (Deshpande and Karypis 2004), which
    is that of `vrec.retrieval.similarity.nearest_rows`; shrinkage and weighting are those of Ferrari Dacrema
    et al. 2019, by default chosen by held-out interactions; `report` says which. A video that is no neighbor
    of the user's videos gets no score.
    """

    kind = "item_knn"
    Config = ItemKnnConfig
    weighs_shoppers = True
    backing: npt.NDArray[np.float32] | None = None
    """(videos,) added to the similarities of each video of a history, the same for all; of private models."""

    def __init__(self, config: ItemKnnConfig | None = None, map_blocks: BlockMapper = map_in_threads) -> None:
        super().__init__(config)
        self.map_blocks = map_blocks

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        formula = choose_video_formula(histories.weights, self.config, video_similarity_task, self.check_time)
        self.report = asdict(formula)
        self.similarities = similar_videos(
            histories.weights, formula, self.map_blocks, self.check_time, shopper_weights=self.shopper_weights
        )

    def score_block(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        weights = histories.weights
        if self.config.recency_half_life is not None:
            discount = np.exp2(-_newer_counts(histories) / self.config.recency_half_life).astype(np.float32)
            weights = sparse.csr_matrix(
                (weights.data * discount, weights.indices, weights.indptr), weights.shape
            )
        if self.backing is None:
            return mask_zero_scores(score_product(weights, self.similarities))
        # Rows with a greatest weight of 1 are not scaled by the product.
        greatest = np.maximum(row_maxima(weights), np.finfo(np.float32).tiny)
        data = weights.data / np.repeat(greatest, np.diff(weights.indptr))
        weights = sparse.csr_matrix((data, weights.indices, weights.indptr), weights.shape)
        scores = score_product(weights, self.similarities)
        scores += np.asarray(weights.sum(axis=1), np.float32) * self.backing
        return mask_zero_scores(scores)

    def _arrays(self) -> Arrays:
        backing = {} if self.backing is None else {"backing": self.backing}
        return csr_arrays("", self.similarities) | backing

    def _restore(self, arrays: Arrays) -> None:
        videos = len(self.videos)
        self.similarities: Matrix = restore_csr(arrays, "", (videos, videos))
        self.backing = arrays.get("backing")


def similar_videos(
    weights: Matrix,
    formula: SimilarityFormula,
    map_blocks: BlockMapper = map_in_threads,
    check: TimeCheck = no_limit,
    *,
    shopper_weights: npt.NDArray[np.float64] | None = None,
) -> Matrix:
    """Return the similarities of each video to its nearest videos.

    Args:
        weights: (users, videos) float32.
        formula: Settings of the similarity.
        map_blocks: How the blocks of rows are computed.
        check: Check of the time, after each block.
        shopper_weights: (users,) weights in [0, 1] of the users in sums over users; None for all 1.

    Returns:
        (videos, videos) sparse float32 with the `neighbours` greatest similarities per row.
    """
    videos = weights.shape[1]
    task = with_long_columns(video_similarity_task(weights, formula, shopper_weights))
    blocks = checked(map_blocks(nearest_rows, task, row_blocks(videos)), check)
    return stack_nearest(blocks, (videos, videos), formula.neighbours)


def video_similarity_task(
    weights: Matrix,
    formula: SimilarityFormula,
    shopper_weights: npt.NDArray[np.float64] | None = None,
) -> SimilarityTask:
    """Return the comparison of all videos of (users, videos) float32 weights with each other.

    With (users,) `shopper_weights` each term of a sum over users is multiplied by the user's.
    """
    rows = weights.T.tocsr()
    weighting = RowWeighting.fit(rows, formula.weighting)
    right = weighting.apply_to_columns(weights, rows)
    rows = weighting.apply(rows)
    if shopper_weights is not None:
        right = scale_users(right, np.sqrt(shopper_weights))
        rows = right.T.tocsr()
    moments = RowMoments.from_rows(rows, formula.similarity)
    own_keys = np.arange(rows.shape[0], dtype=np.int32)
    return SimilarityTask(rows, right, moments, moments, formula, own_keys, own_keys, weight_range(right))


def _newer_counts(histories: InteractionMatrix) -> npt.NDArray[np.int64]:
    # (nnz,) number of newer entries of the same history; entries of one time do not count as newer.
    lengths = np.diff(histories.weights.indptr)
    rows = np.repeat(np.arange(histories.users), lengths)
    order = np.lexsort((-histories.at, rows))
    sorted_rows, at = rows[order], histories.at[order]
    rank = np.arange(len(order)) - histories.weights.indptr[:-1][sorted_rows]
    new = np.ones(len(order), bool)
    new[1:] = (at[1:] != at[:-1]) | (sorted_rows[1:] != sorted_rows[:-1])
    newer = np.empty(len(order), np.int64)
    newer[order] = rank[np.flatnonzero(new)][np.cumsum(new) - 1]
    return newer
