"""A compressed network on disk: one ONNX graph under a manifest that says what it takes and gives."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Literal

from vrec.core.artifact import ModelArtifact, read_artifact, write_artifact
from vrec.core.digest import digest
from vrec.core.errors import ModelError

KIND = "network"
_FILE = "network.onnx"

Runtime = Literal["openvino", "onnxruntime"]
RUNTIMES: tuple[Runtime, ...] = ("openvino", "onnxruntime")


@dataclass(frozen=True, slots=True)
class CompressedNetworkInfo:
    """What must be known of a network to run it and to name it."""

    method: str
    """How it was made, such as `student+static`."""
    frame_px: int
    """Pixels a side of the pictures that it takes."""
    dim: int
    """Length of the features that it gives."""
    runtime: Runtime
    """What ran it fastest on the machine that made it."""
    rounded: bool
    """Whether it computes in int8: then each runtime, and each kind of processor, rounds in its own way."""
    teacher: str
    """The weights that it stands in for."""


def save_network(
    uri: str,
    onnx: bytes,
    facts: CompressedNetworkInfo,
    *,
    data: dict[str, Any] | None = None,
    metrics: dict[str, float] | None = None,
) -> None:
    """Writes the folder; `data` says what it was made from. Raises OutputError."""
    blobs = {_FILE: onnx}
    write_artifact(
        uri, ModelArtifact(KIND, asdict(facts), blobs=blobs, data=data or {}, metrics=metrics or {})
    )


def load_network(uri: str) -> tuple[bytes, CompressedNetworkInfo]:
    """The ONNX graph and the facts of a folder; raises ModelError where it is not a sound one."""
    found = read_artifact(uri, KIND)
    return found.blobs[_FILE], _facts(uri, found)


def network_info(uri: str) -> tuple[str, CompressedNetworkInfo]:
    """A digest of the network and its facts, for its name; raises ModelError as `load_network`."""
    onnx, facts = load_network(uri)
    return digest({"onnx": hashlib.sha256(onnx).hexdigest(), **asdict(facts)}), facts


def _facts(uri: str, found: ModelArtifact) -> CompressedNetworkInfo:
    try:
        facts = CompressedNetworkInfo(**found.config)
    except TypeError as error:
        raise ModelError(f"{uri}: its manifest is of another version of vrec ({error})", fix=_FIX) from None
    if facts.runtime not in RUNTIMES:
        raise ModelError(f"{uri}: it wants the unknown runtime {facts.runtime}", fix=_FIX)
    return facts


_FIX = "make it again with `vrec compress`"
