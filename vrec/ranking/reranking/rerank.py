"""The list that a shopper is shown: rules first, then slot by slot what is worth most and differs enough."""

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
from vrec.ranking.reranking.reasons import ReasonsConfig, find_reasons
from vrec.ranking.reranking.utility import UtilityConfig, utility, utility_slope

Floats = npt.NDArray[np.float64]


class RerankListConfig(BaseConfig):
    """How one surface's lists are made."""

    rules: EligibilityRulesConfig = Field(default_factory=EligibilityRulesConfig)
    """What is never shown."""
    diversity: DiversityConfig = Field(default_factory=DppConfig)
    """What likeness within a list costs."""
    caps: SlotCapsConfig = Field(default_factory=SlotCapsConfig)
    """Most videos of one creator or category."""
    freshness: FreshnessConfig = Field(default_factory=FreshnessConfig)
    """What new videos gain."""
    exploration: ExplorationConfig = Field(default_factory=ExplorationConfig)
    """What is tried out."""
    reasons: ReasonsConfig = Field(default_factory=ReasonsConfig)
    """What is said about why."""


class RerankConfig(BaseConfig):
    """How ranked candidates become lists."""

    utility: UtilityConfig = Field(default_factory=UtilityConfig)
    """What is aimed at."""
    default: RerankListConfig = Field(default_factory=RerankListConfig)
    """How lists are made on surfaces that are not named below."""
    surfaces: Mapping[str, RerankListConfig] = Field(default_factory=dict)
    """Differences from `default` by surface, such as `{feed: {caps: {creator: 1}}}`. One that chooses another
    kind of diversity takes none of its settings from `default`."""

    def for_surface(self, surface: str) -> RerankListConfig:
        """How the surface's lists are made."""
        return self.surfaces.get(surface, self.default)

    @model_validator(mode="before")
    @classmethod
    def _differ_from_default(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not isinstance(given.get("surfaces"), Mapping):
            return given
        base = _merge_settings(RerankListConfig(), given.get("default", {}))
        return {
            **given,
            "surfaces": {name: _merge_settings(base, own) for name, own in given["surfaces"].items()},
        }


def _merge_settings(base: Any, changes: Any) -> Any:
    """Settings with changes: mappings field by field unless they are of another `kind`, all else whole."""
    if isinstance(base, BaseConfig) and isinstance(changes, Mapping):
        base = base.model_dump()
    if not isinstance(base, Mapping) or not isinstance(changes, Mapping):
        return changes
    if changes.get("kind", base.get("kind")) != base.get("kind"):
        return changes
    return {**base, **{name: _merge_settings(base.get(name), value) for name, value in changes.items()}}


@dataclass(frozen=True, eq=False, slots=True)
class RerankedList:
    """A list, and what happened to the other candidates."""

    table: pa.Table
    """RANKED, the k best or as many as may be shown. `utility` is what each is worth; `score` is what it had
    in its slot, with freshness and likeness and without noise, or the score before it where that is less."""
    propensities: npt.NDArray[np.float32]
    """(rows,) the chance of this video in this slot given the slots before it, 1 where nothing is tried out;
    a whole list's is the product."""
    excluded_by_rule: dict[str, int]
    """How many candidates each rule barred; rules that barred none are left out."""


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
) -> RerankedList:
    """The list of at most `k` of one shopper's candidates, ranks from 1.

    `ranked` are RANKED rows of one user, in any order; their score, rank, utility and reasons are made anew.
    `spread` is (rows,), `Predictions.spread`. In each slot wins what scores most: utility + freshness −
    likeness to the slots before, plus noise where something is tried out; equal scores go by video_id. What a
    rule bars is in no list, whatever it scores. `at` is in µs; `rng` makes all the draws, none without
    exploration. With fewer than `k` that may be shown the list is shorter, with none it is empty. Raises
    SchemaError, and RankError for rows of several users, a video with two rows, predictions that cannot be,
    or k < 1.
    """
    ranked, spread = _checked(ranked, spread, k)
    names = ranked.column("video_id").to_pylist()
    verdict = check_eligibility(names, catalog, shopper, config.for_surface(surface).rules, at=at)
    ranked, spread = ranked.filter(pa.array(verdict.allowed)), spread[verdict.allowed]
    places = catalog.find(ranked.column("video_id").to_pylist())
    sources: list[str] = ranked.column("source").to_pylist()
    found = rerank_candidates(
        _predictions(ranked, spread),
        places,
        catalog,
        shopper,
        config,
        sources=sources,
        surface=surface,
        at=at,
        k=k,
        rng=rng,
    )
    table = _with_catalog_values(ranked.take(pa.array(found.rows)), found)
    return RerankedList(table, found.propensities, verdict.counts)


@dataclass(frozen=True, eq=False, slots=True)
class RerankedSlots:
    """A list, an entry a slot; what the entries of `Reranked` are made of."""

    rows: RowIndices
    """Which of the candidates took the slot."""
    scores: npt.NDArray[np.float32]
    worth: npt.NDArray[np.float32]
    propensities: npt.NDArray[np.float32]
    reasons: list[list[str]]


def rerank_candidates(
    predictions: RankerPredictions,
    places: RowIndices,
    catalog: CatalogArrays,
    shopper: ShopperContext,
    config: RerankConfig,
    *,
    sources: Sequence[str],
    surface: str,
    at: int,
    k: int,
    rng: np.random.Generator,
) -> RerankedSlots:
    """What `rerank` makes of N candidates that no rule bars, in the order of video_id, each of them once.

    `predictions` are of the candidates, (N,) `places` their rows in the catalog, (N,) `sources` their sources.
    Raises RankError for predictions that cannot be.
    """
    own, prices = config.for_surface(surface), catalog.price[places]
    worth = utility(predictions, prices, surface, config.utility)
    slope = utility_slope(predictions, prices, surface, config.utility)
    deviation = np.multiply(slope, predictions.spread, dtype=np.float64)
    slate = _fill(worth.astype(np.float64), deviation, catalog, places, own, at=at, k=k, rng=rng)
    rows, explored = np.array(slate.rows, np.int64), np.array(slate.explored, np.bool_)
    whose = [sources[row] for row in slate.rows]
    why = find_reasons(places[rows], catalog, shopper, own.reasons, sources=whose, explored=explored, at=at)
    scores = np.minimum.accumulate(np.array(slate.scores, np.float32))
    return RerankedSlots(rows, scores, worth[rows], np.array(slate.chances, np.float32), why)


def _with_catalog_values(table: pa.Table, found: RerankedSlots) -> pa.Table:
    """RANKED rows, best first, with what is known of them now."""
    answer = {
        "score": pa.array(found.scores, pa.float32()),
        "rank": pa.array(np.arange(1, len(found.rows) + 1), pa.int32()),
        "utility": pa.array(found.worth, pa.float32()),
        "reasons": pa.array(found.reasons, pa.list_(pa.string())),
    }
    for name, column in answer.items():
        table = table.set_column(table.column_names.index(name), name, column)
    return conform(table, RANKED, stage="rerank")


@dataclass(frozen=True, slots=True)
class _SlotList:
    """A list while it is filled, an entry a slot."""

    rows: list[int]
    scores: list[float]
    chances: list[float]
    explored: list[bool]


def _fill(
    worth: Floats,
    deviation: Floats,
    catalog: CatalogArrays,
    places: RowIndices,
    config: RerankListConfig,
    *,
    at: int,
    k: int,
    rng: np.random.Generator,
) -> _SlotList:
    """The rows that take the slots, of (N,) candidates in the order of video_id."""
    relevance = worth + freshness(worth, catalog.published_at[places], at, config.freshness)
    slots = min(k, len(places))
    penalty = build_penalty(config.diversity, catalog, places, relevance, slots)
    caps = SlotCaps(catalog.creator[places], catalog.category[places], config.caps)
    left, noise = np.ones(len(places), np.bool_), deviation * config.exploration.scale
    slate = _SlotList([], [], [], [])
    for slot in range(slots):
        scores = relevance - penalty.costs()
        rows = np.flatnonzero(caps.allowed(left))
        # The first of equals, which is the first by id.
        best, chance = int(rows[np.argmax(scores[rows])]), 1.0
        one = best
        if config.exploration.explores(slot):
            winner, chance = draw_winner(scores[rows], noise[rows], rng)
            one = int(rows[winner])
        slate.rows.append(one)
        slate.scores.append(float(scores[one]))
        slate.chances.append(chance)
        slate.explored.append(one != best)
        left[one] = False
        penalty.choose(one)
        caps.take_slot(one)
    return slate


def _checked(
    ranked: pa.Table, spread: npt.NDArray[np.float32], k: int
) -> tuple[pa.Table, npt.NDArray[np.float32]]:
    """The rows and their spreads in the order of video_id: ties and draws do not depend on theirs."""
    ranked = conform(ranked, RANKED, stage="rerank").combine_chunks()
    if k < 1:
        raise RankError(f"rerank: k is {k}, want 1 at least", fix="ask for at least one video")
    if spread.shape != (ranked.num_rows,):
        raise RankError(f"rerank: spread is {spread.shape}, want ({ranked.num_rows},)", fix="give one a row")
    users, names = pc.unique(ranked.column("user_id")), ranked.column("video_id")
    if len(users) > 1:
        raise RankError(
            f"rerank: user_id has {len(users):,} users in {ranked.num_rows:,} rows, such as {users[0]} and "
            f"{users[1]}",
            fix="re-rank each user's rows by themselves",
        )
    order = np.asarray(pc.sort_indices(names))
    ranked = ranked.take(pa.array(order))
    names = ranked.column("video_id").to_pylist()
    twice = [name for name, following in pairwise(names) if name == following]
    if twice:
        raise RankError(
            f"rerank: video_id has {len(twice):,} duplicates of {len(names):,}, such as {twice[0]}",
            fix="join the recommenders' candidates before they are ranked",
        )
    _refuse_nan(names, _predictions(ranked, spread[order]))
    return ranked, spread[order]


def _predictions(ranked: pa.Table, spread: npt.NDArray[np.float32]) -> RankerPredictions:
    heads = {name: np.asarray(ranked.column(name), np.float32) for name in ("p_click", "watch_s", "p_conv")}
    return RankerPredictions(**heads, spread=spread)


def _refuse_nan(names: list[str], expected: RankerPredictions) -> None:
    for name in ("p_click", "watch_s", "p_conv", "spread"):
        wrong = np.flatnonzero(~np.isfinite(getattr(expected, name)))
        if len(wrong):
            raise RankError(
                f"rerank: {name} is {getattr(expected, name)[wrong[0]]} for {len(wrong):,} of "
                f"{len(names):,} candidates, such as video {names[wrong[0]]}",
                fix="train the ranker again: it gives numbers that are not finite",
            )
