"""Small videos made on the spot through PyAV, with every frame telling its own number."""

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

LEVELS = 4
"""Grey steps of one digit: coarse enough to survive any codec."""


def numbered(number: int, width: int = 160, height: int = 120) -> np.ndarray:
    """A picture whose left, middle and right columns spell `number` in base 4 by brightness."""
    picture = np.zeros((height, width, 3), np.uint8)
    for place in range(3):
        digit = number // LEVELS**place % LEVELS
        left, right = place * width // 3, (place + 1) * width // 3
        picture[:, left:right] = 40 + digit * 55
    return picture


def number_of(frame: np.ndarray) -> int:
    """The number that a decoded square crop or squash of `numbered` shows (fit="squash")."""
    side = frame.shape[1]
    total = 0
    for place in range(3):
        left, right = place * side // 3, (place + 1) * side // 3
        middle = frame[side // 4 : side * 3 // 4, left + side // 12 : right - side // 12]
        total += round((float(middle.mean()) - 40) / 55) * LEVELS**place
    return total


def quarters() -> np.ndarray:
    """Red at the top left, green at the top right, blue at the bottom left, white at the bottom right."""
    picture = np.zeros((120, 120, 3), np.uint8)
    picture[:60, :60], picture[:60, 60:] = (200, 0, 0), (0, 200, 0)
    picture[60:, :60], picture[60:, 60:] = (0, 0, 200), (200, 200, 200)
    return picture


def noise(seed: int, frames: int = 8) -> np.ndarray:
    """Smooth random pictures that move: (frames, 224, 224, 3) uint8."""
    small = np.random.default_rng(seed).integers(0, 255, (frames, 7, 7, 3), np.uint8)
    return small.repeat(32, axis=1).repeat(32, axis=2)


@contextlib.contextmanager
def _no_more_urgent() -> Iterator[None]:
    """Leaves this thread's scheduling as it was. As root, SVT-AV1 makes it real-time, and so would be every
    process that the tests start from it, a cluster's and a browser's: all others on the machine starve."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def write_video(
    path: Path,
    pictures: list[np.ndarray],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: int = 25,
    gop: int = 12,
    times_ms: list[int] | None = None,
    tone_s: float | None = None,
    options: dict[str, str] | None = None,
    rotate_deg: int | None = None,
) -> Path:
    """The path of a new video of these pictures, with a 440 Hz tone of `tone_s` seconds where given."""
    height, width = pictures[0].shape[:2]
    with _no_more_urgent(), av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.gop_size = gop
        clock = Fraction(1, 1000) if times_ms else Fraction(1, rate)
        stream.codec_context.time_base = clock
        if rotate_deg is not None:
            stream.set_display_rotation(rotate_deg)
        sound = file.add_stream("aac", rate=44_100, layout="mono") if tone_s else None
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = times_ms[i] if times_ms else i
            frame.time_base = clock
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if sound and tone_s:
            samples = tone(tone_s, 44_100)[None]
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate = 44_100
            frame.pts = 0
            file.mux(sound.encode(frame))
            file.mux(sound.encode())
    return path


def write_sound(path: Path, seconds: float) -> Path:
    """The path of a new file of sound alone."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=44_100, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(seconds, 44_100)[None], format="fltp", layout="mono")
        frame.sample_rate = 44_100
        frame.pts = 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def tone(seconds: float, rate_hz: int, pitch_hz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * pitch_hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(
        np.float32
    )
