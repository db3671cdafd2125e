"""Uncertainty of click predictions: a Laplace approximation of the last layer."""

from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.linalg import cholesky, solve_triangular

from vrec.core.config import BaseConfig

Doubles = npt.NDArray[np.float64]


class LaplaceConfig(BaseConfig):
    """Prior of the last layer of the click head."""

    prior_precision: float = Field(default=1.0, gt=0)
    """Precision (1 / variance) of the Normal prior of the weights. A lower one increases the uncertainty
    where there is little data; with many impressions it has little effect."""


class LastLayerLaplace:
    """Laplace approximation of the weights of the click's last layer.

    The posterior of the weights of a logistic regression is approximately Normal around their fit, with the
    inverse Hessian of the loss as covariance, Σ = (λI + Σ_i p_i (1 − p_i) φ_i φ_iᵀ)⁻¹ (MacKay 1992). The last
    layer of a deep network is a logistic regression, and its uncertainty alone corrects most overconfidence
    far from the data (Kristiadi, Hein & Hennig 2020). The intercept is one more weight: rows φ get a 1 as
    their last entry.
    """

    def __init__(self, width: int, config: LaplaceConfig) -> None:
        """Start from the prior; `width` is the input width of the last layer."""
        self.precision: Doubles = np.eye(width + 1) * config.prior_precision

    def add(self, inputs: npt.NDArray[np.floating], chances: npt.NDArray[np.floating]) -> Self:
        """Add (B, width) training rows and their (B,) predicted click probabilities; return self."""
        rows, p = _with_one(inputs), np.asarray(chances, np.float64)
        self.precision += (rows * (p * (1 - p))[:, None]).T @ rows
        return self

    def factor(self) -> Doubles:
        """Return (width + 1, width + 1) float64 F with F Fᵀ = Σ, as `click_logit_std` takes it."""
        lower = cholesky(self.precision, lower=True)
        return solve_triangular(lower, np.eye(len(lower)), lower=True).T


def click_logit_std(inputs: npt.NDArray[np.floating], factor: Doubles) -> npt.NDArray[np.float32]:
    """Return (B,) float32 standard deviations √(φᵀ Σ φ) of the log-odds of a click.

    Args:
        inputs: (B, width) inputs of the last layer.
        factor: Result of `LastLayerLaplace.factor`.
    """
    return np.linalg.norm(_with_one(inputs) @ factor, axis=1).astype(np.float32)


def _with_one(inputs: npt.NDArray[np.floating]) -> Doubles:
    return np.concatenate([np.asarray(inputs, np.float64), np.ones((len(inputs), 1))], axis=1)
