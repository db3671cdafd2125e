"""Numbered films in any container, codec, order of frames and clock, for the sweep of decoders."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np

from tests.films import numbered

COUNT = 60
RATE = 25
SIZE = 96, 64
WRAP = 2**33 / 90_000
"""Seconds after which the clock of MPEG streams starts again."""


@dataclass(frozen=True)
class Clock:
    """When frame n is shown, in seconds; frames before `hidden` are not shown where there are edit lists."""

    at: Callable[[int], float]
    hidden: int = 0


def _vfr(n: int) -> float:
    """Half of the frames in a fifth of the time."""
    return n * 0.04 if n < COUNT // 2 else COUNT // 2 * 0.04 + (n - COUNT // 2) * 0.16


CLOCKS = {
    "zero": Clock(lambda n: n / RATE),
    "offset": Clock(lambda n: 7 + n / RATE),
    "negative": Clock(lambda n: (n - 12) / RATE, hidden=12),
    "edit list": Clock(lambda n: (n - 15) / RATE, hidden=15),
    "vfr": Clock(_vfr),
    "frozen": Clock(lambda n: 0.0),
    "wrap": Clock(lambda n: WRAP - 1 + n / RATE),
}

X264 = {"sc_threshold": "0", "preset": "veryfast"}
X265 = "log-level=none:scenecut=0:pools=1:frame-threads=1:keyint=12:min-keyint=12:open-gop=0:"
PLAIN, REORDERED, PYRAMID, OPEN = "no B", "B", "B-pyramid", "open GOP"
ORDERS: dict[str, dict[str, dict[str, str]]] = {
    "libx264": {
        PLAIN: X264 | {"bf": "0"},
        REORDERED: X264 | {"bf": "2", "b_strategy": "0", "x264-params": "b-pyramid=none"},
        PYRAMID: X264 | {"bf": "3", "b_strategy": "0", "x264-params": "b-pyramid=normal"},
        OPEN: X264 | {"bf": "3", "b_strategy": "0", "x264-params": "open-gop=1"},
    },
    "libx265": {
        PLAIN: {"preset": "ultrafast", "x265-params": X265 + "bframes=0"},
        REORDERED: {"preset": "ultrafast", "x265-params": X265 + "bframes=2:b-adapt=0:b-pyramid=0"},
        PYRAMID: {"preset": "ultrafast", "x265-params": X265 + "bframes=4:b-adapt=0"},
        OPEN: {"preset": "ultrafast", "x265-params": X265 + "bframes=4:b-adapt=0:open-gop=1"},
    },
    "mpeg4": {
        PLAIN: {"bf": "0", "b": "2000000"},
        REORDERED: {"bf": "2", "b": "2000000", "flags": "+cgop", "sc_threshold": "1000000000"},
        OPEN: {"bf": "2", "b": "2000000"},
    },
    "mpeg2video": {
        PLAIN: {"bf": "0", "b": "2000000"},
        REORDERED: {"bf": "2", "b": "2000000", "flags": "+cgop", "sc_threshold": "1000000000"},
        OPEN: {"bf": "2", "b": "2000000"},
    },
    "mpeg1video": {PLAIN: {"bf": "0", "b": "2000000"}, OPEN: {"bf": "2", "b": "2000000"}},
    "libvpx": {PLAIN: {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
               PYRAMID: {"cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "16"}},
    "libvpx-vp9": {PLAIN: {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"},
                   PYRAMID: {"cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "16"}},
    "wmv2": {PLAIN: {"b": "2000000"}},
    "flv": {PLAIN: {"b": "2000000"}},
    "h263p": {PLAIN: {"b": "2000000"}},
    "mjpeg": {PLAIN: {}},
}  # fmt: skip

CODECS = {
    "mp4": ("libx264", "libx265", "mpeg4", "mpeg2video", "libvpx-vp9"),
    "mov": ("libx264", "libx265", "mpeg4", "mjpeg"),
    "mkv": ("libx264", "libx265", "mpeg4", "mpeg2video", "libvpx-vp9"),
    "avi": ("libx264", "mpeg4", "mpeg2video", "wmv2", "mjpeg"),
    "ts": ("libx264", "libx265", "mpeg2video", "mpeg4"),
    "mpg": ("libx264", "mpeg1video", "mpeg2video"),
    "webm": ("libvpx", "libvpx-vp9"),
    "3gp": ("libx264", "mpeg4"),
    "flv": ("libx264", "flv"),
    "wmv": ("libx264", "mpeg4", "wmv2"),
}
EDITED = {"mp4", "mov", "3gp"}
"""Containers whose writer hides what comes before time 0 by an edit list."""
TIMED = {
    "mp4": ("zero", "offset", "negative", "edit list", "vfr"),
    "mov": ("zero", "offset", "edit list", "vfr"),
    "3gp": ("zero", "edit list", "vfr"),
    "mkv": ("zero", "offset", "negative", "vfr"),
    "webm": ("zero", "offset", "vfr"),
    "avi": ("zero",),
    "ts": ("zero", "offset", "negative", "vfr", "wrap"),
    "mpg": ("zero", "offset", "wrap"),
    "flv": ("zero", "offset", "negative", "vfr"),
    "wmv": ("zero", "offset", "vfr"),
}
MUXERS = {"mpg": "vob", "wmv": "asf"}
CASES = [
    (ending, codec, order, clock)
    for ending, codecs in CODECS.items()
    for codec in codecs
    for order in ORDERS[codec]
    for clock in TIMED[ending]
    if clock in {"zero", "vfr"} or order == list(ORDERS[codec])[-1]
]
"""Every order with an even and an uneven clock, and every other clock with the codec's deepest order."""


def write_film(
    path: Path,
    ending: str,
    codec: str,
    order: str,
    clock: str,
    *,
    decoding_times: bool = False,
    fragmented: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers that the film at `path` shows, in order, and their times from its first, in seconds.

    With `decoding_times`, each packet claims to be shown when it is decoded. A `fragmented` MP4 has an index
    before each part, as cameras write it.
    """
    plan = CLOCKS[clock]
    options = {} if ending in EDITED or ending == "flv" else {"avoid_negative_ts": "disabled"}
    if fragmented:
        options["movflags"] = "frag_keyframe+empty_moov"
    with av.open(str(path), "w", format=MUXERS.get(ending), options=options) as file:
        stream = file.add_stream(codec, rate=RATE, options=ORDERS[codec][order])
        stream.width, stream.height = 176, 144
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.gop_size = 12
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, RATE)
        for frame in _pictures():
            _mux(file, stream.encode(frame), plan, decoding_times)
        _mux(file, stream.encode(), plan, decoding_times)
    first = plan.hidden if ending in EDITED else 0
    numbers = np.arange(first, COUNT)
    times = np.array([plan.at(int(n)) for n in numbers])
    return numbers, times - times[0]


def _mux(file, packets, plan: Clock, decoding_times: bool) -> None:
    for packet in packets:
        if decoding_times:
            packet.pts = packet.dts
        packet.pts, packet.dts = (
            None if n is None else round(plan.at(n) * 90_000) for n in (packet.pts, packet.dts)
        )
        packet.duration = 3600
        packet.time_base = Fraction(1, 90_000)
        file.mux(packet)


@cache
def _pictures() -> list[av.VideoFrame]:
    frames = []
    for n in range(COUNT):
        frame = av.VideoFrame.from_ndarray(numbered(n, 176, 144), format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = n, Fraction(1, RATE)
        frames.append(frame)
    return frames
