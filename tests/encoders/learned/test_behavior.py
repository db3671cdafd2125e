"""Behavior signals: impossible values are refused."""

import numpy as np
import pytest

from vrec.core.errors import FitError
from vrec.encoders.learned.behavior import BehaviorSignals


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"right": np.array([90, 1])}, "names row 90 of 90"),
        ({"right": np.array([-1, 1])}, "names row -1 of 90"),
        ({"right": np.array([2, 0, 1])}, "pairs of .2,. and .3,."),
        ({"right": np.array([0, 1])}, "2 pairs are of a video with itself"),
        ({"popularity": np.full(90, np.nan)}, "negative or not finite"),
        ({"popularity": np.zeros(90)}, "4 videos of pairs have a popularity of 0"),
        ({"targets": np.ones((80, 3), np.float32)}, "targets do not match 90 videos"),
        ({"targets": np.zeros((90, 3), np.float32), "has_target": np.ones(90, bool)}, "zero or not finite"),
    ],
)
def test_behavior_that_cannot_be_is_refused(changed, says):
    given = {"left": np.array([0, 1]), "right": np.array([1, 2]), "popularity": np.ones(90)} | changed
    with pytest.raises(FitError, match=says):
        BehaviorSignals(**given)
