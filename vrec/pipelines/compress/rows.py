"""The table of `vrec compress`: what each network costs and loses, beside the one that it was made of."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vrec.compression.config import CompressionMethod
from vrec.compression.network import Runtime
from vrec.encoders.cnn import CnnEncoder, CnnEncoderConfig
from vrec.pipelines.compress.dataset import VideoLabels
from vrec.pipelines.compress.measure import NeighborQuality, measure_quality, time_encoders
from vrec.pipelines.compress.networks import CompressedNetworks
from vrec.pipelines.compress.target import CompressionTarget
from vrec.pipelines.compress.trials import CompressionTrial

ORIGINAL = "original"
Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CompressionRow:
    """One network in the table."""

    method: str
    frame_px: int
    runtime: str
    megabytes: float
    """Size of its ONNX graph, 10^6 bytes."""
    frames_per_s: float
    """Frames a second on one core, by the time that it had the core."""
    speed: float
    """Times as fast as the original: the median over rounds in which both ran."""
    quality: NeighborQuality

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values by name, those of the quality among them."""
        values = asdict(self)
        return {**values, **values.pop("quality")}


def measure_networks(
    target: CompressionTarget,
    original: CnnEncoder,
    trials: Mapping[CompressionMethod, CompressionTrial],
    networks: CompressedNetworks,
    labels: VideoLabels | None,
) -> list[CompressionRow]:
    """The original's row, then those of the trials in order, each by the runtime that is its fastest."""
    catalogue = networks.catalogue
    clips = catalogue.clips(original.config.frame_px)
    encoders, shown = {ORIGINAL: original}, {ORIGINAL: clips}
    for method, trial in trials.items():
        for runtime, encoder in trial.encoders.items():
            encoders[_name(method, runtime)] = encoder
            shown[_name(method, runtime)] = catalogue.clips(trial.facts.frame_px)
    taken = time_encoders(encoders, shown, networks.config.rounds)
    truth = target.vectors(original, clips)
    size = len(networks.network("whole")) / 1e6
    same = measure_quality(truth, truth, labels, None)
    base = taken[ORIGINAL]
    first = CompressionRow(
        ORIGINAL, original.config.frame_px, _runtimes(original.config), size, _rate(base), 1.0, same
    )
    rows = [first]
    for method, trial in trials.items():
        ratios: dict[Runtime, float] = {
            name: _ratio(base, taken[_name(method, name)]) for name in trial.encoders
        }
        runtime, ratio = max(ratios.items(), key=lambda item: item[1])
        vectors = target.vectors(trial.encoders[runtime], catalogue.clips(trial.facts.frame_px))
        found = measure_quality(vectors, truth, labels, networks.held_out_rows(method))
        rate, size = _rate(taken[_name(method, runtime)]), len(trial.onnx) / 1e6
        rows.append(CompressionRow(method, trial.facts.frame_px, runtime, size, rate, ratio, found))
    return rows


def _name(method: CompressionMethod, runtime: Runtime) -> str:
    return f"{method} {runtime}"


def _runtimes(config: CnnEncoderConfig) -> str:
    return "openvino" if config.backend == "auto" else config.backend


def _rate(seconds: Seconds) -> float:
    return float(1 / np.median(seconds))


def _ratio(base: Seconds, seconds: Seconds) -> float:
    return float(np.median(base / seconds))
