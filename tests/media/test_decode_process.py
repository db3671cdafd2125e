"""A hostile file costs one result and a bounded time: hangs, crashes, kills, and what comes after them."""

import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from tests.films import number_of, numbered, write_video
from vrec.core.errors import DecodeCrashed, DecodeTimeout, VanishedVideo
from vrec.media.decode import DecodedVideo, MediaConfig, decode
from vrec.media.decode_process import DecodeProcess

SQUASH = {"fit": "squash"}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return [
        str(write_video(folder / f"{n}.mp4", [numbered(n + i) for i in range(0, 12, 2)], tone_s=0.3))
        for n in range(6)
    ]


@pytest.fixture(scope="module")
def heavy(tmp_path_factory):
    """A clip that takes seconds to decode: large, noisy, one group of pictures."""
    path = tmp_path_factory.mktemp("heavy") / "heavy.mp4"
    noise = np.random.default_rng(0).integers(0, 255, (1080, 1920, 3), np.uint8)
    pictures = [np.roll(noise, 7 * i, axis=1) for i in range(80)]
    options = {"preset": "ultrafast", "qp": "4", "tune": "zerolatency"}
    return str(write_video(path, pictures, gop=999, options=options))


def first_numbers(results) -> list[int | str]:
    return [number_of(r.frames[0]) if isinstance(r, DecodedVideo) else type(r).__name__ for r in results]


def test_results_come_in_order_with_failures_in_their_places(clips, tmp_path):
    (tmp_path / "x.mp4").write_text("not a video")
    paths = [clips[0], str(tmp_path / "x.mp4"), clips[1], str(tmp_path / "gone.mp4"), clips[2]]
    with DecodeProcess(MediaConfig(decode=SQUASH)) as process:
        got = list(process.decode_many(paths))
        assert first_numbers(got) == [0, "WrongContainer", 1, "VanishedVideo", 2]
        assert isinstance(got[3], VanishedVideo)
        assert got[3].transient
        assert list(process.decode_many([])) == []


def test_one_child_serves_many_calls(clips):
    with DecodeProcess(MediaConfig(decode=SQUASH)) as process:
        list(process.decode_many(clips[:2]))
        pid = process.pid
        assert first_numbers(process.decode_many(clips)) == list(range(6))
        assert process.pid == pid
    assert process.pid is None
    assert not psutil.pid_exists(pid)


def test_leaving_early_does_not_mix_up_results(clips):
    with DecodeProcess(MediaConfig(decode=SQUASH)) as process:
        for _ in process.decode_many(clips):
            break
        assert first_numbers(process.decode_many(clips[3:])) == [3, 4, 5]


@pytest.mark.slow
def test_the_kernel_ends_a_decode_that_takes_too_long(heavy, clips):
    with DecodeProcess(MediaConfig(decode={**SQUASH, "timeout_s": 0.8})) as process:
        got = list(process.decode_many([clips[0], heavy, clips[1], clips[2]]))
    assert first_numbers(got) == [0, "DecodeTimeout", 1, 2]
    assert "more than 0.8 s of CPU time" in str(got[1])
    assert "keyframes" in got[1].fix


@pytest.mark.slow
def test_a_decode_that_waits_too_long_blames_the_machine(heavy, clips):
    with DecodeProcess(MediaConfig(decode={**SQUASH, "wall_timeout_s": 0.8})) as process:
        got = list(process.decode_many([clips[0], heavy, clips[1]]))
    assert first_numbers(got) == [0, "DecodeTimeout", 1]
    assert "did not end within 0.8 s" in str(got[1])
    assert "overloaded" in str(got[1])
    assert "keyframes" not in got[1].fix
    assert "wall_timeout_s" in got[1].fix


@pytest.mark.slow
def test_a_busy_machine_costs_no_video(heavy, clips):
    """In the middle of a video, the child gets no processor for longer than its limit."""
    begun = time.process_time()
    decode(heavy, MediaConfig(decode=SQUASH))
    limit_s = max(1.0, 3 * (time.process_time() - begun))
    with DecodeProcess(MediaConfig(decode={**SQUASH, "timeout_s": limit_s})) as process:
        assert first_numbers(process.decode_many(clips[:1])) == [0]
        pid, results = process.pid, []
        reader = threading.Thread(target=lambda: results.extend(process.decode_many([heavy, clips[2]])))
        reader.start()
        while not _is_decoding(pid):
            time.sleep(0.005)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(limit_s + 0.2)
        os.kill(pid, signal.SIGCONT)
        reader.join()
    assert [type(result) for result in results] == [DecodedVideo, DecodedVideo]


def test_a_stopped_child_is_killed_by_the_parent(clips, monkeypatch):
    # A limit that no sound clip needs on any machine: by the parent's clock it passes in a moment.
    with DecodeProcess(MediaConfig(decode={**SQUASH, "wall_timeout_s": 60})) as process:
        assert first_numbers(process.decode_many(clips[:1])) == [0]
        stopped = process.pid
        os.kill(stopped, signal.SIGSTOP)
        later = SimpleNamespace(monotonic=lambda: time.monotonic() + 60)
        monkeypatch.setattr("vrec.media.decode_process.time", later)
        got = list(process.decode_many(clips[:3]))
        assert not psutil.pid_exists(stopped)
    assert isinstance(got[0], DecodeTimeout)
    assert first_numbers(got[1:]) == [1, 2]


def test_a_crash_is_named_and_costs_one_result(clips):
    with DecodeProcess(MediaConfig(decode=SQUASH)) as process:
        list(process.decode_many(clips[:1]))
        os.kill(process.pid, signal.SIGSEGV)
        got = list(process.decode_many(clips[:3]))
    assert isinstance(got[0], DecodeCrashed)
    assert "SIGSEGV" in str(got[0])
    assert not got[0].transient
    assert first_numbers(got[1:]) == [1, 2]


def test_a_single_kill_from_outside_costs_nothing(clips):
    with DecodeProcess(MediaConfig(decode=SQUASH)) as process:
        list(process.decode_many(clips[:1]))
        os.kill(process.pid, signal.SIGKILL)
        assert first_numbers(process.decode_many(clips)) == list(range(6))


@pytest.mark.slow
def test_two_kills_over_one_video_are_a_crash(heavy, clips):
    config = MediaConfig(decode=SQUASH)
    with DecodeProcess(config) as process:
        list(process.decode_many(clips[:1]))
        results = []
        reader = threading.Thread(target=lambda: results.extend(process.decode_many([heavy, clips[2]])))
        killed = {process.pid}
        os.kill(process.pid, signal.SIGKILL)
        reader.start()
        while len(killed) < 2:
            pid = process.pid
            if pid is not None and pid not in killed and _is_decoding(pid):
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            time.sleep(0.01)
        reader.join()
    assert first_numbers(results) == ["DecodeCrashed", 2]
    assert "SIGKILL" in str(results[0])


def _is_decoding(pid: int) -> bool:
    """Whether the process has the heavy clip open."""
    try:
        return any("heavy" in file.path for file in psutil.Process(pid).open_files())
    except psutil.Error:
        return False


@pytest.mark.slow
def test_a_video_that_needs_too_much_memory_is_refused_and_the_next_is_not(tmp_path, clips):
    # One flat picture: a few kilobytes on disk, 216 MB when decoded.
    bomb = np.zeros((6_000, 12_000, 3), np.uint8)
    options = {"compression_level": "1"}
    path = str(write_video(tmp_path / "big.mov", [bomb], codec="png", pix_fmt="rgb24", options=options))
    config = MediaConfig(decode={**SQUASH, "max_memory_mb": 512, "max_pixels": 10**8})
    with DecodeProcess(config) as process:
        got = list(process.decode_many([path, clips[1]]))
    assert first_numbers(got) == ["DecodeCrashed", 1]


def test_no_child_outlives_a_killed_parent(clips):
    code = (
        "import sys, time; from vrec.media.decode import MediaConfig;"
        "from vrec.media.decode_process import DecodeProcess; p = DecodeProcess(MediaConfig());"
        "results = p.decode_many(sys.argv[1:]); next(results); print(p.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, *clips], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    child.wait(timeout=30)


def test_a_child_that_cannot_start_says_why(clips, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="does not start"):
        list(DecodeProcess(MediaConfig()).decode_many(clips))
