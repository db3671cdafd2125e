"""What a compressed network costs and what it loses, beside the one that it was made of."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vrec.core.types import Clip, Vectors
from vrec.encoders.cnn import CnnEncoder
from vrec.evaluation.reports.gallery.neighbors import nearest_neighbors, one_nn_accuracy
from vrec.pipelines.compress.dataset import VideoLabels

NEIGHBORS = 10


@dataclass(frozen=True, slots=True)
class NeighborQuality:
    """How good one network's neighbours are, all as shares in [0, 1]."""

    one_nn: float | None
    """1-NN accuracy over all labelled videos, each left out in turn; None without labels."""
    other_source: float | None
    """The same where the neighbour must be of another source."""
    recall: float
    """Share of the 10 nearest videos by the original network that are among its own 10."""
    recall_new: float
    """The same for videos that it did not learn from."""


def measure_quality(
    vectors: Vectors, original: Vectors, labels: VideoLabels | None, new: npt.NDArray[np.int64] | None
) -> NeighborQuality:
    """The quality of (N, dim) vectors; `new` are rows not learned from, all of them where None.

    The catalogue's mean is taken off first, as what all videos share says nothing of which are alike.
    """
    shares = neighbor_overlap(vectors, original)
    one_nn = other = None
    if labels is not None:
        rows = vectors[list(labels.rows)]
        one_nn = one_nn_accuracy(rows, labels.labels, center=True)
        if labels.sources is not None:
            other = _other_source(rows, labels.labels, labels.sources)
    fresh = shares if new is None else shares[new]
    return NeighborQuality(one_nn, other, float(shares.mean()), float(fresh.mean()))


def neighbor_overlap(vectors: Vectors, original: Vectors) -> npt.NDArray[np.float64]:
    """(N,) share of each row's nearest 10 among `original` that are its nearest 10 among `vectors`."""
    mine, theirs = (nearest_neighbors(rows, NEIGHBORS, center=True)[0] for rows in (vectors, original))
    return np.array([np.isin(a, b).mean() for a, b in zip(mine, theirs, strict=True)])


def time_encoders(
    encoders: Mapping[str, CnnEncoder], clips: Mapping[str, Sequence[Clip]], rounds: int
) -> dict[str, npt.NDArray[np.float64]]:
    """(rounds,) seconds of CPU that each encoder takes for a frame.

    Each round runs all of them on the same video in turn, so that a busy machine slows all alike; time that
    others had the processor does not count.
    """
    taken: dict[str, list[float]] = {name: [] for name in encoders}
    for name, encoder in encoders.items():
        encoder.frame_features(clips[name][:1])
    for number in range(rounds):
        for name, encoder in encoders.items():
            clip = clips[name][number % len(clips[name])]
            begun = time.process_time()
            (features,) = encoder.frame_features([clip])
            taken[name].append((time.process_time() - begun) / len(features))
    return {name: np.array(values) for name, values in taken.items()}


def _other_source(rows: Vectors, labels: Sequence[str], sources: Sequence[str]) -> float | None:
    # A label of one source only has nothing to be found by: its videos would all count as missed.
    made: dict[str, set[str]] = {}
    for label, source in zip(labels, sources, strict=True):
        made.setdefault(label, set()).add(source)
    can = np.array([len(made[label]) > 1 for label in labels])
    if not can.any():
        return None
    return one_nn_accuracy(rows, labels, sources, center=True) * len(labels) / int(can.sum())
