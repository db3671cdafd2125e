"""Weights of a network as one vector, and the sums that calibrate a ranker without its impressions."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit, logit
from torch import nn

from vrec.core.artifact import Arrays
from vrec.ranking.calibration import CalibrationConfig, Calibrator
from vrec.ranking.features.arrays import ImpressionLabels, RankerPredictions

Doubles = npt.NDArray[np.float64]

EDGES = np.linspace(-12.0, 6.0, 181)
"""Log-odds between which predicted probabilities are counted: predictions of one bin are taken as equal."""
BINS = len(EDGES) + 1


def flatten_weights(network: nn.Module) -> Doubles:
    """Return the (D,) float64 weights of a network by sorted names, then its running statistics."""
    state = network.state_dict()
    parts = [state[name].detach().cpu().numpy().astype(np.float64).ravel() for name in _names(network)]
    return np.concatenate([np.empty(0), *parts])


def statistics_count(network: nn.Module) -> int:
    """Return how many of the numbers of `flatten_weights`, the last, are running statistics."""
    return sum(buffer.numel() for buffer in network.buffers() if buffer.is_floating_point())


def _names(network: nn.Module) -> list[str]:
    weights = {name for name, _ in network.named_parameters()}
    floating = [name for name, tensor in network.state_dict().items() if tensor.is_floating_point()]
    return sorted(floating, key=lambda name: (name not in weights, name))


def load_weights(network: nn.Module, vector: Doubles) -> None:
    """Set the weights of a network from the vector of `flatten_weights`."""
    state, start = network.state_dict(), 0
    for name in _names(network):
        stop = start + state[name].numel()
        state[name] = torch.from_numpy(vector[start:stop].astype(np.float32)).view_as(state[name])
        start = stop
    network.load_state_dict(state)


def calibration_sums(heads: tuple[str, ...], raw: RankerPredictions, labels: ImpressionLabels) -> Arrays:
    """Return what a client adds to the calibration of a ranker.

    Args:
        heads: Heads of the ranker.
        raw: Predictions that are not calibrated.
        labels: Outcomes of the same impressions.

    Returns:
        `calibration.click` and `calibration.conversion`, (2, BINS) numbers of impressions without and with
        the outcome by prediction, and `calibration.watch`, (2,) seconds that were predicted and watched.
    """
    sums = {"calibration.click": _counts(raw.p_click, labels.click)}
    if "conversion" in heads:
        sums["calibration.conversion"] = _counts(raw.p_conv[labels.mature], labels.conversion[labels.mature])
    if "watch" in heads:
        both = (raw.watch_s.sum(dtype=np.float64), labels.watch_s.sum(dtype=np.float64))
        sums["calibration.watch"] = np.array(both)
    return sums


def calibration_shapes(heads: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of `calibration_sums`."""
    shapes: dict[str, tuple[int, ...]] = {"calibration.click": (2, BINS)}
    if "conversion" in heads:
        shapes["calibration.conversion"] = (2, BINS)
    return shapes | ({"calibration.watch": (2,)} if "watch" in heads else {})


def fit_by_sums(
    config: CalibrationConfig, sums: Mapping[str, npt.NDArray[np.float64]]
) -> dict[str, Calibrator]:
    """Return the calibrators by head from the sums of all clients.

    Probabilities are calibrated by their bins' centers, watch times by one factor.
    """
    centers = np.concatenate([[EDGES[0]], (EDGES[1:] + EDGES[:-1]) / 2, [EDGES[-1]]])
    calibrators = {}
    for head in ("click", "conversion"):
        counts = sums.get(f"calibration.{head}")
        if counts is None:
            continue
        counts = np.maximum(np.rint(counts), 0)
        if counts.sum() == 0:
            continue
        # The rule for few rows counts rows, which here are bins: it is applied to the impressions.
        few = counts.sum(axis=1).min() < config.fewest and config.method != "none"
        method = config.model_copy(update={"fewest": 10**9 if few else 1})
        calibrators[head] = Calibrator.fit(
            method,
            np.tile(expit(centers), 2).astype(np.float32),
            np.repeat(np.array([0, 1], np.float32), BINS),
            counts.ravel().astype(np.float32),
            scale="chance",
        )
    watch = sums.get("calibration.watch")
    if watch is not None and (watch > 0).all():
        calibrators["watch"] = Calibrator.fit(
            CalibrationConfig(method="temperature", fewest=1),
            np.array([watch[0]], np.float32),
            np.array([watch[1]], np.float32),
            scale="seconds",
        )
    return calibrators


def _counts(chances: npt.NDArray[np.float32], outcomes: npt.NDArray[np.float32]) -> Doubles:
    odds = logit(np.clip(chances.astype(np.float64), 1e-9, 1 - 1e-9))
    places = np.digitize(odds, EDGES)
    return np.stack([np.bincount(places[outcomes == hit], minlength=BINS) for hit in (0, 1)]).astype(float)
