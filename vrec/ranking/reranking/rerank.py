"""Reranking of one shopper's candidates: eligibility rules, then a greedy choice slot by slot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from vrec.core.compute import pc
from vrec.core.config import BaseConfig
from vrec.core.errors import RankError
from vrec.core.schema import RANKED, conform
from vrec.ranking.features.arrays import RankerPredictions
from vrec.ranking.reranking.boosts import FreshnessConfig, SlotCaps, SlotCapsConfig, freshness
from vrec.ranking.reranking.catalog import CatalogArrays, RowIndices, ShopperContext
from vrec.ranking.reranking.diversity import DiversityConfig, DppConfig, build_penalty
from vrec.ranking.reranking.eligibility_rules import EligibilityRulesConfig, check_eligibility
from vrec.ranking.reranking.exploration import ExplorationConfig, draw_winner
from vrec.ranking.reranking.placements import Placements, SlotPlacer
from vrec.ranking.reranking.popularity import Popularity
from vrec.ranking.reranking.reasons import ReasonsConfig, find_reasons
from vrec.ranking.reranking.utility import UtilityConfig, utility, utility_slope

Floats = npt.NDArray[np.float64]


class RerankListConfig(BaseConfig):
    """Settings of the lists of one surface."""

    rules: EligibilityRulesConfig = Field(default_factory=EligibilityRulesConfig)
    """Eligibility rules."""
    diversity: DiversityConfig = Field(default_factory=DppConfig)
    """Penalty for similarity within a list."""
    caps: SlotCapsConfig = Field(default_factory=SlotCapsConfig)
    """Caps on videos of one creator or category."""
    freshness: FreshnessConfig = Field(default_factory=FreshnessConfig)
    """Boost of new videos."""
    exploration: ExplorationConfig = Field(default_factory=ExplorationConfig)
    """Exploration of uncertain candidates."""
    reasons: ReasonsConfig = Field(default_factory=ReasonsConfig)
    """Thresholds of the reasons shown."""


class RerankConfig(BaseConfig):
    """Settings of reranking."""

    utility: UtilityConfig = Field(default_factory=UtilityConfig)
    """Weights of clicks, minutes and sales in the utility."""
    default: RerankListConfig = Field(default_factory=RerankListConfig)
    """Settings of surfaces that are not in `surfaces`."""
    surfaces: Mapping[str, RerankListConfig] = Field(default_factory=dict)
    """Changes to `default` by surface, such as `{feed: {caps: {creator: 1}}}`. A surface with another kind of
    diversity takes none of the diversity settings from `default`."""

    def for_surface(self, surface: str) -> RerankListConfig:
        """Return the settings of a surface."""
        return self.surfaces.get(surface, self.default)

    @model_validator(mode="before")
    @classmethod
    def _apply_default(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not isinstance(given.get("surfaces"), Mapping):
            return given
        base = _merge_settings(RerankListConfig(), given.get("default", {}))
        return {
            **given,
            "surfaces": {name: _merge_settings(base, own) for name, own in given["surfaces"].items()},
        }


def _merge_settings(base: Any, changes: Any) -> Any:
    """Merge changes into settings: mappings by field, unless of another `kind`; other values as a whole."""
    if isinstance(base, BaseConfig) and isinstance(changes, Mapping):
        base = base.model_dump()
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping):
        return changes
    if changes.get("kind", base.get("kind")) != base.get("kind"):
        return changes
    return {**base, **{name: _merge_settings(base.get(name), value) for name, value in changes.items()}}


@dataclass(frozen=True, eq=False, slots=True)
class RerankedList:
    """Reranked list, with propensities and the numbers of excluded candidates."""

    table: pa.Table
    """RANKED, the k best or all that may be shown. `utility` is the expected utility; `score` is the score in
    the slot, with freshness and diversity but without noise, or the score of the slot before if that is
    less."""
    propensities: npt.NDArray[np.float32]
    """(rows,) probability of the video in its slot given the slots before it, 1 without exploration; the
    propensity of the list is the product."""
    excluded_by_rule: dict[str, int]
    """Number of candidates excluded by each rule; rules that excluded none are left out."""


def rerank(
    ranked: pa.Table,
    spread: npt.NDArray[np.float32],
    catalog: CatalogArrays,
    shopper: ShopperContext,
    config: RerankConfig,
    *,
    surface: str,
    at: int,
    k: int,
    rng: np.random.Generator,
    popularity: Popularity | None = None,
) -> RerankedList:
    """Rerank one shopper's candidates into a list of at most `k`, with ranks from 1.

    Each slot goes to the largest score: utility + freshness − similarity to the slots before, plus noise
    where the slot is explored; equal scores go by video_id. Candidates excluded by a rule are never in the
    list, whatever their score, so that it may be shorter than `k` or empty.

    Args:
        ranked: RANKED rows of one user in any order; score, rank, utility and reasons are replaced.
        spread: (rows,) `RankerPredictions.spread`.
        catalog: Catalog of the candidates.
        shopper: State of the shopper.
        config: Settings of reranking.
        surface: Surface that shows the list.
        at: Time of the request in µs since 1970.
        k: Maximum length of the list.
        rng: Source of all draws; unused without exploration.
        popularity: Popularity of the videos; without it no video counts as popular.

    Raises:
        RankError: the rows are of several users, a video has two rows, a prediction is invalid, or k < 1.
        SchemaError: `ranked` has other columns.
    """
    ranked, spread = _checked(ranked, spread, k)
    names = ranked.column("video_id").to_pylist()
    eligibility = check_eligibility(names, catalog, shopper, config.for_surface(surface).rules, at=at)
    ranked, spread = ranked.filter(pa.array(eligibility.allowed)), spread[eligibility.allowed]
    catalog_rows = catalog.find(ranked.column("video_id").to_pylist())
    sources: list[str] = ranked.column("source").to_pylist()
    chosen = rerank_candidates(
        _predictions(ranked, spread),
        catalog_rows,
        catalog,
        shopper,
        config,
        sources=sources,
        surface=surface,
        at=at,
        k=k,
        rng=rng,
        popularity=popularity,
    )
    table = _with_results(ranked.take(pa.array(chosen.rows)), chosen)
    return RerankedList(table, chosen.propensities, eligibility.counts)


@dataclass(frozen=True, eq=False, slots=True)
class RerankedSlots:
    """Reranked list, one entry per slot."""

    rows: RowIndices
    """(slots,) candidate in the slot."""
    scores: npt.NDArray[np.float32]
    """(slots,) scores, not increasing."""
    utilities: npt.NDArray[np.float32]
    """(slots,) expected utilities."""
    propensities: npt.NDArray[np.float32]
    """(slots,) probabilities of the candidate given the slots before."""
    reasons: list[list[str]]
    """Reasons by slot."""
    rules: list[str | None]
    """Rule that gave the candidate the slot, None where the score did."""


def rerank_candidates(
    predictions: RankerPredictions,
    catalog_rows: RowIndices,
    catalog: CatalogArrays,
    shopper: ShopperContext,
    config: RerankConfig,
    *,
    sources: Sequence[str],
    surface: str,
    at: int,
    k: int,
    rng: np.random.Generator,
    popularity: Popularity | None = None,
    placements: Placements | None = None,
    relevance: Floats | None = None,
) -> RerankedSlots:
    """Rerank N eligible candidates, which are unique and in the order of video_id.

    Arguments that are not named here are those of `rerank`.

    Args:
        predictions: Predictions for the candidates.
        catalog_rows: (N,) rows of the candidates in the catalog.
        sources: (N,) RECOMMENDATIONS.source of the candidates.
        placements: Slots that rules of the shop give away, and their factors on utilities. A slot with one
            possible candidate has the propensity 1, and its score is the best of all that were left.
        relevance: (N,) what orders the candidates in place of their utility, in its unit and ≥ 0; the noise
            of exploration is as large a share of it as it would be of the utility. None for the utility.

    Raises:
        RankError: a prediction is invalid.
    """
    own, prices = config.for_surface(surface), catalog.price[catalog_rows]
    utilities = utility(predictions, prices, surface, config.utility)
    slope = utility_slope(predictions, prices, surface, config.utility)
    deviation, worth = np.multiply(slope, predictions.spread, dtype=np.float64), utilities.astype(np.float64)
    if relevance is not None:
        deviation *= np.divide(relevance, worth, out=np.zeros(len(worth)), where=worth > 0)
        worth = relevance
    factors = 1.0 if placements is None or placements.factors is None else placements.factors
    slate = _fill(
        worth * factors,
        deviation * factors,
        catalog,
        catalog_rows,
        own,
        placer=SlotPlacer(placements or Placements(), len(catalog_rows)),
        at=at,
        k=k,
        rng=rng,
    )
    rows, explored = np.array(slate.rows, np.int64), np.array(slate.explored, np.bool_)
    reasons = find_reasons(
        catalog_rows[rows],
        catalog,
        shopper,
        own.reasons,
        sources=[sources[row] for row in slate.rows],
        explored=explored,
        at=at,
        popularity=popularity or Popularity(),
        featured=slate.rules,
    )
    scores = np.minimum.accumulate(np.array(slate.scores, np.float32))
    chances = np.array(slate.chances, np.float32)
    return RerankedSlots(rows, scores, utilities[rows], chances, reasons, slate.rules)


def _with_results(table: pa.Table, slots: RerankedSlots) -> pa.Table:
    """Return the RANKED rows, best first, with the results of reranking."""
    columns = {
        "score": pa.array(slots.scores, pa.float32()),
        "rank": pa.array(np.arange(1, len(slots.rows) + 1), pa.int32()),
        "utility": pa.array(slots.utilities, pa.float32()),
        "reasons": pa.array(slots.reasons, pa.list_(pa.string())),
    }
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    return conform(table, RANKED, stage="rerank")


@dataclass(frozen=True, slots=True)
class _SlotList:
    """List under construction, one entry per slot."""

    rows: list[int]
    scores: list[float]
    chances: list[float]
    explored: list[bool]
    rules: list[str | None]


def _fill(
    utilities: Floats,
    deviation: Floats,
    catalog: CatalogArrays,
    catalog_rows: RowIndices,
    config: RerankListConfig,
    *,
    placer: SlotPlacer,
    at: int,
    k: int,
    rng: np.random.Generator,
) -> _SlotList:
    """Fill the slots greedily with (N,) candidates in the order of video_id."""
    relevance = utilities + freshness(utilities, catalog.published_at[catalog_rows], at, config.freshness)
    slots = min(k, len(catalog_rows))
    penalty = build_penalty(config.diversity, catalog, catalog_rows, relevance, slots)
    caps = SlotCaps(catalog.creator[catalog_rows], catalog.category[catalog_rows], config.caps)
    left, noise = np.ones(len(catalog_rows), np.bool_), deviation * config.exploration.scale
    slate = _SlotList([], [], [], [], [])
    for slot in range(slots):
        scores = relevance - penalty.costs()
        allowed, rule = placer.next_slot(left)
        rows = np.flatnonzero(caps.allowed(allowed))
        # argmax takes the first of equals, which is the first by id.
        best, chance = int(rows[np.argmax(scores[rows])]), 1.0
        chosen = best
        if config.exploration.explores(slot):
            winner, chance = draw_winner(scores[rows], noise[rows], rng)
            chosen = int(rows[winner])
        slate.rows.append(chosen)
        slate.scores.append(float(scores[chosen] if rule is None else scores[left].max()))
        slate.chances.append(chance)
        slate.explored.append(chosen != best)
        slate.rules.append(rule)
        left[chosen] = False
        penalty.choose(chosen)
        caps.take_slot(chosen)
        placer.take_slot(chosen)
    return slate


def _checked(
    ranked: pa.Table, spread: npt.NDArray[np.float32], k: int
) -> tuple[pa.Table, npt.NDArray[np.float32]]:
    """Validate the rows, and sort them by video_id so that ties and draws do not depend on their order."""
    ranked = conform(ranked, RANKED, stage="rerank").combine_chunks()
    if k < 1:
        raise RankError(f"rerank: k is {k}, want at least 1", fix="request at least one video")
    if spread.shape != (ranked.num_rows,):
        raise RankError(
            f"rerank: spread is {spread.shape}, want ({ranked.num_rows},)", fix="pass one spread per row"
        )
    users, names = pc.unique(ranked.column("user_id")), ranked.column("video_id")
    if len(users) > 1:
        raise RankError(
            f"rerank: user_id has {len(users):,} users in {ranked.num_rows:,} rows, such as {users[0]} and "
            f"{users[1]}",
            fix="rerank the rows of each user separately",
        )
    order = np.asarray(pc.sort_indices(names))
    ranked = ranked.take(pa.array(order))
    names = ranked.column("video_id").to_pylist()
    duplicates = [name for name, following in pairwise(names) if name == following]
    if duplicates:
        raise RankError(
            f"rerank: video_id has {len(duplicates):,} duplicates of {len(names):,}, such as {duplicates[0]}",
            fix="merge the candidates of the recommenders before ranking",
        )
    _check_finite(names, _predictions(ranked, spread[order]))
    return ranked, spread[order]


def _predictions(ranked: pa.Table, spread: npt.NDArray[np.float32]) -> RankerPredictions:
    heads = {name: np.asarray(ranked.column(name), np.float32) for name in ("p_click", "watch_s", "p_conv")}
    return RankerPredictions(**heads, spread=spread)


def _check_finite(names: list[str], predictions: RankerPredictions) -> None:
    for name in ("p_click", "watch_s", "p_conv", "spread"):
        invalid = np.flatnonzero(~np.isfinite(getattr(predictions, name)))
        if len(invalid):
            raise RankError(
                f"rerank: {name} is {getattr(predictions, name)[invalid[0]]} for {len(invalid):,} of "
                f"{len(names):,} candidates, such as video {names[invalid[0]]}",
                fix="train the ranker again, as its predictions are not finite",
            )
