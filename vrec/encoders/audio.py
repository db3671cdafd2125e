"""Audio encoder: statistics of the log-mel spectrogram, without trained weights."""

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
"""Part of the name. Raise it with every change of the arithmetic, here or in log-mel, that changes
vectors."""

SILENCE_PEAK = 1e-3
"""-60 dB of full scale: a waveform that never exceeds this amplitude counts as absent."""


class AudioEncoderConfig(BaseConfig):
    """Settings of the audio encoder."""

    kind: Literal["mel_stats"] = "mel_stats"
    """Kind of the audio encoder: statistics of mel-frequency cepstral coefficients."""
    n_coefficients: int = Field(default=20, ge=2, le=64)
    """Number of cepstral coefficients, without the first, which is loudness; more of them follow pitch, fewer
    timbre. The vector has three numbers per coefficient."""


def audible(waveform: Waveform | None) -> bool:
    """Return whether there is sound to encode; silence counts as absent, like a missing audio stream."""
    if waveform is None or len(waveform) == 0:
        return False
    # Written so that NaN counts as sound: the encoder then refuses it by name instead of hiding it.
    return not float(np.ptp(waveform)) < 2 * SILENCE_PEAK


def audio_name(config: AudioEncoderConfig) -> str:
    """Return `audio@` and a digest of the fields that change the vectors; there are no weights."""
    return encoder_name("audio", {"version": _VERSION, **config.model_dump(mode="json")})


class AudioEncoder:
    """Encoder from sound to unit vectors: mel-frequency cepstral coefficients and their changes over time.

    The coefficients are those of Davis & Mermelstein (1980); their deltas follow Furui (1986). They
    describe timbre, not meaning: docs/decisions/encoder-weights.md measures them against class labels.
    """

    modality: Modality = "audio"

    def __init__(self, config: AudioEncoderConfig) -> None:
        self.config = config
        self.name = audio_name(config)
        self.dim = 3 * config.n_coefficients

    def encode(self, clips: Sequence[Clip]) -> Vectors:
        """Encode the sound of clips.

        Returns:
            (N, dim) float32 unit rows in the order of the clips.

        Raises:
            ValueError: A clip has no sound, or only silence.
            EncodeFailed: The samples or the vector of a video, which is named, are not finite.
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
        """Return (dim,): mean and deviation of each coefficient over time, and deviation of its deltas."""
        # Imported here because torchaudio takes seconds to import, and names do not need it.
        from vrec.media.mel import MelConfig, log_mel

        # Arrays out of an object store are read-only, which torch warns about.
        writable = np.require(waveform, dtype=np.float32, requirements=["C", "W"])
        mel = log_mel(writable, MelConfig())  # (n_mels, T)
        cepstrum = _dct_basis(mel.shape[0], self.config.n_coefficients) @ mel  # (K, T)
        deltas = np.diff(cepstrum, axis=1, prepend=cepstrum[:, :1])
        return np.concatenate([cepstrum.mean(1), cepstrum.std(1), deltas.std(1)])


def _dct_basis(n_mels: int, count: int) -> np.ndarray:
    """Return (count, n_mels): rows 1 to `count` of the orthonormal DCT-II."""
    orders = np.arange(1, count + 1)[:, None]
    positions = (np.arange(n_mels)[None, :] + 0.5) / n_mels
    return np.sqrt(2.0 / n_mels) * np.cos(np.pi * orders * positions)
