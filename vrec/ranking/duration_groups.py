"""Groups of videos of similar duration."""

import numpy as np
import numpy.typing as npt


def group_by_duration(
    duration_s: npt.NDArray[np.floating], edges: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Return the (N,) group of each duration in seconds; unknown (NaN) durations are the last group.

    `edges` are the (G − 1,) longest durations in seconds of each of G groups except the last, so that unknown
    durations are in group G.
    """
    group = np.searchsorted(edges, duration_s, side="left")
    return np.where(np.isnan(duration_s), len(edges) + 1, group)
