"""A ranker with differential privacy beside rankings by click rates, exact and noised, and its attacks.

Run as `OMP_NUM_THREADS=1 python benchmarks/private_ranker.py shop kuairand --data FOLDER`, where FOLDER has
the public sets. The first 75 % of the impressions are trained on; AUC is that of the clicks of the later
ones, pooled, and the mean by shopper (gAUC), of at most --testers shoppers drawn at random, averaged over
--seeds of the noise. `rates` ranks by the smoothed click rate of a video, exact or from noised counts that
got all of ε. Settings were chosen on a shop of another seed than the one reported.

`python benchmarks/private_ranker.py members` trains rankers on random halves of the shoppers of a small shop
and asks from the losses of a shopper's impressions which half she was in.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from math import inf
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.types import CatalogContent
from vrec.evaluation.attacks.membership import draw_members, infer_members
from vrec.evaluation.ranking.metrics import auc, grouped_auc
from vrec.events.datasets import kuairand_pure
from vrec.privacy.accounting import MechanismCost, gaussian_multiplier
from vrec.privacy.noise import NormalSource
from vrec.profiles.update import ProfilesConfig, video_metadata
from vrec.profiles.video import smoothed_rate
from vrec.ranking.config import RankerConfig
from vrec.ranking.features.arrays import ImpressionLabels, RankerPredictions, RankingFeatures, RankingRequest
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.features.catalog import CatalogFeatures
from vrec.ranking.features.fit import fit_space
from vrec.ranking.features.space import FeatureSpace, RankerFeaturesConfig
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS
from vrec.ranking.labels import build_labels, hash_user_id
from vrec.ranking.network_ranker import NetworkRanker
from vrec.ranking.networks.config import DcnConfig
from vrec.ranking.private.config import PrivateRankerConfig
from vrec.ranking.private.counts import CLICKED, SHOWN, NoisedCounts
from vrec.ranking.private.fit import ImpressionLog, fit_on_log, fit_private_ranker, private_ranker_costs
from vrec.ranking.private.space import catalog_ids
from vrec.ranking.registry import build_trainer
from vrec.ranking.replay import replay_requests, replay_video_counts
from vrec.synthetic.shop.simulate import SimulationConfig, simulate

SHOP = SimulationConfig(users=3000, videos=300, requests_per_user=6, slots=6, cold_share=0.1, seed=11)
SMALL = SimulationConfig(users=300, videos=200, requests_per_user=4, slots=6, cold_share=0.0, seed=21)
TRAINED = 0.75
DELTA = 1e-5
PROFILES, CONFIG = ProfilesConfig(), RankerConfig()
Ranking = Callable[[list[RankingRequest]], npt.NDArray[np.floating]]
Costs = tuple[MechanismCost, MechanismCost]


@dataclass(frozen=True)
class World:
    """Log in two parts."""

    train: pa.Table
    log: ImpressionLog
    content: CatalogContent
    requests: list[RankingRequest]
    labels: ImpressionLabels
    tested: npt.NDArray[np.bool_]
    """(N,) for each impression of the testers, whether it is in the later part."""
    surfaces: tuple[str, ...]

    def score(
        self, predict: Callable[[list[RankingRequest]], npt.NDArray[np.floating]]
    ) -> tuple[float, float]:
        """Return AUC and gAUC of predictions for all requests."""
        found, labels = predict(self.requests)[self.tested], self.labels.take(np.flatnonzero(self.tested))
        return auc(labels.click, found), grouped_auc(labels.click, found, labels.user).value


def world(events: pa.Table, content: CatalogContent, testers: int, surfaces: tuple[str, ...]) -> World:
    shown = events.filter(pc.equal(events["kind"], "impression"))
    at = np.sort(np.asarray(shown["at"].cast(pa.int64())))
    until = int(at[round(len(at) * TRAINED)])
    train = events.filter(pc.less(events["at"].cast(pa.int64()), until))
    users = events["user_id"].unique().sort()
    some = np.random.default_rng(0).permutation(len(users))[:testers]
    own = events.filter(pc.is_in(events["user_id"], value_set=users.take(pa.array(some))))
    nothing = np.zeros((own.num_rows, len(VIDEO_COUNT_KEYS)))
    states = pa.FixedSizeListArray.from_arrays(pa.array(nothing.ravel()), len(VIDEO_COUNT_KEYS))
    counts = pa.table({"event_id": own["event_id"].combine_chunks(), "state": states})
    requests = list(replay_requests(own, counts, video_metadata(content), PROFILES))
    labels = build_labels(own, content.videos, CONFIG.labels)
    log = ImpressionLog.from_events(train, content, CONFIG, PROFILES)
    return World(train, log, content, requests, labels, labels.at >= until, surfaces)


def shop_world(config: SimulationConfig, testers: int) -> World:
    made = simulate(config)
    return world(made.events, CatalogContent(made.videos, made.embeddings), testers, ("shop",))


def kuairand_world(folder: Path, testers: int) -> World:
    found = kuairand_pure(folder)
    tabs = tuple(f"tab{number}" for number in range(15))
    return world(found.events, CatalogContent(found.videos), testers, tabs)


def fit(there: World, private: PrivateRankerConfig, costs: Costs, normals: NormalSource) -> NetworkRanker:
    private = private.model_copy(update={"surfaces": there.surfaces})
    return fit_on_log(there.log, CONFIG, private, costs, content=there.content, normals=normals)


def exact_rates(there: World) -> Ranking:
    """Return a ranking by exact smoothed click rates."""
    labels, names = there.log.labels, there.log.videos.dictionary_encode()
    rows, ids = np.asarray(names.indices), names.dictionary.to_pylist()
    clicks = labels.click.astype(np.float64)
    shown, clicked = (
        np.bincount(rows, weights).astype(np.float64) for weights in (np.ones(len(rows)), clicks)
    )
    rate = float(labels.click.mean())
    rates = dict(zip(ids, smoothed_rate(clicked, shown, rate, 20.0).tolist(), strict=True))
    return lambda requests: np.array([rates.get(v, rate) for r in requests for v in r.video_ids])


def noised_rates(
    there: World, private: PrivateRankerConfig, epsilon: float, normals: NormalSource
) -> Ranking:
    """Return a ranking by noised click rates that have all of ε."""
    counts = NoisedCounts.release(
        there.log.shopper,
        there.log.videos,
        there.log.labels,
        catalog_ids(there.content),
        impressions=private.impressions,
        multiplier=gaussian_multiplier(epsilon, DELTA),
        normals=normals,
    )
    released, prior = counts.released(), counts.prior

    def predict(requests: list[RankingRequest]) -> npt.NDArray[np.floating]:
        found = released.of([v for r in requests for v in r.video_ids])
        return smoothed_rate(found[:, CLICKED], found[:, SHOWN], prior.rate, prior.strength)

    return predict


def measure(name: str, there: World, given: argparse.Namespace) -> None:
    shoppers = pc.count_distinct(there.train["user_id"]).as_py()
    count = pc.sum(pc.equal(there.train["kind"], "impression")).as_py()
    print(f"\n{name}: {shoppers:,} shoppers, {count:,} impressions trained on, {there.tested.sum():,} tested")
    print("\n| ranking | ε | AUC | gAUC |\n|---|---|---|---|")
    print("| rates | ∞ | {:.4f} | {:.4f} |".format(*there.score(exact_rates(there))))
    base = PrivateRankerConfig.model_validate(dict(given.set))
    for epsilon in [*given.epsilons, inf]:
        costs = MechanismCost(1e-9), MechanismCost(1e-9, base.sampling, base.steps)
        if epsilon < inf:
            costs = private_ranker_costs(base, epsilon, DELTA)
        rows: dict[str, list[tuple[float, float]]] = {"rates": [], "ranker": []}
        for seed in range(given.seeds):
            normals = np.random.default_rng(seed).standard_normal
            if epsilon < inf:
                rows["rates"].append(there.score(noised_rates(there, base, epsilon, normals)))
            ranker = fit(there, base, costs, normals)
            rows["ranker"].append(there.score(lambda r, ranker=ranker: ranker.predict_requests(r).p_click))
        for kind, values in rows.items():
            if values:
                mean = np.mean(values, axis=0)
                print(f"| {kind}, private | {epsilon:g} | {mean[0]:.4f} | {mean[1]:.4f} |", flush=True)


@dataclass(frozen=True)
class Members:
    """Small shop whose rankers are attacked."""

    events: pa.Table
    content: CatalogContent
    log: ImpressionLog
    features: RankingFeatures
    """Features of an ordinary ranker."""
    space: FeatureSpace

    def explained(self, predictions: RankerPredictions) -> npt.NDArray[np.float64]:
        """Return the (shoppers,) negative mean click losses of shoppers."""
        p = np.clip(predictions.p_click.astype(np.float64), 1e-7, 1 - 1e-7)
        gain = np.where(self.log.labels.click > 0, np.log(p), np.log1p(-p))
        return np.bincount(self.log.shopper, gain) / np.bincount(self.log.shopper)

    def ordinary(self, inside: npt.NDArray[np.bool_], epochs: int) -> npt.NDArray[np.float64]:
        """Return how an ordinary ranker, trained on some shoppers for some epochs, explains all."""
        heads = CONFIG.heads.model_copy(update={"heads": ("click",)})
        network = DcnConfig(width=8, hidden=(64, 32))
        config = CONFIG.model_copy(update={"network": network, "heads": heads})
        rows = np.flatnonzero(inside[self.log.shopper])
        part = self.features.take(rows), self.log.labels.take(rows)
        _, trainer = build_trainer(config, self.features.shape, part, part)
        for _ in range(epochs):
            trainer.run_epoch()
        ranker = NetworkRanker(
            config, self.space, self.content, trainer.network, None, calibrators={}, factor=None
        )
        return self.explained(ranker.predict(self.features, at_logged_positions=True))

    def private(self, inside: npt.NDArray[np.bool_], epsilon: float) -> npt.NDArray[np.float64]:
        """Return how a private ranker, trained on some shoppers, explains all."""
        numbers = np.unique(self.log.labels.user)
        members = set(numbers[inside].tolist())
        names = [
            name for name in self.events["user_id"].unique().to_pylist() if hash_user_id(name) in members
        ]
        events = self.events.filter(pc.is_in(self.events["user_id"], value_set=pa.array(names)))
        base = PrivateRankerConfig()
        costs = MechanismCost(1e-9), MechanismCost(1e-9, base.sampling, base.steps)
        if epsilon < inf:
            costs = private_costs(epsilon)
        else:
            base = base.model_copy(update={"clip": 100.0})
        log = {"events": events, "content": self.content, "profiles": PROFILES}
        return self.explained(
            fit_private_ranker(CONFIG, base, costs, **log).predict_requests(self.log.requests)
        )


@cache
def private_costs(epsilon: float) -> Costs:
    return private_ranker_costs(PrivateRankerConfig(), epsilon, DELTA)


def attack(models: int, epsilons: Sequence[float]) -> None:
    """Print the AUC of membership inference."""
    made = simulate(SMALL)
    content = CatalogContent(made.videos, made.embeddings)
    log = ImpressionLog.from_events(made.events, content, CONFIG, PROFILES)
    facts = video_metadata(content)
    counts = replay_video_counts(made.events, facts, PROFILES)
    requests = list(replay_requests(made.events, counts, facts, PROFILES))
    space = fit_space(made.events, requests, content, RankerFeaturesConfig(min_count=1, history=10))
    features = FeatureBuilder(space, CatalogFeatures.from_content(content, space)).build(requests)
    there = Members(made.events, content, log, features, space)
    shoppers = int(log.shopper.max()) + 1
    inside = draw_members(models, shoppers, np.random.default_rng(0))
    sides: dict[str, Callable[[npt.NDArray[np.bool_]], npt.NDArray[np.float64]]] = {
        f"ordinary, {epochs} epochs": partial(there.ordinary, epochs=epochs) for epochs in (3, 20)
    }
    sides |= {
        f"private, ε = {epsilon:g}": partial(there.private, epsilon=epsilon) for epsilon in (*epsilons, inf)
    }
    print(f"\n{shoppers:,} shoppers, {len(log.labels):,} impressions, {models} models each")
    print("\n| ranker | loss | likelihood ratio |\n|---|---|---|")
    for name, fits in sides.items():
        found = infer_members(np.array([fits(members) for members in inside]), inside)
        print(
            f"| {name} | " + " | ".join(f"{r.auc:.3f} [{r.low:.3f}, {r.high:.3f}]" for r in found) + " |",
            flush=True,
        )


def _setting(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    return name, {"kind": value, "content": False} if name == "network" else float(value)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("worlds", nargs="*", default=["shop"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--epsilons", nargs="*", type=float, default=[1.0, 2.0, 4.0, 8.0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=SHOP.seed, help="seed of the shop")
    parser.add_argument("--models", type=int, default=16, help="models that are attacked")
    parser.add_argument("--testers", type=int, default=1500)
    parser.add_argument("--set", nargs="*", type=_setting, default=[], help="settings such as steps=50")
    given = parser.parse_args()
    for name in given.worlds:
        if name == "members":
            attack(given.models, given.epsilons)
            continue
        if name == "shop":
            there = shop_world(SHOP.model_copy(update={"seed": given.seed}), given.testers)
        else:
            there = kuairand_world(given.data, given.testers)
        measure(name, there, given)


if __name__ == "__main__":
    main()
