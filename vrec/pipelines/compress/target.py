"""Target of `vrec compress`: the network that encodes frames, and the vectors from its features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vrec.config.settings import Settings
from vrec.core.errors import ConfigError
from vrec.core.types import Clip, Vectors
from vrec.encoders.backbone import COMPRESSED_PREFIX
from vrec.encoders.cnn import CnnEncoder, CnnEncoderConfig
from vrec.encoders.learned.artifact import EncoderArtifact
from vrec.encoders.learned.config import GruEncoderConfig, resolve_frame_encoder
from vrec.encoders.learned.encoder import LearnedEncoder
from vrec.encoders.vectors import unit_clip_rows

_BLOCK = 32
"""Videos encoded at once: the frames of a block are copied into one array."""


@dataclass(frozen=True, slots=True)
class CompressionTarget:
    """Network for frames, and the head that turns its features into the vectors that are compared."""

    cnn: CnnEncoderConfig
    artifact: EncoderArtifact | None = None
    """Learned head on top of the network, None where features are pooled."""
    head: LearnedEncoder | None = None
    """The same head, loaded."""

    def vectors(self, encoder: CnnEncoder, clips: Sequence[Clip]) -> Vectors:
        """Return (N, dim) float32 unit rows of N clips, with features of `encoder`, the network or another.

        Raises EncodeFailed for a vector that is not finite.
        """
        blocks = [self._block(encoder, clips[i : i + _BLOCK]) for i in range(0, len(clips), _BLOCK)]
        return np.concatenate(blocks)

    def _block(self, encoder: CnnEncoder, clips: Sequence[Clip]) -> Vectors:
        features = encoder.frame_features(clips)
        if self.head is None:
            return encoder.pooled(features, clips)
        return unit_clip_rows(self.head.encode_parts(features, {}), clips, "frames")


def compression_target(settings: Settings) -> CompressionTarget:
    """Return the network of `embed.encoders.frames`, with its learned head if there is one.

    Raises ConfigError for no network or a compressed one, and what `resolve_frame_encoder` raises.
    """
    frames = settings.embed.encoders.frames
    if frames is None:
        raise ConfigError(
            "there is nothing to compress: embed.encoders.frames is none",
            fix="give a config in which embed.encoders.frames is a cnn or a gru",
        )
    if isinstance(frames, GruEncoderConfig):
        artifact, cnn = resolve_frame_encoder(frames)
        target = CompressionTarget(cnn, artifact, LearnedEncoder.from_artifact(artifact, frames.model))
    else:
        target = CompressionTarget(frames)
    if target.cnn.weights.startswith(COMPRESSED_PREFIX):
        raise ConfigError(
            f"{target.cnn.weights} is compressed already", fix="give the weights that it was made from"
        )
    return target
