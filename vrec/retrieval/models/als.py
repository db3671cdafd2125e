"""Matrix factorization for implicit feedback by alternating least squares, fitted by `implicit`."""

import numpy as np
import numpy.typing as npt
from implicit.cpu.als import AlternatingLeastSquares
from implicit.recommender_base import ModelFitError
from scipy import sparse
from threadpoolctl import threadpool_limits

from vrec.core.artifact import Arrays
from vrec.core.errors import FitError
from vrec.core.types import CatalogContent
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import AlsConfig
from vrec.retrieval.interaction_matrix import InteractionMatrix
from vrec.retrieval.shopper_weights import scale_users
from vrec.retrieval.topk import Scores

USUAL_CONFIDENCE = 10.0
"""α times the mean weight, where α is `auto`."""
SOLVE_BLOCK = 256
"""Users whose normal equations are in memory at once."""


class Als(MatrixRecommender[AlsConfig]):
    """Implicit matrix factorization: inner products of user and video vectors (Hu, Koren and Volinsky 2008).

    Vectors minimize Σ c (p − x·y)² + λ (Σ |x|² + Σ |y|²) with p = 1 and c = 1 + α · weight where there is an
    interaction, and p = 0 and c = 1 elsewhere; `implicit` fits them with three conjugate-gradient steps each
    (Takács, Pilászy and Tikk 2011). Only the videos' vectors are stored: a user's vector is always solved
    exactly from the given history, so that a fitted user and a new user with the same history get the same
    scores.
    """

    kind = "als"
    Config = AlsConfig
    weighs_shoppers = True

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        weights = histories.weights
        alpha = self.config.alpha
        if alpha == "auto":
            alpha = USUAL_CONFIDENCE / float(weights.data.mean(dtype=np.float64))
        self.report = {"alpha": alpha}
        counted = scale_users(weights, self.shopper_weights)
        parts = (self.confidence(counted.data), weights.indices, weights.indptr)
        confidence = sparse.csr_matrix(parts, shape=weights.shape)
        # With more than one BLAS thread, implicit is many times slower; its own threads are not BLAS threads.
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                factors=self.config.factors,
                regularization=self.config.regularization,
                alpha=1.0,
                iterations=self.config.iterations,
                random_state=self.config.seed,
            )
            try:
                model.fit(confidence, show_progress=False, callback=lambda *_: self.check_time())
            except ModelFitError:
                raise FitError(
                    f"{self.kind}: weights of up to {weights.data.max():.3g} overflow floating point",
                    fix="lower alpha, or use weights of more equal size",
                ) from None
        self.use_item_factors(np.asarray(model.item_factors))

    def score_block(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        return (self.fold_in(histories) @ self._columns).astype(np.float32)

    def fold_in(self, histories: InteractionMatrix) -> npt.NDArray[np.float64]:
        """Return (users, factors) float64 vectors of some histories, solved with fixed video vectors."""
        # In float64, so that rounding does not depend on how many users are solved at once. Not by implicit,
        # which sums over all videos again on each call.
        vectors = np.empty((histories.users, self.config.factors))
        indptr, indices = histories.weights.indptr, histories.weights.indices
        confidence = self.confidence(histories.weights.data).astype(np.float64)
        with threadpool_limits(1, "blas"):
            for start in range(0, histories.users, SOLVE_BLOCK):
                stop = min(start + SOLVE_BLOCK, histories.users)
                left = np.repeat(self._regularized_gram[None], stop - start, axis=0)
                right = np.empty((stop - start, self.config.factors, 1))
                for row in range(stop - start):
                    entries = slice(indptr[start + row], indptr[start + row + 1])
                    seen = self._columns[:, indices[entries]]
                    left[row] += (seen * (confidence[entries] - 1)) @ seen.T
                    right[row, :, 0] = seen @ confidence[entries]
                vectors[start:stop] = np.linalg.solve(left, right)[:, :, 0]
        return vectors

    def confidence(self, weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the (N,) float32 confidence of (N,) weights."""
        # In float64: α is large where weights are tiny.
        return (1 + self.report["alpha"] * weights.astype(np.float64)).astype(np.float32)

    def use_item_factors(self, item_factors: npt.NDArray[np.float32]) -> None:
        """Set the (videos, factors) float32 vectors of the videos."""
        self.item_factors = item_factors
        self._columns = item_factors.T.astype(np.float64)
        with threadpool_limits(1, "blas"):
            gram = self._columns @ self._columns.T
        self._regularized_gram = gram + self.config.regularization * np.eye(len(gram))

    def _arrays(self) -> Arrays:
        return {"item_factors": self.item_factors}

    def _restore(self, arrays: Arrays) -> None:
        self.use_item_factors(arrays["item_factors"])
