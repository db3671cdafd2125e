"""Each method's network, on disk and in every runtime that can run it."""

from dataclasses import dataclass, replace

from vrec.compression.config import STEPS, Method
from vrec.compression.export import first_line
from vrec.compression.network import RUNTIMES, NetworkFacts, Runtime, save_network
from vrec.core.errors import CompressError
from vrec.core.protocols import Clip
from vrec.core.tables import join
from vrec.encoders.backbone import COMPRESSED
from vrec.encoders.cnn import CnnConfig, CnnEncoder
from vrec.pipelines.compress.networks import Networks


@dataclass(frozen=True, slots=True)
class Trial:
    """A network that has been made."""

    onnx: bytes
    facts: NetworkFacts
    """With the first of `encoders` as its runtime, until it is known which is the fastest."""
    encoders: dict[Runtime, CnnEncoder]
    """At least one, each having seen a video."""


def make_trials(networks: Networks, folder: str) -> tuple[dict[Method, Trial], dict[str, str]]:
    """The methods that worked, and why the others did not; networks are kept in a local `folder`.

    Raises CompressError where none did.
    """
    trials: dict[Method, Trial] = {}
    failed: dict[str, str] = {}
    for method in dict.fromkeys(networks.config.methods):
        try:
            onnx, px = networks.make(method)
            cnn = networks.cnn.model_copy(update={"frame_px": px})
            first = networks.catalogue.clips(px)[:1]
            trials[method] = _trial(join(folder, method), method, onnx, cnn, first)
        except CompressError as error:
            failed[method] = f"{error}. To mend it: {error.mend}"
            networks.say(f"{method} failed: {error}")
            continue
        networks.say(f"{method}: {len(onnx) / 1e6:.1f} MB")
    if not trials:
        method, why = next(iter(failed.items()), ("compress.methods", "none is given"))
        raise CompressError(f"no method worked; {method}: {why}", mend="set other compress.methods")
    return trials, failed


def _trial(uri: str, method: Method, onnx: bytes, cnn: CnnConfig, first: list[Clip]) -> Trial:
    rounded = STEPS[method][1] != "none"
    facts = NetworkFacts(method, cnn.frame_px, 0, RUNTIMES[0], rounded, cnn.weights)
    save_network(uri, onnx, facts)
    encoders: dict[Runtime, CnnEncoder] = {}
    reasons: list[str] = []
    for runtime in RUNTIMES:
        changes = {"weights": COMPRESSED + uri, "backend": runtime}
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
            mend=f"leave {method} out of compress.methods",
        )
    runtime, encoder = next(iter(encoders.items()))
    return Trial(onnx, replace(facts, dim=encoder.dim, runtime=runtime), encoders)
