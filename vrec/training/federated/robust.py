"""Averages of updates that single poisoned ones cannot move far; the coordinator sees each update."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from vrec.core.artifact import Arrays
from vrec.training.federated.config import FederatedConfig
from vrec.training.federated.optimizer import shorten
from vrec.training.federated.task import UPDATE, WEIGHT

Doubles = npt.NDArray[np.float64]


def trimmed_mean(updates: Doubles, trim: float) -> Doubles:
    """Return the (D,) means by coordinate of (N, D) updates without the ⌊trim · N⌋ highest and lowest.

    Yin et al. 2018, "Byzantine-robust distributed learning: towards optimal statistical rates".
    """
    cut = int(trim * len(updates))
    return np.sort(updates, axis=0)[cut : len(updates) - cut].mean(axis=0)


def robust_sums(contributions: Mapping[str, Arrays], config: FederatedConfig) -> Arrays:
    """Return the sums of clients' contributions, with a robust average of updates where the settings say so.

    A robust average has the weight 1, whatever weights clients claim; `mean` caps these. Contributions other
    than updates are summed.

    Args:
        contributions: Contributions of one round, by client; not masked.
        config: Settings; the coordinator enforces the norm bound here.
    """
    parts = list(contributions.values())
    sums = {name: np.sum([part[name] for part in parts], axis=0) for name in parts[0]}
    if UPDATE not in sums:
        return sums
    most = config.most_examples if config.weighting == "examples" else 1.0
    weights = [min(max(float(part[WEIGHT][0]), 0.0), most) for part in parts]
    updates = np.stack(
        [shorten(part[UPDATE] / max(float(part[WEIGHT][0]), 1e-300), config.norm_bound) for part in parts]
    )
    match config.aggregation:
        case "mean":
            total = (updates * np.array(weights)[:, None]).sum(axis=0)
            return sums | {UPDATE: total, WEIGHT: np.array([sum(weights)])}
        case "median":
            average = np.median(updates, axis=0)
        case "trimmed_mean":
            average = trimmed_mean(updates, config.trim)
    return sums | {UPDATE: average, WEIGHT: np.ones(1)}
