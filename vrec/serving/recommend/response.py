"""Items of an answer from candidates and their predictions."""

from collections.abc import Sequence

import numpy as np

from vrec.ranking.features.arrays import RankerPredictions
from vrec.ranking.reranking.catalog import CatalogArrays, RowIndices, ShopperContext
from vrec.ranking.reranking.popularity import Popularity
from vrec.ranking.reranking.reasons import find_reasons
from vrec.ranking.reranking.rerank import RerankConfig, rerank_candidates
from vrec.ranking.reranking.utility import utility
from vrec.serving.messages import ListItem, RecommendQuery
from vrec.serving.recommend.draws import exploration_rng


def reranked_items(
    query: RecommendQuery,
    shopper: ShopperContext,
    catalog: CatalogArrays,
    config: RerankConfig,
    *,
    rows: RowIndices,
    predictions: RankerPredictions,
    sources: Sequence[str],
    popularity: Popularity,
) -> tuple[ListItem, ...]:
    """Rerank candidates into a list of at most `query.k` items; see `rerank_candidates`.

    Args:
        query: The request.
        shopper: The shopper.
        catalog: Catalog of the rows.
        config: Reranking settings.
        rows: (N,) rows of the candidates, ascending by video_id.
        predictions: Predictions for the N rows.
        sources: Source of each of the N rows.
        popularity: Popularity of the videos.
    """
    reranked = rerank_candidates(
        predictions,
        rows,
        catalog,
        shopper,
        config,
        sources=sources,
        surface=query.surface,
        at=query.at,
        k=query.k,
        rng=exploration_rng(query),
        popularity=popularity,
    )
    chosen: list[int] = reranked.rows.tolist()
    return _items(
        catalog,
        rows[reranked.rows],
        predictions.take(reranked.rows),
        utilities=reranked.utilities.tolist(),
        scores=reranked.scores.tolist(),
        reasons=reranked.reasons,
        sources=[sources[row] for row in chosen],
        propensities=reranked.propensities.tolist(),
    )


def popular_items(
    query: RecommendQuery,
    shopper: ShopperContext,
    catalog: CatalogArrays,
    config: RerankConfig,
    *,
    rows: RowIndices,
    predictions: RankerPredictions,
    popularity: Popularity,
) -> tuple[ListItem, ...]:
    """Return (N,) rows of popular videos as items in that order; the score is 1 / slot, from slot 1."""
    sources, explored = ["popular"] * len(rows), np.zeros(len(rows), np.bool_)
    own = config.for_surface(query.surface).reasons
    reasons = find_reasons(
        rows, catalog, shopper, own, sources=sources, explored=explored, at=query.at, popularity=popularity
    )
    return _items(
        catalog,
        rows,
        predictions,
        utilities=utility(predictions, catalog.price[rows], query.surface, config.utility).tolist(),
        scores=[1 / slot for slot in range(1, len(rows) + 1)],
        reasons=reasons,
        sources=sources,
        propensities=[1.0] * len(rows),
    )


def _items(
    catalog: CatalogArrays,
    rows: RowIndices,
    predictions: RankerPredictions,
    *,
    utilities: Sequence[float],
    scores: Sequence[float],
    reasons: Sequence[Sequence[str]],
    sources: Sequence[str],
    propensities: Sequence[float],
) -> tuple[ListItem, ...]:
    row_list: list[int] = rows.tolist()
    ids = [catalog.video_ids[row] for row in row_list]
    heads = (predictions.p_click.tolist(), predictions.watch_s.tolist(), predictions.p_conv.tolist())
    columns = (ids, scores, *heads, utilities, [tuple(codes) for codes in reasons], sources, propensities)
    return tuple(ListItem(*row) for row in zip(*columns, strict=True))
