"""Compressed network on disk: an ONNX graph, and a manifest that describes its input and output."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Literal

from vrec.core.artifact import ModelArtifact, read_artifact, write_artifact
from vrec.core.digest import digest
from vrec.core.errors import ModelError

KIND = "network"
_FILE = "network.onnx"
_FIX = "make it again with `vrec compress`"

Runtime = Literal["openvino", "onnxruntime"]
RUNTIMES: tuple[Runtime, ...] = ("openvino", "onnxruntime")


@dataclass(frozen=True, slots=True)
class CompressedNetworkInfo:
    """Description of a network, as needed to run and to name it."""

    method: str
    """Method that made it, such as `student_static`."""
    frame_px: int
    """Pixels per side of its input pictures."""
    dim: int
    """Length of its output features."""
    runtime: Runtime
    """Fastest runtime on the machine that made it."""
    rounded: bool
    """Whether it computes in int8, where runtimes and kinds of processors round differently."""
    teacher: str
    """Weights of the network that it replaces."""


def save_network(
    uri: str,
    onnx: bytes,
    info: CompressedNetworkInfo,
    *,
    data: dict[str, Any] | None = None,
    metrics: dict[str, float] | None = None,
) -> None:
    """Write a network as a folder.

    Args:
        uri: Folder.
        onnx: Serialized ONNX graph.
        info: Description of the network.
        data: Description of its training data, for the manifest.
        metrics: Its quality and speed, for the manifest.

    Raises:
        OutputError: The folder cannot be written.
    """
    blobs = {_FILE: onnx}
    write_artifact(
        uri, ModelArtifact(KIND, asdict(info), blobs=blobs, data=data or {}, metrics=metrics or {})
    )


def load_network(uri: str) -> tuple[bytes, CompressedNetworkInfo]:
    """Load the ONNX graph and the description from a folder; raise ModelError where it is invalid."""
    artifact = read_artifact(uri, KIND)
    return artifact.blobs[_FILE], _parse_info(uri, artifact)


def network_info(uri: str) -> tuple[str, CompressedNetworkInfo]:
    """Return a digest of the network and its description; raise ModelError as `load_network`."""
    onnx, info = load_network(uri)
    return digest({"onnx": hashlib.sha256(onnx).hexdigest(), **asdict(info)}), info


def _parse_info(uri: str, artifact: ModelArtifact) -> CompressedNetworkInfo:
    try:
        info = CompressedNetworkInfo(**artifact.config)
    except TypeError as error:
        raise ModelError(f"{uri}: its manifest is of another version of vrec ({error})", fix=_FIX) from None
    if info.runtime not in RUNTIMES:
        raise ModelError(f"{uri}: it needs the unknown runtime {info.runtime}", fix=_FIX)
    return info
