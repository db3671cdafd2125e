"""Clip of a window: its segments, each decoded once in a process that can be killed."""

import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vrec.core.errors import NoFrames, VideoError
from vrec.core.types import Frames, Waveform
from vrec.media.audio import RATE_HZ
from vrec.media.decode import MediaConfig
from vrec.media.decode_process import DecodeProcess
from vrec.media.hls.window import FetchedSegment, SegmentKey, WindowChange
from vrec.media.quality import QualityConfig, check_picture


@dataclass(frozen=True, slots=True)
class SegmentContent:
    """Decoded segment."""

    frames: Frames
    """(T, S, S, 3) uint8."""
    audio: Waveform | None


class SegmentDecoder:
    """Decoder of segments, with as many frames of each as its share of a window. Use it from one thread."""

    def __init__(self, media: MediaConfig, window_s: float) -> None:
        """Build it for windows of `window_s`; its process starts with the first segment.

        Args:
            media: Settings with which whole videos are decoded.
            window_s: Seconds of a window.
        """
        self._most, self._window_s = media.sample.frames, window_s
        # Keyframes cost the least, and are as good where few frames of each segment are wanted. Whether there
        # is a picture is a question to the whole window.
        sample = media.sample.model_copy(update={"strategy": "keyframes"})
        accepts_all = QualityConfig(refuse_black=False, refuse_frozen=False)
        self._process = DecodeProcess(
            media.model_copy(
                update={"sample": sample, "quality": accepts_all, "fingerprint": False, "moments": None}
            )
        )

    def decode(self, segments: Sequence[FetchedSegment]) -> dict[SegmentKey, SegmentContent | VideoError]:
        """Decode segments; a bad one gives its error."""
        found: dict[SegmentKey, SegmentContent | VideoError] = {}
        for segment in segments:
            with tempfile.TemporaryDirectory(prefix="vrec-hls-") as folder:
                # Without an extension: what it is, its bytes say.
                path = os.path.join(folder, "segment")
                with open(path, "wb") as file:
                    file.write(segment.content)
                (decoded,) = self._process.decode_many([path], frames=self._frames(segment.duration_s))
            if isinstance(decoded, VideoError):
                found[segment.key] = decoded
            else:
                found[segment.key] = SegmentContent(decoded.frames, decoded.audio)
        return found

    def close(self) -> None:
        """End the decoding process."""
        self._process.close()

    def _frames(self, duration_s: float) -> int:
        share = self._most * duration_s / self._window_s
        return max(1, min(self._most, round(share)))


class WindowContent:
    """Decoded segments of one stream's window."""

    def __init__(self, media: MediaConfig) -> None:
        """Build it empty.

        Args:
            media: Settings with which whole videos are decoded: as many frames and seconds of sound are
                taken of the window.
        """
        self._media = media
        self._segments: dict[SegmentKey, SegmentContent] = {}

    def take(self, change: WindowChange, decoded: dict[SegmentKey, SegmentContent | VideoError]) -> None:
        """Take in a change, and let go of what has left the window.

        Raises:
            VideoError: None of the new segments could be decoded.
        """
        good = {key: one for key, one in decoded.items() if isinstance(one, SegmentContent)}
        known = self._segments | good
        self._segments = {key: known[key] for key in change.keys if key in known}
        if decoded and not good:
            raise next(one for one in decoded.values() if isinstance(one, VideoError))

    def clip(self) -> tuple[Frames, Waveform | None]:
        """Return the frames, evenly over the window, and the sound of its last seconds; None if it has none.

        Raises:
            NoFrames: The window is empty.
            BlackVideo: All frames are black, or of one color.
            FrozenVideo: All are the same picture.
        """
        if not self._segments:
            raise NoFrames("its window has no segment")
        frames = np.concatenate([one.frames for one in self._segments.values()])
        wanted = min(len(frames), self._media.sample.frames)
        places = ((np.arange(wanted) + 0.5) * len(frames) / wanted).astype(np.int64)
        chosen = np.ascontiguousarray(frames[places])
        check_picture(self._media.quality, chosen)
        sounds = [one.audio for one in self._segments.values() if one.audio is not None]
        if not sounds:
            return chosen, None
        most = math.floor(self._media.audio.max_s * RATE_HZ)
        return chosen, np.ascontiguousarray(np.concatenate(sounds)[-most:])
