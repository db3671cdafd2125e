from types import SimpleNamespace

import av
import numpy as np
import pytest

from tests.films import numbered, write_video
from vrec.core.errors import TooLarge
from vrec.media.decoders.container import FrameTimeline, OpenVideo, open_video
from vrec.media.decoders.frames import DecodeConfig


def timeline(times_s):
    count = len(times_s)
    return FrameTimeline(np.array(times_s), np.arange(count), (0,), seekable=True, has_edit_list=False)


def test_a_step_is_the_mean_gap_and_none_for_one_frame():
    assert timeline([0.0, 0.1, 0.5]).step_s == pytest.approx(0.25)
    assert timeline([7.0]).step_s is None


@pytest.mark.parametrize(
    ("ratio", "size"), [(None, (64, 48)), (1, (64, 48)), (2, (128, 48)), (0.5, (64, 96))]
)
def test_a_display_size_has_square_pixels_and_never_fewer(ratio, size):
    stream = SimpleNamespace(sample_aspect_ratio=ratio, width=64, height=48)
    video = OpenVideo("x", None, stream, timeline([0.0]), None, None, None)
    assert video.display_size == size


def test_an_open_video_has_its_times_keyframes_and_duration(tmp_path):
    path = write_video(
        tmp_path / "a.mp4", [numbered(i) for i in range(30)], rate=10, options={"sc_threshold": "0"}
    )
    with open_video(path, DecodeConfig()) as video:
        np.testing.assert_allclose(video.timeline.times_s, np.arange(30) / 10)
        assert video.timeline.keyframes == (0, 12, 24)
        assert (video.timeline.seekable, video.timeline.has_edit_list) == (True, False)
        assert (video.fps, video.duration_s) == (pytest.approx(10), pytest.approx(3.0))
        assert video.note is None
        assert video.source == str(path)


def test_a_raw_stream_has_numbers_in_place_of_times(tmp_path):
    path = write_video(tmp_path / "a.h264", [numbered(i) for i in range(20)], options={"sc_threshold": "0"})
    with open_video(path, DecodeConfig()) as video:
        assert not video.timeline.seekable
        assert video.timeline.pts.tolist() == list(range(20))
        assert video.timeline.keyframes == (0, 12)
        rate = float(video.stream.average_rate or video.stream.guessed_rate)
        np.testing.assert_allclose(video.timeline.times_s, np.arange(20) / rate)


def test_limits_are_the_largest_that_is_allowed(tmp_path):
    path = write_video(tmp_path / "a.mp4", [numbered(0), numbered(1)])
    size = path.stat().st_size
    with open_video(path, DecodeConfig(max_bytes=size, max_pixels=160 * 120)):
        pass
    with pytest.raises(TooLarge, match=f"{size:,} bytes"), open_video(path, DecodeConfig(max_bytes=size - 1)):
        pass
    with (
        pytest.raises(TooLarge, match="160×120"),
        open_video(path, DecodeConfig(max_pixels=160 * 120 - 1)),
    ):
        pass


def test_the_default_stream_is_taken(tmp_path):
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as file:
        for number, width in enumerate((64, 96)):
            stream = file.add_stream("ffv1", rate=5)
            stream.width, stream.height, stream.pix_fmt = width, 64, "yuv420p"
            stream.disposition = av.stream.Disposition.default if number else av.stream.Disposition(0)
        for stream in file.streams.video:
            for i in range(3):
                frame = av.VideoFrame.from_ndarray(numbered(i, stream.width, 64), format="rgb24")
                frame.pts = i
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
    with open_video(path, DecodeConfig()) as video:
        assert video.stream.width == 96
