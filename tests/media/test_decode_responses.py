"""Answers that a worker should not give, from workers that are only a few lines long."""

import sys

import pytest

from vrec.core.errors import DecodeCrashed, EmptyVideo, VideoError
from vrec.media.decode import DecodedVideo, MediaConfig
from vrec.media.decode_process import MAX_HEADER_BYTES, DecodeProcess

CONFIG = MediaConfig(decode={"frame_px": 16, "timeout_s": 20}, sample={"frames": 2}, audio={"max_s": 0.001})
HEADER = {
    "frames": 2,
    "audio": 3,
    "times_s": [0.0, 0.5],
    "width": 64,
    "height": 48,
    "fps": 2.0,
    "duration_s": 1.0,
    "decoder": "pyav",
    "note": None,
    "has_audio": True,
    "fingerprint": None,
    "decode_s": 0.1,
    "moments": None,
}
ARRAYS = "bytes(range(256)) * 6 + struct.pack('3f', 0.0, 0.5, -1.0)"

WORKER = """#!{python} -ISE
import json, os, socket, struct, sys
channel = socket.socket(fileno=int(sys.argv[-1]))
lines = channel.makefile("rb")
lines.readline()
def send(header, arrays=b""):
    text = json.dumps(header).encode()
    channel.sendall(len(text).to_bytes(4, "big") + text + arrays)
send({{"ready": 1}})
for line in lines:
    {act}
"""


@pytest.fixture
def answer(tmp_path, monkeypatch):
    """The parent's result for a worker that does `act` for each request."""

    def run(act: str):
        path = tmp_path / "worker"
        path.write_text(WORKER.format(python=python, act=act))
        path.chmod(0o755)
        with DecodeProcess(CONFIG) as process:
            return next(process.decode_many(["x.mp4"]))

    python = sys.executable
    monkeypatch.setattr(sys, "executable", str(tmp_path / "worker"))
    return run


def sent(arrays: str = ARRAYS, **changes) -> str:
    return f"send({HEADER | changes!r}, {arrays})"


def test_a_sound_answer_becomes_a_video(answer):
    video = answer(sent())
    assert isinstance(video, DecodedVideo), video
    assert video.frames.shape == (2, 16, 16, 3)
    assert video.frames.reshape(-1).tolist() == list(range(256)) * 6
    assert video.audio.tolist() == [0.0, 0.5, -1.0]
    assert video.times_s.tolist() == [0.0, 0.5]
    assert (video.width, video.height, video.fps, video.duration_s) == (64, 48, 2.0, 1.0)


def test_no_sound_and_empty_sound_are_told_apart(answer):
    frames = "bytes(1536)"
    assert answer(sent(frames, audio=None)).audio is None
    assert answer(sent(frames, audio=0)).audio.shape == (0,)


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": 3, "times_s": [0.0, 0.1, 0.2]},
        {"frames": 0, "times_s": []},
        {"times_s": [0.0]},
        {"audio": 17},
        {"audio": -1},
        {"decoder": "other"},
        {"fingerprint": "ä"},
        {"fingerprint": "AXh4"},
        {"extra": 1},
        {"moments": {"spans": [], "sound_spans": [], "sound": 0, "cues": []}},
    ],
)
def test_an_answer_beyond_what_was_requested_is_malformed(answer, changes):
    got = answer(sent(**changes))
    assert isinstance(got, DecodeCrashed)
    assert "malformed" in str(got)


@pytest.mark.parametrize(
    "act",
    [
        f"channel.sendall({(MAX_HEADER_BYTES + 1).to_bytes(4, 'big')!r} + bytes(9))",
        "channel.sendall((4).to_bytes(4, 'big') + b'{...')",
        "send([1, 2])",
        "send({})",
    ],
)
def test_a_header_that_is_none_is_malformed(answer, act):
    got = answer(act)
    assert isinstance(got, DecodeCrashed)
    assert "malformed" in str(got)


def test_an_error_keeps_its_kind_message_and_fix(answer):
    got = answer("send({'error': 'EmptyVideo', 'message': 'nothing', 'fix': 'fill it'})")
    assert (type(got), str(got), got.fix) == (EmptyVideo, "nothing", "fill it")
    got = answer("send({'error': 'Unheard', 'message': 'm', 'fix': 'f'})")
    assert (type(got), str(got)) == (VideoError, "m")


def test_a_worker_that_exits_is_named_with_its_code(answer):
    got = answer("os._exit(3)")
    assert isinstance(got, DecodeCrashed)
    assert "code 3" in str(got)


def test_half_an_answer_is_a_crash(answer):
    got = answer(f"send({HEADER!r}, bytes(100)); os._exit(0)")
    assert isinstance(got, DecodeCrashed)
    assert "code 0" in str(got)
