"""Co-visitation: videos that follow or precede one another closely in histories."""

import numpy as np
import numpy.typing as npt
from scipy import sparse

from vrec.core.artifact import Arrays
from vrec.core.types import CatalogContent
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import CoVisitationConfig
from vrec.retrieval.interaction_matrix import InteractionMatrix, Matrix, csr_arrays, restore_csr
from vrec.retrieval.similarity import score_product
from vrec.retrieval.topk import Scores, mask_zero_scores


class CoVisitation(MatrixRecommender[CoVisitationConfig]):
    """Item-to-item model by closeness in time order: Σ decay ^ newer videos · Σ over users 1 / distance.

    Two videos are linked by each user who watched them at most `window` places apart, the more strongly the
    closer. Only the order of a history counts, with ties by id; weights of interactions do not. Such counts
    are a strong baseline of session-based recommendation (Ludewig and Jannach 2018, arXiv:1803.09587).
    """

    kind = "co_visitation"
    Config = CoVisitationConfig

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        links = count_links(histories, self.config.window, self.config.backward)
        support = np.bincount(histories.weights.indices, minlength=histories.videos)
        factors = np.maximum(support, 1.0) ** -self.config.popularity_power
        links = sparse.csr_matrix(
            (links.data * factors[links.indices], links.indices, links.indptr), links.shape
        )
        self.links = strongest_entries(links, self.config.neighbours)

    def score_block(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        weights = histories.weights
        # Nothing fades to 0: below 1e-30 a video would say nothing and its neighbors have no score.
        fading = np.maximum(self.config.decay ** histories.newer_counts.astype(np.float64), 1e-30)
        faded = sparse.csr_matrix((fading.astype(np.float32), weights.indices, weights.indptr), weights.shape)
        return mask_zero_scores(score_product(faded, self.links))

    def _arrays(self) -> Arrays:
        return csr_arrays("", self.links)

    def _restore(self, arrays: Arrays) -> None:
        videos = len(self.videos)
        self.links: Matrix = restore_csr(arrays, "", (videos, videos))


def count_links(histories: InteractionMatrix, window: int, backward: float) -> Matrix:
    """Return the (videos, videos) float64 strengths of the links from row to column.

    A user who watched the column d ≤ `window` places after the row adds 1 / d, and `backward` / d in the
    other direction.
    """
    starts, videos = histories.by_time
    owner = np.repeat(np.arange(histories.users), np.diff(starts))
    shape = (histories.videos, histories.videos)
    links: Matrix = sparse.csr_matrix(shape, dtype=np.float64)
    for distance in range(1, min(window, int(np.diff(starts).max(initial=1)) - 1) + 1):
        same = owner[distance:] == owner[:-distance]
        earlier, later = videos[:-distance][same], videos[distance:][same]
        counts = sparse.csr_matrix((np.ones(len(earlier)), (earlier, later)), shape)
        links = links + counts / distance
        if backward:
            links = links + counts.T.tocsr() * (backward / distance)
    links.sort_indices()
    return links


def strongest_entries(matrix: Matrix, count: int) -> Matrix:
    """Return the matrix as float32 with at most `count` entries per row, the greatest, ties by column."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    rank = np.arange(len(order)) - matrix.indptr[:-1][rows]
    kept = np.sort(order[rank < count])
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=matrix.shape[0]))])
    return sparse.csr_matrix(
        (matrix.data[kept].astype(np.float32), matrix.indices[kept], indptr), matrix.shape
    )
