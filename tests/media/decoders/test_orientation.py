import numpy as np
import pytest

from vrec.media.decoders.orientation import DisplayOrientation, nearest_orientation

PICTURE = np.arange(4, dtype=np.uint8).reshape(2, 2, 1).repeat(3, axis=2)
"""0 1 above 2 3."""


@pytest.mark.parametrize(
    ("orientation", "shown"),
    [
        (DisplayOrientation(), [[0, 1], [2, 3]]),
        (DisplayOrientation(1), [[1, 3], [0, 2]]),
        (DisplayOrientation(2), [[3, 2], [1, 0]]),
        (DisplayOrientation(3), [[2, 0], [3, 1]]),
        (DisplayOrientation(0, True), [[1, 0], [3, 2]]),
        (DisplayOrientation(1, True), [[0, 2], [1, 3]]),
    ],
)
def test_a_picture_is_flipped_and_then_turned_counterclockwise(orientation, shown):
    assert orientation.apply(PICTURE)[..., 0].tolist() == shown
    assert orientation.apply(np.stack([PICTURE, PICTURE]))[1, ..., 0].tolist() == shown


def test_only_quarter_turns_swap_sides_and_only_the_identity_is_upright():
    assert [DisplayOrientation(n).swaps_sides for n in range(4)] == [False, True, False, True]
    assert [DisplayOrientation(n).upright for n in range(4)] == [True, False, False, False]
    assert not DisplayOrientation(0, True).upright
    assert not DisplayOrientation(0, True).swaps_sides


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize(("scale", "degrees"), [(1, 0), (65_536, 0), (65_536, 30), (65_536, -30)])
def test_a_matrix_is_taken_for_the_nearest_orientation(mirrored, quarters, scale, degrees):
    """Row vectors times the matrix, with y downwards: a counterclockwise turn takes right to up."""
    angle = np.radians(90 * quarters + degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = (np.diag([-1, 1]) if mirrored else np.eye(2)) @ turn
    got = nearest_orientation(np.round(matrix * scale).astype(np.int32))
    assert got == DisplayOrientation(quarters, mirrored)


def test_an_empty_matrix_is_upright():
    assert nearest_orientation(np.zeros((2, 2), np.int32)).upright
