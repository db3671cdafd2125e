"""A video's sound as mono float32 at 16 kHz, or None where it has no audio stream."""

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
    """How much of the sound is heard."""

    enabled: bool = True
    """Read the sound. Without it every video is silent and costs a little less."""
    max_s: float = Field(default=30.0, gt=0)
    """Seconds of sound read from the start; the rest is never decoded. Bounds memory: 64 kB a second."""
    short_by: float = Field(default=0.1, ge=0, le=1)
    """Sound that ends earlier than the picture by more than this share of it is noted as cut short."""


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    """What was heard: the samples, or None, and a word on what went wrong."""

    samples: Waveform | None
    has_audio: bool
    note: str | None = None


def decode_audio(media: InputContainer, config: AudioConfig, duration_s: float | None) -> DecodedAudio:
    """The sound of an open container from its start, at most `max_s` seconds of it.

    `duration_s` is the picture's, to tell whether the sound is cut short. Never raises for bad
    sound: a video whose sound is broken still has its picture, so the note says what happened.
    """
    streams = media.streams.audio
    if not streams:
        return DecodedAudio(None, has_audio=False)
    if not config.enabled:
        return DecodedAudio(None, has_audio=True)
    limit = int(config.max_s * RATE_HZ)
    parts, trouble = _decode(media, limit)
    samples = np.concatenate(parts)[:limit] if parts else np.empty(0, np.float32)
    if not len(samples):
        return DecodedAudio(None, has_audio=True, note="its sound could not be decoded")
    # A lossy codec overshoots full scale; NaN would poison every vector.
    samples = np.clip(np.nan_to_num(samples, copy=False), -1.0, 1.0)
    want_s = config.max_s if duration_s is None else min(duration_s, config.max_s)
    got_s = len(samples) / RATE_HZ
    if duration_s is not None and got_s < want_s * (1 - config.short_by):
        trouble = f"its sound ends after {got_s:.1f} s of {want_s:.1f} s"
    return DecodedAudio(samples, has_audio=True, note=trouble)


def _decode(media: InputContainer, limit: int) -> tuple[list[Waveform], str | None]:
    stream = media.streams.audio[0]
    stream.codec_context.thread_count = 1
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
    parts: list[Waveform] = []
    count = 0
    broken = 0
    with contextlib.suppress(av.error.FFmpegError):  # a stream that cannot be rewound
        media.seek(0)
    try:
        for packet in media.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                broken += 1
                continue
            for frame in frames:
                frame.pts = None  # gaps in the clock would otherwise make the resampler refuse
                for piece in resampler.resample(frame):
                    parts.append(_samples(piece))
                    count += piece.samples
            if count >= limit:
                return parts, None
        parts += [_samples(piece) for piece in resampler.resample(None)]
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        return parts, f"its sound stops being readable after {count / RATE_HZ:.1f} s ({type(error).__name__})"
    return parts, f"{broken} packets of its sound are damaged" if broken else None


def _samples(piece: av.AudioFrame) -> Waveform:
    return np.asarray(piece.to_ndarray(), np.float32).reshape(-1)
