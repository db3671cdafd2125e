"""Decoding of videos made here, whose frames tell their own numbers."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.films import number_of, numbered, quarters, write_sound, write_video
from vrec.core.errors import (
    EmptyVideo,
    NoVideoStream,
    TooLarge,
    TooShort,
    UnreachableVideo,
    UnreadableVideo,
    VanishedVideo,
    WrongContainer,
)
from vrec.media.decode import MediaConfig, decode

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None, reason="ffmpeg is not installed: it makes this test's odd file"
)
EVEN = {"sc_threshold": "0"}
"""Keyframes every 12 frames and nowhere else."""


def config(decoder="auto", **others) -> MediaConfig:
    return MediaConfig(decode={"decoder": decoder, "fit": "squash"}, **others)


@pytest.fixture(scope="module")
def sixty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return write_video(folder / "sixty.mp4", [numbered(i) for i in range(60)], tone_s=2.4, options=EVEN)


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_exactly_the_asked_frames_come(sixty, decoder, as_bytes):
    video = decode(sixty.read_bytes() if as_bytes else sixty, config(decoder))
    assert [number_of(frame) for frame in video.frames] == [3, 11, 18, 26, 33, 41, 48, 56]
    assert video.times_s == pytest.approx(np.array([3, 11, 18, 26, 33, 41, 48, 56]) / 25)
    assert (video.fps, video.duration_s) == (pytest.approx(25), pytest.approx(2.4))
    assert (video.width, video.height, video.decoder, video.note) == (160, 120, decoder, None)


def test_widths_that_decord_cannot_scale_to_are_left_to_the_other(sixty):
    """Of 48 and 72 pixels decord makes rows of 64 and 80."""
    for width, decoder in ((32, "decord"), (48, "pyav"), (72, "pyav")):
        video = decode(sixty, MediaConfig(decode={"decoder": "decord", "fit": "squash", "frame_px": width}))
        assert video.frames.shape == (8, width, width, 3)
        assert video.decoder == decoder
        assert (f"{width}×{width}" in (video.note or "")) == (decoder == "pyav")


def test_pyav_is_the_decoder_unless_another_is_named(sixty):
    assert decode(sixty, MediaConfig()).decoder == decode(sixty, config("auto")).decoder == "pyav"


def test_keyframe_sampling_takes_keyframes(sixty):
    video = decode(sixty, config(sample={"strategy": "keyframes", "frames": 5}))
    assert [number_of(frame) for frame in video.frames] == [0, 12, 24, 36, 48]


@pytest.mark.parametrize(
    ("ending", "codec", "pix_fmt"),
    [
        ("webm", "libvpx-vp9", "yuv420p"),
        ("mp4", "libx265", "yuv420p10le"),
        ("mp4", "libsvtav1", "yuv420p"),
        ("avi", "mpeg4", "yuv420p"),
        ("mov", "prores_ks", "yuv422p10le"),
        ("ts", "libx264", "yuv420p"),
        ("flv", "libx264", "yuv420p"),
        ("mpg", "mpeg2video", "yuv420p"),
        ("mp4", "libx264", "yuv444p"),
        ("h264", "libx264", "yuv420p"),
    ],
)
def test_every_common_codec_and_container_is_read_exactly(tmp_path, ending, codec, pix_fmt):
    path = write_video(
        tmp_path / f"x.{ending}", [numbered(i) for i in range(40)], codec=codec, pix_fmt=pix_fmt
    )
    assert [number_of(f) for f in decode(path, config()).frames] == [2, 7, 12, 17, 22, 27, 32, 37]


@pytest.mark.parametrize(
    ("turn", "corners"),
    [
        (90, ["green", "white", "red", "blue"]),
        (180, ["white", "blue", "green", "red"]),
        (-90, ["blue", "red", "white", "green"]),
        (None, ["red", "green", "blue", "white"]),
    ],
)
def test_a_phone_held_sideways_stands_upright(tmp_path, turn, corners):
    pictures = [np.roll(quarters(), i, axis=1) for i in (0, 1, 2)]
    path = write_video(tmp_path / "turned.mp4", pictures, rotate_deg=turn)
    video = decode(path, config("decord"))
    assert (video.decoder, "rotated" in (video.note or "")) == (("pyav", True) if turn else ("decord", False))
    assert np.abs(decode(path, config()).frames.astype(int) - video.frames).mean() < 2
    frame = video.frames[0]
    seen = [frame[50, 50], frame[50, 170], frame[170, 50], frame[170, 170]]
    names = ["red", "green", "blue"]
    assert ["white" if c.min() > 150 else names[int(c.argmax())] for c in seen] == corners


def test_rotation_swaps_width_and_height(tmp_path):
    path = write_video(tmp_path / "turned.mp4", [numbered(i) for i in range(5)], rotate_deg=90)
    video = decode(path, config())
    assert (video.width, video.height) == (120, 160)


def test_variable_frame_rate_is_sampled_by_time(tmp_path):
    # Twenty frames in the first 0.4 s, then one every 0.4 s: half the time is the last ten's.
    times_ms = [i * 20 for i in range(20)] + [400 + i * 400 for i in range(20)]
    path = write_video(tmp_path / "v.mkv", [numbered(i) for i in range(40)], times_ms=times_ms)
    video = decode(path, config())
    shown = [number_of(frame) for frame in video.frames]
    assert shown == sorted(set(shown))
    assert sum(number < 20 for number in shown) <= 1
    assert video.times_s == pytest.approx(np.array([times_ms[i] for i in shown]) / 1000, abs=0.002)


@pytest.mark.parametrize("size", [(161, 121), (1, 1), (16, 16), (2, 400), (641, 17)])
def test_odd_sizes_decode(tmp_path, size):
    pictures = [numbered(i, *size) for i in range(0, 60, 6)]
    path = write_video(tmp_path / "odd.mkv", pictures, codec="ffv1", pix_fmt="yuv444p")
    quality = {"refuse_black": False, "refuse_frozen": False}
    for fit in ("crop", "squash"):
        video = decode(path, MediaConfig(decode={"fit": fit}, quality=quality))
        assert video.frames.shape == (8, 224, 224, 3)


@needs_ffmpeg
def test_an_edit_list_hides_frames(tmp_path, sixty):
    cut = tmp_path / "cut.mp4"
    # Cutting without re-encoding keeps the frames before the cut in the file and hides them.
    command = ["ffmpeg", "-v", "error", "-ss", "1.0", "-i", str(sixty), "-c", "copy", str(cut)]
    subprocess.run(command, check=True)
    video = decode(cut, config("decord"))
    shown = [number_of(frame) for frame in video.frames]
    assert video.decoder == "pyav"
    assert "edit list" in video.note
    assert min(shown) >= 25
    assert shown == sorted(set(shown))


def test_one_frame_is_a_still_and_is_embedded(tmp_path):
    video = decode(write_video(tmp_path / "one.mp4", [numbered(27)]), config())
    assert len(video.frames) == 1
    assert number_of(video.frames[0]) == 27
    assert "still" in video.note
    with pytest.raises(TooShort, match="1 frames; at least 2"):
        decode(tmp_path / "one.mp4", config(quality={"min_frames": 2}))


@needs_ffmpeg
def test_a_truncated_video_gives_what_is_there(tmp_path):
    pictures = [np.random.default_rng(i).integers(0, 255, (120, 160, 3), np.uint8) for i in range(60)]
    whole = write_video(tmp_path / "w.mp4", pictures, options={"movflags": "faststart"})
    # The header must come first for a cut file to be readable: FFmpeg does that on request.
    front = tmp_path / "front.mp4"
    command = ["ffmpeg", "-v", "error", "-i", str(whole), "-c", "copy", "-movflags", "faststart", str(front)]
    subprocess.run(command, check=True)
    video = decode(front.read_bytes()[: front.stat().st_size // 2], config())
    assert "cut short" in video.note
    assert 0.8 < video.duration_s < 1.6
    with pytest.raises(UnreadableVideo, match="index"):
        decode(whole.read_bytes()[: whole.stat().st_size // 2], config())


def test_no_sound_is_none_and_short_sound_is_noted(tmp_path, sixty):
    assert decode(sixty, config()).audio.shape[0] == pytest.approx(2.4 * 16_000, abs=1100)
    silent = decode(write_video(tmp_path / "s.mp4", [numbered(i) for i in range(9)]), config())
    assert (silent.audio, silent.has_audio) == (None, False)
    path = write_video(tmp_path / "short.mp4", [numbered(i) for i in range(50)], tone_s=0.5)
    short = decode(path, config())
    assert short.has_audio
    assert "its sound ends after 0.5 s of 2.0 s" in short.note


def test_what_is_no_video_is_named(tmp_path):
    with pytest.raises(WrongContainer, match="the bytes are HTML, not a video"):
        decode(b"<!DOCTYPE html><html><body>404</body></html>", config())
    with pytest.raises(WrongContainer, match="text"):
        decode("Übergröße, café".encode() * 1000, config())
    with pytest.raises(WrongContainer, match="playlist"):
        decode(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", config())
    with pytest.raises(EmptyVideo):
        decode(b"", config())
    with pytest.raises(NoVideoStream, match="sound only"):
        decode(write_sound(tmp_path / "sound.mp4", 1.0), config())


def test_paths_that_are_no_files_are_told_apart(tmp_path, sixty):
    import os

    with pytest.raises(VanishedVideo):
        decode(tmp_path / "gone.mp4", config())
    with pytest.raises(UnreachableVideo, match="a folder"):
        decode(tmp_path, config())
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(UnreachableVideo, match="a pipe"):
        decode(tmp_path / "pipe.mp4", config())
    odd = tmp_path / "视频 — café: concat|x?.mp4"
    odd.write_bytes(sixty.read_bytes())
    assert len(decode(odd, config()).frames) == 8


def test_what_is_too_large_is_not_decoded(sixty):
    with pytest.raises(TooLarge, match="160×120"):
        decode(sixty, MediaConfig(decode={"max_pixels": 10_000}))
    with pytest.raises(TooLarge, match="bytes"):
        decode(sixty, MediaConfig(decode={"max_bytes": 1_000}))


def test_a_script_that_names_other_files_is_never_followed(tmp_path, sixty):
    trick = tmp_path / "trick.mp4"
    trick.write_text(f"ffconcat version 1.0\nfile {sixty}\n")
    with pytest.raises(WrongContainer):
        decode(trick, config())
    # Not told from its first bytes, it must be stopped by the list of allowed formats.
    (tmp_path / "private.mp4").write_bytes(sixty.read_bytes())
    trick.write_bytes(b"ffconcat version 1.0\nfile private.mp4\n#\xff\xfe\n")
    with pytest.raises(WrongContainer):
        decode(trick, config())


def test_decoding_does_not_import_torch():
    code = (
        "import sys, vrec.media.decode_worker, vrec.media.decode_process; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
