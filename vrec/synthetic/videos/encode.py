"""Encoding of synthetic videos as MP4 files."""

import io
from fractions import Fraction
from pathlib import Path

import av
import av.container
import numpy as np
import numpy.typing as npt

from vrec.synthetic.videos.audio import SAMPLE_RATE_HZ, synthesize_audio
from vrec.synthetic.videos.plan import SyntheticVideo
from vrec.synthetic.videos.scene import render_frames

_AUDIO_BLOCK = 1024
"""Samples in an AAC frame."""
_TRUNCATED_SHARE = 0.6
"""Share of a truncated file's bytes that remains."""


def draw_video(video: SyntheticVideo, folder: Path) -> None:
    """Write the video to `folder / video.file` as H.264 and AAC in MP4, creating folders as needed.

    A video with `damage` is written as a damaged file. The same plan gives the same bytes with the same
    build of PyAV.

    Raises:
        OSError: The folder cannot be written.
    """
    path = folder / video.file
    path.parent.mkdir(parents=True, exist_ok=True)
    if video.damage == "text":
        path.write_text(f"{video.title}\nThis is a note that someone named .mp4.\n", encoding="utf-8")
        return
    content = _encode(video)
    if video.damage == "truncated":
        content = content[: int(len(content) * _TRUNCATED_SHARE)]
    path.write_bytes(content)


def _encode(video: SyntheticVideo) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=video.fps)
        stream.width, stream.height = video.size
        stream.pix_fmt = "yuv420p"
        # One thread: the caller encodes many videos at a time, and x264's output depends on the number of
        # threads. Without `cpu-independent` it also depends on the CPU and on the alignment of buffers.
        stream.options = {"crf": str(video.crf), "preset": "veryfast", "threads": "1"}
        stream.options |= {"x264-params": "cpu-independent=1"}
        audio = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        audio.bit_rate = 64_000 if video.size == video.drawn_size else 40_000
        wave = synthesize_audio(video)
        if video.damage == "black":
            wave = np.zeros_like(wave)
        written = 0
        for number, image in enumerate(render_frames(video)):
            picture = av.VideoFrame.from_image(image)
            picture.pts, picture.time_base = number, Fraction(1, video.fps)
            container.mux(stream.encode(picture))
            # Audio and video are interleaved, so that the file can be played while it loads.
            written = _mux_audio(container, audio, wave, written, (number + 1) / video.fps)
        _mux_audio(container, audio, wave, written, video.seconds + 1)
        container.mux(stream.encode(None))
        container.mux(audio.encode(None))
    return buffer.getvalue()


def _mux_audio(
    container: av.container.OutputContainer,
    audio: av.AudioStream,
    wave: npt.NDArray[np.float32],
    written: int,
    until_s: float,
) -> int:
    """Write blocks of audio from sample `written` until `until_s` and return the samples written so far."""
    while written < len(wave) and written / SAMPLE_RATE_HZ < until_s:
        block = wave[written : written + _AUDIO_BLOCK]
        frame = av.AudioFrame.from_ndarray(block[None, :], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, written, Fraction(1, SAMPLE_RATE_HZ)
        container.mux(audio.encode(frame))
        written += len(block)
    return written
