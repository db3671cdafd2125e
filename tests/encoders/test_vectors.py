"""Unit rows by hand, and rows without a direction."""

import numpy as np
import pytest

from vrec.core.errors import EncodeFailed
from vrec.core.types import Clip
from vrec.encoders.vectors import unit_clip_rows, unit_rows

CLIPS = [Clip("first"), Clip("second"), Clip("third")]


def test_rows_have_length_one_and_keep_their_direction():
    rows = unit_rows(np.array([[3, 4], [-0.5, 0], [1e-30, 0]]))
    assert rows.dtype == np.float32
    assert np.allclose(rows, [[0.6, 0.8], [-1, 0], [1, 0]])
    assert unit_rows(np.zeros((0, 4))).shape == (0, 4)


def test_large_float32_numbers_do_not_overflow():
    assert unit_rows(np.full((1, 4), 3e38, np.float32)).tolist() == [[0.5] * 4]


@pytest.mark.parametrize("bad", [[0, 0], [np.nan, 1], [np.inf, 1], [-np.inf, 1]])
def test_the_first_row_without_a_direction_is_named(bad):
    rows = np.array([[1, 1], bad, [0, 0]], dtype=np.float32)
    with pytest.raises(ValueError, match="row 1 is zero or not finite"):
        unit_rows(rows)
    with pytest.raises(EncodeFailed, match="second: its audio gave a vector that is zero or not finite"):
        unit_clip_rows(rows, CLIPS, "audio")


def test_good_clips_give_unit_rows():
    rows = unit_clip_rows(np.array([[0.0, 2], [5, 0], [3, 4]]), CLIPS, "text")
    assert np.allclose(rows, [[0, 1], [1, 0], [0.6, 0.8]])
