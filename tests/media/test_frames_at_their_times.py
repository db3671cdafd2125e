"""Every sampled frame is the one at its time, whatever the container, codec, order of frames and clock."""

import json
import shutil
import subprocess
from functools import cache

import av
import numpy as np
import pytest

from tests.films import number_of
from tests.media.reordered import CASES, CODECS, COUNT, OPEN, ORDERS, PLAIN, REORDERED, write_film
from vrec.media.decode import MediaConfig, decode

PARAMETERS = [
    pytest.param(*case, id=" ".join(case), marks=() if case[3] == "zero" else pytest.mark.slow)
    for case in CASES
]
ALL = MediaConfig(sample={"frames": COUNT})


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A function that returns path, numbers and times of a film of `write_film`, written the first time."""
    folder = tmp_path_factory.mktemp("films")

    @cache
    def written(ending, codec, order, clock):
        path = folder / f"{codec}-{order}-{clock}.{ending}"
        return path, *write_film(path, ending, codec, order, clock)

    return written


def linear(path) -> list[int]:
    """The numbers of all frames, decoded from the first to the last without a seek."""
    with av.open(str(path)) as container:
        return [number_of(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def allowed(ending, order, clock) -> int:
    """FFmpeg writes times of decoding into ASF, so that a frame's own time is lost where both vary."""
    return 3 if ending == "wmv" and clock == "vfr" and order != PLAIN else 0


@pytest.mark.parametrize(("ending", "codec", "order", "clock"), PARAMETERS)
def test_each_frame_is_the_one_at_its_time(film, ending, codec, order, clock):
    path, numbers, times_s = film(ending, codec, order, clock)
    assert linear(path) == numbers.tolist()
    video = decode(path, MediaConfig())
    assert video.note is None
    shown = np.array([number_of(frame) for frame in video.frames])
    assert len(shown) == 8
    due = numbers[np.abs(times_s[None] - video.times_s[:, None]).argmin(axis=1)]
    assert np.abs(shown - due).max() <= allowed(ending, order, clock), (shown, due)
    # Evenly over the film, by time.
    span_s = times_s[-1] - times_s[0]
    assert np.abs(video.times_s - (np.arange(8) + 0.5) / 8 * span_s).max() <= 0.17 * span_s / 8 + 0.17


SEEKS = [(e, c, o) for e, codecs in CODECS.items() for c in codecs for o in ORDERS[c] if o != PLAIN]


@pytest.mark.parametrize(("ending", "codec", "order"), SEEKS, ids=[" ".join(case) for case in SEEKS])
def test_decord_reads_the_same_frames_or_leaves_the_file(film, ending, codec, order):
    path, *_ = film(ending, codec, order, "zero")
    by_name = decode(path, MediaConfig(decode={"decoder": "decord"}))
    usual = decode(path, MediaConfig())
    assert usual.decoder == "pyav"
    assert [number_of(f) for f in by_name.frames] == [number_of(f) for f in usual.frames]
    assert (by_name.note is None) == (by_name.decoder == "decord")


@pytest.mark.parametrize("order", [REORDERED, OPEN])
@pytest.mark.parametrize("ending", ["mkv", "mp4", "ts"])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_times_of_decoding_are_not_taken_for_times_of_showing(tmp_path, codec, ending, order):
    """As old tools write them: every packet's time is that of its decoding."""
    path = tmp_path / f"film.{ending}"
    write_film(path, ending, codec, order, "zero", decoding_times=True)
    numbers = np.array(linear(path))
    for config in (MediaConfig(), MediaConfig(decode={"decoder": "decord"}), ALL):
        video = decode(path, config)
        due = numbers[np.minimum(np.round(video.times_s * 25).astype(int), len(numbers) - 1)]
        assert np.abs(np.array([number_of(f) for f in video.frames]) - due).max() <= 1
        assert len(video.frames) >= min(config.sample.frames, len(numbers))


CHECKED = [case for case in CASES if case[3] == "zero" or case[1] == CODECS[case[0]][0]]
"""Every codec and order in every container, and every clock in each with one codec."""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed: it decodes the films")
@pytest.mark.parametrize(
    ("ending", "codec", "order", "clock"), CHECKED, ids=[" ".join(case) for case in CHECKED]
)
def test_the_films_are_what_another_ffmpeg_shows(film, ending, codec, order, clock):
    path, numbers, times_s = film(ending, codec, order, clock)
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-vsync", "passthrough", "-f", "rawvideo"]
    raw = subprocess.run([*command, "-pix_fmt", "rgb24", "-"], capture_output=True, check=True).stdout
    frames = np.frombuffer(raw, np.uint8).reshape(-1, 144, 176, 3)
    assert [number_of(frame) for frame in frames] == numbers.tolist()
    if ending in {"avi", "wmv", "mpg"}:
        return  # their frames have no times of their own
    probe = ["ffprobe", "-v", "error", "-of", "json", "-show_entries", "frame=best_effort_timestamp_time"]
    found = subprocess.run(
        [*probe, "-select_streams", "v", str(path)], capture_output=True, check=True
    ).stdout
    found = [frame.get("best_effort_timestamp_time") for frame in json.loads(found)["frames"]]
    timed = [n for n, time_s in enumerate(found) if time_s is not None]  # FFmpeg 5 drops some negative times
    seen = np.array([float(found[n]) for n in timed])
    assert len(seen) >= len(numbers) / 2
    assert seen - seen[0] == pytest.approx(times_s[timed] - times_s[timed[0]], abs=0.002)
