import numpy as np
import pytest

from tests.films import noise
from vrec.core.errors import BlackVideo, FrozenVideo, TooShort
from vrec.media.quality import CELL, QualityConfig, cell_brightness, check_length, check_picture


def test_quality_names_black_flat_and_frozen_and_passes_the_rest():
    black = np.random.default_rng(0).integers(0, 18, (8, 224, 224, 3), np.uint8)
    with pytest.raises(BlackVideo, match="black"):
        check_picture(QualityConfig(), black)
    with pytest.raises(BlackVideo, match="flat"):
        check_picture(QualityConfig(), np.full((8, 224, 224, 3), 130, np.uint8))
    frozen = noise(0)[:1].repeat(8, axis=0)
    with pytest.raises(FrozenVideo):
        check_picture(QualityConfig(), frozen)
    check_picture(QualityConfig(), frozen[:1])
    check_picture(QualityConfig(refuse_frozen=False), frozen)
    check_picture(QualityConfig(refuse_black=False), black[:1])
    cursor = frozen.copy()
    cursor[5, 100:112, 60:72] = 255 - cursor[5, 100:112, 60:72]
    check_picture(QualityConfig(), cursor)
    spot = black.copy()
    spot[3, 40:80, 40:80] = 200
    check_picture(QualityConfig(), spot)
    with pytest.raises(TooShort, match=r"0\.50 s; at least 1 s"):
        check_length(QualityConfig(min_duration_s=1), 12, 0.5)


def test_a_length_at_its_limit_passes():
    config = QualityConfig(min_frames=12, min_duration_s=1.0)
    check_length(config, 12, 1.0)
    check_length(config, 12, None)
    with pytest.raises(TooShort, match="11 frames; at least 12"):
        check_length(config, 11, 1.0)
    with pytest.raises(TooShort, match=r"0\.99 s; at least 1 s"):
        check_length(config, 12, 0.99)
    check_length(QualityConfig(), 1, 0.0)


def test_cells_are_means_of_their_pixels_and_channels():
    frames = np.zeros((2, 2 * CELL, 2 * CELL, 3), np.uint8)
    frames[1, :CELL, CELL:] = (30, 60, 90)
    cells = cell_brightness(frames)
    assert (cells.shape, cells.dtype) == ((2, 2, 2), np.float32)
    assert cells.tolist() == [[[0, 0], [0, 0]], [[0, 60], [0, 0]]]
    assert cell_brightness(np.full((1, 8, 8, 3), 7, np.uint8)).tolist() == [[[7]]], "smaller than a cell"
    odd = np.zeros((1, 2 * CELL + 5, 2 * CELL + 5, 3), np.uint8)
    assert cell_brightness(odd).shape == (1, 2, 2)


def pair(first, second):
    frames = np.zeros((2, 32, 32, 3), np.uint8)
    frames[:, ::2] = 200
    frames[0, :16, :16], frames[1, :16, :16] = first, second
    return frames


def test_thresholds_are_those_of_the_settings():
    black = np.full((2, 32, 32, 3), 20, np.uint8)
    with pytest.raises(BlackVideo, match="black"):
        check_picture(QualityConfig(refuse_frozen=False), black)
    with pytest.raises(BlackVideo, match="flat"):
        check_picture(QualityConfig(refuse_frozen=False, black_level=19), black)
    stripes = black.copy()
    stripes[:, ::2] += 8
    with pytest.raises(BlackVideo, match="flat"):
        check_picture(QualityConfig(refuse_frozen=False), stripes)
    check_picture(QualityConfig(refuse_frozen=False, flat_range=7), stripes)
    with pytest.raises(FrozenVideo):
        check_picture(QualityConfig(frozen_change=1.5), pair(100, 101))
    check_picture(QualityConfig(), pair(100, 101))
    check_picture(QualityConfig(frozen_change=5), pair(100, 105))


def test_a_flat_channel_is_not_enough_to_be_flat():
    frames = np.full((1, 32, 32, 3), 128, np.uint8)
    frames[:, ::2, :, 2] = 200
    check_picture(QualityConfig(), frames)


def test_one_frame_with_content_saves_a_video():
    frames = np.concatenate([np.full((3, 224, 224, 3), 128, np.uint8), noise(3, 1)])
    check_picture(QualityConfig(), frames)
    check_picture(QualityConfig(refuse_black=False, refuse_frozen=False), frames[:1].repeat(4, axis=0))


def test_half_a_percent_of_extreme_pixels_does_not_hide_a_flat_frame():
    frames = np.full((1, 100, 100, 3), 128, np.uint8)
    frames[0, 0, :40] = 255
    with pytest.raises(BlackVideo, match="flat"):
        check_picture(QualityConfig(), frames)
    frames[0, 1:3] = 255
    check_picture(QualityConfig(), frames)


def test_a_slow_change_from_the_first_frame_is_no_frozen_picture():
    frames = noise(4, 1).repeat(4, axis=0)
    frames[:, :112] = np.array([100, 103, 106, 109], np.uint8)[:, None, None, None]
    check_picture(QualityConfig(frozen_change=5), frames)
