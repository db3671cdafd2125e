"""Frames through H.264 and back."""

import numpy as np

from vrec.robustness.content.codec import VideoChannel, read_frames, write_h264

VIDEO = np.linspace(40, 200, 12 * 64 * 64 * 3).reshape(12, 64, 64, 3).astype(np.uint8)


def test_frames_come_back_in_their_order_and_nearly_the_same(tmp_path):
    write_h264(tmp_path / "a.mp4", VIDEO, crf=10)
    back = read_frames(tmp_path / "a.mp4")
    assert back.shape == VIDEO.shape
    assert np.abs(back.astype(int) - VIDEO).mean() < 4


def test_a_channel_gives_the_frames_at_its_places_with_their_changes():
    channel = VideoChannel(VIDEO, [2, 8], crf=10)
    assert np.array_equal(channel.frames, VIDEO[[2, 8]])
    attacked = channel.frames + np.array([20, 30], np.uint8).reshape(2, 1, 1, 1)
    change = channel.video(attacked).astype(int) - VIDEO
    assert [int(one.mean()) for one in change] == [20] * 6 + [30] * 6
    arrived = channel(attacked)
    assert arrived.shape == (2, 64, 64, 3)
    assert np.abs(arrived.astype(int) - attacked).mean() < 5


def test_a_coarser_codec_loses_more():
    noise = np.random.default_rng(0).integers(0, 256, VIDEO.shape, np.uint8)
    losses = [
        np.abs(VideoChannel(noise, [6], crf=crf)(noise[[6]]).astype(int) - noise[6]).mean()
        for crf in (10, 40)
    ]
    assert losses[0] < losses[1]
