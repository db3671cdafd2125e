"""Drawn pictures and sound to an MP4 file."""

import io
from fractions import Fraction
from pathlib import Path

import av
import av.container
import numpy as np

from vrec.synthetic.videos.audio import SAMPLE_RATE_HZ, synthesize_audio
from vrec.synthetic.videos.plan import SyntheticVideo
from vrec.synthetic.videos.scene import render_frames

_SOUND_BLOCK = 1024
"""Samples in an AAC frame."""
_KEPT_SHARE = 0.6
"""How much of a file that is cut short remains."""


def draw_video(drawn: SyntheticVideo, folder: Path) -> None:
    """Write the video to `folder / drawn.file`, H.264 and AAC in MP4, making folders on the way.

    A broken one is written as broken as its plan says. The same plan gives the same bytes with
    the same build of PyAV. Raises OSError where the folder cannot be written.
    """
    path = folder / drawn.file
    path.parent.mkdir(parents=True, exist_ok=True)
    if drawn.damage == "text":
        path.write_text(f"{drawn.title}\nThis is a note that someone named .mp4.\n", encoding="utf-8")
        return
    content = _encode(drawn)
    if drawn.damage == "truncated":
        content = content[: int(len(content) * _KEPT_SHARE)]
    path.write_bytes(content)


def _encode(drawn: SyntheticVideo) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=drawn.fps)
        video.width, video.height = drawn.size
        video.pix_fmt = "yuv420p"
        # One thread: the caller runs many of these at a time, and x264's output depends on their number. It
        # also depends on the CPU, and on where its buffers happen to lie, unless it is told otherwise.
        video.options = {"crf": str(drawn.crf), "preset": "veryfast", "threads": "1"}
        video.options |= {"x264-params": "cpu-independent=1"}
        audio = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        audio.bit_rate = 64_000 if drawn.size == drawn.drawn_size else 40_000
        wave = synthesize_audio(drawn)
        if drawn.damage == "black":
            wave = np.zeros_like(wave)
        done = 0
        for number, image in enumerate(render_frames(drawn)):
            picture = av.VideoFrame.from_image(image)
            picture.pts, picture.time_base = number, Fraction(1, drawn.fps)
            container.mux(video.encode(picture))
            # Sound keeps pace with the picture, so that the file can be played while it loads.
            done = _mux_sound(container, audio, wave, done, (number + 1) / drawn.fps)
        _mux_sound(container, audio, wave, done, drawn.seconds + 1)
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return buffer.getvalue()


def _mux_sound(
    container: av.container.OutputContainer,
    audio: av.AudioStream,
    wave: np.ndarray,
    done: int,
    until_s: float,
) -> int:
    while done < len(wave) and done / SAMPLE_RATE_HZ < until_s:
        block = wave[done : done + _SOUND_BLOCK]
        frame = av.AudioFrame.from_ndarray(block[None, :], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, done, Fraction(1, SAMPLE_RATE_HZ)
        container.mux(audio.encode(frame))
        done += len(block)
    return done
