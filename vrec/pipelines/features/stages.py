"""What workers find in a video for `vrec train encoder`: features a frame, of it and of changed copies."""

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
    """All that a worker needs to know of a run that makes features."""

    features: EncoderFeaturesConfig

    def encoders(self, device: str) -> ClipEncoders:
        """What finds the features, loaded on a device."""
        return FeatureEncoders(self.config.encoders, self.features, device=device)


class FeatureEncoders:
    """Clips to features: of frames (1 + views) · T · D numbers in one row, of sound and text unit vectors."""

    def __init__(
        self, encoders: EncodersConfig, config: EncoderFeaturesConfig, *, device: str = "cpu"
    ) -> None:
        """Loads the network of the frames on a device, and the other encoders; nothing is fused.

        Raises ConfigError when weights cannot be had.
        """
        self.config = config
        self._cnn = CnnEncoder(encoders.cnn, device=device) if encoders.cnn is not None else None
        self._rest = build_encoders(encoders.model_copy(update={"frames": None, "fusion": None}))

    def encode(self, clips: Sequence[Clip]) -> dict[Modality, OptionalVectors]:
        """float32 rows by modality, one entry a clip in order, None where it is absent.

        Raises EncodeFailed, naming the video, for numbers that are not finite, in float16 for frames.
        """
        found = self._rest.encode(clips)
        if self._cnn is not None:
            found["frames"] = [
                None if clip.frames is None else self._frames(self._cnn, clip) for clip in clips
            ]
        return found

    def _frames(self, cnn: CnnEncoder, clip: Clip) -> Vectors:
        assert clip.frames is not None
        seeds = [view_seed(self.config.seed, clip.video_id, view) for view in range(self.config.views)]
        copies = [replace(clip, frames=augment(clip.frames, self.config.augment, seed)) for seed in seeds]
        features = np.stack(cnn.frame_features([clip, *copies]))  # (1 + views, T, D)
        if not np.isfinite(features.astype(np.float16)).all():
            raise EncodeFailed(f"{clip.video_id}: its frames have features that are not finite in float16")
        return features.reshape(-1)


def view_seed(seed: int, video_id: str, view: int) -> int:
    """The seed of a changed copy: its own for each video, and the same in whichever batch it is."""
    return int.from_bytes(hashlib.sha256(f"{seed} {view} {video_id}".encode()).digest()[:8])
