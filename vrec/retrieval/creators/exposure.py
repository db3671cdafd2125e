"""Exposure of creators in lists: its inequality, and places that are kept for new ones."""

import numpy as np
import numpy.typing as npt

Columns = npt.NDArray[np.int64]


def exposure_gini(lists: Columns, creators: int) -> float:
    """Return the Gini coefficient of the places of creators: 0 where all have equally many, up to 1.

    Args:
        lists: (U, k) creators of each list, −1 for none.
        creators: Number of all creators, also of those in no list.
    """
    return gini(np.bincount(lists[lists >= 0], minlength=creators))


def gini(counts: Columns) -> float:
    """Return the Gini coefficient of (N,) counts, 0 if all are 0."""
    ordered, size = np.sort(counts).astype(np.float64), len(counts)
    total = ordered.sum()
    if total == 0:
        return 0.0
    return float(((2 * np.arange(1, size + 1) - size - 1) @ ordered) / (size * total))


def keep_places_for_new(
    ranked: Columns, is_new: npt.NDArray[np.bool_], k: int, share: float, rng: np.random.Generator
) -> Columns:
    """Return lists in which new creators have a share of the places, where the ranking has enough of them.

    Each list has `share` · k new creators at least, rounded up or down at random so that the mean is exact.
    The best new ones that are missing replace the last others, so that the first places change last.

    Args:
        ranked: (U, depth) creators of each list, the best first, −1 for none.
        is_new: (creators,) whether a creator is new.
        k: Length of the lists.
        share: Least share of the places.
        rng: Random generator.

    Returns:
        (U, k) creators.
    """
    lists = ranked[:, :k].copy()
    wanted = np.floor(share * k + rng.random(len(ranked))).astype(np.int64)
    is_new_at = np.where(ranked >= 0, is_new[ranked], False)
    for row in np.flatnonzero(is_new_at[:, :k].sum(axis=1) < wanted):
        missing = wanted[row] - is_new_at[row, :k].sum()
        later = ranked[row, k:][is_new_at[row, k:]][:missing]
        others = np.flatnonzero(~is_new_at[row, :k])[::-1][: len(later)]
        lists[row, np.sort(others)] = later
    return lists
