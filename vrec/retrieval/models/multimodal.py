"""Multimodal graph filter: the graph of interactions with a frozen graph of similar content."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.artifact import Arrays
from vrec.core.errors import FitError
from vrec.core.types import CatalogContent, Vectors
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import MultimodalConfig
from vrec.retrieval.deadline import TimeCheck, checked, no_limit
from vrec.retrieval.holdout import hold_out_random
from vrec.retrieval.interaction_matrix import IdVocabulary, InteractionMatrix, Matrix, csr_arrays, restore_csr
from vrec.retrieval.models.content import catalog_with_content, content_rows
from vrec.retrieval.models.graph_filter import (
    LEAST_VALIDATION_USERS,
    VALIDATION_USERS,
    LowPassFilter,
    binary,
    choose_settings,
    restore_settings,
    settings_arrays,
)
from vrec.retrieval.similarity import stack_rows
from vrec.retrieval.topk import Scores, mask_scores, topk_dense
from vrec.retrieval.validation import DEEP_CUTOFF, ndcg

BLOCK_CELLS = 4_000_000
"""Cosines in memory at once, 16 MB of float32."""
SUPPORTS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Values of `content_support` to choose from."""
UNTESTED_SUPPORT = 3.0
"""Its value where there are too few users to choose by."""


class MultimodalFilter(MatrixRecommender[MultimodalConfig]):
    """Graph filter whose paths start and end at a video or at the watched videos with similar content.

    A video with n users is represented by its neighbors in content with weight κ / (n + κ), or less if they
    are few and distant, and by itself with the rest; a video without interactions by its neighbors alone.
    With M the (videos, videos) matrix of these weights, the scores of a history r are (r M) F Mᵀ, F being the
    filter of `LowPassFilter`; those of videos without interactions are raised by ν (r M) Mᵀ, as the mean over
    neighbors has less spread than a video's own score. The content graph is fixed before the fit as in
    FREEDOM (Zhou and Shen, "A Tale of Two Graphs", MM 2023), with neighbors by embeddings and by attributes;
    nothing is trained.

    The catalog includes all videos of the content. Videos with neither interactions nor neighbors get no
    scores. `fit` raises FitError if there is no content, or if it tells no watched video from others.
    """

    kind = "multimodal"
    Config = MultimodalConfig

    def _catalog(self, interactions: pa.Table, content: CatalogContent | None) -> IdVocabulary:
        return catalog_with_content(interactions, content, self.kind)

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        config = self.config
        if content is None or not content.video_id_columns:
            raise FitError(
                f"{self.kind}: there is no content",
                fix="give --videos, --embeddings or both, or fit graph_filter",
            )
        users = np.bincount(histories.weights.indices, minlength=histories.videos)
        dense, coded = content_rows(
            content, self.videos, config.attributes, config.attributes_share, center=config.center
        )
        if not (dense.any() or coded.nnz):
            raise FitError(
                f"{self.kind}: the content of all videos is empty or the same",
                fix="give the content of the watched videos, under the same ids, or fit graph_filter",
            )
        watched, self._cold = np.flatnonzero(users), np.flatnonzero(users == 0)
        by_embedding, by_attribute = (
            nearest_rows(rows, watched, config.neighbours, config.sharpness, self.check_time)
            for rows in (dense, coded)
        )
        graph = blend_graphs(by_embedding, by_attribute, config.attributes_share)
        self.settings = choose_settings(histories, config, self.check_time)
        support = config.content_support
        self.content_support = self._choose_support(histories, graph) if support == "auto" else support
        self._mix = mixed_rows(graph, users, self.content_support)
        self.filter = LowPassFilter.fit(histories.weights, self.settings)

    def _choose_support(self, histories: InteractionMatrix, graph: Matrix) -> float:
        holdout = hold_out_random(histories, VALIDATION_USERS, self.config.seed)
        if len(holdout.users) < LEAST_VALIDATION_USERS:
            return UNTESTED_SUPPORT
        passed = LowPassFilter.fit(holdout.kept.weights, self.settings)
        users = np.bincount(holdout.kept.weights.indices, minlength=histories.videos)
        mixes = [mixed_rows(graph, users, support) for support in SUPPORTS]
        gains = np.zeros(len(SUPPORTS))
        for block in checked(self._blocks(len(holdout.users)), self.check_time):
            seen = holdout.before(block).weights
            for place, mix in enumerate(mixes):
                scores = mixed_scores(passed, mix, seen)
                mask_scores(scores, seen, None)
                gains[place] += ndcg(scores, holdout.held_out[block], DEEP_CUTOFF).sum()
        return SUPPORTS[int(gains.argmax())]

    def score_block(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        del users
        scores = mixed_scores(self.filter, self._mix, histories.weights)
        direct = binary(histories.weights) @ self._mix @ self._mix[self._cold].T
        scores[:, self._cold] += np.float32(self.config.cold_weight) * direct.toarray().astype(np.float32)
        return scores

    def _arrays(self) -> Arrays:
        own = {"vectors": self.filter.vectors, "content_support": np.array(self.content_support)}
        return own | settings_arrays(self.settings) | csr_arrays("mix.", self._mix)

    def _restore(self, arrays: Arrays) -> None:
        self.settings = restore_settings(arrays)
        self.content_support = float(arrays["content_support"])
        self._mix = restore_csr(arrays, "mix.", (len(self.videos), len(self.videos)))
        self._cold = np.flatnonzero(
            np.bincount(self.histories.weights.indices, minlength=len(self.videos)) == 0
        )
        self.filter = LowPassFilter.restore(self.histories.weights, self.settings, arrays["vectors"])


def mixed_scores(passed: LowPassFilter, mix: Matrix, histories: Matrix) -> Scores:
    """Return the (B, videos) scores (r M) F Mᵀ of (B, videos) histories; −inf where a row of M is empty."""
    scores = passed.scores(sparse.csr_matrix(binary(histories) @ mix))
    mixed = np.ascontiguousarray((mix @ scores.T).T, dtype=np.float32)
    mixed[:, np.diff(mix.indptr) == 0] = -np.inf
    return mixed


def nearest_rows(
    rows: Vectors | Matrix,
    watched: npt.NDArray[np.int64],
    count: int,
    sharpness: float,
    check: TimeCheck = no_limit,
) -> Matrix:
    """Return the graph from each video to the watched videos with the most similar content.

    Args:
        rows: (videos, columns) unit rows, dense or CSR; a row of zeros has no neighbors.
        watched: (W,) indices of the videos that may be neighbors.
        count: Maximum number of neighbors of a video, itself not among them.
        sharpness: Exponent of the cosines.
        check: Check of the time, after each block of rows.

    Returns:
        (videos, videos) float64 CSR of positive cosines to that power, each row divided by its sum if that is
        above 1.
    """
    videos = rows.shape[0]
    others, own = rows[watched].T, np.full(videos, -1)
    own[watched] = np.arange(len(watched))
    parts: list[Matrix] = []
    step = max(1, BLOCK_CELLS // max(1, len(watched)))
    for start in checked(range(0, videos, step), check):
        product = rows[start : start + step] @ others
        cosines = product.toarray() if sparse.issparse(product) else np.asarray(product)
        columns = own[start : start + step]
        inside = np.flatnonzero(columns >= 0)
        cosines[inside, columns[inside]] = -np.inf
        near, best = topk_dense(cosines.astype(np.float32), count)
        weights = np.where(best > 0, best, 0).astype(np.float64) ** sharpness
        # A sum below 1 stays: few and distant neighbors stand for a video with less weight.
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1)
        indptr = np.arange(len(near) + 1) * near.shape[1]
        part = sparse.csr_matrix((weights.ravel(), watched[near].ravel(), indptr), (len(near), videos))
        part.eliminate_zeros()
        parts.append(part)
    return stack_rows(parts, videos)


def blend_graphs(dense: Matrix, coded: Matrix, coded_share: float) -> Matrix:
    """Return the weighted mean of two graphs; where only one of them has neighbors of a video, these."""
    has_dense, has_coded = (np.diff(graph.indptr) > 0 for graph in (dense, coded))
    of_coded = np.where(has_dense & has_coded, coded_share, has_coded)
    of_dense = np.where(has_dense, 1 - of_coded, 0)
    return sparse.csr_matrix(sparse.diags(of_dense) @ dense + sparse.diags(of_coded) @ coded)


def mixed_rows(graph: Matrix, users: npt.NDArray[np.int64], support: float) -> Matrix:
    """Return the (videos, videos) matrix M of the class: each video itself and its neighbors, by weight.

    Args:
        graph: (videos, videos) neighbors by weight, whose rows sum to at most 1.
        users: (videos,) number of users of each video.
        support: κ, the number of users at which a video and its neighbors weigh the same.
    """
    shares = np.divide(support, users + support, out=np.ones(len(users)), where=users > 0)
    near = sparse.csr_matrix(sparse.diags(shares) @ graph)
    own = np.where(users > 0, 1 - np.asarray(near.sum(axis=1)).ravel(), 0)
    mixed = sparse.csr_matrix(sparse.diags(own) + near)
    mixed.eliminate_zeros()
    return mixed
