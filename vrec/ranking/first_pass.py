"""Linear first pass: rough predictions that choose the candidates a ranking network scores."""

from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from vrec.ranking.features.arrays import Floats, RankerPredictions, RankingFeatures

Doubles = npt.NDArray[np.float64]
MAX_ROWS = 50_000
"""Maximum number of impressions that the fit reads, evenly spaced; more change the weights hardly."""
_RIDGE = 1.0
_LEAST = 1e-7
"""Probabilities are clipped this far from 0 and 1, where log-odds are infinite."""


class LinearFirstPass:
    """Linear model of a network's predictions, distilled by least squares with a ridge penalty.

    Its inputs are the network's own: the numbers about candidate and user, and the embedded video. It has no
    attention over the history, which takes most of the network's time; instead a few numbers of the features
    compare candidate and history. The targets are the log-odds of a click and of a conversion, and
    log(1 + seconds). A cascade of a cheap and an exact ranker is due to Wang, Lin & Metzler (SIGIR 2011).
    """

    def __init__(self, weights: Floats) -> None:
        """Take (inputs, 3) weights, as `fit` makes them."""
        self.weights = weights

    @classmethod
    def fit(cls, features: RankingFeatures, items: Floats, predictions: RankerPredictions) -> Self:
        """Fit the weights to a network's predictions.

        Args:
            features: Features of N candidates, N ≥ 1.
            items: (N, d) their embedded videos.
            predictions: The network's predictions for them, in the first slot.
        """
        inputs = _inputs(features, items).astype(np.float64)
        p_click, p_conv = (np.clip(p, _LEAST, 1 - _LEAST) for p in (predictions.p_click, predictions.p_conv))
        targets = [logit(p_click.astype(np.float64)), np.log1p(predictions.watch_s, dtype=np.float64)]
        targets.append(logit(p_conv.astype(np.float64)))
        moments = inputs.T @ inputs + _RIDGE * np.eye(inputs.shape[1])
        return cls(np.linalg.solve(moments, inputs.T @ np.stack(targets, axis=1)).astype(np.float32))

    def predict(self, features: RankingFeatures, items: Floats) -> RankerPredictions:
        """Return rough predictions, with a spread of 0.

        Args:
            features: Features of N candidates.
            items: (N, d) their embedded videos.
        """
        click, seconds, conversion = (_inputs(features, items) @ self.weights).T
        return RankerPredictions(
            expit(click), np.expm1(np.clip(seconds, 0, 20)), expit(conversion), np.zeros_like(click)
        )


def _inputs(features: RankingFeatures, items: Floats) -> Floats:
    """Return (N, inputs) float32 numbers, of which the last is 1."""
    user = features.user[features.request]
    return np.concatenate([features.candidate, items, user, np.ones((len(items), 1), np.float32)], axis=1)
