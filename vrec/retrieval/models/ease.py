"""EASE: the best linear item-to-item model, in closed form."""

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy import sparse
from scipy.linalg import lapack

from vrec.core.artifact import Arrays
from vrec.core.config import BaseConfig
from vrec.core.errors import FitError
from vrec.core.types import CatalogContent
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.interaction_matrix import InteractionMatrix, Matrix
from vrec.retrieval.similarity import dense_product, row_blocks
from vrec.retrieval.topk import Scores


class EaseConfig(BaseConfig):
    """How strongly EASE is held back, and how large it may grow."""

    regularisation: float = Field(default=500.0, gt=0, allow_inf_nan=False)
    """λ, added to each video's summed squared weights: more trusts frequent pairs only."""
    binary: bool = True
    """Whether every interaction counts 1, as in the paper, or its weight."""
    max_videos: int = Field(default=20_000, ge=1)
    """The largest catalogue that may be fitted: memory grows with its square, time with its cube."""


class Ease(MatrixRecommender[EaseConfig]):
    """Scores videos by history · B, with B = I − P / diag(P) and P = (XᵀX + λI)⁻¹ (Steck 2019).

    B is (videos, videos) float32 with a diagonal of 0. Fitting raises FitError above `max_videos`.
    """

    kind = "ease"
    Config = EaseConfig

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        videos = histories.videos
        if videos > self.config.max_videos:
            raise FitError(
                f"Ease.fit: {videos:,} videos are more than max_videos, {self.config.max_videos:,}; "
                f"it would take {_gigabytes(videos):,.1f} GB",
                fix="fit another model, such as item_knn, or raise max_videos where there is the memory",
            )
        gram = _gram(self._weights(histories))
        gram[np.diag_indices(videos)] += self.config.regularisation
        inverse = _invert(gram)
        diagonal = inverse.diagonal().copy()
        self.weights = np.empty((videos, videos), np.float32)
        for block in row_blocks(videos):
            rows = slice(block.start, block.stop)
            self.weights[rows] = inverse[rows] / -diagonal
        np.fill_diagonal(self.weights, 0)

    def _scores(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        return np.asarray(self._weights(histories) @ self.weights)

    def _weights(self, histories: InteractionMatrix) -> Matrix:
        weights = histories.weights
        if not self.config.binary:
            return weights
        return sparse.csr_matrix((np.ones_like(weights.data), weights.indices, weights.indptr), weights.shape)

    def _arrays(self) -> Arrays:
        return {"weights": self.weights}

    def _restore(self, arrays: Arrays) -> None:
        self.weights = arrays["weights"]


def _gigabytes(videos: int) -> float:
    # The inverse in float64 and B in float32, which are there together.
    return videos**2 * (8 + 4) / 1e9


def _gram(weights: Matrix) -> npt.NDArray[np.float64]:
    # Column-major, so that LAPACK works in place.
    transposed = weights.T.tocsr()
    gram = np.empty((weights.shape[1], weights.shape[1]), order="F")
    for block in row_blocks(weights.shape[1]):
        gram[:, block.start : block.stop] = dense_product(transposed[block.start : block.stop], weights).T
    return gram


def _invert(gram: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # By Cholesky in the same memory: XᵀX + λI is positive definite, and symmetric as its inverse is.
    factor, failed = lapack.dpotrf(gram, lower=1, overwrite_a=1)
    if not failed:
        factor, failed = lapack.dpotri(factor, lower=1, overwrite_c=1)
    # Not every LAPACK says so where there was an infinite sum to begin with; the inverse then has zeros.
    if failed or not (factor.diagonal() > 0).all():
        raise FitError(
            "Ease.fit: the Gram matrix is not positive definite in floating point",
            fix="raise regularisation, or use weights of more equal size",
        )
    for block in row_blocks(len(factor)):
        rows = slice(block.start, block.stop)
        factor[rows, block.stop :] = factor[block.stop :, rows].T
        square = factor[rows, rows]
        factor[rows, rows] = np.tril(square) + np.tril(square, -1).T
    return factor
