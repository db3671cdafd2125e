"""Opening of video files: the video stream, frame times, and reasons to reject a file."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from vrec.core.errors import (
    DecodeCrashed,
    EmptyVideo,
    NoFrames,
    NoVideoStream,
    TooLarge,
    UnreachableVideo,
    UnreadableVideo,
    VanishedVideo,
    WrongContainer,
)
from vrec.media.decoders.frames import DecodeConfig
from vrec.media.decoders.signature import HEAD_BYTES, broken_reason, non_video_kind

# Formats that name other files or addresses (hls, concat, sdp, image2 …) must never be opened, because an
# uploaded "video" could then read the machine's own files.
FORMATS = (
    "mov,mp4,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,ogg,asf,gif,mxf,nut,dv,rm,"
    "mp3,aac,wav,flac,ac3,amr,aiff,caf,w64"
)


@dataclass(frozen=True, slots=True)
class FrameTimeline:
    """Frames of a video in display order, read from packets without decoding."""

    times_s: npt.NDArray[np.float64]
    """(N,) seconds, rising."""
    pts: npt.NDArray[np.int64]
    """(N,) timestamps in units of the stream's time base; frame numbers where `seekable` is false."""
    keyframes: tuple[int, ...]
    """Indices of the frames that decode alone."""
    seekable: bool
    """False where the container has no frame times; frames are then read from the start."""
    has_edit_list: bool
    """Whether some packets are decoded but not shown."""

    @property
    def step_s(self) -> float | None:
        """Mean seconds between frames, or None for a single frame."""
        count = len(self.times_s)
        return float(self.times_s[-1] - self.times_s[0]) / (count - 1) if count > 1 else None


@dataclass(frozen=True, slots=True)
class OpenVideo:
    """Open container with its selected video stream."""

    source: str | bytes
    """An absolute path to a regular file, or the bytes themselves."""
    container: InputContainer
    stream: VideoStream
    timeline: FrameTimeline
    fps: float | None
    """Mean frames per second; None where unknown."""
    duration_s: float | None
    """Seconds from the first frame to the end of the last; None where unknown."""
    note: str | None
    """Problem of a container that can be read nevertheless."""

    @property
    def display_size(self) -> tuple[float, float]:
        """Width and height in square pixels, before rotation."""
        ratio = self.stream.sample_aspect_ratio
        aspect = float(ratio) if ratio else 1.0
        width, height = float(self.stream.width), float(self.stream.height)
        return (width * aspect, height) if aspect >= 1 else (width, height / aspect)


@contextmanager
def open_video(source: str | Path | bytes, config: DecodeConfig) -> Iterator[OpenVideo]:
    """Open a video; it is closed at the end of the block.

    Raises:
        VideoError: VanishedVideo, UnreachableVideo, EmptyVideo, TooLarge, WrongContainer, NoVideoStream,
            UnreadableVideo or NoFrames.
    """
    source = source if isinstance(source, bytes) else os.path.abspath(source)
    head = _read_checked_head(source, config)
    reason = non_video_kind(head)
    if reason:
        raise WrongContainer(f"the bytes are {reason}, not a video")
    with _open_container(source, head) as container:
        stream = _select_video_stream(container)
        pixels = stream.width * stream.height
        if pixels > config.max_pixels:
            size = f"{stream.width}×{stream.height}"
            raise TooLarge(f"its picture is {size}; at most {config.max_pixels:,} pixels are allowed")
        yield _describe(source, container, stream)


def _read_checked_head(source: str | bytes, config: DecodeConfig) -> bytes:
    """Return the first bytes of a source, or raise where it is empty, too large or no file."""
    if isinstance(source, bytes):
        size, head = len(source), source[:HEAD_BYTES]
    else:
        size, head = _read_head(source)
    if size == 0:
        raise EmptyVideo("the file has no bytes")
    if size > config.max_bytes:
        raise TooLarge(f"the file has {size:,} bytes; at most {config.max_bytes:,} are allowed")
    return head


def _read_head(path: str) -> tuple[int, bytes]:
    try:
        # Opening a FIFO blocks, so check before opening and open without waiting.
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a device or a socket"
            raise UnreachableVideo(f"it is {kind}, not a regular file")
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            return os.fstat(file.fileno()).st_size, file.read(HEAD_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise VanishedVideo("the file is no longer there") from None
    except OSError as error:
        raise UnreachableVideo(f"the file cannot be read: {error.strerror or error}") from None


def reopen_container(source: str | bytes) -> InputContainer:
    """Open a container at its start, of the formats that are safe to open; raise FFmpegError."""
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    return av.open(file, mode="r", options={"format_whitelist": FORMATS}, metadata_errors="replace")


@contextmanager
def _open_container(source: str | bytes, head: bytes) -> Iterator[InputContainer]:
    try:
        container = reopen_container(source)
    except FileNotFoundError:
        raise VanishedVideo("the file is no longer there") from None
    except MemoryError:
        raise DecodeCrashed("opening it needs more memory than decode.max_memory_mb") from None
    except (av.error.FFmpegError, ValueError, OSError):
        reason = broken_reason(source, head)
        if reason is None:
            raise WrongContainer("no video format is recognised in its bytes") from None
        raise UnreadableVideo(reason) from None
    with container:
        yield container


def _select_video_stream(container: InputContainer) -> VideoStream:
    cover = Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        if container.streams.video:
            raise NoVideoStream("it is sound with a cover picture, without a video stream")
        if container.streams.audio:
            raise NoVideoStream("it is sound only, without a video stream")
        raise NoVideoStream("it has neither a video nor an audio stream")
    usable = [s for s in streams if s.codec_context is not None]
    if not usable:
        raise UnreadableVideo("its video codec is not known to the decoders")
    default = Disposition.default
    return next((s for s in usable if s.disposition & default), usable[0])


def _describe(source: str | bytes, container: InputContainer, stream: VideoStream) -> OpenVideo:
    timeline = scan_packets(container, stream)
    if len(timeline.times_s) == 0:
        raise NoFrames("its video stream holds no frames")
    rate = float(stream.average_rate) if stream.average_rate else None
    step_s = timeline.step_s or (1 / rate if rate else None)
    duration_s = None if step_s is None else float(timeline.times_s[-1] - timeline.times_s[0]) + step_s
    header_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
    note = None
    if header_s and duration_s and duration_s < 0.9 * header_s:
        note = f"cut short: its picture ends after {duration_s:.1f} s of {header_s:.1f} s"
    fps = 1 / step_s if step_s else None
    return OpenVideo(source, container, stream, timeline, fps, duration_s, note)


def scan_packets(container: InputContainer, stream: VideoStream) -> FrameTimeline:
    """Read the time of every shown frame, and whether it decodes alone, from the packet headers."""
    packets: list[tuple[int | None, bool]] = []
    has_edit_list = False
    try:
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            if packet.is_discard:
                has_edit_list = True
                continue
            packets.append((packet.pts, packet.is_keyframe))
    except (av.error.FFmpegError, ValueError):
        pass  # a truncated file: the packets before this point are usable
    stamps = [pts for pts, _ in packets if pts is not None]
    time_base = stream.time_base
    # Program streams stamp only some packets and cannot be sought exactly.
    exact = container.format.name != "mpeg" and len(set(stamps)) == len(packets)
    if exact and time_base is not None:
        order = sorted(range(len(packets)), key=stamps.__getitem__)
        pts = np.array([stamps[i] for i in order], np.int64)
        keyframes = tuple(n for n, i in enumerate(order) if packets[i][1])
        return FrameTimeline((pts * float(time_base)).astype(np.float64), pts, keyframes, True, has_edit_list)
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    numbers = np.arange(len(packets), dtype=np.int64)
    keyframes = tuple(n for n, (_, is_keyframe) in enumerate(packets) if is_keyframe)
    return FrameTimeline((numbers / rate).astype(np.float64), numbers, keyframes, False, has_edit_list)
