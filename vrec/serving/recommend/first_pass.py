"""Choice of the candidates that the ranking network scores, by rough predictions for all."""

from collections.abc import Sequence

import numpy as np

from vrec.ranking.features.arrays import RankerPredictions
from vrec.ranking.reranking.catalog import Floats, RowIndices
from vrec.ranking.reranking.utility import UtilityConfig, utility
from vrec.serving.recommend.candidates import NEW_SOURCE


def best_candidates(
    rough: RankerPredictions,
    prices: Floats,
    sources: Sequence[str],
    most: int,
    *,
    surface: str,
    config: UtilityConfig,
) -> RowIndices:
    """Return the places of the candidates to score, ascending.

    New videos are always among them: what they are worth is for exploration to find out. Of the others, those
    of the greatest rough utility are; equal ones go by their order.

    Args:
        rough: Rough predictions for N candidates.
        prices: (N,) prices, NaN for none.
        sources: (N,) sources of the candidates.
        most: Maximum number of candidates; more if there are more new ones.
        surface: Surface that shows the list.
        config: Weights of the utility.
    """
    new = np.array([source == NEW_SOURCE for source in sources], np.bool_)
    others = np.flatnonzero(~new)
    scores = utility(rough, prices, surface, config)[others]
    best = others[np.argsort(-scores, kind="stable")[: max(0, most - np.count_nonzero(new))]]
    return np.sort(np.concatenate([np.flatnonzero(new), best]))
