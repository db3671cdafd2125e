"""Encoder of the moments of videos, by the encoders of whole videos and perhaps a joint one."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vrec.core.errors import EncodeFailed
from vrec.core.types import Clip, Modality, Vectors
from vrec.encoders.build import EncoderSet, OptionalVectors
from vrec.encoders.moments.config import JointEncoderConfig, MomentsConfig
from vrec.encoders.moments.vectors import MinuteBudget, MomentVectors
from vrec.media.moments.decoded import DecodedMoments
from vrec.media.moments.spans import Spans

if TYPE_CHECKING:
    from vrec.encoders.moments.joint import JointEncoder

MOMENT_MODALITIES: tuple[Modality, ...] = ("frames", "audio", "text")
"""Modalities of which moments have vectors."""
SHARES: Mapping[Modality, float] = {"audio": 0.125, "text": 0.375, "frames": 1.0}
"""Most of the bytes left in a minute that a modality takes, in their order."""


def moment_encoder_names(config: MomentsConfig | None, names: Mapping[Modality, str]) -> dict[Modality, str]:
    """Return the name of the encoder of each modality's moments; none without settings.

    Args:
        config: Settings of moments.
        names: Names of the encoders of whole videos.

    Raises:
        ConfigError: The weights of the joint encoder are missing.
    """
    if config is None:
        return {}
    found: dict[Modality, str] = {
        modality: names[modality] for modality in MOMENT_MODALITIES if modality in names
    }
    if config.joint is not None:
        from vrec.encoders.moments.joint import joint_name

        found["frames"] = joint_name(config.joint)
    return found


class MomentEncoder:
    """Encoder of moments. Not to be shared between threads."""

    def __init__(self, encoders: EncoderSet, config: MomentsConfig, device: str = "cpu") -> None:
        """Take the encoders of whole videos, and load the joint one if there is one.

        Raises:
            ConfigError: The weights of the joint encoder are missing.
        """
        self._encoders, self._config = encoders, config
        self.names = moment_encoder_names(config, encoders.names)
        self.joint = None if config.joint is None else _load_joint(config.joint, device)

    def encode(self, video_id: str, moments: DecodedMoments) -> dict[Modality, MomentVectors]:
        """Return the vectors of a video's moments by modality; what cannot be encoded is left out."""
        frames = [] if moments.frames is None else list(moments.frames)
        sounds = [moments.sound_of(number) for number in range(len(moments.sound_spans))]
        clips: dict[Modality, list[Clip]] = {
            "audio": [Clip(video_id, audio=sound) for sound in sounds],
            "text": [Clip(video_id, text=cue.text) for cue in moments.cues],
            "frames": [Clip(video_id, frames=frame[None]) for frame in frames],
        }
        cue_spans = np.array([(cue.start_s, cue.end_s) for cue in moments.cues]).reshape(-1, 2)
        spans: dict[Modality, Spans] = {
            "audio": moments.sound_spans, "text": cue_spans, "frames": moments.spans
        }  # fmt: skip
        budget = MinuteBudget(self._config.kb_per_minute * 1000)
        id_bytes = len(video_id.encode())
        found: dict[Modality, MomentVectors] = {}
        for modality, share in SHARES.items():
            texts = [clip.text for clip in clips[modality]]
            made = _present(self._rows(modality, clips[modality]), spans[modality], texts)
            if made is not None:
                found[modality] = made.bounded(budget, id_bytes, share)
        return found

    def _rows(self, modality: Modality, clips: Sequence[Clip]) -> OptionalVectors:
        try:
            return self._encode(modality, clips)
        except (EncodeFailed, ValueError, RuntimeError):
            # One moment at a time, so that only the bad ones are lost.
            return [self._row(modality, clip) for clip in clips]

    def _row(self, modality: Modality, clip: Clip) -> Vectors | None:
        try:
            return self._encode(modality, [clip])[0]
        except (EncodeFailed, ValueError, RuntimeError):
            return None

    def _encode(self, modality: Modality, clips: Sequence[Clip]) -> OptionalVectors:
        if modality == "frames" and self.joint is not None:
            return list(
                self.joint.pictures(np.concatenate([c.frames for c in clips if c.frames is not None]))
            )
        return self._encoders.encode_modality(modality, clips)


def _load_joint(config: JointEncoderConfig, device: str) -> "JointEncoder":
    # Imports torch, which encoding with OpenVINO alone does not need.
    from vrec.encoders.moments.joint import JointEncoder

    return JointEncoder(config, device=device)


def _present(rows: OptionalVectors, spans: Spans, texts: Sequence[str | None]) -> MomentVectors | None:
    places = [place for place, row in enumerate(rows) if row is not None]
    if not places:
        return None
    kept = np.stack([row for row in rows if row is not None])
    return MomentVectors(spans[places], kept, tuple(texts[place] for place in places))
