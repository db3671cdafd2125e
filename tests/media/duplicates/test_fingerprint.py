import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.films import noise, numbered, write_video
from vrec.media.audio import AudioConfig
from vrec.media.decode import MediaConfig, decode
from vrec.media.duplicates.fingerprint import (
    GRID,
    LEVELS,
    MAX_PICTURES,
    RATE_HZ,
    area_weights,
    decode_fingerprint,
    encode_fingerprint,
    fingerprint_indices,
)


def test_moments_are_counted_in_seconds_and_show_the_frame_on_screen():
    times = np.array([5.0, 5.1, 5.2, 5.6, 6.0])
    assert fingerprint_indices(times).tolist() == [0, 2, 2, 3, 4]
    assert fingerprint_indices(np.array([3.0])).tolist() == [0]
    assert fingerprint_indices(np.arange(1000) / 25).tolist() == [int(i * 6.25) for i in range(MAX_PICTURES)]
    # Rounded to milliseconds, a frame at a moment is on screen at it.
    assert fingerprint_indices(np.array([0.0, 0.2505, 0.501])).tolist() == [0, 1, 2]


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 70), st.just(64), st.just(64))))
def test_a_fingerprint_keeps_its_cells(thumbnails):
    thumbnails = thumbnails[:MAX_PICTURES]
    pictures = decode_fingerprint(encode_fingerprint(thumbnails))
    assert pictures.shape == (len(thumbnails), GRID, GRID)
    assert pictures.max() < LEVELS


def test_cells_are_means_of_the_picture_between_the_bars():
    inner = np.random.default_rng(0).integers(0, 255, (3, 32, 48), np.uint8)
    thumbnails = np.pad(inner, ((0, 0), (15, 17), (7, 9)), constant_values=200)
    pictures = decode_fingerprint(encode_fingerprint(thumbnails))
    # One line more than the bar is cut off: its edge is mixed.
    rows, columns = area_weights(1, 31, 32, GRID), area_weights(1, 47, 48, GRID)
    want = rows @ inner.astype(float) @ columns.T * LEVELS / 256
    assert np.abs(pictures - want).max() <= 0.51


def test_what_is_no_fingerprint_is_refused():
    good = encode_fingerprint(np.zeros((2, 64, 64), np.uint8))
    bomb = b"\x01" + zlib.compress(bytes(10**7))
    for bad in (b"", b"\x01", b"\x02" + good[1:], good[:-9], bomb, b"\x01" + zlib.compress(b"abc")):
        with pytest.raises(ValueError, match="not a fingerprint"):
            decode_fingerprint(bad)


@pytest.mark.parametrize("fit", ["crop", "squash"])
@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_decoders_and_fits_agree_on_the_fingerprint(tmp_path, decoder, fit):
    """The frames of every moment, as numbers that their brightness spells."""
    path = write_video(tmp_path / "a.mp4", [numbered(i) for i in range(60)], rate=10, options={"crf": "10"})
    config = MediaConfig(audio=AudioConfig(enabled=False), fingerprint=True)
    video = decode(
        path,
        config.model_copy(
            update={"decode": config.decode.model_copy(update={"decoder": decoder, "fit": fit})}
        ),
    )
    pictures = decode_fingerprint(video.fingerprint)
    assert len(pictures) == int(5.9 * RATE_HZ) + 1
    digits = np.rint((pictures[:, 8, [2, 8, 13]] * (256 / LEVELS) - 40) / 55) @ [1, 4, 16]
    assert digits.tolist() == [int(i * 10 / RATE_HZ + 1e-6) for i in range(len(pictures))]


def test_the_frames_of_encoders_do_not_depend_on_the_fingerprint(tmp_path):
    path = write_video(tmp_path / "a.mp4", list(noise(1, 40)), rate=5)
    without, with_it = (decode(path, MediaConfig(fingerprint=wanted)) for wanted in (False, True))
    assert (without.frames == with_it.frames).all()
    assert (without.times_s == with_it.times_s).all()
    assert without.fingerprint is None
