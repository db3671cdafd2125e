"""Decoder that uses PyAV (FFmpeg): reads every FFmpeg format, and exactly the requested frames."""

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

# In these codecs no frame needs a frame marked as a non-reference frame, so it can be skipped and the other
# frames are bit-identical. (HEVC's mark holds within a sub-layer only.)
CODECS_WITH_SKIPPABLE_FRAMES = {"h264", "mpeg4", "mpeg2video"}
MAX_ASPECT_RATIO = 8
"""Longer pictures are cropped before they are scaled, because the whole scaled picture would be huge."""


class PyAvDecoder:
    """Decoder that is correct on every file FFmpeg reads."""

    name: ClassVar[DecoderName] = "pyav"

    def read(self, media: OpenVideo, indices: Indices, config: DecodeConfig) -> DecodedFrames:
        """Return the frames at `indices`, upright, without those too damaged to decode.

        Raises:
            NoFrames: No frame decodes.
        """
        convert = _FrameConverter(media, config)
        decoded: dict[int, npt.NDArray[np.uint8]] = {}
        swaps_sides = False
        for index, frame in _read_frames(media, indices, config):
            decoded[index] = convert(frame)
            swaps_sides = frame_orientation(frame).swaps_sides
        if not decoded:
            raise NoFrames("its video stream is there, but not one frame of it decodes")
        order = sorted(decoded)
        frames = np.ascontiguousarray([decoded[i] for i in order])
        return DecodedFrames(frames, np.array(order, np.int64), swaps_sides)


def _read_frames(
    media: OpenVideo, indices: Indices, config: DecodeConfig
) -> Iterator[tuple[int, VideoFrame]]:
    any_read = False
    if media.timeline.seekable:
        _prepare(media.stream, config)
        for pair in _by_seeking(media, indices):
            any_read = True
            yield pair
    if not any_read:
        # Without frame times, or where seeking fails, count frames from the start.
        yield from _from_start(media, indices, config)


def _prepare(stream: VideoStream, config: DecodeConfig) -> None:
    context = stream.codec_context
    if not context.is_open:
        context.thread_count = config.threads
        context.thread_type = "SLICE"  # frame threads would decode more frames than requested
        context.options = {"max_pixels": str(config.max_pixels)}


def _by_seeking(media: OpenVideo, indices: Indices) -> Iterator[tuple[int, VideoFrame]]:
    """Yield the requested frames, seeking to the keyframe before each run of them."""
    keyframes, pts = media.timeline.keyframes, media.timeline.pts
    runs: dict[int, set[int]] = defaultdict(set)
    for index in indices.tolist():
        position = bisect_right(keyframes, index) - 1
        runs[keyframes[position] if position >= 0 else 0].add(index)
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


def _decode_run(media: OpenVideo, wanted_pts: set[int]) -> Iterator[VideoFrame]:
    """Yield frames from the current position until every wanted packet is decoded, and then flush."""
    context = media.stream.codec_context
    skip = context.name in CODECS_WITH_SKIPPABLE_FRAMES
    for packet in media.container.demux(media.stream):
        if packet.size == 0:
            break
        if skip:
            context.skip_frame = "DEFAULT" if packet.pts in wanted_pts else "NONREF"
        if packet.pts is not None:
            wanted_pts.discard(packet.pts)
        yield from _decode(packet)
        if not wanted_pts:
            break
    context.skip_frame = "DEFAULT"
    yield from context.decode(None)


def _decode(packet: "Packet[VideoStream]") -> list[VideoFrame]:
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return []  # one damaged packet; later ones may be whole


def _from_start(media: OpenVideo, indices: Indices, config: DecodeConfig) -> Iterator[tuple[int, VideoFrame]]:
    """Yield the requested frames by counting from the start of the reopened file.

    Raw streams cannot seek by time, so the file is opened again.
    """
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
        return  # cut short: the frames before this point are usable


class _FrameConverter:
    """Converter of decoded frames to upright S × S RGB, with one scaler for all frames of a video."""

    def __init__(self, media: OpenVideo, config: DecodeConfig) -> None:
        self._scaler = VideoReformatter()
        self._config = config
        ratio = media.stream.sample_aspect_ratio
        self._pixel_aspect = float(ratio) if ratio else 1.0

    def __call__(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        side = self._config.frame_px
        width, height = frame.width * self._pixel_aspect, float(frame.height)
        is_long = max(width, height) > MAX_ASPECT_RATIO * min(width, height)
        if is_long and self._config.fit == "crop":
            picture = self._scale(_crop_center(frame), side, side)
        else:
            geometry = scale_and_crop(width, height, self._config)
            picture = crop_square(self._scale(frame, geometry.width, geometry.height), geometry, side)
        return frame_orientation(frame).apply(picture)

    def _scale(self, frame: VideoFrame, width: int, height: int) -> npt.NDArray[np.uint8]:
        # The same scaling as decord, so that both decoders give the same vectors. swscale widens the filter
        # when it makes a picture smaller, so there is no aliasing.
        scaled = self._scaler.reformat(frame, width, height, "rgb24", interpolation="BILINEAR", threads=1)
        return np.asarray(scaled.to_ndarray(), np.uint8)


def _crop_center(frame: VideoFrame) -> VideoFrame:
    """Return the central square of a very long picture, unscaled."""
    picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    side = min(frame.width, frame.height)
    top, left = (frame.height - side) // 2, (frame.width - side) // 2
    middle = np.ascontiguousarray(picture[top : top + side, left : left + side])
    return VideoFrame.from_ndarray(middle, format="rgb24")
