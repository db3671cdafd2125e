"""What `vrec compress` makes smaller: the network that sees frames, judged by the vectors that come of it."""

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
"""Videos that are encoded at once, as each block's frames are copied into one array."""


@dataclass(frozen=True, slots=True)
class CompressionTarget:
    """A network, and what turns its features of a video's frames into the vector that neighbours are of."""

    cnn: CnnEncoderConfig
    stored: EncoderArtifact | None = None
    """The learned head behind the network, None where its features are pooled."""
    head: LearnedEncoder | None = None
    """The same, ready to run."""

    def vectors(self, encoder: CnnEncoder, clips: Sequence[Clip]) -> Vectors:
        """(N, dim) float32 unit rows of N clips whose frames `encoder` sees, be it the network or another.

        Raises EncodeFailed for a vector that is not finite.
        """
        rows = [self._block(encoder, clips[at : at + _BLOCK]) for at in range(0, len(clips), _BLOCK)]
        return np.concatenate(rows)

    def _block(self, encoder: CnnEncoder, clips: Sequence[Clip]) -> Vectors:
        features = encoder.frame_features(clips)
        if self.head is None:
            return encoder.pooled(features, clips)
        return unit_clip_rows(self.head.encode_parts(features, {}), clips, "frames")


def compression_target(settings: Settings) -> CompressionTarget:
    """What `embed.encoders.frames` runs.

    Raises ConfigError where it runs nothing or something compressed, and as `frames_encoder` does.
    """
    frames = settings.embed.encoders.frames
    if frames is None:
        raise ConfigError(
            "there is nothing to compress: embed.encoders.frames is none",
            fix="give a config in which embed.encoders.frames is a cnn or a gru",
        )
    if isinstance(frames, GruEncoderConfig):
        stored, cnn = resolve_frame_encoder(frames)
        subject = CompressionTarget(cnn, stored, LearnedEncoder.from_artifact(stored, frames.model))
    else:
        subject = CompressionTarget(frames)
    if subject.cnn.weights.startswith(COMPRESSED_PREFIX):
        raise ConfigError(
            f"{subject.cnn.weights} is compressed already", fix="give the weights that it was made of"
        )
    return subject
