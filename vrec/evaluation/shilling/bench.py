"""Attacks by fake shoppers on recommenders, with and without the defences of a fit."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import ConfigError
from vrec.evaluation.shilling.measure import (
    BENCH_MODELS,
    HonestLists,
    fixed_settings,
    make_lists,
    poisoned_share,
)
from vrec.evaluation.shilling.shop import AttackedShop, draw_shop
from vrec.events.config import InterestConfig
from vrec.events.interactions import aggregate_interactions, weigh_events
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.registry import build_recommender
from vrec.retrieval.shown_videos import shown_videos
from vrec.robustness.attacks.events import attack_events
from vrec.robustness.attacks.model_aware import ATTACKS, plan_attack
from vrec.robustness.attacks.profiles import AttackPlan
from vrec.robustness.config import DefenceConfig, RobustnessConfig
from vrec.robustness.defences.fit import DefendedInteractions, defend

DEMOTING = ("reverse", "love_hate")
"""Attacks that demote their target, which is a popular video."""
POISONS = (3, 10)
"""Numbers of videos that a shopper's history is poisoned with."""
VICTIMS = 200


@dataclass(frozen=True)
class AttackRow:
    """One attack on one recommender."""

    attack: str
    rate: float
    sort: str
    """Of the target: tail, new or popular."""
    target: str
    model: str
    accounts: int
    events: int
    hit_rate: tuple[float, float, float]
    """Share of honest shoppers with the target in their first ten: without the attack, attacked, defended."""
    exposure: tuple[float, float, float]
    """Its share of all places of the lists."""
    place: tuple[float, float, float]
    """Mean place of the target among the videos that a shopper has not watched: 0 is first, 1 last."""
    ndcg: tuple[float, float, float]
    """Mean NDCG@10 of honest shoppers."""
    dropped_fakes: float
    """Share of the fake shoppers' interactions with the target that the defence left out."""


@dataclass(frozen=True)
class CleanRow:
    """A recommender without an attack, and what the defence costs it."""

    model: str
    ndcg: tuple[float, float]
    """Mean NDCG@10 without and with the defence."""
    ndcg_heavy: tuple[float, float]
    """The same of the heaviest 1 % of the shoppers."""
    tail_exposure: tuple[float, float]
    """Share of all places that the long tail has, without and with the defence."""


@dataclass(frozen=True)
class BenchFindings:
    """All that a bench found."""

    shoppers: int
    videos: int
    interactions: int
    rows: list[AttackRow]
    clean: list[CleanRow]
    cost: dict[str, Any]
    """What the defence leaves out of the honest shop."""
    poisoning: list[dict[str, Any]]
    """Share of victims with the target in their first ten, by model and number of poisoned videos."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class _Side:
    """One recommender without an attack."""

    kind: str
    config: RetrievalConfig
    model: MatrixRecommender
    clean: HonestLists

    def lists(self, data: DefendedInteractions, shop: AttackedShop) -> HonestLists:
        fitted = build_recommender(self.kind, self.config).fit(
            data.interactions, shopper_weights=data.weights
        )
        return make_lists(fitted, shop)


def run_bench(
    interactions: pa.Table,
    models: Sequence[str],
    retrieval: RetrievalConfig,
    robustness: RobustnessConfig,
    interest: InterestConfig,
) -> BenchFindings:
    """Return what attacks do to recommenders, with and without the defences of `robustness.defence`.

    Args:
        interactions: INTERACTIONS, aggregated.
        models: Some of BENCH_MODELS.
        retrieval: Settings of the recommenders.
        robustness: The bench and the defences.
        interest: Weights of the fake shoppers' events.

    Raises:
        ConfigError: An attack or a model is none of the bench's.
        EvaluationError: Too little is left of the log.
    """
    config = robustness.bench
    attacks = config.attacks or ATTACKS
    _check_names("attack", attacks, ATTACKS)
    _check_names("model", models, BENCH_MODELS)
    shop = draw_shop(interactions, config, config.targets)
    sides = [_fit_side(kind, retrieval, shop) for kind in models]
    defended = defend(shop.train, robustness.defence, shown=lambda: shown_videos(shop.train))
    rng = np.random.default_rng(config.seed)
    rows: list[AttackRow] = []
    for attack in attacks:
        for rate in config.rates:
            for sort in ("popular",) if attack in DEMOTING else ("tail", "new"):
                for number in range(config.targets):
                    target = shop.draw_target(sort, rng, number)
                    plan = AttackPlan(shop.log, target, max(1, round(rate * len(shop.log.shoppers))), rng)
                    rows += _attack_rows(_Case(attack, rate, sort, plan), shop, sides, robustness, interest)
    return BenchFindings(
        shoppers=len(shop.log.shoppers),
        videos=len(shop.log.videos),
        interactions=shop.train.num_rows,
        rows=rows,
        clean=[_clean_row(side, defended, shop) for side in sides],
        cost=_cost(shop, defended),
        poisoning=_poisoning(sides, shop, rng),
    )


def _check_names(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"the bench has no {what} called {', '.join(unknown)}", fix=f"give some of {', '.join(known)}"
        )


def _fit_side(kind: str, retrieval: RetrievalConfig, shop: AttackedShop) -> _Side:
    config = fixed_settings(kind, retrieval, shop)
    model = build_recommender(kind, config).fit(shop.train)
    return _Side(kind, config, model, make_lists(model, shop))


@dataclass(frozen=True)
class _Case:
    """One attack on one target."""

    attack: str
    rate: float
    sort: str
    plan: AttackPlan


def _attack_rows(
    case: _Case,
    shop: AttackedShop,
    sides: Sequence[_Side],
    robustness: RobustnessConfig,
    interest: InterestConfig,
) -> list[AttackRow]:
    """Return one row per recommender of one attack."""
    plan = case.plan
    events = attack_events(plan_attack(case.attack, plan), plan.log, plan.rng)
    fakes = aggregate_interactions(weigh_events(events, interest), interest)
    attacked = defend(pa.concat_tables([shop.train, fakes]), DefenceConfig())
    both = attacked.interactions
    defended = defend(both, robustness.defence, shown=lambda: shown_videos(both))
    ours = _with_target(fakes, plan.target)
    left = _with_target(_of_shoppers(defended.interactions, pc.unique(fakes["user_id"])), plan.target)
    column = plan.log.column(plan.target)
    seen = 0 if column is None else int(plan.log.counts[column])
    rows = []
    for side in sides:
        sets = (side.clean, side.lists(attacked, shop), side.lists(defended, shop))
        shares = [lists.share_of(plan.target, seen) for lists in sets]
        rows.append(
            AttackRow(
                attack=case.attack,
                rate=case.rate,
                sort=case.sort,
                target=plan.target,
                model=side.kind,
                accounts=plan.accounts,
                events=events.num_rows,
                hit_rate=(shares[0].hit_rate, shares[1].hit_rate, shares[2].hit_rate),
                exposure=(shares[0].exposure, shares[1].exposure, shares[2].exposure),
                place=(shares[0].place, shares[1].place, shares[2].place),
                ndcg=(_mean(sets[0].ndcg), _mean(sets[1].ndcg), _mean(sets[2].ndcg)),
                dropped_fakes=1 - left / ours if ours else 0.0,
            )
        )
    return rows


def _clean_row(side: _Side, defended: DefendedInteractions, shop: AttackedShop) -> CleanRow:
    lists = side.lists(defended, shop)
    tail = shop.truth.videos.find(shop.log.videos.take(pa.array(shop.tail)))
    heavy = np.isin(shop.truth.population().users, shop.truth.users.find(shop.heavy()))
    sides = (side.clean, lists)
    return CleanRow(
        side.kind,
        ndcg=(_mean(sides[0].ndcg), _mean(sides[1].ndcg)),
        ndcg_heavy=(_mean(sides[0].ndcg[heavy]), _mean(sides[1].ndcg[heavy])),
        tail_exposure=(sides[0].exposure_of(tail), sides[1].exposure_of(tail)),
    )


def _cost(shop: AttackedShop, defended: DefendedInteractions) -> dict[str, Any]:
    """Return the shares of honest interactions that the defence leaves out, of several sorts."""
    tail = shop.log.videos.take(pa.array(shop.tail))
    sides = (shop.train, defended.interactions)

    def lost(tables: Sequence[pa.Table]) -> float:
        return 1 - tables[1].num_rows / max(tables[0].num_rows, 1)

    return {
        "of_all": lost(sides),
        "of_long_tail": lost([t.filter(pc.is_in(t["video_id"], value_set=tail)) for t in sides]),
        "of_heaviest_shoppers": lost([_of_shoppers(t, shop.heavy()) for t in sides]),
        "videos_found": defended.report.get("promoted", {}).get("videos", 0),
        "videos": len(shop.log.videos),
        "clipped_shoppers": defended.report.get("clipped_shoppers", 0),
    }


def _poisoning(sides: Sequence[_Side], shop: AttackedShop, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Poison histories with the videos that are most often watched with a target of the long tail."""
    target = shop.draw_target("tail", rng, 0)
    column = shop.log.column(target)
    assert column is not None
    fans = shop.log.matrix[:, [column]].toarray()[:, 0] > 0
    together = np.asarray(shop.log.matrix[fans].sum(axis=0)).ravel() / np.sqrt(np.maximum(shop.log.counts, 1))
    together[column] = 0
    order = np.argsort(-together, kind="stable")
    others = np.flatnonzero(~fans)
    victims = shop.log.shoppers.take(pa.array(rng.permutation(others)[:VICTIMS]))
    rows = []
    for side in sides:
        shares = {}
        for size in (0, *POISONS):
            poison = shop.log.videos.take(pa.array(order[:size])).to_pylist()
            shares[str(size)] = poisoned_share(side.model, shop, victims, poison, target)
        rows.append({"model": side.kind, "target": target, "hit_rate": shares})
    return rows


def _with_target(interactions: pa.Table, target: str) -> int:
    return pc.sum(pc.equal(interactions["video_id"], target)).as_py() or 0


def _of_shoppers(interactions: pa.Table, shoppers: pa.Array) -> pa.Table:
    return interactions.filter(pc.is_in(interactions["user_id"], value_set=shoppers))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
