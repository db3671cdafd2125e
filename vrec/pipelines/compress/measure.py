"""Measurements of compressed networks: cost and loss of quality, compared with the original network."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vrec.compression.config import CompressionMethod
from vrec.compression.network import Runtime
from vrec.core.types import Clip, Vectors
from vrec.encoders.cnn import CnnEncoder, CnnEncoderConfig
from vrec.evaluation.reports.gallery.neighbors import nearest_neighbors, one_nn_accuracy
from vrec.pipelines.compress.dataset import VideoLabels
from vrec.pipelines.compress.networks import CompressedNetworks
from vrec.pipelines.compress.target import CompressionTarget
from vrec.pipelines.compress.trials import CompressionTrial
from vrec.pipelines.progress import LINE_EVERY_S

_log = logging.getLogger(__name__)

NEIGHBORS = 10
ORIGINAL = "original"
"""The name of the original network's row."""
Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NeighborQuality:
    """Quality of the nearest neighbors by one network, all as shares in [0, 1]."""

    one_nn: float | None
    """Leave-one-out 1-NN accuracy over all labeled videos; None without labels."""
    other_source: float | None
    """The same with neighbors of other sources, over labels with several sources; None without any."""
    recall: float
    """Share of the 10 nearest videos by the original network that are among the 10 nearest by this one."""
    recall_new: float
    """The same for videos that the network did not learn from."""


@dataclass(frozen=True, slots=True)
class CompressionRow:
    """Measurements of one network."""

    method: str
    frame_px: int
    runtime: str
    megabytes: float
    """Size of its ONNX graph, in 10^6 bytes."""
    frames_per_s: float
    """Frames per second of CPU time."""
    speed: float
    """Speed relative to the original: the median over rounds in which both ran."""
    quality: NeighborQuality

    def to_dict(self) -> dict[str, Any]:
        """Return plain values by name; those of `quality` also stand on the first level."""
        values = asdict(self)
        return values | values["quality"]


def measure_networks(
    target: CompressionTarget,
    original: CnnEncoder,
    trials: Mapping[CompressionMethod, CompressionTrial],
    networks: CompressedNetworks,
    labels: VideoLabels | None,
) -> list[CompressionRow]:
    """Measure the original and each trial, which takes its fastest runtime.

    Returns:
        The original's row, then those of the trials in order.
    """
    dataset = networks.dataset
    clips = dataset.clips(original.config.frame_px)
    encoders, clips_of = {ORIGINAL: original}, {ORIGINAL: clips}
    for method, trial in trials.items():
        for runtime, encoder in trial.encoders.items():
            encoders[_name(method, runtime)] = encoder
            clips_of[_name(method, runtime)] = dataset.clips(trial.info.frame_px)
    seconds = time_encoders(encoders, clips_of, networks.config.rounds)
    base, original_vectors = seconds[ORIGINAL], target.vectors(original, clips)
    rows = [
        CompressionRow(
            method=ORIGINAL,
            frame_px=original.config.frame_px,
            runtime=_runtime(original.config),
            megabytes=len(networks.network("whole")) / 1e6,
            frames_per_s=_frames_per_s(base),
            speed=1.0,
            quality=measure_quality(original_vectors, original_vectors, labels, None),
        )
    ]
    for method, trial in trials.items():
        speeds: dict[Runtime, float] = {
            runtime: _speed(base, seconds[_name(method, runtime)]) for runtime in trial.encoders
        }
        runtime, speed = max(speeds.items(), key=lambda item: item[1])
        vectors = target.vectors(trial.encoders[runtime], dataset.clips(trial.info.frame_px))
        rows.append(
            CompressionRow(
                method=method,
                frame_px=trial.info.frame_px,
                runtime=runtime,
                megabytes=len(trial.onnx) / 1e6,
                frames_per_s=_frames_per_s(seconds[_name(method, runtime)]),
                speed=speed,
                quality=measure_quality(vectors, original_vectors, labels, networks.held_out_rows(method)),
            )
        )
    return rows


def measure_quality(
    vectors: Vectors, original: Vectors, labels: VideoLabels | None, new: npt.NDArray[np.int64] | None
) -> NeighborQuality:
    """Compare the neighbors by (N, dim) vectors with those by the original's vectors.

    Vectors are centered first, since their mean says nothing about which videos are alike.

    Args:
        vectors: (N, dim) unit rows of the network.
        original: (N, dim) unit rows of the original network.
        labels: labels of some rows.
        new: rows that the network did not learn from, all of them where None.
    """
    overlap = neighbor_overlap(vectors, original)
    one_nn = other = None
    if labels is not None:
        labeled = vectors[list(labels.rows)]
        one_nn = one_nn_accuracy(labeled, labels.labels, center=True)
        if labels.sources is not None:
            other = _other_source(labeled, labels.labels, labels.sources)
    new_overlap = overlap if new is None else overlap[new]
    return NeighborQuality(one_nn, other, float(overlap.mean()), float(new_overlap.mean()))


def neighbor_overlap(vectors: Vectors, original: Vectors) -> npt.NDArray[np.float64]:
    """Return (N,) the share of each row's 10 nearest in `original` that are its 10 nearest in `vectors`."""
    own, expected = (nearest_neighbors(rows, NEIGHBORS, center=True)[0] for rows in (vectors, original))
    return np.array([np.isin(b, a).mean() for a, b in zip(own, expected, strict=True)])


def time_encoders(
    encoders: Mapping[str, CnnEncoder], clips: Mapping[str, Sequence[Clip]], rounds: int
) -> dict[str, Seconds]:
    """Return (rounds,) seconds of CPU time per frame of each encoder, after a warm-up.

    Each round runs all encoders on the same video in turn, so that a busy machine slows all of them alike;
    time in which other processes had the processor does not count.
    """
    taken: dict[str, list[float]] = {name: [] for name in encoders}
    for name, encoder in encoders.items():
        encoder.frame_features(clips[name][:1])
    last = time.monotonic()
    for number in range(rounds):
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            _log.info("measured %d of %d rounds", number, rounds)
        for name, encoder in encoders.items():
            clip = clips[name][number % len(clips[name])]
            begun = time.process_time()
            (features,) = encoder.frame_features([clip])
            taken[name].append((time.process_time() - begun) / len(features))
    return {name: np.array(values) for name, values in taken.items()}


def _other_source(vectors: Vectors, labels: Sequence[str], sources: Sequence[str]) -> float | None:
    # Videos whose label has only one source cannot be hits, so they leave the denominator.
    sources_of: dict[str, set[str]] = {}
    for label, source in zip(labels, sources, strict=True):
        sources_of.setdefault(label, set()).add(source)
    possible = sum(len(sources_of[label]) > 1 for label in labels)
    if not possible:
        return None
    return one_nn_accuracy(vectors, labels, sources, center=True) * len(labels) / possible


def _name(method: CompressionMethod, runtime: Runtime) -> str:
    return f"{method} {runtime}"


def _runtime(config: CnnEncoderConfig) -> str:
    return "openvino" if config.backend == "auto" else config.backend


def _frames_per_s(seconds: Seconds) -> float:
    return float(1 / np.median(seconds))


def _speed(base: Seconds, seconds: Seconds) -> float:
    return float(np.median(base / seconds))
