"""Conditional logit: the choice of one of several alternatives by their features (McFadden 1974)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Choices:
    """Choices, Q of them, with all alternatives in one matrix."""

    features: npt.NDArray[np.float32]
    """(A, F) features of the alternatives, those of a choice in consecutive rows."""
    starts: Indices
    """(Q,) first row of each choice."""
    chosen: Indices
    """(Q,) row of the alternative that was chosen."""
    weights: Floats
    """(Q,) weight of each choice in the likelihood."""


def fit_weights(choices: Choices, l2: float) -> Floats:
    """Return the (F,) weights of the features that maximize the weighted likelihood less l2/2 · Σ (w σ)².

    The penalty is on weights of features divided by their standard deviation σ, the loss a sum over choices.
    """
    scale = choices.features.std(axis=0, dtype=np.float64)
    scale = np.where(scale > 1e-9, scale, 1.0)
    features = choices.features / scale.astype(np.float32)
    counts = np.diff(np.append(choices.starts, len(features)))
    group = np.repeat(np.arange(len(counts)), counts)
    picked = choices.weights @ features[choices.chosen].astype(np.float64)

    def loss(weights: Floats) -> tuple[float, Floats]:
        scores = (features @ weights.astype(np.float32)).astype(np.float64)
        top = np.maximum.reduceat(scores, choices.starts)
        mass = np.exp(scores - top[group])
        total = np.add.reduceat(mass, choices.starts)
        value = choices.weights @ (np.log(total) + top) - picked @ weights
        share = mass * (choices.weights / total)[group]
        gradient = share.astype(np.float32) @ features - picked
        return float(value + l2 / 2 * weights @ weights), gradient + l2 * weights

    found = minimize(loss, np.zeros(features.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return found.x / scale
