"""Items of an answer from candidates and their predictions."""

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vrec.ranking.features.arrays import RankerPredictions
from vrec.ranking.reranking.catalog import CatalogArrays, RowIndices, ShopperContext
from vrec.ranking.reranking.placements import Placements, place_in_order
from vrec.ranking.reranking.popularity import Popularity
from vrec.ranking.reranking.reasons import find_reasons
from vrec.ranking.reranking.rerank import RerankConfig, rerank_candidates
from vrec.ranking.reranking.utility import utility
from vrec.serving.messages import ListItem, RecommendQuery
from vrec.serving.recommend.draws import exploration_rng
from vrec.serving.rules.compiled import NO_RULES, ListRules


@dataclass(frozen=True, eq=False, slots=True)
class RankedCandidates:
    """N candidates for one shopper's request, with their predictions."""

    query: RecommendQuery
    shopper: ShopperContext
    catalog: CatalogArrays
    rows: RowIndices
    """(N,) rows of the catalog."""
    predictions: RankerPredictions
    sources: Sequence[str]
    """(N,) RECOMMENDATIONS.source."""
    popularity: Popularity
    rules: ListRules = NO_RULES
    """Rules of the shop that hold for the list."""
    placements: Placements | None = None
    """The rules as placements of the candidates."""
    relevance: npt.NDArray[np.float64] | None = None
    """(N,) what the candidates are ordered by in place of their utility; None for the utility."""


def unknown_videos(query: RecommendQuery, known: Container[str]) -> tuple[str, ...]:
    """Return the candidates, seeds and videos of the cart that are not in the catalog, each once."""
    named = dict.fromkeys((*(query.candidates or ()), *query.seeds, *query.cart))
    return tuple(name for name in named if name not in known)


def reranked_items(candidates: RankedCandidates, config: RerankConfig) -> tuple[ListItem, ...]:
    """Rerank candidates, ascending by video_id, into a list of at most `query.k` items.

    See `rerank_candidates`.
    """
    query, catalog, rows = candidates.query, candidates.catalog, candidates.rows
    predictions, sources = candidates.predictions, candidates.sources
    reranked = rerank_candidates(
        predictions,
        rows,
        catalog,
        candidates.shopper,
        config,
        sources=sources,
        surface=query.surface,
        at=query.at,
        k=query.k,
        rng=exploration_rng(query),
        popularity=candidates.popularity,
        placements=candidates.placements,
        relevance=candidates.relevance,
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
        rules=_rule_names(candidates, reranked.rows, reranked.rules),
    )


def popular_items(candidates: RankedCandidates, config: RerankConfig) -> tuple[ListItem, ...]:
    """Return at most `query.k` candidates in their order, but for rules; the score is 1 / slot, from 1."""
    placed, placed_by = place_in_order(
        candidates.placements or Placements(), len(candidates.rows), candidates.query.k
    )
    slots = np.array(placed, np.int64)
    query, catalog, rows = candidates.query, candidates.catalog, candidates.rows[slots]
    predictions, sources = candidates.predictions.take(slots), [candidates.sources[slot] for slot in placed]
    reasons = find_reasons(
        rows,
        catalog,
        candidates.shopper,
        config.for_surface(query.surface).reasons,
        sources=sources,
        explored=np.zeros(len(rows), np.bool_),
        at=query.at,
        popularity=candidates.popularity,
        featured=placed_by,
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
        rules=_rule_names(candidates, slots, placed_by),
    )


def _rule_names(
    candidates: RankedCandidates, chosen: RowIndices, placed_by: Sequence[str | None]
) -> list[tuple[str, ...]]:
    """Return the rules that concern each chosen candidate."""
    rows: list[int] = candidates.rows[chosen].tolist()
    return [candidates.rules.names_for(row, rule) for row, rule in zip(rows, placed_by, strict=True)]


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
    rules: Sequence[tuple[str, ...]],
) -> tuple[ListItem, ...]:
    row_list: list[int] = rows.tolist()
    ids = [catalog.video_ids[row] for row in row_list]
    heads = (predictions.p_click.tolist(), predictions.watch_s.tolist(), predictions.p_conv.tolist())
    columns = (
        ids,
        scores,
        *heads,
        utilities,
        [tuple(codes) for codes in reasons],
        sources,
        propensities,
        rules,
    )
    return tuple(ListItem(*row) for row in zip(*columns, strict=True))
