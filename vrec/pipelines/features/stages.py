"""Encoders for `vrec train encoder` on workers: features per frame, of a video and of augmented copies."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vrec.config.train_encoder import EncoderFeaturesConfig
from vrec.core.errors import EncodeFailed
from vrec.core.types import Clip, Modality, Vectors
from vrec.encoders.build import EncodersConfig, OptionalVectors, build_encoders
from vrec.encoders.cnn import CnnEncoder
from vrec.media.augment import augment
from vrec.pipelines.embed.stages import ClipEncoders, EmbedJob


@dataclass(frozen=True, slots=True)
class FeatureJob(EmbedJob):
    """Description of a run that computes features, for its workers."""

    features: EncoderFeaturesConfig

    def encoders(self, device: str) -> ClipEncoders:
        """Load the encoders on a device, `cpu` or `cuda`."""
        return FeatureEncoders(self.config.encoders, self.features, device=device)


class FeatureEncoders:
    """Encoders of features: (1 + views) · T · D numbers for frames, unit vectors for sound and text."""

    def __init__(
        self, encoders: EncodersConfig, config: EncoderFeaturesConfig, *, device: str = "cpu"
    ) -> None:
        """Load the network of the frames on a device, and the other encoders; nothing is fused.

        Raises ConfigError when weights are not available.
        """
        self.config = config
        self._cnn = CnnEncoder(encoders.cnn, device=device) if encoders.cnn is not None else None
        self._rest = build_encoders(encoders.model_copy(update={"frames": None, "fusion": None}))

    def encode(self, clips: Sequence[Clip]) -> dict[Modality, OptionalVectors]:
        """Return float32 rows by modality, one entry per clip in order, None where it is absent.

        Raises EncodeFailed, naming the video, for numbers that are not finite (for frames: in float16).
        """
        vectors = self._rest.encode(clips)
        if self._cnn is not None:
            vectors["frames"] = [
                None if clip.frames is None else self._frames(self._cnn, clip) for clip in clips
            ]
        return vectors

    def _frames(self, cnn: CnnEncoder, clip: Clip) -> Vectors:
        assert clip.frames is not None
        seeds = [view_seed(self.config.seed, clip.video_id, view) for view in range(self.config.views)]
        copies = [replace(clip, frames=augment(clip.frames, self.config.augment, seed)) for seed in seeds]
        features = np.stack(cnn.frame_features([clip, *copies]))  # (1 + views, T, D)
        with np.errstate(over="ignore"):
            storable = np.isfinite(features.astype(np.float16)).all()
        if not storable:
            raise EncodeFailed(f"{clip.video_id}: its frames have features that are not finite in float16")
        return features.reshape(-1)


def view_seed(seed: int, video_id: str, view: int) -> int:
    """Return the seed of an augmented copy: different for each video and view, the same in any batch."""
    return int.from_bytes(hashlib.sha256(f"{seed} {view} {video_id}".encode()).digest()[:8])
