"""How `vrec embed` is told of learned encoders, and their names. Nothing here imports torch."""

from collections.abc import Mapping
from typing import Literal

from pydantic import ValidationError

from vrec.core.config import BaseConfig
from vrec.core.errors import ConfigError
from vrec.core.types import Modality
from vrec.encoders.cnn import CnnEncoderConfig, cnn_name
from vrec.encoders.learned.artifact import EncoderArtifact, read_encoder_artifact


class GruEncoderConfig(BaseConfig):
    """A learned encoder of frames."""

    kind: Literal["gru"] = "gru"
    """Which frame encoder this configures: a head on the features of a network a frame."""
    model: str
    """The folder that `vrec train encoder` wrote, of a head that takes frames alone. It brings with it which
    network's features it takes. Every worker reads it: give a path or URI that all can reach."""


class LearnedFusionConfig(BaseConfig):
    """A learned fusion of modalities."""

    kind: Literal["learned"] = "learned"
    """Fusion by a trained head."""
    model: str
    """The folder that `vrec train encoder` wrote, of a gated or vae head. Every worker reads it: give a path
    or URI that all can reach."""


def resolve_frame_encoder(config: GruEncoderConfig) -> tuple[EncoderArtifact, CnnEncoderConfig]:
    """What lies in the folder of a learned encoder of frames, and the network below it.

    Raises ModelError for a folder that holds no sound encoder, and ConfigError for one that takes more than
    frames, or whose network is not known or gives other features here than those that it was trained on.
    """
    stored = read_encoder_artifact(config.model)
    if set(stored.dims) != {"frames"}:
        taken = " and ".join(stored.dims)
        raise ConfigError(
            f"{config.model} takes {taken}: encoders.frames.model wants frames alone",
            fix="train a gru or mean encoder, or give this one as encoders.fusion.model",
        )
    try:
        cnn = CnnEncoderConfig.model_validate(stored.embed["encoders"]["frames"])
    except (KeyError, TypeError, ValidationError):
        raise ConfigError(
            f"{config.model} does not say which network's features it takes: it was trained on embeddings",
            fix="train it with `vrec train encoder --videos`",
        ) from None
    if problem := stored.incompatibility({"frames": cnn_name(cnn)}):
        raise ConfigError(
            f"{config.model} {problem}, which is what its network is here",
            fix="train it again with this version of vrec and of the network's library",
        )
    return stored, cnn


def resolve_learned_fusion(
    config: LearnedFusionConfig, names: Mapping[Modality, str], cnn: str | None
) -> tuple[EncoderArtifact, bool]:
    """What lies in the folder of a learned fusion, and whether it takes the CNN's features of the frames.

    `names` are the modalities' encoders and `cnn` the network below that of frames, None without one. Where
    it does not take that network's features, it takes the frames' vectors. Raises ModelError for a folder
    that holds no sound encoder, and ConfigError for one that was trained on other encoders.
    """
    stored = read_encoder_artifact(config.model)
    below = dict(names)
    if cnn is not None:
        below["frames"] = cnn
    if stored.incompatibility(below) is None:
        return stored, cnn is not None and "frames" in stored.dims
    if problem := stored.incompatibility(names):
        raise ConfigError(
            f"the fusion {config.model} {problem}",
            fix="embed with the encoders that it was trained on, or train it on these",
        )
    return stored, False
