"""Learned encoders as `vrec embed` runs them: of frames, and the fusion of modalities."""

from collections.abc import Mapping, Sequence

import numpy as np

from vrec.core.types import Clip, Modality, Vectors
from vrec.encoders.cnn import CnnEncoder
from vrec.encoders.learned.artifact import EncoderArtifact
from vrec.encoders.learned.config import GruEncoderConfig, resolve_frame_encoder
from vrec.encoders.learned.encoder import LearnedEncoder
from vrec.encoders.vectors import unit_clip_rows


class LearnedFrameEncoder:
    """Frames to unit vectors by a trained head; implements `Encoder`. Not to be shared between threads."""

    modality: Modality = "frames"

    def __init__(self, config: GruEncoderConfig, *, device: str = "cpu") -> None:
        """Loads the network and the head on a device.

        Raises ConfigError or ModelError where the folder holds no sound encoder of frames alone.
        """
        stored, cnn = resolve_frame_encoder(config)
        self.cnn = CnnEncoder(cnn, device=device)
        self._head = LearnedEncoder.from_artifact(stored, config.model, device=device)
        self.cnn_name = self.cnn.name
        self.name, self.dim = self._head.name, self._head.dim

    def encode(self, clips: Sequence[Clip]) -> Vectors:
        """(N, dim) float32 unit rows in the order of the clips; raises as `CnnEncoder.encode` does."""
        return self.pooled(self.cnn.frame_features(clips), clips)

    def frame_features(self, clips: Sequence[Clip]) -> list[Vectors]:
        """The network's features of each clip's frames, (T, D) float32; raises as `CnnEncoder` does."""
        return self.cnn.frame_features(clips)

    def pooled(self, features: Sequence[Vectors], clips: Sequence[Clip]) -> Vectors:
        """(N, dim) float32 unit rows of clips whose `frame_features` these are; raises EncodeFailed."""
        return unit_clip_rows(self._head.encode_parts(features, {}), clips, self.modality)


class LearnedFusion:
    """What the modalities' encoders give to one unit vector a video, by a trained head."""

    modality: Modality = "fused"

    def __init__(self, stored: EncoderArtifact, uri: str, *, by_frame: bool, device: str = "cpu") -> None:
        """With `by_frame` it takes a network's features of each frame, else one vector for all of them.

        Raises ModelError where what was read from the folder `uri` is no sound encoder.
        """
        self._encoder = LearnedEncoder.from_artifact(stored, uri, device=device)
        self.by_frame = by_frame
        self.name, self.dim = self._encoder.name, self._encoder.dim
        self.inputs: tuple[Modality, ...] = tuple(stored.dims)
        """The modalities of which a video needs one."""

    def fuse(self, parts: Mapping[Modality, Sequence[Vectors | None]]) -> Vectors:
        """(N, dim) float32 unit rows from N vectors, or None where absent, for every modality.

        Of frames, (T, D) features of each where it is `by_frame`. Raises ValueError for a row with nothing
        that it takes.
        """
        count = max((len(rows) for rows in parts.values()), default=0)
        nothing: list[Vectors | None] = [None] * count
        frames = [None if f is None else np.atleast_2d(f) for f in parts.get("frames", nothing)]
        return self._encoder.encode_parts(frames, parts)
