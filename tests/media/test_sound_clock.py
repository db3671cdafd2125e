"""All the sound of a film is taken, from its own first sample, whenever its picture starts."""

import io
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import av
import numpy as np
import pytest

from tests.films import numbered
from tests.media.reordered import MUXERS, WRAP
from vrec.media.audio import RATE_HZ, AudioConfig
from vrec.media.decode import MediaConfig, decode

SECONDS = 6
CODECS = {
    "mp4": ("libx264", "aac"),
    "mov": ("libx264", "aac"),
    "3gp": ("libx264", "aac"),
    "mkv": ("libx264", "aac"),
    "webm": ("libvpx-vp9", "libopus"),
    "ts": ("libx264", "aac"),
    "mpg": ("mpeg2video", "mp2"),
    "flv": ("libx264", "aac"),
    "avi": ("mpeg4", "mp2"),
    "wmv": ("wmv2", "mp2"),
}
FORMATS = MUXERS | {"mkv": "matroska", "ts": "mpegts"}
CLOCKS = {
    # When the picture starts, and when the sound does.
    "together": (0.0, 0.0),
    "offset": (9.0, 9.0),
    "picture late": (4.0, 0.0),
    "sound late": (0.0, 2.0),
    "negative": (-1.0, -1.0),
    "wrap": (WRAP - 2.0, WRAP - 2.0),
}
SKIPPED = {"avi": set(CLOCKS) - {"together"}, "wmv": {"negative", "wrap"}, "mpg": {"negative", "wrap"}}
CASES = [
    (ending, clock)
    for ending in CODECS
    for clock in CLOCKS
    if clock not in SKIPPED.get(ending, set()) and (clock != "wrap" or ending == "ts")
]


def pitch_hz(second: int) -> int:
    return 400 + 150 * second


def scale(rate_hz: int = 48_000) -> np.ndarray:
    """A tone that rises with every second, (samples,)."""
    times = np.arange(rate_hz) / rate_hz
    tones = [0.4 * np.sin(2 * np.pi * pitch_hz(n) * times) for n in range(SECONDS)]
    return np.concatenate(tones).astype(np.float32)


@dataclass(frozen=True)
class Encoded:
    """A packet of an encoder, for as many files as there are."""

    stream: int
    data: bytes
    pts: int
    dts: int
    duration: int
    time_base: Fraction
    is_keyframe: bool

    def moved(self, stream, late_s: float) -> av.Packet:
        """The packet for a stream whose first is shown so late."""
        packet, shift = av.Packet(self.data), round(late_s / self.time_base)
        packet.stream, packet.time_base, packet.duration = stream, self.time_base, self.duration
        packet.pts, packet.dts, packet.is_keyframe = self.pts + shift, self.dts + shift, self.is_keyframe
        return packet


def write(path, ending, picture_s=0.0, sound_s=0.0, tracks=((1.0, 1.0),), default=0, picture_lasts_s=None):
    """A film with tracks of sound, of which each channel is `scale` times a factor."""
    lasts_s = SECONDS - max(picture_s - sound_s, 0) if picture_lasts_s is None else picture_lasts_s
    options = {} if ending in {"mp4", "mov", "3gp", "flv"} else {"avoid_negative_ts": "disabled"}
    with av.open(str(path), "w", format=MUXERS.get(ending), options=options) as file:
        streams = add_streams(file, ending, len(tracks))
        for n, stream in enumerate(streams[1:]):
            stream.disposition = av.stream.Disposition.default if n == default else av.stream.Disposition(0)
        file.start_encoding()
        late_s = [picture_s, *(sound_s for _ in tracks)]
        packets = [
            one.moved(streams[one.stream], late_s[one.stream]) for one in encoded(ending, tracks, lasts_s)
        ]
        for packet in sorted(packets, key=lambda one: one.dts * one.time_base):
            file.mux(packet)
    return path


def add_streams(file, ending, tracks: int) -> list:
    """The streams of picture and sound that a film of this ending has."""
    video_codec, audio_codec = CODECS[ending]
    video = file.add_stream(video_codec, rate=25)
    video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
    video.codec_context.gop_size = 12
    return [video, *(file.add_stream(audio_codec, rate=48_000, layout="stereo") for _ in range(tracks))]


@cache
def encoded(ending, tracks, lasts_s) -> list[Encoded]:
    """The packets of a film that starts at 0: encoding takes most of the time, and any clock can follow."""
    with av.open(io.BytesIO(), "w", format=FORMATS.get(ending, ending)) as file:
        streams = add_streams(file, ending, len(tracks))
        packets = []
        for i in range(int(lasts_s * 25)):
            frame = av.VideoFrame.from_ndarray(numbered(i % 64, 96, 64), format="rgb24")
            frame.pts = i
            packets += [(0, p) for p in streams[0].encode(frame)]
        packets += [(0, p) for p in streams[0].encode()]
        for n, factors in enumerate(tracks, start=1):
            packets += [(n, p) for p in encode_sound(streams[n], factors)]
        return [
            Encoded(n, bytes(p), p.pts, p.dts, p.duration, p.time_base, p.is_keyframe)
            for n, p in packets
            if p.dts is not None
        ]


def encode_sound(stream, factors):
    resampler = av.AudioResampler(stream.codec_context.format, "stereo", 48_000, frame_size=None)
    samples = scale()
    frame = av.AudioFrame.from_ndarray(np.stack([samples * f for f in factors]), "fltp", "stereo")
    frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
    for part in resampler.resample(frame):
        yield from stream.encode(part)
    yield from stream.encode()


def pitches(samples) -> list[float]:
    """The pitch in the middle of each whole second, in Hz; 0 for silence."""
    found = []
    for second in range(len(samples) // RATE_HZ):
        part = samples[second * RATE_HZ + 4000 : second * RATE_HZ + 12_000]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        found.append(float(spectrum.argmax() * RATE_HZ / len(part)) if np.abs(part).max() > 0.01 else 0.0)
    return found


@pytest.mark.parametrize(("ending", "clock"), CASES, ids=[" ".join(case) for case in CASES])
def test_sound_starts_with_its_first_second_and_ends_with_its_last(tmp_path, ending, clock):
    video = decode(write(tmp_path / f"film.{ending}", ending, *CLOCKS[clock]), MediaConfig())
    first = 1 if clock == "negative" and ending in {"mp4", "mov", "3gp"} else 0  # an edit list hides it
    padded = np.append(video.audio, np.zeros(RATE_HZ // 8, np.float32))
    assert pitches(padded) == pytest.approx([pitch_hz(n) for n in range(first, SECONDS)], abs=8)
    assert len(video.audio) / RATE_HZ == pytest.approx(SECONDS - first, abs=0.15)
    assert video.note is None


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts", "flv"])
@pytest.mark.parametrize(("picture_s", "sound_s"), [(0.0, 0.0), (3.0, 0.0), (0.0, 3.0), (50.0, 50.0)])
def test_sound_that_ends_before_the_picture_is_noted_by_the_clock(tmp_path, ending, picture_s, sound_s):
    lasts_s = 12
    path = write(tmp_path / f"film.{ending}", ending, picture_s, sound_s, picture_lasts_s=lasts_s)
    ends_s = SECONDS + sound_s - picture_s
    assert f"its sound ends after {ends_s:.1f} s of {lasts_s:.1f} s" in decode(path, MediaConfig()).note


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
@pytest.mark.parametrize("default", [0, 1, 2])
def test_the_default_track_is_taken(tmp_path, ending, default):
    levels = (0.2, 0.5, 1.0)
    tracks = tuple((level, level) for level in levels)
    path = write(tmp_path / f"film.{ending}", ending, tracks=tracks, default=default)
    loudness = np.sqrt(np.square(decode(path, MediaConfig()).audio).mean())
    assert loudness == pytest.approx(levels[default] * 0.4 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mpg", "webm"])
@pytest.mark.parametrize(
    ("factors", "cancels", "gain"),
    [
        ((1.0, 1.0), False, 1.0),
        ((1.0, -1.0), True, 1.0),
        ((0.7, -0.8), True, 0.8),
        ((1.0, 0.0), False, 0.5),
        ((1.0, -0.3), False, 0.35),
        ((0.0, 0.0), False, 0.0),
    ],
)
def test_channels_that_cancel_do_not_become_silence(tmp_path, ending, factors, cancels, gain):
    video = decode(write(tmp_path / f"film.{ending}", ending, tracks=(factors,)), MediaConfig())
    assert np.sqrt(np.square(video.audio).mean()) == pytest.approx(
        gain * 0.4 / np.sqrt(2), rel=0.12, abs=0.002
    )
    assert ("cancel" in (video.note or "")) == cancels


@pytest.mark.parametrize("max_s", [0.5, 2.0, 5.0])
def test_no_more_is_read_than_asked(tmp_path, max_s):
    path = write(tmp_path / "film.mkv", "mkv", 4.0, 0.0)
    video = decode(path, MediaConfig(audio=AudioConfig(max_s=max_s)))
    assert len(video.audio) == int(max_s * RATE_HZ)
    assert video.note is None
