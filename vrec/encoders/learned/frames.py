"""A learned encoder of frames as `vrec embed` runs it: a network a frame, and a head over them in order."""

from collections.abc import Sequence

from vrec.core.protocols import Clip, Modality, Vectors
from vrec.encoders.cnn import CnnEncoder
from vrec.encoders.learned.config import GruConfig, frames_encoder
from vrec.encoders.learned.encoder import LearnedEncoder
from vrec.encoders.vectors import unit_clip_rows


class LearnedFrames:
    """Frames to unit vectors by a trained head; implements `Encoder`. Not to be shared between threads."""

    modality: Modality = "frames"

    def __init__(self, config: GruConfig, *, device: str = "cpu") -> None:
        """Loads the network and the head on a device.

        Raises ConfigError or ModelError where the folder holds no sound encoder of frames alone.
        """
        stored, cnn = frames_encoder(config)
        self.cnn = CnnEncoder(cnn, device=device)
        self._head = LearnedEncoder.of(stored, config.model, device=device)
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
