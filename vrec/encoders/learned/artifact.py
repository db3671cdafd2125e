"""Folder of a learned encoder on disk, with its name and its inputs; needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vrec.compression.network import load_network, save_network
from vrec.core.artifact import Arrays, ModelArtifact, read_artifact, write_artifact
from vrec.core.errors import ModelError
from vrec.core.types import Modality
from vrec.core.uris import join_uri
from vrec.encoders.backbone import COMPRESSED_PREFIX
from vrec.encoders.digest import arrays_digest, encoder_name
from vrec.encoders.fusion import INPUT_MODALITIES

KIND = "encoder"
NETWORK = "network"
"""Subfolder with the compressed network whose features the encoder takes, if it takes those of one."""
FIX = "give a folder that `vrec train encoder --out` wrote"


@dataclass(frozen=True, slots=True)
class EncoderArtifact:
    """Config, weights and provenance of a learned encoder."""

    config: Mapping[str, Any]
    """Config of its head as JSON values."""
    dims: Mapping[Modality, int]
    """Lengths of its input features by modality."""
    names: Mapping[Modality, str]
    """Names of the encoders whose features it was trained on; it accepts no others."""
    embed: Mapping[str, Any]
    """EmbedConfig, as JSON values, that made those features; empty where it is unknown."""
    weights: Arrays
    """Weights of the head by their names in its state_dict."""
    data: Mapping[str, Any]
    """Description of its training data, for the manifest."""
    metrics: Mapping[str, float]
    """Validation metrics, for the manifest."""

    @property
    def kind(self) -> str:
        """Kind of its head, such as "gru"."""
        return str(self.config["kind"])

    @property
    def dim(self) -> int:
        """Length of its vectors: the learned part and the PCA residual of the features."""
        components = self.weights.get("kept.components")
        return int(self.config["dim"]) + (0 if components is None else components.shape[1])

    @property
    def name(self) -> str:
        """Its kind and a digest of everything that its vectors depend on."""
        parts = {"config": dict(self.config), "dims": dict(self.dims), "names": dict(self.names)}
        return encoder_name(self.kind, parts | {"weights": arrays_digest(self.weights)})

    def incompatibility(self, names: Mapping[Modality, str]) -> str | None:
        """Return why features of encoders with these names cannot be used, None where they can."""
        for modality, name in self.names.items():
            given = names.get(modality)
            if given != name:
                return f"was trained on {modality} of {name}, not of {given or 'none'}"
        return None

    def save(self, uri: str) -> None:
        """Write the encoder as a folder, with a copy of the compressed network that it builds on, if any.

        Raises:
            ModelError: That network is missing.
        """
        network, embed = _network_folder(self.embed), self.embed
        if network is not None:
            save_network(join_uri(uri, NETWORK), *load_network(network))
            embed = _with_network_folder(embed, NETWORK)
        config = {
            "encoder": dict(self.config),
            "dims": dict(self.dims),
            "names": dict(self.names),
            "embed": dict(embed),
        }
        write_artifact(uri, ModelArtifact(KIND, config, self.weights, data=self.data, metrics=self.metrics))


def read_encoder_artifact(uri: str) -> EncoderArtifact:
    """Read the folder of a learned encoder.

    Raises:
        ModelError: The folder is missing or invalid.
    """
    model = read_artifact(uri, KIND)
    try:
        config, embed = model.config, model.config["embed"]
        if _network_folder(embed) == NETWORK:
            embed = _with_network_folder(embed, join_uri(uri, NETWORK))
        artifact = EncoderArtifact(
            config["encoder"],
            {m: int(config["dims"][m]) for m in INPUT_MODALITIES if m in config["dims"]},
            {m: str(config["names"][m]) for m in INPUT_MODALITIES if m in config["names"]},
            embed,
            model.arrays,
            model.data,
            model.metrics,
        )
        _ = artifact.name, artifact.dim
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{uri} is not a valid encoder: {error!r} is missing or wrong", fix=FIX) from None
    if not artifact.dims or set(artifact.dims) != set(artifact.names):
        raise ModelError(f"{uri} is not a valid encoder: it does not name its input features", fix=FIX)
    return artifact


def _network_folder(embed: Mapping[str, Any]) -> str | None:
    """Return the folder of the compressed network that makes the features, None for other networks."""
    weights = ((embed.get("encoders") or {}).get("frames") or {}).get("weights", "")
    return weights.removeprefix(COMPRESSED_PREFIX) if weights.startswith(COMPRESSED_PREFIX) else None


def _with_network_folder(embed: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Return the same EmbedConfig with the compressed network in another folder."""
    encoders = embed["encoders"]
    frames = {**encoders["frames"], "weights": COMPRESSED_PREFIX + folder}
    return {**embed, "encoders": {**encoders, "frames": frames}}
