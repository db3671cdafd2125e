"""Each method's network, on disk and in every runtime that can run it."""

from dataclasses import dataclass, replace

from vrec.compression.config import METHOD_STEPS, CompressionMethod
from vrec.compression.export import first_line
from vrec.compression.network import RUNTIMES, CompressedNetworkInfo, Runtime, save_network
from vrec.core.errors import CompressError
from vrec.core.tables import join_uri
from vrec.core.types import Clip
from vrec.encoders.backbone import COMPRESSED_PREFIX
from vrec.encoders.cnn import CnnEncoder, CnnEncoderConfig
from vrec.pipelines.compress.networks import CompressedNetworks


@dataclass(frozen=True, slots=True)
class CompressionTrial:
    """A network that has been made."""

    onnx: bytes
    facts: CompressedNetworkInfo
    """With the first of `encoders` as its runtime, until it is known which is the fastest."""
    encoders: dict[Runtime, CnnEncoder]
    """At least one, each having seen a video."""


def make_trials(
    networks: CompressedNetworks, folder: str
) -> tuple[dict[CompressionMethod, CompressionTrial], dict[str, str]]:
    """The methods that worked, and why the others did not; networks are kept in a local `folder`.

    Raises CompressError where none did.
    """
    trials: dict[CompressionMethod, CompressionTrial] = {}
    failed: dict[str, str] = {}
    for method in dict.fromkeys(networks.config.methods):
        try:
            onnx, px = networks.make(method)
            cnn = networks.cnn.model_copy(update={"frame_px": px})
            first = networks.catalogue.clips(px)[:1]
            trials[method] = _trial(join_uri(folder, method), method, onnx, cnn, first)
        except CompressError as error:
            failed[method] = f"{error}. Fix: {error.fix}"
            networks.say(f"{method} failed: {error}")
            continue
        networks.say(f"{method}: {len(onnx) / 1e6:.1f} MB")
    if not trials:
        method, why = next(iter(failed.items()), ("compress.methods", "none is given"))
        raise CompressError(f"no method worked; {method}: {why}", fix="set other compress.methods")
    return trials, failed


def _trial(
    uri: str, method: CompressionMethod, onnx: bytes, cnn: CnnEncoderConfig, first: list[Clip]
) -> CompressionTrial:
    rounded = METHOD_STEPS[method][1] != "none"
    facts = CompressedNetworkInfo(method, cnn.frame_px, 0, RUNTIMES[0], rounded, cnn.weights)
    save_network(uri, onnx, facts)
    encoders: dict[Runtime, CnnEncoder] = {}
    reasons: list[str] = []
    for runtime in RUNTIMES:
        changes = {"weights": COMPRESSED_PREFIX + uri, "backend": runtime}
        try:
            encoder = CnnEncoder(cnn.model_copy(update=changes))
            encoder.encode(first)
        except Exception as error:  # each runtime has errors of its own for what it cannot run
            reasons.append(f"{runtime}: {type(error).__name__}: {first_line(error)}")
            continue
        encoders[runtime] = encoder
    if not encoders:
        raise CompressError(
            f"no runtime runs the network; {'; '.join(reasons)}",
            fix=f"leave {method} out of compress.methods",
        )
    runtime, encoder = next(iter(encoders.items()))
    return CompressionTrial(onnx, replace(facts, dim=encoder.dim, runtime=runtime), encoders)
