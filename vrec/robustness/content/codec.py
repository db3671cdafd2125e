"""H.264 as the channel through which an attack on frames reaches the encoder."""

import io
from pathlib import Path

import av
import numpy as np

from vrec.core.types import Frames


def write_h264(file: Path | io.BytesIO, frames: Frames, *, rate: int = 12, crf: int = 23) -> None:
    """Write (N, S, S, 3) uint8 frames as an MP4 with H.264, as encoders' defaults are; S must be even."""
    with av.open(file if isinstance(file, io.BytesIO) else str(file), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def read_frames(file: Path | io.BytesIO) -> Frames:
    """Return all frames of a video, (N, H, W, 3) uint8 RGB, in their size."""
    with av.open(file if isinstance(file, io.BytesIO) else str(file), "r") as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack(shown).astype(np.uint8, copy=False)


class VideoChannel:
    """Channel from frames through a whole H.264 video and back.

    The frames are some of a video's; what an attack changed in one of them it changes in those around it as
    well, up to the middle between two."""

    def __init__(self, video: Frames, places: list[int], *, rate: int = 12, crf: int = 23) -> None:
        """Keep the video.

        Args:
            video: (N, S, S, 3) uint8, all frames.
            places: Numbers of the T frames that arrive at the encoder, rising.
            rate: Frames per second.
            crf: Constant rate factor; more is coarser.
        """
        self._video, self._places = video, np.array(places)
        self._rate, self._crf = rate, crf
        distance = np.abs(np.arange(len(video))[:, None] - self._places)
        self._nearest = np.argmin(distance, axis=1)

    @property
    def frames(self) -> Frames:
        """(T, S, S, 3) frames of the video before an attack."""
        return self._video[self._places]

    def video(self, frames: Frames) -> Frames:
        """Return all frames of the video with the changes of (T, S, S, 3) attacked ones."""
        change = frames.astype(np.int16) - self.frames
        return np.clip(self._video + change[self._nearest], 0, 255).astype(np.uint8)

    def __call__(self, frames: Frames) -> Frames:
        """Return the (T, S, S, 3) frames that arrive."""
        file = io.BytesIO()
        write_h264(file, self.video(frames), rate=self._rate, crf=self._crf)
        file.seek(0)
        return read_frames(file)[self._places]
