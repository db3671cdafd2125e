"""Learned encoders that `vrec embed` runs: of frames, and the fusion of modalities."""

from collections.abc import Mapping, Sequence

import numpy as np

from vrec.core.types import Clip, Modality, Vectors
from vrec.encoders.cnn import CnnEncoder
from vrec.encoders.learned.artifact import EncoderArtifact
from vrec.encoders.learned.config import GruEncoderConfig, resolve_frame_encoder
from vrec.encoders.learned.encoder import LearnedEncoder
from vrec.encoders.vectors import unit_clip_rows


class LearnedFrameEncoder:
    """Trained encoder from frames to unit vectors; implements `Encoder`. Not to be shared between threads."""

    modality: Modality = "frames"

    def __init__(self, config: GruEncoderConfig, *, device: str = "cpu") -> None:
        """Load the network and the head on a device.

        Raises:
            ConfigError: The folder holds an encoder of more than frames, or its network is not available.
            ModelError: The folder holds no valid encoder.
        """
        artifact, cnn = resolve_frame_encoder(config)
        self.cnn = CnnEncoder(cnn, device=device)
        self._head = LearnedEncoder.from_artifact(artifact, config.model, device=device)
        self.cnn_name = self.cnn.name
        self.name, self.dim = self._head.name, self._head.dim

    def encode(self, clips: Sequence[Clip]) -> Vectors:
        """Return (N, dim) float32 unit rows in the order of the clips; raise as `CnnEncoder.encode` does."""
        return self.pooled(self.cnn.frame_features(clips), clips)

    def frame_features(self, clips: Sequence[Clip]) -> list[Vectors]:
        """Return the network's features of each clip's frames, (T, D) float32; raise as `CnnEncoder` does."""
        return self.cnn.frame_features(clips)

    def pooled(self, features: Sequence[Vectors], clips: Sequence[Clip]) -> Vectors:
        """Return (N, dim) float32 unit rows of clips with these `frame_features`; raise EncodeFailed."""
        return unit_clip_rows(self._head.encode_parts(features, {}), clips, self.modality)


class LearnedFusion:
    """Trained fusion of the modalities of a video into one unit vector."""

    modality: Modality = "fused"

    def __init__(self, artifact: EncoderArtifact, uri: str, *, by_frame: bool, device: str = "cpu") -> None:
        """Load the head of an artifact on a device.

        Args:
            artifact: Artifact read from the folder `uri`.
            uri: Folder, for messages.
            by_frame: Whether it takes a network's features of each frame, or one vector for all frames.
            device: Device of the head.

        Raises:
            ModelError: The artifact is not a valid encoder.
        """
        self._encoder = LearnedEncoder.from_artifact(artifact, uri, device=device)
        self.by_frame = by_frame
        self.name, self.dim = self._encoder.name, self._encoder.dim
        self.inputs: tuple[Modality, ...] = tuple(artifact.dims)
        """Modalities of which a video needs at least one."""

    def fuse(self, parts: Mapping[Modality, Sequence[Vectors | None]]) -> Vectors:
        """Fuse N videos.

        Args:
            parts: N vectors (D,) by modality, None where a video lacks it; of frames, (T, D) features of each
                frame where the fusion is `by_frame`.

        Returns:
            (N, dim) float32 unit rows.

        Raises:
            ValueError: A row has no modality that the fusion takes.
        """
        count = max((len(rows) for rows in parts.values()), default=0)
        absent: list[Vectors | None] = [None] * count
        frames = [None if f is None else np.atleast_2d(f) for f in parts.get("frames", absent)]
        return self._encoder.encode_parts(frames, parts)
