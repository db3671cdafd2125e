"""Choice of the creators of a list: places for new ones, and exact probabilities."""

import numpy as np
import numpy.typing as npt

from vrec.ranking.reranking.catalog import Floats, RowIndices
from vrec.ranking.reranking.exploration import draw_winner, win_chance

MOST_CANDIDATES = 200
"""Maximum number of candidates by score, and as many new ones; who is beyond has no chance."""


def choose_creators(
    means: Floats,
    deviations: Floats,
    is_new: npt.NDArray[np.bool_],
    *,
    k: int,
    new_share: float,
    rng: np.random.Generator,
) -> list[tuple[int, float]]:
    """Choose at most `k` of C creators, and return each with the probability of its place.

    With the probability `new_share` a place is for new creators alone, as long as some are left. It goes to
    the greatest draw of those that may have it (see `draw_winner`). So over lists, new creators get that
    share of the places at least.

    Args:
        means: (C,) scores.
        deviations: (C,) standard deviations of the draws, ≥ 0.
        is_new: (C,) whether a creator is new.
        k: Maximum length of the list.
        new_share: Probability that a place is for new creators.
        rng: Source of the draws.

    Returns:
        Creator of each place, and its probability given those of the places before.
    """
    left = _candidates(means, is_new)
    chosen: list[tuple[int, float]] = []
    for _ in range(min(k, len(left))):
        new = left[is_new[left]]
        share = new_share if 0 < len(new) < len(left) else 0.0
        for_new = rng.random() < share
        pool = new if for_new else left
        place, chance = draw_winner(means[pool], deviations[pool], rng)
        winner = int(pool[place])
        if share:
            other = left if for_new else new
            elsewhere = _chance_in(other, winner, means, deviations)
            among_new, among_all = (chance, elsewhere) if for_new else (elsewhere, chance)
            chance = share * among_new + (1 - share) * among_all
        chosen.append((winner, chance))
        left = left[left != winner]
    return chosen


def _candidates(means: Floats, is_new: npt.NDArray[np.bool_]) -> RowIndices:
    """Return the creators that can be chosen, ascending; which these are does not depend on chance."""
    order = np.argsort(-means, kind="stable")
    return np.union1d(order[:MOST_CANDIDATES], order[is_new[order]][:MOST_CANDIDATES])


def _chance_in(pool: RowIndices, winner: int, means: Floats, deviations: Floats) -> float:
    places = np.flatnonzero(pool == winner)
    return win_chance(means[pool], deviations[pool], int(places[0])) if len(places) else 0.0
