"""Log-mel spectrograms, the input of audio networks."""

from functools import cache

import torch
import torchaudio
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.types import Vectors, Waveform
from vrec.media.audio import RATE_HZ


class MelConfig(BaseConfig):
    """Settings of the log-mel spectrogram."""

    n_mels: int = Field(default=64, ge=8, le=256)
    """Number of mel bands, the height of the spectrogram."""
    window_s: float = Field(default=0.025, gt=0, le=0.2)
    """Window length in seconds. Longer resolves pitch better, shorter resolves time better."""
    hop_s: float = Field(default=0.010, gt=0, le=0.1)
    """Seconds from one window to the next, the time step of the spectrogram."""
    low_hz: float = Field(default=20.0, ge=0)
    """Lower edge of the lowest band in Hz."""
    high_hz: float = Field(default=8_000.0, gt=0, le=RATE_HZ / 2)
    """Upper edge of the highest band in Hz, at most half the sampling rate."""
    floor_db: float = Field(default=80.0, gt=0)
    """Dynamic range in decibels below the loudest point; quieter values are raised to this floor."""


def log_mel(audio: Waveform, config: MelConfig) -> Vectors:
    """Return the log-mel spectrogram, normalized to mean 0 and standard deviation 1.

    Loudness does not change the result. Silence gives zeros.

    Args:
        audio: (samples,) float32 at 16 kHz.
        config: Resolution.

    Returns:
        (n_mels, samples // hop + 1) float32.

    Raises:
        ValueError: There are no samples, or some are not finite.
    """
    samples = torch.from_numpy(audio)
    if samples.ndim != 1 or not len(samples):
        raise ValueError(f"audio has shape {tuple(samples.shape)}, want (samples,) with at least one")
    if not bool(torch.isfinite(samples).all()):
        raise ValueError("audio has samples that are not finite")
    samples = samples - samples.mean()
    peak = samples.abs().max()
    transform = _transform(config.model_dump_json())
    # Scaled to its peak first, so that the power's floor takes nothing from a quiet recording.
    power = transform(_pad(samples / peak if peak > 1e-6 else samples * 0, transform.n_fft))
    decibels = 10 * torch.log10(power.clamp_min(1e-10))
    decibels = decibels.clamp_min(decibels.max() - config.floor_db)
    centered = decibels - decibels.mean()
    deviation = centered.std(correction=0)
    return (centered / deviation if deviation > 1e-6 else torch.zeros_like(centered)).numpy()


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


def _pad(samples: torch.Tensor, n_fft: int) -> torch.Tensor:
    """Pad with zeros to the length that the reflection at the ends of a centered transform needs."""
    short = n_fft // 2 + 1 - len(samples)
    return torch.nn.functional.pad(samples, (0, short)) if short > 0 else samples
