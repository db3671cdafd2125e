"""EASE (Steck 2019) by the inverse of the smaller of its items × items and users × users matrices."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from vrec.retrieval.interaction_matrix import Matrix

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DualEase:
    """EASE of (users, items) X with regularization λ, in the dual form.

    By the matrix inversion lemma P = (XᵀX + λI)⁻¹ = (I − XᵀAX) / λ with A = (XXᵀ + λI)⁻¹, so that the scores
    h − hP / diag(P) of a history h need the inverse of a users × users matrix only.
    """

    matrix: Matrix
    """(users, items) X, float64."""
    inverse: Floats
    """(users, users) A."""
    diagonal: Floats
    """(items,) diag(P)."""
    regularization: float

    @classmethod
    def fit(cls, matrix: Matrix, regularization: float) -> Self:
        """Fit on (users, items) weights."""
        matrix = sparse.csr_matrix(matrix, dtype=np.float64)
        gram = (matrix @ matrix.T).toarray()
        gram[np.diag_indices(len(gram))] += regularization
        return cls.restore(matrix, np.linalg.inv(gram), regularization)

    @classmethod
    def restore(cls, matrix: Matrix, inverse: Floats, regularization: float) -> Self:
        """Return the model of the same weights from its inverse."""
        matrix = sparse.csr_matrix(matrix, dtype=np.float64)
        columns = sparse.csc_matrix(matrix)
        explained = np.zeros(matrix.shape[1])
        for item in range(matrix.shape[1]):
            rows = columns.indices[columns.indptr[item] : columns.indptr[item + 1]]
            values = columns.data[columns.indptr[item] : columns.indptr[item + 1]]
            explained[item] = values @ inverse[np.ix_(rows, rows)] @ values
        return cls(matrix, inverse, (1 - explained) / regularization, regularization)

    def scores(self, histories: Matrix) -> Floats:
        """Return the (B, items) scores of (B, items) histories."""
        histories = sparse.csr_matrix(histories, dtype=np.float64)
        shared = (histories @ self.matrix.T).toarray() @ self.inverse  # (B, users)
        dense = histories.toarray()
        return dense - (dense - shared @ self.matrix) / (self.regularization * self.diagonal)


@dataclass(frozen=True)
class PrimalEase:
    """EASE of (users, items) X with regularization λ, by P = (XᵀX + λI)⁻¹, for fewer items than users."""

    inverse: Floats
    """(items, items) P."""

    @classmethod
    def fit(cls, matrix: Matrix, regularization: float) -> Self:
        """Fit on (users, items) weights."""
        matrix = sparse.csr_matrix(matrix, dtype=np.float64)
        gram = (matrix.T @ matrix).toarray()
        gram[np.diag_indices(len(gram))] += regularization
        return cls(np.linalg.inv(gram))

    def scores(self, histories: Matrix) -> Floats:
        """Return the (B, items) scores h − hP / diag(P) of (B, items) histories."""
        histories = sparse.csr_matrix(histories, dtype=np.float64)
        return histories.toarray() - (histories @ self.inverse) / np.diag(self.inverse)


def fit_ease(matrix: Matrix, regularization: float) -> DualEase | PrimalEase:
    """Fit EASE on (users, items) weights in the form whose matrix is the smaller one."""
    users, items = matrix.shape
    return (PrimalEase if items <= users else DualEase).fit(matrix, regularization)


def restore_ease(matrix: Matrix, inverse: Floats, regularization: float) -> DualEase | PrimalEase:
    """Return the model that `fit_ease` fitted on the same weights, from its inverse."""
    users, items = matrix.shape
    return PrimalEase(inverse) if items <= users else DualEase.restore(matrix, inverse, regularization)
