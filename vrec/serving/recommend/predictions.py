"""Candidates of a list, and the ranker's predictions for them."""

from dataclasses import dataclass, replace

import numpy as np

from vrec.profiles.profile import Profile
from vrec.ranking.features.arrays import RankerPredictions, RankingRequest, RequestContext
from vrec.ranking.features.video_counts import Doubles
from vrec.ranking.network_ranker import NetworkRanker
from vrec.ranking.reranking.catalog import RowIndices, ShopperContext
from vrec.ranking.reranking.utility import UtilityConfig
from vrec.serving.catalog.snapshot import CatalogSnapshot
from vrec.serving.messages import RecommendQuery
from vrec.serving.recommend.catalog_ranker import CatalogRanker
from vrec.serving.recommend.eligibility import EligibilityFilter
from vrec.serving.recommend.first_pass import best_candidates
from vrec.serving.recommend.stage_timer import StageTimer
from vrec.serving.rules.compiled import ListRules
from vrec.serving.streams.rows import LiveStreams


@dataclass(frozen=True, eq=False, slots=True)
class ChosenCandidates:
    """Candidates of a list, by their rows in a snapshot, with what they were chosen by."""

    query: RecommendQuery
    user: Profile
    shopper: ShopperContext
    rules: ListRules
    live: LiveStreams
    eligible: EligibilityFilter
    rows: RowIndices
    """(N,) rows, by id in a ranked list."""
    sources: list[str]
    timer: StageTimer


def with_valid_taste(user: Profile, dim: int) -> Profile:
    """Return a profile without its taste if that has another length or is not finite."""
    if user.vector is None or (len(user.vector) == dim and np.isfinite(user.vector).all()):
        return user
    return replace(user, vector=None)


def predict(
    chosen: ChosenCandidates,
    counts: Doubles,
    snapshot: CatalogSnapshot,
    ranker: CatalogRanker,
    *,
    most: int | None,
    config: UtilityConfig,
) -> tuple[RowIndices, list[str], RankerPredictions]:
    """Return the ranker's predictions for candidates.

    Args:
        chosen: The candidates.
        counts: (N, len(VIDEO_COUNT_KEYS)) their counts.
        snapshot: The catalog.
        ranker: Ranker of its videos.
        most: Number of candidates to predict for, at least twice the length of the list; None for all.
        config: Weights of the utility.

    Returns:
        Rows and sources of the candidates that predictions are for, and the predictions.
    """
    query, timer, rows, sources = chosen.query, chosen.timer, chosen.rows, chosen.sources
    row_list: list[int] = rows.tolist()
    ids = tuple(snapshot.catalog.video_ids[row] for row in row_list)
    request = RankingRequest(chosen.user, RequestContext(query.at, query.surface), ids, counts)
    known, request = ranker.of_request(request, rows)
    if not isinstance(known, NetworkRanker):
        predictions = known.predict_requests([request])
    else:
        features = known.builder.build([request])
        timer.lap("features")
        most = len(rows) if most is None else max(most, 2 * query.k)
        if len(rows) > most and (rough := known.predict_roughly(features)) is not None:
            prices = snapshot.catalog.price[rows]
            best = best_candidates(rough, prices, sources, most, surface=query.surface, config=config)
            rows, sources = rows[best], [sources[place] for place in best.tolist()]
            features = features.take(best)
        predictions = known.predict(features)
    timer.lap("ranker")
    return rows, sources, predictions
