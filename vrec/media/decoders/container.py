"""Opening of video files: the video stream, frame times, and reasons to reject a file."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

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
from vrec.media.decoders.completeness import missing_end
from vrec.media.decoders.frames import DecodeConfig
from vrec.media.decoders.signature import HEAD_BYTES, broken_reason, non_video_kind

# Formats that name other files or addresses (hls, concat, sdp, image2 …) must never be opened, because an
# uploaded "video" could then read the machine's own files.
FORMATS = (
    "mov,mp4,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,ogg,asf,gif,mxf,nut,dv,rm,"
    "mp3,aac,wav,flac,ac3,amr,aiff,caf,w64"
)
FORMATS_WITH_PRESENTATION_TIMES = {
    "mov",
    "matroska",
    "mpegts",
    "flv",
    "nut",
    "ogg",
    "ivf",
    "mxf",
    "av1",
    "obu",
}
MAX_DISPLACED_FRAMES = 64
"""Places between a frame's decoding and its showing; more than any codec reorders, fields included."""


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
    """False where the container does not prove frame times; frames are then counted from the start."""
    has_edit_list: bool
    """Whether some packets are decoded but not shown."""
    reordered: bool = False
    """Whether frames are shown in another order than that of their packets."""
    has_open_gops: bool = False
    """Whether frames between two keyframes refer to both, so that not every keyframe starts anew."""
    mostly_timed: bool = True
    """Whether at least half of the packets have a time of their own."""

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
    notes = (_cut_short(source, container, stream, timeline, duration_s), _untimed(container, timeline))
    note = "; ".join(note for note in notes if note) or None
    fps = 1 / step_s if step_s else None
    return OpenVideo(source, container, stream, timeline, fps, duration_s, note)


def _cut_short(
    source: str | bytes,
    container: InputContainer,
    stream: VideoStream,
    timeline: FrameTimeline,
    duration_s: float | None,
) -> str | None:
    """Return a note on a video that ends before its header or its container's structure says."""
    stated_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
    if stated_s is None and container.duration:
        stated_s = container.duration / av.time_base
    if stated_s and duration_s:
        # Some containers state the time of the end, and not that from the first frame to it.
        ends_s = max(duration_s, float(timeline.times_s[0]) + duration_s)
        if ends_s < 0.9 * stated_s and _last_packet_s(source) < 0.9 * stated_s:
            return f"cut short: its picture ends after {duration_s:.1f} s of {stated_s:.1f} s"
    missing = missing_end(source)
    return f"cut short: {missing}" if missing else None


def _last_packet_s(source: str | bytes) -> float:
    """Return when the last packet of any stream ends: the picture may end long before the sound."""
    last_s = 0.0
    try:
        with reopen_container(source) as container:
            for packet in container.demux():
                stamp = packet.pts if packet.pts is not None else packet.dts
                if packet.size and stamp is not None:
                    last_s = max(last_s, float((stamp + (packet.duration or 0)) * packet.time_base))
    except (av.error.FFmpegError, ValueError):
        pass  # cut short: the packets before this point count
    return last_s


def _untimed(container: InputContainer, timeline: FrameTimeline) -> str | None:
    """Return a note on a file whose format has frame times and whose frames have no usable ones."""
    if timeline.mostly_timed or container.format.name.split(",")[0] not in FORMATS_WITH_PRESENTATION_TIMES:
        return None
    return "its frames have no times that can be right, so they are taken as evenly spaced"


def scan_packets(container: InputContainer, stream: VideoStream) -> FrameTimeline:
    """Read the time of every shown frame, and whether it decodes alone, from the packet headers."""
    packets: list[_PacketTimes] = []
    has_edit_list = False
    try:
        for packet in container.demux(stream):
            if packet.size == 0:
                continue
            if packet.is_discard:
                has_edit_list = True
                continue
            packets.append(_PacketTimes(packet.pts, packet.dts, packet.is_keyframe))
    except (av.error.FFmpegError, ValueError):
        pass  # a truncated file: the packets before this point are usable
    stamps = _presentation_times(container, stream, packets)
    if stamps is not None and stream.time_base is not None:
        order = sorted(range(len(packets)), key=stamps.__getitem__)
        pts = np.array([stamps[i] for i in order], np.int64)
        keyframes = tuple(n for n, i in enumerate(order) if packets[i].is_keyframe)
        return FrameTimeline(
            times_s=(pts * float(stream.time_base)).astype(np.float64),
            pts=pts,
            keyframes=keyframes,
            seekable=True,
            has_edit_list=has_edit_list,
            reordered=order != sorted(order),
            has_open_gops=_has_open_gops(order, keyframes),
        )
    numbers = np.arange(len(packets), dtype=np.int64)
    keyframes = tuple(n for n, packet in enumerate(packets) if packet.is_keyframe)
    distinct = {packet.pts for packet in packets if packet.pts is not None}
    return FrameTimeline(
        times_s=_counted_times(stream, packets),
        pts=numbers,
        keyframes=keyframes,
        seekable=False,
        has_edit_list=has_edit_list,
        mostly_timed=2 * len(distinct) >= len(packets),
    )


class _PacketTimes(NamedTuple):
    pts: int | None
    dts: int | None
    is_keyframe: bool


def _presentation_times(
    container: InputContainer, stream: VideoStream, packets: list[_PacketTimes]
) -> list[int] | None:
    """Return the times at which the packets' frames are shown, or None where the file does not prove them.

    AVI and ASF hold times of decoding, and FFmpeg guesses those of showing; program streams stamp only some
    packets. Such times are used only for codecs that show frames in the order in which they decode them.
    """
    codec = stream.codec_context
    timed = container.format.name.split(",")[0] in FORMATS_WITH_PRESENTATION_TIMES
    if not timed and (codec.codec.reorder or container.format.name == "mpeg"):
        return None
    stamps = [packet.pts for packet in packets if packet.pts is not None]
    if len(set(stamps)) < len(packets):
        return None
    order = np.argsort(np.array(stamps, np.int64), kind="stable")
    displaced = np.abs(order - np.arange(len(order))).max(initial=0)
    if displaced > MAX_DISPLACED_FRAMES:
        return None  # the clock starts anew within the file
    return stamps


def _has_open_gops(order: list[int], keyframes: tuple[int, ...]) -> bool:
    """Return whether a frame that follows a keyframe in the file is shown before it.

    Args:
        order: Number of each frame's packet, in display order.
        keyframes: Places of the keyframes in display order.
    """
    latest = np.maximum.accumulate(np.array(order, np.int64))
    return any(latest[place] > order[place] for place in keyframes)


def _counted_times(stream: VideoStream, packets: list[_PacketTimes]) -> npt.NDArray[np.float64]:
    """Return the frames' times in seconds from the times of decoding, or from the frame rate."""
    stamps = [packet.dts for packet in packets if packet.dts is not None]
    if stream.time_base is not None and len(stamps) == len(packets):
        times = np.array(stamps, np.int64)
        if (np.diff(times) > 0).all():
            return (times * float(stream.time_base)).astype(np.float64)
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    return (np.arange(len(packets)) / rate).astype(np.float64)
