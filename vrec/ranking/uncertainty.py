"""How unsure a ranker is of a click: a Laplace approximation of its last layer."""

from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.linalg import cholesky, solve_triangular

from vrec.core.config import BaseConfig

Doubles = npt.NDArray[np.float64]


class LaplaceConfig(BaseConfig):
    """How wide the click's last layer is believed to be."""

    prior_precision: float = Field(default=1.0, gt=0)
    """How strongly weights are believed to be near 0 before any impression: 1 over their prior variance. A
    lower one makes the ranker less sure where it has seen little; with many impressions it hardly counts."""


class LastLayerLaplace:
    """The spread of a click's log-odds that the training rows leave, given what comes before the last layer.

    The weights of a logistic regression are about normal around their fit, with the inverse of the loss's
    Hessian as covariance, Σ = (λI + Σ_i p_i (1 − p_i) φ_i φ_iᵀ)⁻¹ (MacKay 1992); of a deep network its last
    layer is one, and that alone mends most overconfidence far from the data (Kristiadi, Hein & Hennig 2020).
    The intercept is one more weight: rows φ are given a 1 as their last entry.
    """

    def __init__(self, width: int, config: LaplaceConfig) -> None:
        """Nothing seen yet; `width` is that of the last layer's input."""
        self.precision: Doubles = np.eye(width + 1) * config.prior_precision

    def add(self, inputs: npt.NDArray[np.floating], chances: npt.NDArray[np.floating]) -> Self:
        """The same, with (B, width) training rows and their (B,) chances of a click added."""
        rows, p = _with_one(inputs), np.asarray(chances, np.float64)
        self.precision += (rows * (p * (1 - p))[:, None]).T @ rows
        return self

    def factor(self) -> Doubles:
        """(width + 1, width + 1) F with F Fᵀ = Σ: what `spread` needs, and all that is kept."""
        lower = cholesky(self.precision, lower=True)
        return solve_triangular(lower, np.eye(len(lower)), lower=True).T


def click_logit_std(inputs: npt.NDArray[np.floating], factor: Doubles) -> npt.NDArray[np.float32]:
    """(B,) standard deviations √(φᵀ Σ φ) of the log-odds of a click, for (B, width) rows.

    `factor` is `LastLayerLaplace.factor()`.
    """
    return np.linalg.norm(_with_one(inputs) @ factor, axis=1).astype(np.float32)


def _with_one(inputs: npt.NDArray[np.floating]) -> Doubles:
    return np.concatenate([np.asarray(inputs, np.float64), np.ones((len(inputs), 1))], axis=1)
