"""Decoder that uses PyAV (FFmpeg): reads every FFmpeg format, and exactly the requested frames."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, ClassVar

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vrec.core.errors import NoFrames
from vrec.media.decoders.container import OpenVideo, reopen_container
from vrec.media.decoders.frames import DecodeConfig, DecodedFrames, DecoderName, crop_square, scale_and_crop
from vrec.media.decoders.hdr import HdrTransfer, hdr_transfer, to_sdr
from vrec.media.decoders.orientation import frame_orientation
from vrec.media.duplicates.fingerprint import THUMBNAIL_PX
from vrec.media.frame_sampling import Indices
from vrec.media.moments.watcher import MomentWatcher

# In these codecs no frame needs a frame marked as a non-reference frame, so it can be skipped and the other
# frames are bit-identical. (HEVC's mark holds within a sub-layer only.)
CODECS_WITH_SKIPPABLE_FRAMES = {"h264", "mpeg4", "mpeg2video"}
CODECS_WITH_ONE_DELAYED_FRAME = {"mpeg4", "mpeg1video", "mpeg2video", "vc1", "wmv3"}
"""Codecs whose B-frames are never referred to, so that one frame at most waits to be shown."""
MAX_DELAYED_FRAMES = 5
"""Frames that wait to be shown in H.264 and HEVC as encoders write them; the standards allow 16."""
MAX_ASPECT_RATIO = 8
"""Longer pictures are cropped before they are scaled, because the whole scaled picture would be huge."""


class PyAvDecoder:
    """Decoder that is correct on every file FFmpeg reads."""

    name: ClassVar[DecoderName] = "pyav"

    def read(
        self,
        media: OpenVideo,
        indices: Indices,
        config: DecodeConfig,
        thumbnails: Indices,
        watcher: MomentWatcher | None = None,
    ) -> DecodedFrames:
        """Return the frames at `indices`, upright, without those too damaged to decode.

        Args:
            media: Open video.
            indices: Frames to return.
            config: Size of the frames, and limits.
            thumbnails: Frames to return small and gray.
            watcher: Given the frames that it wants, in the same pass.

        Raises:
            NoFrames: No frame decodes.
        """
        convert = _FrameConverter(media, config)
        wanted, small = set(indices.tolist()), set(thumbnails.tolist())
        open_indices = wanted | small | (watcher.wanted if watcher else frozenset())
        decoded: dict[int, npt.NDArray[np.uint8]] = {}
        shrunk: dict[int, npt.NDArray[np.uint8]] = {}
        swaps_sides = False
        for read_frames in (_by_seeking, _from_start):
            try:
                for index, frame in read_frames(media, open_indices, config):
                    if index in wanted:
                        decoded[index] = convert(frame)
                    if watcher and index in watcher.wanted:
                        watcher.add(index, decoded[index] if index in decoded else convert(frame))
                        # The readers leave out what is no longer there.
                        open_indices &= wanted | small if watcher.expired else open_indices
                    if index in small:
                        shrunk[index] = convert.thumbnail(frame)
                    swaps_sides = frame_orientation(frame).swaps_sides
            except _UntrustedTimesError:
                decoded.clear()
                shrunk.clear()
            if decoded:
                break
            if watcher:
                watcher.reset()
        if not decoded:
            raise NoFrames("its video stream is there, but not one frame of it decodes")
        order, places = sorted(decoded), sorted(shrunk)
        return DecodedFrames(
            frames=np.ascontiguousarray([decoded[i] for i in order]),
            indices=np.array(order, np.int64),
            thumbnails=np.array([shrunk[i] for i in places], np.uint8).reshape(
                -1, THUMBNAIL_PX, THUMBNAIL_PX
            ),
            thumbnail_indices=np.array(places, np.int64),
            swaps_sides=swaps_sides,
        )


class _UntrustedTimesError(Exception):
    """Packet times that contradict the order in which the codec shows its frames, or cannot be sought."""


def _prepare(stream: VideoStream, config: DecodeConfig) -> None:
    context = stream.codec_context
    if not context.is_open:
        context.thread_count = config.threads
        context.thread_type = "SLICE"  # frame threads would decode more frames than requested
        context.options = {"max_pixels": str(config.max_pixels)}


def _by_seeking(
    media: OpenVideo, indices: set[int], config: DecodeConfig
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield the requested frames, seeking to the keyframe before each run of them.

    What is removed from `indices` meanwhile is left out from the next run on.

    Raises:
        _UntrustedTimesError: The container has no presentation times, a seek missed its keyframe, or frames
            do not come out in the order of their times. What was yielded may be wrong.
    """
    if not media.timeline.seekable:
        raise _UntrustedTimesError
    _prepare(media.stream, config)
    keyframes, pts = media.timeline.keyframes, media.timeline.pts
    runs: dict[int, set[int]] = defaultdict(set)
    for index in indices:
        runs[bisect_right(keyframes, index) - 1].add(index)
    for run in filter(lambda run: runs[run] & indices, sorted(runs)):
        index_of = {int(pts[i]): i for i in runs[run] & indices}
        # The first frames may need a keyframe that an edit list hides.
        start_pts = int(pts[keyframes[run]]) if run >= 0 else None
        last_pts: int | None = None
        try:
            media.container.seek(int(pts[0]) if start_pts is None else start_pts, stream=media.stream)
            for frame in _decode_run(media, start_pts, set(index_of)):
                if frame.pts is None:
                    continue
                # A decoder gives frames in the order in which they are shown.
                if last_pts is not None and frame.pts <= last_pts:
                    raise _UntrustedTimesError
                last_pts = frame.pts
                if frame.pts in index_of:
                    yield index_of.pop(frame.pts), frame
        except MemoryError:
            raise
        except (av.error.FFmpegError, ValueError):
            continue  # this run is damaged; the others may not be


def _decode_run(media: OpenVideo, start_pts: int | None, wanted_pts: set[int]) -> Iterator[VideoFrame]:
    """Yield frames from a keyframe, or from the first there is, until every wanted packet is decoded.

    A seek in a transport stream ends before its keyframe; frames there would be decoded without the frames
    they refer to, so packets count from the keyframe on.

    Raises:
        _UntrustedTimesError: The seek ended behind the keyframe.
    """
    context = media.stream.codec_context
    # Without reordering there is little to skip, and every frame shows whether the times are right.
    skip = media.timeline.reordered and context.name in CODECS_WITH_SKIPPABLE_FRAMES
    started = False
    for packet in media.container.demux(media.stream):
        if packet.size == 0:
            break
        started = started or (packet.is_keyframe if start_pts is None else packet.pts == start_pts)
        if not started:
            continue
        if skip:
            context.skip_frame = "DEFAULT" if packet.pts in wanted_pts else "NONREF"
        if packet.pts is not None:
            wanted_pts.discard(packet.pts)
        yield from _decode(packet)
        if not wanted_pts:
            break
    if not started:
        raise _UntrustedTimesError
    context.skip_frame = "DEFAULT"
    yield from context.decode(None)


def _decode(packet: "Packet[VideoStream]") -> list[VideoFrame]:
    try:
        return packet.decode()
    except av.error.InvalidDataError:
        return []  # one damaged packet; later ones may be whole


def _from_start(
    media: OpenVideo, indices: set[int], config: DecodeConfig
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield the requested frames by counting from the start of the reopened file.

    Raw streams cannot seek by time, so the file is opened again. What is removed from `indices` meanwhile is
    left out.
    """
    yielded: set[int] = set()
    try:
        with reopen_container(media.source) as container:
            stream = next(s for s in container.streams.video if s.index == media.stream.index)
            _prepare(stream, config)
            for number, frame in _numbered_frames(container, stream):
                if number in indices and number not in yielded:
                    yielded.add(number)
                    yield number, frame
                if len(yielded) >= len(indices) and indices <= yielded:
                    return
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError):
        return  # cut short: the frames before this point are usable


def _numbered_frames(container: InputContainer, stream: VideoStream) -> Iterator[tuple[int, VideoFrame]]:
    """Yield every frame with its place in display order, in which packets that give no frame have theirs.

    Each packet carries its number as its time, so that a frame tells its packet. The packets that came before
    it and gave no frame yet are lost, except the few that the codec holds back to reorder.
    """
    depth = 1 if stream.codec_context.name in CODECS_WITH_ONE_DELAYED_FRAME else MAX_DELAYED_FRAMES
    waiting: set[int] = set()
    shown = sent = 0
    for packet in container.demux(stream):
        if packet.size and not packet.is_discard:
            packet.pts = sent
            waiting.add(sent)
            sent += 1
        for frame in _decode(packet):
            label = frame.pts
            lost = 0
            if label is not None:
                waiting.discard(label)
                lost = max(0, sum(number < label for number in waiting) - depth)
            yield shown + lost, frame
            shown += 1


class _FrameConverter:
    """Converter of decoded frames to upright S × S RGB, with one scaler for all frames of a video."""

    def __init__(self, media: OpenVideo, config: DecodeConfig) -> None:
        self._scaler = VideoReformatter()
        self._shrinker = VideoReformatter()
        self._config = config
        self._hdr: HdrTransfer | None = hdr_transfer(media.stream)
        self._pixels = "rgb48le" if self._hdr else "rgb24"
        ratio = media.stream.sample_aspect_ratio
        self._pixel_aspect = float(ratio) if ratio else 1.0

    def __call__(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        side = self._config.frame_px
        width, height = frame.width * self._pixel_aspect, float(frame.height)
        is_long = max(width, height) > MAX_ASPECT_RATIO * min(width, height)
        if is_long and self._config.fit == "crop":
            picture = self._scale(_crop_center(frame, self._pixels), side, side)
        else:
            geometry = scale_and_crop(width, height, self._config)
            picture = crop_square(self._scale(frame, geometry.width, geometry.height), geometry, side)
        return frame_orientation(frame).apply(picture)

    def thumbnail(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        """Return a frame as gray and upright, squashed to the size that fingerprints are made from."""
        small = self._shrinker.reformat(
            frame, THUMBNAIL_PX, THUMBNAIL_PX, "gray", interpolation="BILINEAR", threads=1
        )
        gray = small.to_ndarray().astype(np.uint8, copy=False)
        return frame_orientation(frame).apply(gray[..., None])[..., 0]

    def _scale(self, frame: VideoFrame, width: int, height: int) -> npt.NDArray[np.uint8]:
        # The same scaling as decord, so that both decoders give the same vectors. swscale widens the filter
        # when it makes a picture smaller, so there is no aliasing.
        scaled = self._scaler.reformat(
            frame, width, height, self._pixels, interpolation="BILINEAR", threads=1
        )
        picture = scaled.to_ndarray()
        return to_sdr(picture.astype(np.uint16), self._hdr) if self._hdr else np.asarray(picture, np.uint8)


def _crop_center(frame: VideoFrame, pixels: str) -> VideoFrame:
    """Return the central square of a very long picture, unscaled."""
    picture: Any = frame.to_ndarray(format=pixels)  # 8 or 16 bits a channel
    side = min(frame.width, frame.height)
    top, left = (frame.height - side) // 2, (frame.width - side) // 2
    middle = np.ascontiguousarray(picture[top : top + side, left : left + side])
    return VideoFrame.from_ndarray(middle, format=pixels)
