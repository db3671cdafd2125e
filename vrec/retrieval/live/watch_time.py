"""Watch time of live streams: whether a view is left early, and how long it is if not."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, log_ndtr

from vrec.core.artifact import Arrays

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

L2 = 1.0
"""Factor of the squared norm of the weights, for features of deviation 1."""
LEAST_DEVIATION = 0.01
"""Least deviation of the logarithm of the seconds of views that were not left early."""


@dataclass(frozen=True)
class WatchTimeModel:
    """Two regressions: the log-odds that a view is not left early, and the log of its length then.

    The length is log-normal. A view that ended with its stream would have gone on: of it only a lower bound
    is known (Tobin 1958, "Estimation of relationships for limited dependent variables"), and it was not left
    early.
    """

    stay: Floats
    """(F + 1,) weights of the log-odds, the constant last."""
    length: Floats
    """(F + 1,) weights of the mean of the log of the seconds, the constant last."""
    deviation: float
    """Standard deviation of the log of the seconds."""
    early_s: float
    """Mean seconds of a view that is left early."""
    longest_s: float
    """Length that predictions do not exceed."""

    @classmethod
    def fit(
        cls, features: npt.NDArray[np.float32], seconds: Floats, cut_off: Booleans, early_leave_s: float
    ) -> Self:
        """Fit the regressions.

        Args:
            features: (N, F) features of each view at its start.
            seconds: (N,) length of each view.
            cut_off: (N,) whether the view ended because the stream did.
            early_leave_s: Seconds below which a view was left early.
        """
        early = (seconds < early_leave_s) & ~cut_off
        stay = _logistic(features, ~early)
        kept = ~early & (seconds > 0)
        length, deviation = _censored(features[kept], np.log(seconds[kept]), cut_off[kept])
        return cls(
            stay=stay,
            length=length,
            deviation=deviation,
            early_s=float(seconds[early].mean()) if early.any() else 0.0,
            longest_s=float(np.quantile(seconds, 0.99)),
        )

    def stay_probability(self, features: npt.NDArray[np.float32]) -> Floats:
        """Return the (N,) probability that a view would not be left early."""
        return expit(features @ self.stay[:-1] + self.stay[-1])

    def expected_seconds(self, features: npt.NDArray[np.float32]) -> Floats:
        """Return the (N,) expected seconds of a view."""
        mean = features @ self.length[:-1] + self.length[-1]
        long = np.exp(np.minimum(mean + self.deviation**2 / 2, np.log(max(self.longest_s, 1e-9))))
        stay = self.stay_probability(features)
        return stay * long + (1 - stay) * self.early_s

    def arrays(self) -> Arrays:
        """Return the model as arrays."""
        return {
            "watch.stay": self.stay,
            "watch.length": self.length,
            "watch.rest": np.array([self.deviation, self.early_s, self.longest_s]),
        }

    @classmethod
    def restore(cls, arrays: Arrays) -> Self:
        """Return the model that `arrays` wrote."""
        return cls(arrays["watch.stay"], arrays["watch.length"], *arrays["watch.rest"].tolist())


def _standardized(features: npt.NDArray[np.float32]) -> tuple[Floats, Floats, Floats]:
    """Return features of mean 0 and deviation 1, the means and the deviations."""
    wide = features.astype(np.float64)
    mean, scale = wide.mean(axis=0), wide.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    return (wide - mean) / scale, mean, scale


def _unscaled(weights: Floats, constant: float, mean: Floats, scale: Floats) -> Floats:
    own = weights / scale
    return np.append(own, constant - own @ mean)


def _logistic(features: npt.NDArray[np.float32], outcomes: Booleans) -> Floats:
    rows, mean, scale = _standardized(features)
    signs = np.where(outcomes, 1.0, -1.0)

    def loss(values: Floats) -> tuple[float, Floats]:
        margins = signs * (rows @ values[:-1] + values[-1])
        slope = -signs * expit(-margins)
        weights = values[:-1]
        gradient = np.append(slope @ rows + L2 * weights, slope.sum())
        return float(np.logaddexp(0, -margins).sum() + L2 / 2 * weights @ weights), gradient

    # A constant of an outcome that never varies would grow without end.
    share = (outcomes.sum() + 1) / (len(outcomes) + 2)
    start = np.append(np.zeros(rows.shape[1]), np.log(share / (1 - share)))
    if outcomes.all() or not outcomes.any():
        return start
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return _unscaled(found.x[:-1], float(found.x[-1]), mean, scale)


def _censored(features: npt.NDArray[np.float32], logs: Floats, cut_off: Booleans) -> tuple[Floats, float]:
    """Return weights of the mean of a normal outcome, a lower bound where cut off, and its deviation."""
    if not len(logs):
        return np.zeros(features.shape[1] + 1), 1.0
    rows, mean, scale = _standardized(features)

    def loss(values: Floats) -> tuple[float, Floats]:
        weights, deviation = values[:-2], np.exp(values[-1])
        z = (logs - rows @ weights - values[-2]) / deviation
        survival = log_ndtr(-z)
        hazard = np.exp(-0.5 * z**2 - 0.5 * np.log(2 * np.pi) - survival)
        value = np.where(cut_off, -survival, 0.5 * z**2 + values[-1])
        slope = np.where(cut_off, hazard, z)  # of the loss by z
        by_mean = -slope / deviation
        by_deviation = (np.where(cut_off, 0.0, 1.0) - slope * z).sum()
        gradient = np.concatenate([by_mean @ rows + L2 * weights, [by_mean.sum(), by_deviation]])
        return float(value.sum() + L2 / 2 * weights @ weights), gradient

    start = np.concatenate([np.zeros(rows.shape[1]), [logs.mean(), np.log(logs.std() + 0.1)]])
    # Views of one length would bring the deviation to 0, and the loss to minus infinity.
    bounds = [(None, None)] * (len(start) - 1) + [(np.log(LEAST_DEVIATION), None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 300})
    return _unscaled(found.x[:-2], float(found.x[-2]), mean, scale), float(np.exp(found.x[-1]))
