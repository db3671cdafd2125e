"""The audio encoder: statistics of the log-mel spectrogram, with no trained weights."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import EncodeFailed
from vrec.core.types import Clip, Modality, Vectors, Waveform
from vrec.encoders.digest import encoder_name
from vrec.encoders.vectors import unit_clip_rows

_VERSION = 1
"""Part of the name; raised with every change of the arithmetic, here or in log-mel, that moves vectors."""

SILENCE_PEAK = 1e-3
"""-60 dB of full scale: sound that never swings further says nothing, and counts as absent."""


class AudioEncoderConfig(BaseConfig):
    """How sound becomes a vector."""

    kind: Literal["mel_stats"] = "mel_stats"
    """Which audio encoder this configures."""
    n_coefficients: int = Field(default=20, ge=2, le=64)
    """Cepstral coefficients kept, without the first, which is loudness; more follow pitch, fewer timbre."""


def audible(waveform: Waveform | None) -> bool:
    """Whether there is sound to encode: silence and no audio stream alike are absent."""
    if waveform is None or len(waveform) == 0:
        return False
    # Written so that NaN counts as sound: the encoder then refuses it by name instead of hiding it.
    return not float(np.ptp(waveform)) < 2 * SILENCE_PEAK


def audio_name(config: AudioEncoderConfig) -> str:
    """`audio@` and a digest of the fields that change the vectors; there are no weights."""
    return encoder_name("audio", {"version": _VERSION, **config.model_dump(mode="json")})


class AudioEncoder:
    """Sound to unit vectors: mel-frequency cepstral coefficients and how they move.

    The coefficients are those of Davis & Mermelstein (1980); their deltas follow Furui (1986). They
    tell timbre, not meaning: measured against class labels they are weak, and
    docs/decisions/encoder-weights.md says how weak.
    """

    modality: Modality = "audio"

    def __init__(self, config: AudioEncoderConfig) -> None:
        self.config = config
        self.name = audio_name(config)
        self.dim = 3 * config.n_coefficients

    def encode(self, clips: Sequence[Clip]) -> Vectors:
        """(N, dim) float32 unit rows in the clips' order.

        Raises ValueError for a clip without sound or with silence, and EncodeFailed, naming the
        video, for a vector that is not finite.
        """
        rows = np.empty((len(clips), self.dim), dtype=np.float32)
        for row, clip in zip(rows, clips, strict=True):
            if clip.audio is None or not audible(clip.audio):
                raise ValueError(f"{clip.video_id} has no sound, or only silence: leave it out")
            if not np.isfinite(clip.audio).all():
                raise EncodeFailed(f"{clip.video_id}: its sound has samples that are not finite")
            row[:] = self._embed(clip.audio)
        return unit_clip_rows(rows, clips, self.modality) if clips else rows

    def _embed(self, waveform: Waveform) -> Vectors:
        """(dim,): mean and deviation of each coefficient over time, and deviation of its steps."""
        # torchaudio's import costs seconds and belongs to whoever encodes, not to whoever asks for a name.
        from vrec.media.mel import MelConfig, log_mel

        # Arrays out of an object store are read-only, which torch warns about.
        writable = np.require(waveform, dtype=np.float32, requirements=["C", "W"])
        mel = log_mel(writable, MelConfig())  # (n_mels, T)
        cepstrum = _cosines(mel.shape[0], self.config.n_coefficients) @ mel  # (K, T)
        steps = np.diff(cepstrum, axis=1, prepend=cepstrum[:, :1])
        return np.concatenate([cepstrum.mean(1), cepstrum.std(1), steps.std(1)])


def _cosines(n_mels: int, count: int) -> np.ndarray:
    """(count, n_mels): rows 1..count of the orthonormal DCT-II."""
    orders = np.arange(1, count + 1)[:, None]
    places = (np.arange(n_mels)[None, :] + 0.5) / n_mels
    return np.sqrt(2.0 / n_mels) * np.cos(np.pi * orders * places)
