"""Lists whose shares of popular and rare videos follow the user's own history."""

import numpy as np
import numpy.typing as npt

from vrec.retrieval.interaction_matrix import InteractionMatrix
from vrec.retrieval.topk import Scores

HEAD, MID, TAIL = 0, 1, 2
"""Popularity groups: the most popular videos with a third of all interactions, the next third, the rest."""
GROUPS = 3
PRIOR_VIDEOS = 5.0
"""Number of videos added to a history in equal parts, so that short ones are close to the average."""

Floats = npt.NDArray[np.float64]


def popularity_groups(support: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
    """Return the popularity group of each video: HEAD, MID or TAIL.

    Args:
        support: (videos,) number of users of each video.

    Returns:
        (videos,) int8. Videos with the same number of users are in the same group; those without users are
        in TAIL.
    """
    groups = np.full(len(support), TAIL, np.int8)
    values, inverse = np.unique(support, return_inverse=True)
    interactions = np.bincount(inverse, weights=support)
    # Share of all interactions that are with more popular videos than those of each number of users.
    above = (interactions[::-1].cumsum()[::-1] - interactions) / max(1.0, interactions.sum())
    by_value = np.minimum((GROUPS * above + 1e-9).astype(np.int8), TAIL)
    by_value[values == 0] = TAIL
    groups[:] = by_value[inverse]
    return groups


def history_shares(histories: InteractionMatrix, groups: npt.NDArray[np.int8]) -> Floats:
    """Return the (B, 3) shares of the popularity groups in histories, smoothed by PRIOR_VIDEOS.

    Args:
        histories: (B, videos) histories.
        groups: (videos,) result of `popularity_groups`.
    """
    rows = np.repeat(np.arange(histories.users), np.diff(histories.weights.indptr))
    cells = rows * GROUPS + groups[histories.weights.indices]
    counts = np.bincount(cells, minlength=histories.users * GROUPS).reshape(-1, GROUPS)
    smoothed = counts + PRIOR_VIDEOS / GROUPS
    return smoothed / smoothed.sum(axis=1, keepdims=True)


def calibrate_popularity(
    scores: Scores, histories: InteractionMatrix, groups: npt.NDArray[np.int8], strength: float
) -> Scores:
    """Rank each user's videos so that popularity groups appear by their shares in the history.

    Each video has two positions: its rank by score, and the rank in its group divided by the group's share.
    Ordered by the second alone, every beginning of a list is an apportionment of its slots to the groups by
    the method of Sainte-Laguë. The videos are ordered by the weighted mean of both. Ranks count the videos
    outside the history, so that a list without the history has these shares. The aim is that of Abdollahpouri
    et al. 2021 (User-centered Evaluation of Popularity Bias in Recommender Systems), without their greedy
    search.

    Args:
        scores: (B, videos) float32, −inf for no opinion.
        histories: (B, videos) histories of the users.
        groups: (videos,) result of `popularity_groups`.
        strength: Weight of the second position, from 0 (the order by score) to 1.

    Returns:
        (B, videos) float32: minus the place in the new order, from −1 on, without ties; −inf stays −inf.
    """
    shares = history_shares(histories, groups)
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked_groups = groups[order]
    new = np.take_along_axis(histories.weights.toarray() == 0, order, axis=1)
    position = (1 - strength) * _ranks(new)
    for group in range(GROUPS):
        members = ranked_groups == group
        in_group = _ranks(new & members) / shares[:, group, None]
        np.add(position, strength * in_group, out=position, where=members)
    new_order = np.take_along_axis(order, np.argsort(position, axis=1, kind="stable"), axis=1)
    out = np.empty_like(scores)
    np.put_along_axis(out, new_order, -np.arange(1, scores.shape[1] + 1, dtype=np.float32)[None], axis=1)
    out[scores == -np.inf] = -np.inf
    return out


def _ranks(counted: npt.NDArray[np.bool_]) -> Floats:
    """Return, for each place in (B, videos) rankings, the number of counted places before it plus a half."""
    return np.cumsum(counted, axis=1) - counted + 0.5
