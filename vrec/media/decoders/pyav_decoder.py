"""Frames by PyAV (FFmpeg): reads all that FFmpeg reads, and exactly the frames asked for."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from typing import ClassVar

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vrec.core.errors import NoFrames
from vrec.media.decoders.container import OpenVideo, reopen_container
from vrec.media.decoders.frames import DecodeConfig, DecodedFrames, DecoderName, crop_square, scale_and_crop
from vrec.media.decoders.orientation import frame_orientation
from vrec.media.frame_sampling import Indices

# In these codecs a frame marked as no reference is needed by no other frame, so it may be skipped
# and every other frame comes out bit for bit the same. (HEVC's mark holds within a sub-layer only.)
CODECS_WITH_SKIPPABLE_FRAMES = {"h264", "mpeg4", "mpeg2video"}
MAX_ASPECT_RATIO = 8
"""Pictures longer than 8:1 are cut before they are scaled; the scaled whole would be huge."""


class PyAvDecoder:
    """The decoder that is right on every file FFmpeg reads."""

    name: ClassVar[DecoderName] = "pyav"

    def read(self, media: OpenVideo, indices: Indices, config: DecodeConfig) -> DecodedFrames:
        """The frames at `indices`, upright; frames too damaged to decode are left out.

        Raises NoFrames where not one of them decodes.
        """
        convert = _FrameConverter(media, config)
        got: dict[int, npt.NDArray[np.uint8]] = {}
        sideways = False
        for index, frame in _wanted(media, indices, config):
            got[index] = convert(frame)
            sideways = frame_orientation(frame).swaps_sides
        if not got:
            raise NoFrames("its video stream is there, but not one frame of it decodes")
        order = sorted(got)
        return DecodedFrames(
            np.ascontiguousarray([got[i] for i in order]), np.array(order, np.int64), sideways
        )


def _wanted(media: OpenVideo, indices: Indices, config: DecodeConfig) -> Iterator[tuple[int, VideoFrame]]:
    found = False
    if media.timeline.seekable:
        _prepare(media.stream, config)
        for pair in _by_seeking(media, indices):
            found = True
            yield pair
    if not found:
        # Without times, or where seeking leads nowhere, count from the start.
        yield from _from_start(media, indices, config)


def _prepare(stream: VideoStream, config: DecodeConfig) -> None:
    context = stream.codec_context
    if not context.is_open:
        context.thread_count = config.threads
        context.thread_type = "SLICE"  # frame threads would decode ahead of what is asked
        context.options = {"max_pixels": str(config.max_pixels)}


def _by_seeking(media: OpenVideo, indices: Indices) -> Iterator[tuple[int, VideoFrame]]:
    """Each run of frames from the keyframe before it, and no frame after the last one wanted."""
    keys, pts = media.timeline.keyframes, media.timeline.pts
    runs: dict[int, set[int]] = defaultdict(set)
    for index in indices.tolist():
        at = bisect_right(keys, index) - 1
        runs[keys[at] if at >= 0 else 0].add(index)
    for start in sorted(runs):
        index_of = {int(pts[i]): i for i in runs[start]}
        last = max(index_of)
        try:
            media.container.seek(int(pts[start]), stream=media.stream)
            for frame in _decode_run(media, set(index_of)):
                if frame.pts is None:
                    continue
                if frame.pts in index_of:
                    yield index_of.pop(frame.pts), frame
                if not index_of or frame.pts > last:
                    break
        except MemoryError:
            raise
        except (av.error.FFmpegError, ValueError):
            continue  # this run is damaged; the others may not be


def _decode_run(media: OpenVideo, due: set[int]) -> Iterator[VideoFrame]:
    """Frames from where the container stands until every packet due is decoded, then the held-back ones."""
    context = media.stream.codec_context
    skip = context.name in CODECS_WITH_SKIPPABLE_FRAMES
    for packet in media.container.demux(media.stream):
        if packet.size == 0:
            break
        if skip:
            context.skip_frame = "DEFAULT" if packet.pts in due else "NONREF"
        if packet.pts is not None:
            due.discard(packet.pts)
        yield from _decode(packet)
        if not due:
            break
    context.skip_frame = "DEFAULT"
    yield from context.decode(None)


def _decode(packet: "Packet[VideoStream]") -> list[VideoFrame]:
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return []  # one damaged packet; later ones may be whole


def _from_start(media: OpenVideo, indices: Indices, config: DecodeConfig) -> Iterator[tuple[int, VideoFrame]]:
    """Frames counted from the beginning. The file is opened anew: raw streams cannot be rewound by time."""
    wanted = set(indices.tolist())
    number = 0
    try:
        with reopen_container(media.source) as container:
            stream = next(s for s in container.streams.video if s.index == media.stream.index)
            _prepare(stream, config)
            for packet in container.demux(stream):
                for frame in _decode(packet):
                    if number in wanted:
                        yield number, frame
                        wanted.discard(number)
                    number += 1
                if not wanted:
                    return
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError):
        return  # cut short: what came before is there to be used


class _FrameConverter:
    """Decoded frames to upright S × S RGB; one scaler for all frames of a video."""

    def __init__(self, media: OpenVideo, config: DecodeConfig) -> None:
        self._scaler = VideoReformatter()
        self._config = config
        ratio = media.stream.sample_aspect_ratio
        self._pixel_shape = float(ratio) if ratio else 1.0

    def __call__(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        side = self._config.frame_px
        width, height = frame.width * self._pixel_shape, float(frame.height)
        long = max(width, height) > MAX_ASPECT_RATIO * min(width, height)
        if long and self._config.fit == "crop":
            picture = self._scaled(_centre(frame), side, side)
        else:
            to = scale_and_crop(width, height, self._config)
            picture = crop_square(self._scaled(frame, to.width, to.height), to, side)
        return frame_orientation(frame).apply(picture)

    def _scaled(self, frame: VideoFrame, width: int, height: int) -> npt.NDArray[np.uint8]:
        # As decord scales, so that both decoders give the same vectors; swscale widens the filter when
        # it makes a picture smaller, so nothing aliases.
        scaled = self._scaler.reformat(frame, width, height, "rgb24", interpolation="BILINEAR", threads=1)
        return np.asarray(scaled.to_ndarray(), np.uint8)


def _centre(frame: VideoFrame) -> VideoFrame:
    """The central square of a very long picture, at its own size."""
    picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    side = min(frame.width, frame.height)
    top, left = (frame.height - side) // 2, (frame.width - side) // 2
    middle = np.ascontiguousarray(picture[top : top + side, left : left + side])
    return VideoFrame.from_ndarray(middle, format="rgb24")
