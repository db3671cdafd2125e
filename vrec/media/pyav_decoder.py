"""Frames by PyAV (FFmpeg): reads all that FFmpeg reads, and exactly the frames asked for."""

import io
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import ClassVar

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from vrec.core.errors import NoFrames
from vrec.media.container import Media
from vrec.media.frames import DecodeConfig, DecoderName, Pictures, cut, scaling
from vrec.media.orientation import orientation
from vrec.media.sample import Indices

# In these codecs a frame marked as no reference is needed by no other frame, so it may be skipped
# and every other frame comes out bit for bit the same. (HEVC's mark holds within a sub-layer only.)
SKIPPABLE = {"h264", "mpeg4", "mpeg2video"}
LONGEST_SHAPE = 8
"""Pictures longer than 8:1 are cut before they are scaled; the scaled whole would be huge."""


class PyAvDecoder:
    """The decoder that is right on every file FFmpeg reads."""

    name: ClassVar[DecoderName] = "pyav"

    def read(self, media: Media, indices: Indices, config: DecodeConfig) -> Pictures:
        """The frames at `indices`, upright; frames too damaged to decode are left out.

        Raises NoFrames where not one of them decodes.
        """
        convert = _Convert(media, config)
        got: dict[int, npt.NDArray[np.uint8]] = {}
        sideways = False
        for index, frame in _wanted(media, indices, config):
            got[index] = convert(frame)
            sideways = orientation(frame).sideways
        if not got:
            raise NoFrames("its video stream is there, but not one frame of it decodes")
        order = sorted(got)
        return Pictures(np.ascontiguousarray([got[i] for i in order]), np.array(order, np.int64), sideways)


def _wanted(media: Media, indices: Indices, config: DecodeConfig) -> Iterator[tuple[int, VideoFrame]]:
    context = media.stream.codec_context
    if not context.is_open:
        context.thread_count = config.threads
        context.thread_type = "SLICE"  # frame threads would decode ahead of what is asked
        context.options = {"max_pixels": str(config.max_pixels)}
    if media.timeline.seekable:
        yield from _by_seeking(media, indices)
    else:
        yield from _from_start(media, indices)


def _by_seeking(media: Media, indices: Indices) -> Iterator[tuple[int, VideoFrame]]:
    """Each run of frames from the keyframe before it, and no frame after the last one wanted."""
    keys, pts = media.timeline.keys, media.timeline.pts
    runs: dict[int, set[int]] = defaultdict(set)
    for index in indices.tolist():
        at = bisect_right(keys, index) - 1
        runs[keys[at] if at >= 0 else 0].add(index)
    for start in sorted(runs):
        index_of = {int(pts[i]): i for i in runs[start]}
        try:
            media.container.seek(int(pts[start]), stream=media.stream)
            for frame in _decode_run(media, set(index_of)):
                index = index_of.pop(frame.pts, None) if frame.pts is not None else None
                if index is not None:
                    yield index, frame
                if not index_of:
                    break
        except (av.error.FFmpegError, ValueError):
            continue  # this run is damaged; the others may not be


def _decode_run(media: Media, due: set[int]) -> Iterator[VideoFrame]:
    """Frames from where the container stands until every packet due is decoded, then the held-back ones."""
    context = media.stream.codec_context
    skip = context.name in SKIPPABLE
    for packet in media.container.demux(media.stream):
        if packet.size == 0:
            break
        if skip:
            context.skip_frame = "DEFAULT" if packet.pts in due else "NONREF"
        due.discard(packet.pts if packet.pts is not None else -1)
        yield from _decode(packet)
        if not due:
            break
    context.skip_frame = "DEFAULT"
    yield from context.decode(None)


def _decode(packet: av.Packet) -> Iterable[VideoFrame]:
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return ()  # one damaged packet; later ones may be whole


def _from_start(media: Media, indices: Indices) -> Iterator[tuple[int, VideoFrame]]:
    """Frames counted from the beginning, for containers that do not time them."""
    wanted = set(indices.tolist())
    # Such streams are often raw and cannot be rewound by time, so the file is opened anew.
    with _reopened(media) as container:
        stream = container.streams[media.stream.index]
        number = 0
        for packet in container.demux(stream):
            for frame in _decode(packet):
                if number in wanted:
                    yield number, frame
                    wanted.discard(number)
                number += 1
            if not wanted:
                return


def _reopened(media: Media) -> InputContainer:
    source = io.BytesIO(media.source) if isinstance(media.source, bytes) else media.source
    return av.open(source, mode="r", metadata_errors="replace")


class _Convert:
    """Decoded frames to upright S × S RGB; one scaler for all frames of a video."""

    def __init__(self, media: Media, config: DecodeConfig) -> None:
        self._scaler = VideoReformatter()
        self._config = config
        ratio = media.stream.sample_aspect_ratio
        self._pixel_shape = float(ratio) if ratio else 1.0

    def __call__(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        side = self._config.frame_px
        width, height = frame.width * self._pixel_shape, float(frame.height)
        long = max(width, height) > LONGEST_SHAPE * min(width, height)
        if long and self._config.fit == "crop":
            picture = self._scaled(_centre(frame), side, side)
        else:
            to = scaling(width, height, self._config)
            picture = cut(self._scaled(frame, to.width, to.height), to, side)
        return orientation(frame).turn(picture)

    def _scaled(self, frame: VideoFrame, width: int, height: int) -> npt.NDArray[np.uint8]:
        scaled = self._scaler.reformat(frame, width, height, "rgb24", interpolation="BICUBIC", threads=1)
        return np.asarray(scaled.to_ndarray(), np.uint8)


def _centre(frame: VideoFrame) -> VideoFrame:
    """The central square of a very long picture, at its own size."""
    picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    side = min(frame.width, frame.height)
    top, left = (frame.height - side) // 2, (frame.width - side) // 2
    middle = np.ascontiguousarray(picture[top : top + side, left : left + side])
    return VideoFrame.from_ndarray(middle, format="rgb24")
