"""Log-mel pictures of sound, the way audio networks see it."""

from functools import cache

import torch
import torchaudio
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.types import Vectors, Waveform
from vrec.media.audio import RATE_HZ


class MelConfig(BaseConfig):
    """The log-mel spectrogram's resolution."""

    n_mels: int = Field(default=64, ge=8, le=256)
    """Mel bands, the picture's height."""
    window_s: float = Field(default=0.025, gt=0, le=0.2)
    """Seconds of sound under one window: longer separates pitches, shorter separates moments."""
    hop_s: float = Field(default=0.010, gt=0, le=0.1)
    """Seconds from one window to the next, the picture's time step."""
    low_hz: float = Field(default=20.0, ge=0)
    """Lower edge of the lowest band."""
    high_hz: float = Field(default=8_000.0, gt=0, le=RATE_HZ / 2)
    """Upper edge of the highest band; half the sampling rate is all there is."""
    floor_db: float = Field(default=80.0, gt=0)
    """Everything this many decibels below the loudest point is silence."""


def log_mel(audio: Waveform, config: MelConfig) -> Vectors:
    """(n_mels, frames) float32, normalised to mean 0 and deviation 1; frames = samples // hop + 1.

    `audio` is (samples,) float32 at 16 kHz. Loudness does not change the result. Silence gives
    zeros. Raises ValueError for no samples or samples that are not finite.
    """
    samples = torch.from_numpy(audio)
    if samples.ndim != 1 or not len(samples):
        raise ValueError(f"audio has shape {tuple(samples.shape)}, want (samples,) with at least one")
    if not bool(torch.isfinite(samples).all()):
        raise ValueError("audio has samples that are not finite")
    samples = samples - samples.mean()
    peak = samples.abs().max()
    transform = _transform(config.model_dump_json())
    # Scaled to its peak first, so that a quiet recording loses nothing to the power's floor.
    power = transform(_padded(samples / peak if peak > 1e-6 else samples * 0, transform.n_fft))
    decibels = 10 * torch.log10(power.clamp_min(1e-10))
    decibels = decibels.clamp_min(decibels.max() - config.floor_db)
    centred = decibels - decibels.mean()
    deviation = centred.std(correction=0)
    return (centred / deviation if deviation > 1e-6 else torch.zeros_like(centred)).numpy()


@cache
def _transform(settings: str) -> torchaudio.transforms.MelSpectrogram:
    config = MelConfig.model_validate_json(settings)
    window = round(config.window_s * RATE_HZ)
    return torchaudio.transforms.MelSpectrogram(
        sample_rate=RATE_HZ,
        n_fft=1 << (window - 1).bit_length(),
        win_length=window,
        hop_length=round(config.hop_s * RATE_HZ),
        f_min=config.low_hz,
        f_max=config.high_hz,
        n_mels=config.n_mels,
    )


def _padded(samples: torch.Tensor, n_fft: int) -> torch.Tensor:
    """At least as long as the reflection at the ends of a centred transform needs."""
    short = n_fft // 2 + 1 - len(samples)
    return torch.nn.functional.pad(samples, (0, short)) if short > 0 else samples
