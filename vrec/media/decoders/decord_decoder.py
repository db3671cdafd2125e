"""Decoder that uses decord, for the files that decord is known to read correctly."""

import io
from functools import cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from vrec.core.errors import NoFrames, UnreadableVideo
from vrec.media.decoders.container import OpenVideo
from vrec.media.decoders.frames import DecodeConfig, DecodedFrames, DecoderName, crop_square, scale_and_crop
from vrec.media.decoders.hdr import hdr_transfer
from vrec.media.decoders.signature import is_rotated_or_mirrored
from vrec.media.duplicates.fingerprint import THUMBNAIL_PX, area_weights
from vrec.media.frame_sampling import Indices

# Formats that the FFmpeg inside decord 0.6.0 reads correctly; measured in docs/decisions/decoder.md.
CODECS = {"h264", "hevc", "vp9", "vp8", "mpeg4", "mjpeg", "prores", "ffv1"}
CONTAINERS = {"mov"}
MIN_SIDE_PX = 32
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in a gray picture (BT.601), as swscale has them."""


@cache
def _decord() -> Any | None:
    try:
        import decord
    except (ImportError, OSError):
        return None
    decord.logging.set_level(decord.logging.QUIET)
    return decord


def decord_unsafe_reason(media: OpenVideo) -> str | None:
    """Return why decord may read this file wrongly, or None where it is known to be correct."""
    if _decord() is None:
        return "decord is not installed here"
    stream, timeline = media.stream, media.timeline
    container = media.container.format.name.split(",")[0]
    codec = stream.codec_context.name
    reasons = (
        (codec not in CODECS, f"codec {codec}"),
        (container not in CONTAINERS, f"container {container}"),
        (not timeline.seekable, "frames without presentation times"),
        (timeline.has_edit_list, "edit list"),
        (hdr_transfer(stream) is not None, "HDR"),
        (timeline.has_open_gops, "open groups of pictures"),
        (len(media.container.streams.video) > 1, "several video streams"),
        (media.container.duration is None, "no duration in its header"),
        (min(stream.width, stream.height) < MIN_SIDE_PX, "tiny picture"),
        (media.note is not None, "an incomplete file"),
        (container == "mov" and is_rotated_or_mirrored(media.source), "rotated"),
    )
    return next((reason for applies, reason in reasons if applies), None)


class DecordDecoder:
    """Decoder of exact frames by index with decord's CPU reader."""

    name: ClassVar[DecoderName] = "decord"

    def read(
        self, media: OpenVideo, indices: Indices, config: DecodeConfig, thumbnails: Indices
    ) -> DecodedFrames:
        """Return the frames at `indices`, without those that do not decode.

        Raises:
            UnreadableVideo: decord rejects the file, counts other frames than the container does, or does
                not scale them to the requested size.
            NoFrames: No frame decodes.
        """
        decord = _decord()
        if decord is None:
            raise UnreadableVideo("decord is not installed here")
        width, height = media.display_size
        geometry = scale_and_crop(width, height, config)
        source = io.BytesIO(media.source) if isinstance(media.source, bytes) else media.source
        try:
            reader = decord.VideoReader(
                source, width=geometry.width, height=geometry.height, num_threads=config.threads
            )
        except (RuntimeError, decord.DECORDError):
            raise UnreadableVideo("decord cannot open it") from None
        if len(reader) != len(media.timeline.pts):
            raise UnreadableVideo(f"decord counts {len(reader)} frames of {len(media.timeline.pts)}")
        decoded = _read(reader, np.union1d(indices, thumbnails).tolist(), decord.DECORDError)
        order, places = ([i for i in wanted.tolist() if i in decoded] for wanted in (indices, thumbnails))
        if not order:
            raise NoFrames("its video stream is there, but not one frame of it decodes")
        # At some widths, such as 48, decord returns rows with padding.
        if any(frame.shape != (geometry.height, geometry.width, 3) for frame in decoded.values()):
            raise UnreadableVideo(f"decord cannot scale it to {geometry.width}×{geometry.height}")
        frames = crop_square(np.stack([decoded[i] for i in order]), geometry, config.frame_px)
        return DecodedFrames(
            frames=np.ascontiguousarray(frames),
            indices=np.array(order, np.int64),
            thumbnails=_thumbnails([decoded[i] for i in places]),
            thumbnail_indices=np.array(places, np.int64),
        )


def _thumbnails(pictures: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Return (M, THUMBNAIL_PX, THUMBNAIL_PX) gray pictures, squashed, of (height, width, 3) RGB ones."""
    small = np.empty((len(pictures), THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)
    if pictures:
        height, width = pictures[0].shape[:2]
        rows, columns = (area_weights(0, size, size, THUMBNAIL_PX) for size in (height, width))
        for number, picture in enumerate(pictures):
            small[number] = np.rint(rows @ (picture @ LUMA) @ columns.T)
    return small


def _read(reader: Any, indices: list[int], error: type[Exception]) -> dict[int, npt.NDArray[np.uint8]]:
    """Return frames by index. A whole batch fails for one damaged frame, so then read them one by one."""
    failures = (RuntimeError, error)
    try:
        return dict(zip(indices, reader.get_batch(indices).asnumpy(), strict=True))
    except failures:
        pass
    decoded: dict[int, npt.NDArray[np.uint8]] = {}
    for index in indices:
        try:
            decoded[index] = reader[index].asnumpy()
        except failures:
            continue
    return decoded
