import numpy as np
import pytest

from vrec.media.decoders.frames import DecodeConfig, ScaleAndCrop, crop_square, scale_and_crop


@pytest.mark.parametrize(
    ("size", "want"),
    [
        ((200, 100), (200, 100, 50, 0)),
        ((100, 200), (100, 200, 0, 50)),
        ((400, 200), (200, 100, 50, 0)),
        ((50, 25), (200, 100, 50, 0)),
        ((100, 100), (100, 100, 0, 0)),
        ((101, 100), (101, 100, 0, 0)),
        ((133.4, 100), (133, 100, 16, 0)),
    ],
)
def test_a_crop_scales_the_short_side_and_is_central(size, want):
    assert scale_and_crop(*size, DecodeConfig(frame_px=100, fit="crop")) == ScaleAndCrop(*want)


def test_a_squash_is_the_square_whatever_the_size():
    assert scale_and_crop(640, 360, DecodeConfig(frame_px=64)) == ScaleAndCrop(64, 64, 0, 0)


def test_a_square_is_cut_from_one_picture_or_many():
    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    to = ScaleAndCrop(6, 4, left=2, top=1)
    np.testing.assert_array_equal(crop_square(picture, to, 3), picture[1:4, 2:5])
    np.testing.assert_array_equal(crop_square(picture[None], to, 3)[0], picture[1:4, 2:5])
