"""Decoding of a video's audio as mono float32 at 16 kHz."""

from dataclasses import dataclass

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.types import Waveform

RATE_HZ = 16_000
MIN_MONO_SHARE = 0.05
"""Least power of two mixed channels as a share of their own; below it, one is the other turned over."""


class AudioConfig(BaseConfig):
    """Settings for decoding audio."""

    enabled: bool = True
    """Decode the audio. Set false to treat every video as silent, which is a little faster."""
    max_s: float = Field(default=30.0, gt=0)
    """Seconds of audio decoded from the start; the rest is ignored. Bounds memory: 128 kB per second."""
    short_by: float = Field(default=0.1, ge=0, le=1)
    """Share of the picture's duration; audio that ends earlier by more than this is noted as cut short."""


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    """Audio of one video: samples or None, and a note on what is wrong with it."""

    samples: Waveform | None
    has_audio: bool
    note: str | None = None
    offset_s: float = 0.0
    """Seconds from the first picture to the first sample; 0 where one of their times is unknown."""


def decode_audio(
    media: InputContainer, config: AudioConfig, duration_s: float | None, starts_s: float | None = None
) -> DecodedAudio:
    """Decode the audio of a container that was not read yet, at most `max_s` seconds from its first sample.

    Never raises for damaged audio, because the picture is still usable; the note says what is wrong. The
    stream is the one that the file marks as default, or the first.

    Args:
        media: Open container at its start. After a seek, sound that precedes the picture would be lost.
        config: Audio settings.
        duration_s: Duration of the picture in seconds, to detect audio that is cut short.
        starts_s: Time of the first picture on the container's clock, in seconds; None where it is unknown.
    """
    if not media.streams.audio:
        return DecodedAudio(None, has_audio=False)
    if not config.enabled:
        return DecodedAudio(None, has_audio=True)
    stream = _default_stream(media)
    limit = int(config.max_s * RATE_HZ)
    read = _read(media, stream, limit)
    if read is None:
        return DecodedAudio(None, has_audio=True, note="its sound could not be decoded")
    # A lossy codec overshoots full scale; NaN would poison every vector.
    channels = np.nan_to_num(read.channels[:, :limit], copy=False)
    samples, cancels = _mono(channels)
    samples = np.clip(samples, -1.0, 1.0)
    note = read.note
    early_s = 0.0 if starts_s is None or read.starts_s is None else starts_s - read.starts_s
    # Clocks that lie further apart than the picture is long are not the same clock.
    early_s = early_s if duration_s is None or abs(early_s) < duration_s else 0.0
    if duration_s is not None and len(samples) < limit:
        ends_s = len(samples) / RATE_HZ - early_s
        expected_s = min(duration_s, config.max_s)
        if ends_s < expected_s * (1 - config.short_by):
            note = f"its sound ends after {ends_s:.1f} s of {expected_s:.1f} s"
    notes = "; ".join(n for n in (cancels, note) if n) or None
    return DecodedAudio(samples, has_audio=True, note=notes, offset_s=-early_s)


def _default_stream(media: InputContainer) -> AudioStream:
    usable = [stream for stream in media.streams.audio if stream.codec_context is not None]
    streams = usable or list(media.streams.audio)
    return next((stream for stream in streams if stream.disposition & Disposition.default), streams[0])


def _mono(channels: npt.NDArray[np.float32]) -> tuple[Waveform, str | None]:
    """Return the mean of channels, (channels, samples), or the loudest where they cancel, with a note."""
    mono = channels.mean(axis=0)
    powers = np.square(channels).mean(axis=1)
    if np.square(mono).mean() >= MIN_MONO_SHARE * powers.mean():
        return mono, None
    return channels[int(powers.argmax())], "its channels cancel each other, so one of them is used"


@dataclass(frozen=True, slots=True)
class _ReadAudio:
    channels: npt.NDArray[np.float32]
    """(channels, samples) at 16 kHz."""
    starts_s: float | None
    """Time of the first sample on the container's clock."""
    note: str | None


def _read(media: InputContainer, stream: AudioStream, limit: int) -> _ReadAudio | None:
    """Return at least `limit` samples where there are that many, or None where there is none."""
    stream.codec_context.thread_count = 1
    # Two channels are mixed here, where it can be seen whether they cancel; FFmpeg mixes more than two.
    channels = 2 if stream.codec_context.channels == 2 else 1
    layout = "stereo" if channels == 2 else "mono"
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=RATE_HZ)
    chunks: list[npt.NDArray[np.float32]] = []
    count = damaged = 0
    starts_s: float | None = None
    note: str | None = None
    try:
        for packet in media.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                damaged += 1
                continue
            for frame in frames:
                starts_s = frame.time if not chunks else starts_s
                frame.pts = None  # gaps in the clock would otherwise make the resampler refuse
                for chunk in resampler.resample(frame):
                    chunks.append(_samples(chunk, channels))
                    count += chunk.samples
            if count >= limit:
                break
        else:
            chunks += [_samples(chunk, channels) for chunk in resampler.resample(None)]
            note = f"{damaged} packets of its sound are damaged" if damaged else None
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError) as error:
        note = f"its sound stops being readable after {count / RATE_HZ:.1f} s ({type(error).__name__})"
    if not sum(chunk.shape[1] for chunk in chunks):
        return None
    return _ReadAudio(np.concatenate(chunks, axis=1), starts_s, note)


def _samples(frame: av.AudioFrame, channels: int) -> npt.NDArray[np.float32]:
    return np.asarray(frame.to_ndarray(), np.float32).reshape(channels, -1)
