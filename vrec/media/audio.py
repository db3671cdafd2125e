"""Decoding of a video's audio as mono float32 at 16 kHz."""

import contextlib
from dataclasses import dataclass

import av
import av.error
import numpy as np
from av.container import InputContainer
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.types import Waveform

RATE_HZ = 16_000


class AudioConfig(BaseConfig):
    """Settings for decoding audio."""

    enabled: bool = True
    """Decode the audio. Set false to treat every video as silent, which is a little faster."""
    max_s: float = Field(default=30.0, gt=0)
    """Seconds of audio decoded from the start; the rest is ignored. Bounds memory: 64 kB per second."""
    short_by: float = Field(default=0.1, ge=0, le=1)
    """Share of the picture's duration; audio that ends earlier by more than this is noted as cut short."""


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    """Audio of one video: samples or None, and a note on what is wrong with it."""

    samples: Waveform | None
    has_audio: bool
    note: str | None = None


def decode_audio(media: InputContainer, config: AudioConfig, duration_s: float | None) -> DecodedAudio:
    """Decode the audio of an open container from its start, at most `max_s` seconds.

    Never raises for damaged audio, because the picture is still usable; the note says what is wrong.

    Args:
        media: Open container.
        config: Audio settings.
        duration_s: Duration of the picture in seconds, to detect audio that is cut short.
    """
    streams = media.streams.audio
    if not streams:
        return DecodedAudio(None, has_audio=False)
    if not config.enabled:
        return DecodedAudio(None, has_audio=True)
    limit = int(config.max_s * RATE_HZ)
    chunks, note = _decode(media, limit)
    samples = np.concatenate(chunks)[:limit] if chunks else np.empty(0, np.float32)
    if not len(samples):
        return DecodedAudio(None, has_audio=True, note="its sound could not be decoded")
    # A lossy codec overshoots full scale; NaN would poison every vector.
    samples = np.clip(np.nan_to_num(samples, copy=False), -1.0, 1.0)
    audio_s = len(samples) / RATE_HZ
    if duration_s is not None:
        expected_s = min(duration_s, config.max_s)
        if audio_s < expected_s * (1 - config.short_by):
            note = f"its sound ends after {audio_s:.1f} s of {expected_s:.1f} s"
    return DecodedAudio(samples, has_audio=True, note=note)


def _decode(media: InputContainer, limit: int) -> tuple[list[Waveform], str | None]:
    stream = media.streams.audio[0]
    stream.codec_context.thread_count = 1
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
    chunks: list[Waveform] = []
    count = 0
    damaged = 0
    with contextlib.suppress(av.error.FFmpegError):  # a stream that cannot be rewound
        media.seek(0)
    try:
        for packet in media.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                damaged += 1
                continue
            for frame in frames:
                frame.pts = None  # gaps in the clock would otherwise make the resampler refuse
                for chunk in resampler.resample(frame):
                    chunks.append(_samples(chunk))
                    count += chunk.samples
            if count >= limit:
                return chunks, None
        chunks += [_samples(chunk) for chunk in resampler.resample(None)]
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        return (
            chunks,
            f"its sound stops being readable after {count / RATE_HZ:.1f} s ({type(error).__name__})",
        )
    return chunks, f"{damaged} packets of its sound are damaged" if damaged else None


def _samples(frame: av.AudioFrame) -> Waveform:
    return np.asarray(frame.to_ndarray(), np.float32).reshape(-1)
