"""Counts of pairs of videos that a few groups of shoppers cannot move: the median of means.

Shoppers are split into groups at random, pairs are counted in each group, and the median over the groups is
taken (Nemirovsky and Yudin 1983; for robust learning, Lecué and Lerasle 2020, "Robust machine learning by
median-of-means", Annals of Statistics 48(2)). Fewer than half as many fake shoppers as groups can move a
count no farther than to another group's count. More than that are in every group, and move the median with
them.
"""

from collections.abc import Callable

import numpy as np
from scipy import sparse

from vrec.robustness.watched import Floats, Ints

SEED = 0x303


def shopper_groups(shoppers: int, groups: int) -> list[Ints]:
    """Return the rows of each group; the groups' sizes differ by at most one."""
    drawn = np.random.default_rng(SEED).permutation(shoppers)
    return [np.sort(part) for part in np.array_split(drawn, groups)]


def median_of_means(
    weights: sparse.csr_matrix, groups: int, count: Callable[[sparse.csr_matrix], Floats]
) -> Floats:
    """Return the counts of all shoppers, as the median over groups of each group's counts, scaled to all.

    Args:
        weights: (S, V) rows of shoppers. groups: Number of groups; with 1 the counts are plain. More than
        there are shoppers count as that many. count: Counts of some rows, an array of one shape for any rows.
    """
    shoppers = weights.shape[0]
    groups = max(1, min(groups, shoppers))
    if groups == 1:
        return count(weights)
    parts = [
        count(sparse.csr_matrix(weights[rows])) * (shoppers / len(rows))
        for rows in shopper_groups(shoppers, groups)
    ]
    return np.asarray(np.median(parts, axis=0), np.float64)
