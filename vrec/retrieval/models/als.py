"""Matrix factorisation for implicit feedback by alternating least squares, fitted by `implicit`."""

import numpy as np
import numpy.typing as npt
from implicit.cpu.als import AlternatingLeastSquares
from implicit.recommender_base import ModelFitError
from pydantic import Field
from scipy import sparse
from threadpoolctl import threadpool_limits

from vrec.core.artifact import Arrays
from vrec.core.config import BaseConfig
from vrec.core.errors import FitError
from vrec.core.types import CatalogContent
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.interaction_matrix import InteractionMatrix
from vrec.retrieval.topk import Scores

SOLVE_BLOCK = 256
"""Users whose equations are held at once."""


class AlsConfig(BaseConfig):
    """The size of the factors and how they are fitted."""

    factors: int = Field(default=64, ge=1)
    """The length of users' and videos' vectors: more tells finer tastes apart, and costs its square."""
    regularisation: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    """λ, the price of a squared entry of a vector: more draws users with little history to 0."""
    alpha: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """How much surer an interaction of weight 1 is than none: confidence is 1 + alpha · weight."""
    iterations: int = Field(default=15, ge=1)
    """How many times users' and videos' vectors are solved in turn."""
    seed: int = Field(default=0, ge=0)
    """Of the vectors that it starts from."""


class Als(MatrixRecommender[AlsConfig]):
    """Scores videos by the inner product of the user's vector and theirs (Hu, Koren and Volinsky 2008).

    Vectors minimise Σ c (p − x·y)² + λ (Σ |x|² + Σ |y|²) with p = 1 and c = 1 + alpha · weight where there is
    an interaction, p = 0 and c = 1 elsewhere; `implicit` fits them with three conjugate-gradient steps
    each (Takács, Pilászy and Tikk 2011). Only the videos' vectors are kept: a user's is always solved from
    the history that is given, exactly, so a fitted user and a newcomer of the same history get the same.
    """

    kind = "als"
    Config = AlsConfig

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        weights = histories.weights
        parts = (self._confidence(weights.data), weights.indices, weights.indptr)
        confidence = sparse.csr_matrix(parts, shape=weights.shape)
        # With more BLAS threads than one, implicit is many times slower; its own threads are not BLAS's.
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                factors=self.config.factors,
                regularization=self.config.regularisation,
                alpha=1.0,
                iterations=self.config.iterations,
                random_state=self.config.seed,
            )
            try:
                model.fit(confidence, show_progress=False)
            except ModelFitError:
                raise FitError(
                    f"Als.fit: weights of up to {weights.data.max():.3g} are beyond its arithmetic",
                    fix="lower alpha, or use weights of more equal size",
                ) from None
        self._set_item_factors(np.asarray(model.item_factors))

    def _scores(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        return (self.fold_in(histories) @ self._columns).astype(np.float32)

    def fold_in(self, histories: InteractionMatrix) -> npt.NDArray[np.float64]:
        """(users, factors) float64 vectors of the users of some histories, solved with the videos' fixed."""
        # In float64, so that rounding does not depend on how many users are solved at once; and here, since
        # implicit sums over all videos anew on each call.
        found = np.empty((histories.users, self.config.factors))
        indptr, indices = histories.weights.indptr, histories.weights.indices
        confidence = self._confidence(histories.weights.data).astype(np.float64)
        with threadpool_limits(1, "blas"):
            for start in range(0, histories.users, SOLVE_BLOCK):
                stop = min(start + SOLVE_BLOCK, histories.users)
                left = np.repeat(self._everywhere[None], stop - start, axis=0)
                right = np.empty((stop - start, self.config.factors, 1))
                for place in range(stop - start):
                    entries = slice(indptr[start + place], indptr[start + place + 1])
                    seen = self._columns[:, indices[entries]]
                    left[place] += (seen * (confidence[entries] - 1)) @ seen.T
                    right[place, :, 0] = seen @ confidence[entries]
                found[start:stop] = np.linalg.solve(left, right)[:, :, 0]
        return found

    def _confidence(self, weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return 1 + np.float32(self.config.alpha) * weights

    def _set_item_factors(self, item_factors: npt.NDArray[np.float32]) -> None:
        self.item_factors = item_factors
        self._columns = item_factors.T.astype(np.float64)
        with threadpool_limits(1, "blas"):
            gram = self._columns @ self._columns.T
        self._everywhere = gram + self.config.regularisation * np.eye(len(gram))

    def _arrays(self) -> Arrays:
        return {"item_factors": self.item_factors}

    def _restore(self, arrays: Arrays) -> None:
        self._set_item_factors(arrays["item_factors"])
