"""Averages of clients' updates, and steps of the common weights along them."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from vrec.core.artifact import Arrays
from vrec.core.errors import FederatedError
from vrec.training.federated.config import FederatedConfig
from vrec.training.federated.task import UPDATE, WEIGHT

Doubles = npt.NDArray[np.float64]

ADAM_MOMENTS = (0.9, 0.99)
"""β₁ and β₂ of FedAdam, as in the paper."""
ADAM_FLOOR = 1e-3
"""τ of FedAdam, the term that is added to the root of the second moment; as in the paper."""


def shorten(update: Doubles, bound: float | None) -> Doubles:
    """Return an update whose Euclidean norm is at most `bound`; None leaves it as it is."""
    if bound is None:
        return update
    return update * min(1.0, bound / max(float(np.linalg.norm(update)), 1e-300))


def weighted_update(update: Doubles, examples: int, config: FederatedConfig) -> Arrays:
    """Return what a client with some examples contributes: its bounded update times its weight, and that."""
    weight = float(min(examples, config.most_examples)) if config.weighting == "examples" else 1.0
    return {UPDATE: shorten(update, config.norm_bound) * weight, WEIGHT: np.array([weight])}


class ServerOptimizer:
    """Steps of the common weights along the average update.

    FedAvg of McMahan et al. 2017 and FedAdam of Reddi et al. 2021, "Adaptive federated optimization".
    FedProx differs from FedAvg in the clients alone.
    """

    def __init__(self, config: FederatedConfig, averaged: int = 0) -> None:
        """Take the settings, and how many of the last numbers are no weights and just averaged.

        A step beyond the average, or one of Adam, could make a variance negative.
        """
        self.config, self._averaged = config, averaged

    def start(self, weights: Doubles) -> Arrays:
        """Return the state before the first step from (D,) weights."""
        state = {"weights": np.asarray(weights, np.float64)}
        if self.config.method == "fedadam":
            state |= {"first": np.zeros(len(weights)), "second": np.full(len(weights), ADAM_FLOOR**2)}
        return state

    def step(self, state: Mapping[str, npt.NDArray[np.float64]], sums: Arrays) -> Arrays:
        """Return the state after a step along the sum of the clients' `weighted_update`.

        Raises:
            FederatedError: The weights sum to 0, or the new weights are not finite.
        """
        weight = float(sums[WEIGHT][0])
        if weight <= 0:
            raise FederatedError("no client has an example", fix="give clients with events")
        update = sums[UPDATE] / weight
        rate = self.config.server_learning_rate
        if self.config.method == "fedadam":
            slow, slower = ADAM_MOMENTS
            first = slow * state["first"] + (1 - slow) * update
            second = slower * state["second"] + (1 - slower) * update**2
            step = rate * first / (np.sqrt(second) + ADAM_FLOOR)
            after = {"weights": state["weights"] + step, "first": first, "second": second}
        else:
            after = {"weights": state["weights"] + rate * update}
        if self._averaged:
            after["weights"][-self._averaged :] = (state["weights"] + update)[-self._averaged :]
        if not np.isfinite(after["weights"]).all():
            raise FederatedError(
                "the average update is not finite", fix="lower federated.server_learning_rate"
            )
        return after
