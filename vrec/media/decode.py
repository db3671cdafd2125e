"""A video's sampled frames, sound and fingerprint: `decode` turns a path or bytes into them."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, assert_never

import av.error
import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import DecodeCrashed, NoFrames, UnreadableVideo
from vrec.core.types import Frames, Waveform
from vrec.media.audio import AudioConfig, decode_audio
from vrec.media.decoders.container import OpenVideo, open_video
from vrec.media.decoders.decord_decoder import DecordDecoder, decord_unsafe_reason
from vrec.media.decoders.frames import DecodeConfig, DecodedFrames, DecoderName
from vrec.media.decoders.pyav_decoder import PyAvDecoder
from vrec.media.fingerprint import phash
from vrec.media.frame_sampling import FrameSamplingConfig, Indices, sample_indices
from vrec.media.quality import QualityConfig, check_length, check_picture

__all__ = ["DecodeConfig", "DecodedVideo", "MediaConfig", "VideoDecoder", "decode"]


class MediaConfig(BaseConfig):
    """All that turns bytes into a clip."""

    sample: FrameSamplingConfig = Field(default_factory=FrameSamplingConfig)
    """Which frames stand for the video."""
    decode: DecodeConfig = Field(default_factory=DecodeConfig)
    """How they are decoded and what that may cost."""
    audio: AudioConfig = Field(default_factory=AudioConfig)
    """How much of the sound is heard."""
    quality: QualityConfig = Field(default_factory=QualityConfig)
    """Which videos are refused although they decode."""


@dataclass(frozen=True, slots=True)
class DecodedVideo:
    """What one video gave."""

    frames: Frames
    """(T, S, S, 3) uint8 RGB, upright, in time order; 1 ≤ T ≤ sample.frames."""
    times_s: npt.NDArray[np.float64]
    """(T,) float64, seconds since the video's first frame."""
    width: int
    """Pixels across of the picture as it is shown: upright, with square pixels."""
    height: int
    """Pixels down of the picture as it is shown."""
    fps: float | None
    """Mean frames a second, from the frames' own times; None where there is only one."""
    duration_s: float | None
    """Seconds from the first frame to the end of the last, as found, not as the header says."""
    decoder: DecoderName
    """Which decoder read the frames."""
    note: str | None
    """Why the second decoder was taken, what is cut short or damaged; None where all is well."""
    audio: Waveform | None
    """(samples,) float32 mono at 16 kHz in [-1, 1]; None where there is no sound to be had."""
    has_audio: bool
    """Whether the file has an audio stream, heard or not."""
    phash: str
    """Perceptual hash, 64 hex digits."""
    decode_s: float
    """Seconds of wall time that this took."""


class VideoDecoder(Protocol):
    """Reads frames by their number in the order of display."""

    name: DecoderName

    def read(self, media: OpenVideo, indices: Indices, config: DecodeConfig) -> DecodedFrames:
        """The frames at `indices` that decode. Raises UnreadableVideo or NoFrames."""
        ...


def decode(source: str | Path | bytes, config: MediaConfig) -> DecodedVideo:
    """The sampled frames, sound and fingerprint of one video, decoded in this process.

    `source` is a path to a regular file, or a file's bytes. Raises a VideoError that names the
    reason: see `vrec.core.errors`. A file that hangs or crashes the decoder does so to this
    process; `vrec.media.decode_process` decodes in a process of its own.
    """
    begun = time.perf_counter()
    try:
        with open_video(source, config.decode) as media:
            return _decode(media, config, begun)
    except av.error.FFmpegError as error:
        if not isinstance(error, MemoryError):
            raise UnreadableVideo(f"the decoder gives up: {error.strerror}") from None
        raise DecodeCrashed("it needs more memory than decode.max_memory_mb") from None
    except MemoryError:
        raise DecodeCrashed("it needs more memory than decode.max_memory_mb") from None


def _decode(media: OpenVideo, config: MediaConfig, begun: float) -> DecodedVideo:
    check_length(config.quality, len(media.timeline.times_s), media.duration_s)
    indices = sample_indices(config.sample, media.timeline.times_s, media.timeline.keyframes)
    pictures, decoder, why = _read(media, indices, config.decode)
    check_picture(config.quality, pictures.frames)
    sound = decode_audio(media.container, config.audio, media.duration_s)
    lost = len(indices) - len(pictures.indices)
    damaged = f"{lost} of {len(indices)} frames are damaged and left out" if lost else None
    still = "a still: its only frame" if len(media.timeline.times_s) == 1 else None
    notes = [note for note in (why, media.note, still, damaged, sound.note) if note]
    across, down = (round(size) for size in media.display_size)
    return DecodedVideo(
        frames=pictures.frames,
        times_s=media.timeline.times_s[pictures.indices] - media.timeline.times_s[0],
        width=down if pictures.swaps_sides else across,
        height=across if pictures.swaps_sides else down,
        fps=media.fps,
        duration_s=media.duration_s,
        decoder=decoder,
        note="; ".join(notes) or None,
        audio=sound.samples,
        has_audio=sound.has_audio,
        phash=phash(pictures.frames),
        decode_s=time.perf_counter() - begun,
    )


def _read(
    media: OpenVideo, indices: Indices, config: DecodeConfig
) -> tuple[DecodedFrames, DecoderName, str | None]:
    """The pictures, who read them, and why it was not decord."""
    match config.decoder:
        case "decord":
            return DecordDecoder().read(media, indices, config), "decord", None
        case "pyav":
            return PyAvDecoder().read(media, indices, config), "pyav", None
        case "auto":
            return _read_with_fallback(media, indices, config)
        case _:
            assert_never(config.decoder)


def _read_with_fallback(
    media: OpenVideo, indices: Indices, config: DecodeConfig
) -> tuple[DecodedFrames, DecoderName, str | None]:
    why = decord_unsafe_reason(media)
    if why is None:
        try:
            pictures = DecordDecoder().read(media, indices, config)
        except (UnreadableVideo, NoFrames) as error:
            why = str(error)
        else:
            if len(pictures.indices) == len(indices):
                return pictures, "decord", None
            why = "decord lost frames"
    return PyAvDecoder().read(media, indices, config), "pyav", f"read by PyAV: {why}"
