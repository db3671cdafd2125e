"""EASE: a linear item-to-item model in closed form (Steck 2019)."""

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.linalg import lapack

from vrec.core.artifact import Arrays
from vrec.core.errors import FitError
from vrec.core.types import CatalogContent
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import EaseConfig
from vrec.retrieval.ease_choice import choose_regularization
from vrec.retrieval.interaction_matrix import InteractionMatrix, Matrix
from vrec.retrieval.shopper_weights import scale_users
from vrec.retrieval.similarity import dense_product, row_blocks
from vrec.retrieval.topk import Scores
from vrec.robustness.defences.median_of_means import median_of_means


class Ease(MatrixRecommender[EaseConfig]):
    """EASE: scores are history · B, with B = I − P / diag(P) and P = (XᵀX + λI)⁻¹ (Steck 2019).

    B is (videos, videos) float32 with a diagonal of 0. `fit` raises FitError for more than `max_videos`
    videos.
    """

    kind = "ease"
    Config = EaseConfig
    weighs_shoppers = True

    def check_size(self, videos: int) -> None:
        if videos > self.config.max_videos:
            raise FitError(
                f"{self.kind}: {videos:,} videos are more than max_videos, {self.config.max_videos:,}; "
                f"the fit would take {_gigabytes(videos):,.1f} GB",
                fix="fit another model, such as item_knn, or raise max_videos if there is enough memory",
            )

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        self.check_size(histories.videos)
        weights, regularization = self.history_weights(histories), self.config.regularization
        if regularization == "auto":
            regularization = choose_regularization(weights)
        self.check_time()
        roots = None if self.shopper_weights is None else np.sqrt(self.shopper_weights)
        scaled = scale_users(weights, roots)
        gram = median_of_means(scaled, self.config.median_groups, history_gram)
        self.use_gram(np.asfortranarray(gram), regularization)

    def use_gram(self, gram: npt.NDArray[np.float64], regularization: float) -> None:
        """Set B from the (videos, videos) float64 matrix XᵀX, which is overwritten, and λ."""
        videos = len(gram)
        self.report = {"regularization": regularization}
        gram[np.diag_indices(videos)] += regularization
        # What takes longest is one call, which nothing stops.
        self.check_time()
        inverse = _invert(gram)
        diagonal = inverse.diagonal().copy()
        self.weights = np.empty((videos, videos), np.float32)
        for block in row_blocks(videos):
            rows = slice(block.start, block.stop)
            self.weights[rows] = inverse[rows] / -diagonal
        np.fill_diagonal(self.weights, 0)

    def score_block(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        return np.asarray(self.history_weights(histories) @ self.weights)

    def history_weights(self, histories: InteractionMatrix) -> Matrix:
        """Return (users, videos) float32 weights as the model counts them."""
        weights = histories.weights
        if not self.config.binary:
            return weights
        return sparse.csr_matrix((np.ones_like(weights.data), weights.indices, weights.indptr), weights.shape)

    def _arrays(self) -> Arrays:
        return {"weights": self.weights}

    def _restore(self, arrays: Arrays) -> None:
        self.weights = arrays["weights"]


def _gigabytes(videos: int) -> float:
    # The inverse in float64 and B in float32, which are in memory together.
    return videos**2 * (8 + 4) / 1e9


def history_gram(weights: Matrix) -> npt.NDArray[np.float64]:
    """Return the (videos, videos) float64 matrix XᵀX of (users, videos) weights, column-major."""
    # Column-major, so that LAPACK works in place.
    transposed = weights.T.tocsr()
    gram = np.empty((weights.shape[1], weights.shape[1]), order="F")
    for block in row_blocks(weights.shape[1]):
        gram[:, block.start : block.stop] = dense_product(transposed[block.start : block.stop], weights).T
    return gram


def _invert(gram: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # By Cholesky in place: XᵀX + λI is positive definite, and symmetric like its inverse.
    factor, failed = lapack.dpotrf(gram, lower=1, overwrite_a=1)
    if not failed:
        factor, failed = lapack.dpotri(factor, lower=1, overwrite_c=1)
    # Not every LAPACK reports a failure for infinite sums in the input; the inverse then has zeros.
    if failed or not (factor.diagonal() > 0).all():
        raise FitError(
            "ease: the Gram matrix is not positive definite in floating point",
            fix="raise regularization, or use weights of more equal size",
        )
    for block in row_blocks(len(factor)):
        rows = slice(block.start, block.stop)
        factor[rows, block.stop :] = factor[block.stop :, rows].T
        square = factor[rows, rows]
        factor[rows, rows] = np.tril(square) + np.tril(square, -1).T
    return factor
