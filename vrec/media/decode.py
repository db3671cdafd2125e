"""Decoding of one video into sampled frames, audio and a fingerprint."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import av.error
import numpy as np
import numpy.typing as npt
from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import DecodeCrashed, NoFrames, UnreadableVideo
from vrec.core.types import Frames, Waveform
from vrec.media.audio import AudioConfig, decode_audio
from vrec.media.decoders.container import OpenVideo, open_video, reopen_container
from vrec.media.decoders.decord_decoder import DecordDecoder, decord_unsafe_reason
from vrec.media.decoders.frames import DecodeConfig, DecodedFrames, DecoderName
from vrec.media.decoders.hdr import hdr_transfer
from vrec.media.decoders.pyav_decoder import PyAvDecoder
from vrec.media.duplicates.fingerprint import encode_fingerprint, fingerprint_indices
from vrec.media.frame_sampling import FrameSamplingConfig, Indices, sample_indices
from vrec.media.moments.config import MomentSpansConfig
from vrec.media.moments.decode import decode_moments
from vrec.media.moments.decoded import DecodedMoments
from vrec.media.moments.subtitles import Cue
from vrec.media.moments.watcher import MomentWatcher
from vrec.media.quality import QualityConfig, check_length, check_picture

__all__ = ["DecodeConfig", "DecodedVideo", "MediaConfig", "VideoDecoder", "decode"]


DECODING_VERSION = 3
"""Part of every video's recipe: raise it with any change to the frames or samples that a file gives."""
FALLBACK = "read by PyAV"
"""Beginning of the note on a video that the requested decoder could not be trusted with."""


class MediaConfig(BaseConfig):
    """Settings for turning a file into a clip."""

    sample: FrameSamplingConfig = Field(default_factory=FrameSamplingConfig)
    """Choice of the frames that represent the video."""
    decode: DecodeConfig = Field(default_factory=DecodeConfig)
    """Decoder and its limits."""
    audio: AudioConfig = Field(default_factory=AudioConfig)
    """Audio decoding."""
    quality: QualityConfig = Field(default_factory=QualityConfig)
    """Checks that reject videos although they decode."""
    fingerprint: bool = False
    """Whether to make the fingerprint by which near-duplicates are found."""
    moments: MomentSpansConfig | None = None
    """Cuts between the moments of a video; None for no moments."""

    @property
    def cpu_limit_s(self) -> float:
        """CPU seconds after which a decode is stopped, with those for moments."""
        return self.decode.timeout_s + (self.moments.timeout_s if self.moments else 0.0)


@dataclass(frozen=True, slots=True)
class DecodedVideo:
    """Decoded content of one video."""

    frames: Frames
    """(T, S, S, 3) uint8 RGB, upright, in time order; 1 ≤ T ≤ sample.frames."""
    times_s: npt.NDArray[np.float64]
    """(T,) float64, seconds since the video's first frame."""
    width: int
    """Width in pixels of the picture as displayed: upright, with square pixels."""
    height: int
    """Height in pixels of the picture as displayed."""
    fps: float | None
    """Mean frames per second, from the frame times; None where there is only one frame."""
    duration_s: float | None
    """Seconds from the first frame to the end of the last, measured and not read from the header."""
    decoder: DecoderName
    """Decoder that read the frames."""
    note: str | None
    """Why not the requested decoder, and what is cut short, damaged or converted; None if nothing is."""
    audio: Waveform | None
    """(samples,) float32 mono at 16 kHz in [-1, 1]; None where no audio was decoded."""
    has_audio: bool
    """Whether the file has an audio stream, decoded or not."""
    fingerprint: bytes | None
    """Fingerprint of the first seconds; None where it is not wanted or none of its frames decode."""
    decode_s: float
    """Wall time of decoding in seconds."""
    moments: DecodedMoments | None = None
    """Moments; None where they are not wanted."""


class VideoDecoder(Protocol):
    """Decoder that reads frames by their index in display order."""

    name: ClassVar[DecoderName]

    def read(
        self, media: OpenVideo, indices: Indices, config: DecodeConfig, thumbnails: Indices
    ) -> DecodedFrames:
        """Return the frames at `indices` and gray ones at `thumbnails` that decode.

        Raises UnreadableVideo or NoFrames.
        """
        ...


def decode(source: str | Path | bytes, config: MediaConfig, cues: Sequence[Cue] = ()) -> DecodedVideo:
    """Decode the sampled frames, audio and fingerprint of one video in this process.

    A file that hangs or crashes the decoder hangs or crashes this process; `DecodeProcess` decodes in a
    separate one.

    Args:
        source: Path of a regular file, or a file's bytes.
        config: Sampling, decoding, audio and quality settings.
        cues: Subtitles of a file beside the video, for its moments.

    Raises:
        VideoError: The video cannot be used; the subclass and the message give the reason.
    """
    started = time.perf_counter()
    try:
        with open_video(source, config.decode) as media:
            return _decode(media, config, cues, started)
    except av.error.FFmpegError as error:
        if not isinstance(error, MemoryError):
            raise UnreadableVideo(f"the decoder gives up: {error.strerror}") from None
        raise DecodeCrashed("it needs more memory than decode.max_memory_mb") from None
    except MemoryError:
        raise DecodeCrashed("it needs more memory than decode.max_memory_mb") from None


def _decode(media: OpenVideo, config: MediaConfig, cues: Sequence[Cue], started: float) -> DecodedVideo:
    check_length(config.quality, len(media.timeline.times_s), media.duration_s)
    indices = sample_indices(config.sample, media.timeline.times_s, media.timeline.keyframes)
    times_s = media.timeline.times_s
    moments = fingerprint_indices(times_s) if config.fingerprint else np.empty(0, np.int64)
    watcher = None
    if config.moments is not None:
        watcher = MomentWatcher(times_s, media.duration_s or 0.0, config.moments)
    decoded, decoder, fallback_note = _read_frames(media, indices, config.decode, np.unique(moments), watcher)
    check_picture(config.quality, decoded.frames)
    with reopen_container(media.source) as container:
        starts_s = float(media.timeline.times_s[0]) if media.timeline.seekable else None
        audio = decode_audio(container, config.audio, media.duration_s, starts_s)
    pieces, pieces_note = None, None
    if watcher is not None and config.moments is not None:
        pieces, pieces_note = decode_moments(
            media, config.moments, watcher, audio=audio, audio_config=config.audio, cues=cues
        )
    lost = len(indices) - len(decoded.indices)
    damaged = f"{lost} of {len(indices)} frames are damaged and left out" if lost else None
    still = "a still: its only frame" if len(media.timeline.times_s) == 1 else None
    hdr = hdr_transfer(media.stream)
    mapped = f"HDR ({hdr}) mapped to SDR" if hdr else None
    notes = [
        note for note in (fallback_note, media.note, mapped, still, damaged, audio.note, pieces_note) if note
    ]
    width, height = (round(size) for size in media.display_size)
    return DecodedVideo(
        frames=decoded.frames,
        times_s=times_s[decoded.indices] - times_s[0],
        width=height if decoded.swaps_sides else width,
        height=width if decoded.swaps_sides else height,
        fps=media.fps,
        duration_s=media.duration_s,
        decoder=decoder,
        note="; ".join(notes) or None,
        audio=audio.samples,
        has_audio=audio.has_audio,
        fingerprint=_fingerprint(decoded, moments),
        decode_s=time.perf_counter() - started,
        moments=pieces,
    )


def _fingerprint(decoded: DecodedFrames, moments: Indices) -> bytes | None:
    """Return the fingerprint, in which the frame before takes the place of a damaged one."""
    if not len(moments) or not len(decoded.thumbnail_indices):
        return None
    places = np.searchsorted(decoded.thumbnail_indices, moments, side="right") - 1
    return encode_fingerprint(decoded.thumbnails[np.maximum(places, 0)])


def _read_frames(
    media: OpenVideo,
    indices: Indices,
    config: DecodeConfig,
    thumbnails: Indices,
    watcher: MomentWatcher | None,
) -> tuple[DecodedFrames, DecoderName, str | None]:
    """Return the frames, their decoder, and a note where PyAV read what decord was to read."""
    if config.decoder != "decord":
        return PyAvDecoder().read(media, indices, config, thumbnails, watcher), "pyav", None
    if watcher is not None:
        reason = "moments need a decoder that gives frame after frame"
        return (
            PyAvDecoder().read(media, indices, config, thumbnails, watcher),
            "pyav",
            f"{FALLBACK}: {reason}",
        )
    reason = decord_unsafe_reason(media)
    if reason is None:
        try:
            decoded = DecordDecoder().read(media, indices, config, thumbnails)
        except (UnreadableVideo, NoFrames) as error:
            reason = str(error)
        else:
            if len(decoded.indices) == len(indices):
                return decoded, "decord", None
            reason = "decord lost frames"
    return PyAvDecoder().read(media, indices, config, thumbnails), "pyav", f"{FALLBACK}: {reason}"
