"""Settings of learned encoders in `vrec embed`, and their resolution to names. Imports no torch."""

from collections.abc import Mapping
from typing import Literal

from pydantic import ValidationError

from vrec.core.config import BaseConfig
from vrec.core.errors import ConfigError
from vrec.core.types import Modality
from vrec.encoders.cnn import CnnEncoderConfig, cnn_name
from vrec.encoders.learned.artifact import EncoderArtifact, read_encoder_artifact


class GruEncoderConfig(BaseConfig):
    """Settings of a learned encoder of frames."""

    kind: Literal["gru"] = "gru"
    """Kind of the frame encoder: a trained head on the features of a network per frame."""
    model: str
    """Folder that `vrec train encoder` wrote, of a head that takes frames only; it also names the network
    whose features it takes. Every worker reads it: give a path or URI that all workers can reach."""


class LearnedFusionConfig(BaseConfig):
    """Settings of a learned fusion of modalities."""

    kind: Literal["learned"] = "learned"
    """Kind of the fusion: a trained head."""
    model: str
    """Folder that `vrec train encoder` wrote, of a gated or vae head. Every worker reads it: give a path or
    URI that all workers can reach."""


def resolve_frame_encoder(config: GruEncoderConfig) -> tuple[EncoderArtifact, CnnEncoderConfig]:
    """Return a learned encoder of frames, and the config of the network whose features it takes.

    Raises:
        ModelError: The folder holds no valid encoder.
        ConfigError: The encoder takes more than frames, or its network is unknown or gives other features
            here than those that it was trained on.
    """
    artifact = read_encoder_artifact(config.model)
    if set(artifact.dims) != {"frames"}:
        raise ConfigError(
            f"{config.model} takes {' and '.join(artifact.dims)}: encoders.frames.model takes frames only",
            fix="train a gru or mean encoder, or give this one as encoders.fusion.model",
        )
    try:
        cnn = CnnEncoderConfig.model_validate(artifact.embed["encoders"]["frames"])
    except (KeyError, TypeError, ValidationError):
        raise ConfigError(
            f"{config.model} does not name the network whose features it takes: it was trained on embeddings",
            fix="train it with `vrec train encoder --videos`",
        ) from None
    if problem := artifact.incompatibility({"frames": cnn_name(cnn)}):
        raise ConfigError(
            f"{config.model} {problem}, which is the name of its network here",
            fix="train it again with this version of vrec and of the library of the network",
        )
    return artifact, cnn


def resolve_learned_fusion(
    config: LearnedFusionConfig, names: Mapping[Modality, str], cnn: str | None
) -> tuple[EncoderArtifact, bool]:
    """Return a learned fusion, and whether it takes the network's features of each frame.

    Args:
        config: Folder of the fusion.
        names: Names of the encoders by modality.
        cnn: Name of the network under the frame encoder; None without one.

    Returns:
        The fusion, and True where it takes the features of the network; otherwise it takes the vectors of the
        frame encoder, if it takes frames at all.

    Raises:
        ModelError: The folder holds no valid encoder.
        ConfigError: The fusion was trained on other encoders.
    """
    artifact = read_encoder_artifact(config.model)
    frame_names = dict(names)
    if cnn is not None:
        frame_names["frames"] = cnn
    if artifact.incompatibility(frame_names) is None:
        return artifact, cnn is not None and "frames" in artifact.dims
    if problem := artifact.incompatibility(names):
        raise ConfigError(
            f"the fusion {config.model} {problem}",
            fix="embed with the encoders that it was trained on, or train it on these",
        )
    return artifact, False
