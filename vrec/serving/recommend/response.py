"""From candidates and what is expected of them to the items of an answer."""

from collections.abc import Sequence

import numpy as np

from vrec.ranking.features.arrays import RankerPredictions
from vrec.ranking.reranking.catalog import CatalogArrays, RowIndices, ShopperContext
from vrec.ranking.reranking.reasons import find_reasons
from vrec.ranking.reranking.rerank import RerankConfig, rerank_candidates
from vrec.ranking.reranking.utility import utility
from vrec.serving.messages import ListItem, RecommendQuery


def reranked_items(
    ask: RecommendQuery,
    shopper: ShopperContext,
    catalog: CatalogArrays,
    config: RerankConfig,
    *,
    rows: RowIndices,
    predictions: RankerPredictions,
    sources: Sequence[str],
    rng: np.random.Generator,
) -> tuple[ListItem, ...]:
    """The list of at most `ask.k` of (N,) rows in the order of video_id; see `arrange`."""
    made = rerank_candidates(
        predictions,
        rows,
        catalog,
        shopper,
        config,
        sources=sources,
        surface=ask.surface,
        at=ask.at,
        k=ask.k,
        rng=rng,
    )
    chosen: list[int] = made.rows.tolist()
    return _items(
        catalog,
        rows[made.rows],
        predictions.take(made.rows),
        worth=made.utilities.tolist(),
        scores=made.scores.tolist(),
        reasons=made.reasons,
        sources=[sources[row] for row in chosen],
        chances=made.propensities.tolist(),
    )


def popular_items(
    ask: RecommendQuery,
    shopper: ShopperContext,
    catalog: CatalogArrays,
    config: RerankConfig,
    *,
    rows: RowIndices,
    predictions: RankerPredictions,
) -> tuple[ListItem, ...]:
    """The popular videos of (N,) rows in that order, with scores that are one over the slot from 1."""
    sources, untried = ["popular"] * len(rows), np.zeros(len(rows), np.bool_)
    own = config.for_surface(ask.surface).reasons
    return _items(
        catalog,
        rows,
        predictions,
        worth=utility(predictions, catalog.price[rows], ask.surface, config.utility).tolist(),
        scores=[1 / slot for slot in range(1, len(rows) + 1)],
        reasons=find_reasons(rows, catalog, shopper, own, sources=sources, explored=untried, at=ask.at),
        sources=sources,
        chances=[1.0] * len(rows),
    )


def _items(
    shelf: CatalogArrays,
    rows: RowIndices,
    found: RankerPredictions,
    *,
    worth: Sequence[float],
    scores: Sequence[float],
    reasons: Sequence[Sequence[str]],
    sources: Sequence[str],
    chances: Sequence[float],
) -> tuple[ListItem, ...]:
    places: list[int] = rows.tolist()
    ids = [shelf.video_ids[row] for row in places]
    heads = (found.p_click.tolist(), found.watch_s.tolist(), found.p_conv.tolist())
    whys = [tuple(why) for why in reasons]
    columns = (ids, scores, *heads, worth, whys, sources, chances)
    return tuple(ListItem(*row) for row in zip(*columns, strict=True))
