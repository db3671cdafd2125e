"""A learned encoder's folder as it lies on disk: who it is, without torch."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vrec.compression.network import load_network, save_network
from vrec.core.artifact import Arrays, ModelArtifact, read_artifact, write_artifact
from vrec.core.errors import ModelError
from vrec.core.tables import join_uri
from vrec.core.types import Modality
from vrec.encoders.backbone import COMPRESSED_PREFIX
from vrec.encoders.digest import encoder_name
from vrec.encoders.fusion import INPUT_MODALITIES

KIND = "encoder"
NETWORK = "network"
"""The subfolder with the compressed network whose features it takes, where it takes those of one."""
FIX = "give a folder that `vrec train encoder --out` wrote"


@dataclass(frozen=True, slots=True)
class EncoderArtifact:
    """What a learned encoder is made of."""

    config: Mapping[str, Any]
    """Its LearnedConfig as JSON values."""
    dims: Mapping[Modality, int]
    """Lengths of the features that it takes, by modality."""
    names: Mapping[Modality, str]
    """The encoders whose features it was trained on, and understands no others."""
    embed: Mapping[str, Any]
    """The EmbedConfig, as JSON values, that made those features; empty where that is not known."""
    weights: Arrays
    data: Mapping[str, Any]
    """What it was trained on."""
    metrics: Mapping[str, float]

    @property
    def kind(self) -> str:
        """The kind of its head, such as "gru"."""
        return str(self.config["kind"])

    @property
    def dim(self) -> int:
        """Length of its vectors: what is learned, and what is kept of the features."""
        kept = self.weights.get("kept.components")
        return int(self.config["dim"]) + (0 if kept is None else kept.shape[1])

    @property
    def name(self) -> str:
        """Its kind and a digest of all that its vectors depend on."""
        parts = {"config": dict(self.config), "dims": dict(self.dims), "names": dict(self.names)}
        return encoder_name(self.kind, parts | {"weights": _digest(self.weights)})

    def incompatibility(self, names: Mapping[Modality, str]) -> str | None:
        """What is wrong with features of encoders of these names, None where it understands them."""
        for modality, name in self.names.items():
            found = names.get(modality)
            if found != name:
                return f"was trained on {modality} of {name}, not of {found or 'none'}"
        return None

    def save(self, uri: str) -> None:
        """Writes the encoder as a folder, with the compressed network below it, if there is one: who moves or
        copies the folder takes all that it needs. Raises ModelError where that network is not there."""
        below, embed = _below(self.embed), self.embed
        if below is not None:
            save_network(join_uri(uri, NETWORK), *load_network(below))
            embed = _on(embed, NETWORK)
        config = {
            "encoder": dict(self.config),
            "dims": dict(self.dims),
            "names": dict(self.names),
            "embed": dict(embed),
        }
        write_artifact(uri, ModelArtifact(KIND, config, self.weights, data=self.data, metrics=self.metrics))


def read_encoder_artifact(uri: str) -> EncoderArtifact:
    """What lies in a learned encoder's folder; raises ModelError where it is not a sound one."""
    found = read_artifact(uri, KIND)
    try:
        config, embed = found.config, found.config["embed"]
        if _below(embed) == NETWORK:
            embed = _on(embed, join_uri(uri, NETWORK))
        stored = EncoderArtifact(
            config["encoder"],
            {m: int(config["dims"][m]) for m in INPUT_MODALITIES if m in config["dims"]},
            {m: str(config["names"][m]) for m in INPUT_MODALITIES if m in config["names"]},
            embed,
            found.arrays,
            found.data,
            found.metrics,
        )
        _ = stored.name, stored.dim
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{uri} is no sound encoder: {error!r} is missing or wrong", fix=FIX) from None
    if not stored.dims or set(stored.dims) != set(stored.names):
        raise ModelError(f"{uri} is no sound encoder: it names no features that it takes", fix=FIX)
    return stored


def _below(embed: Mapping[str, Any]) -> str | None:
    """The folder of the compressed network that makes the features, None where it is another one."""
    weights = ((embed.get("encoders") or {}).get("frames") or {}).get("weights", "")
    return weights.removeprefix(COMPRESSED_PREFIX) if weights.startswith(COMPRESSED_PREFIX) else None


def _on(embed: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """The same EmbedConfig with the compressed network in another folder."""
    encoders = embed["encoders"]
    frames = {**encoders["frames"], "weights": COMPRESSED_PREFIX + folder}
    return {**embed, "encoders": {**encoders, "frames": frames}}


def _digest(arrays: Arrays) -> str:
    found = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
