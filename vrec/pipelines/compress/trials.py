"""Trials of compression methods: each network on disk, loaded in every runtime that can run it."""

import logging
from dataclasses import dataclass, replace

from vrec.compression.config import METHOD_STEPS, CompressionMethod
from vrec.compression.export import first_line
from vrec.compression.network import RUNTIMES, CompressedNetworkInfo, Runtime, save_network
from vrec.core.errors import CompressError
from vrec.core.types import Clip
from vrec.core.uris import join_uri
from vrec.encoders.backbone import COMPRESSED_PREFIX
from vrec.encoders.cnn import CnnEncoder, CnnEncoderConfig
from vrec.pipelines.compress.networks import CompressedNetworks

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CompressionTrial:
    """Compressed network, ready to be measured."""

    onnx: bytes
    info: CompressedNetworkInfo
    """Its runtime is the first of `encoders`, until the fastest is known."""
    encoders: dict[Runtime, CnnEncoder]
    """Encoders by runtime, at least one; each has encoded a video."""


def make_trials(
    networks: CompressedNetworks, folder: str
) -> tuple[dict[CompressionMethod, CompressionTrial], dict[str, str]]:
    """Make the network of each method; networks are written to a local `folder`.

    Returns:
        The trials, and the errors of the methods that failed.

    Raises:
        CompressError: no method works.
    """
    trials: dict[CompressionMethod, CompressionTrial] = {}
    failed: dict[str, str] = {}
    for method in dict.fromkeys(networks.config.methods):
        _log.info("%s: making the network", method)
        try:
            onnx, px = networks.make(method)
            cnn = networks.cnn.model_copy(update={"frame_px": px})
            first = networks.dataset.clips(px)[:1]
            trials[method] = _trial(join_uri(folder, method), method, onnx, cnn, first)
        except CompressError as error:
            failed[method] = f"{error}. Fix: {error.fix}"
            _log.info("%s failed: %s", method, error)
            continue
        _log.info("%s: %.1f MB", method, len(onnx) / 1e6)
    if not trials:
        method, reason = next(iter(failed.items()), ("compress.methods", "none is given"))
        raise CompressError(f"no method worked; {method}: {reason}", fix="set other compress.methods")
    return trials, failed


def _trial(
    uri: str, method: CompressionMethod, onnx: bytes, cnn: CnnEncoderConfig, first: list[Clip]
) -> CompressionTrial:
    rounded = METHOD_STEPS[method][1] != "none"
    info = CompressedNetworkInfo(method, cnn.frame_px, 0, RUNTIMES[0], rounded, cnn.weights)
    save_network(uri, onnx, info)
    encoders: dict[Runtime, CnnEncoder] = {}
    reasons: list[str] = []
    for runtime in RUNTIMES:
        changes = {"weights": COMPRESSED_PREFIX + uri, "backend": runtime}
        try:
            encoder = CnnEncoder(cnn.model_copy(update=changes))
            encoder.encode(first)
        except Exception as error:  # each runtime has its own errors for graphs that it cannot run
            reasons.append(f"{runtime}: {type(error).__name__}: {first_line(error)}")
            continue
        encoders[runtime] = encoder
    if not encoders:
        raise CompressError(
            f"no runtime runs the network; {'; '.join(reasons)}",
            fix=f"leave {method} out of compress.methods",
        )
    runtime, encoder = next(iter(encoders.items()))
    return CompressionTrial(onnx, replace(info, dim=encoder.dim, runtime=runtime), encoders)
