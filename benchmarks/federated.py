"""Federated fits beside pooled ones: even and uneven shards, clients that leave, and what masks cost.

Run as `OMP_NUM_THREADS=1 python benchmarks/federated.py DATA`, where DATA is the folder of the public sets;
`--parts` chooses among recommenders and private (MovieLens-100k), ranker and poisoned (a simulated shop) and
masks. Fits take masked sums over --clients clients in this process, unless a row says otherwise. Shoppers are
spread over clients by the genre, or category, that they watched most, with shares drawn from a symmetric
Dirichlet distribution. A client leaves a round after it has shared its keys, with the given probability.
Prints Markdown rows with paired 95 % intervals over shoppers of the difference to the pooled fit.
"""

import argparse
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from harness import interleaved_times

from vrec.core.artifact import Arrays
from vrec.core.compute import pc
from vrec.core.errors import FederatedError
from vrec.core.types import CatalogContent
from vrec.evaluation.offline.config import EvaluationConfig
from vrec.evaluation.offline.results import PopulationScores
from vrec.evaluation.offline.run import evaluate_recommendations
from vrec.evaluation.ranking.run import RankerMetricsConfig, compare_rankers
from vrec.events.config import InterestConfig, RandomSplitConfig
from vrec.events.datasets import movielens_100k
from vrec.events.interactions import aggregate_interactions, weigh_events
from vrec.events.split import split_interactions
from vrec.pipelines.federated.pool import LocalPool
from vrec.pipelines.federated.rounds import FederatedRun
from vrec.privacy.config import PrivacyConfig
from vrec.privacy.secure_sum.client import SumClient
from vrec.privacy.secure_sum.coordinator import SumCoordinator
from vrec.profiles.update import ProfilesConfig, video_metadata
from vrec.ranking.config import RankerConfig
from vrec.ranking.features.arrays import ImpressionLabels, RankingFeatures
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.features.catalog import CatalogFeatures
from vrec.ranking.features.fit import fit_space
from vrec.ranking.federated.training import RankerShard, RankerSums, fresh_weights
from vrec.ranking.labels import LabelsConfig, build_labels
from vrec.ranking.network_ranker import NetworkRanker
from vrec.ranking.registry import fit_network_ranker
from vrec.ranking.replay import replay_requests, replay_video_counts
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.federated.build import recommender_shard, recommender_task
from vrec.retrieval.federated.private import PrivateShard, PrivateSums
from vrec.retrieval.interaction_matrix import IdVocabulary
from vrec.retrieval.private_fit import fit_private
from vrec.retrieval.registry import build_recommender
from vrec.synthetic.shop.simulate import SimulationConfig, simulate
from vrec.training.federated.config import FederatedConfig
from vrec.training.federated.sampling import dirichlet_shards
from vrec.training.federated.task import UPDATE, FederatedShard, FederatedTask, NoisedShard

Owners = npt.NDArray[np.int64]
Examples = tuple[RankingFeatures, ImpressionLabels]

ALPHAS, DROPOUTS = (100.0, 1.0, 0.1), (0.1, 0.3)
RETRIEVAL = RetrievalConfig.model_validate(
    {"als": {"factors": 16, "iterations": 10}, "ease": {"regularization": 200.0}}
)
NETWORK = {
    "network": {"kind": "din", "width": 8, "hidden": [32, 16], "attention": [16]},
    "heads": {"heads": ["click"]},
    "features": {"min_count": 3, "history": 10},
    "training": {"batch_size": 256, "epochs": 12, "patience": 3, "learning_rate": 0.002},
}


LOCAL = {"batch_size": 128, "learning_rate": 0.004}
"""Training of clients, chosen on seed 1: a client has a tenth of the impressions."""


class Loaded:
    """Place of a shard that is loaded already."""

    def __init__(self, shard: FederatedShard | NoisedShard) -> None:
        self.shard = shard

    def load(self) -> FederatedShard | NoisedShard:
        return self.shard


class Leaving:
    """Clients that leave a round with some probability, the same ones in each run."""

    def __init__(self, probability: float, seed: int) -> None:
        self.probability, self.rng = probability, np.random.default_rng(seed)

    def __call__(self, name: str, step: str) -> str | None:
        leaves = step == "mask" and self.rng.random() < self.probability
        return "left" if leaves else None


def run_rounds(
    task: FederatedTask,
    shards: Mapping[str, FederatedShard | NoisedShard],
    config: FederatedConfig,
    dropout: float,
) -> tuple[Mapping[str, npt.NDArray[np.float64]], float]:
    """Return the last state, and the mean share of clients in a sum."""
    pool = LocalPool({name: Loaded(shard) for name, shard in shards.items()}, Leaving(dropout, 7))
    done = FederatedRun(task, pool, config).run()
    return done.state, float(np.mean([len(one.clients) for one in done.rounds])) / len(shards)


def settings(given: argparse.Namespace, **more: object) -> FederatedConfig:
    # Uneven shards may have an empty client; with 30 % leaving, few rounds must be repeated.
    return FederatedConfig.model_validate(
        {"threshold": 0.51, "retries": 20, "rounds": given.rounds, "local_epochs": given.local_epochs, **more}
    )


def variants() -> list[tuple[float, float]]:
    """Return the pairs of α and probability of leaving that are compared."""
    return [(alpha, 0.0) for alpha in ALPHAS] + [(100.0, p) for p in DROPOUTS] + [(0.1, p) for p in DROPOUTS]


def favourites(users: list[str], pairs: pl.DataFrame) -> npt.NDArray[np.str_]:
    """Return the group that each user watched most, ties by name, from rows of user and group."""
    counts = pairs.group_by("user_id", "group").len().sort(["len", "group"], descending=[True, False])
    best = dict(counts.unique("user_id", keep="first", maintain_order=True).select("user_id", "group").rows())
    return np.array([best.get(user) or "" for user in users])


@dataclass(frozen=True)
class Films:
    """MovieLens-100k, a random fifth of each user's films held out."""

    train: pa.Table
    test: pa.Table
    ids: IdVocabulary
    groups: npt.NDArray[np.str_]
    """Genre that each user watched most."""

    def parts(self, given: argparse.Namespace, alpha: float) -> dict[str, pa.Table]:
        """Return the interactions of each client."""
        users = sorted(set(self.train["user_id"].to_pylist()))
        owners = dirichlet_shards(self.groups, given.clients, alpha, given.seed)
        of = pa.array(owners[np.searchsorted(users, self.train["user_id"].to_pylist())])
        return {f"client-{one:02}": self.train.filter(pc.equal(of, one)) for one in np.unique(owners)}

    def compare(self, lists: Mapping[str, Any]) -> PopulationScores:
        """Compare lists with those under `popular`, where the comparison has its baseline."""
        catalog, config = self.ids.ids.to_pylist(), EvaluationConfig(ks=(10,))
        return evaluate_recommendations(lists, self.train, self.test, config, catalog=catalog).overall


def films(given: argparse.Namespace) -> Films:
    data = movielens_100k(given.data)
    weighed = weigh_events(data.events, InterestConfig(), data.videos)
    split = split_interactions(weighed, RandomSplitConfig(test_share=0.2, seed=given.seed))
    train = aggregate_interactions(split.train, InterestConfig())
    test = split.test.filter(pc.is_in(split.test["user_id"], value_set=pc.unique(train["user_id"])))
    ids = IdVocabulary.from_columns(train["video_id"], test["video_id"])
    assert data.videos is not None
    tags, rows = (
        pl.DataFrame(pl.from_arrow(table.select(names)))
        for table, names in ((data.videos, ["video_id", "tags"]), (train, ["user_id", "video_id"]))
    )
    genres = rows.join(tags.explode("tags").rename({"tags": "group"}), on="video_id").drop_nulls()
    groups = favourites(sorted(set(train["user_id"].to_pylist())), genres)
    return Films(train, test, ids, groups)


def cells(found: PopulationScores, name: str) -> str:
    """Return the NDCG@10 of lists, and its difference to the pooled fit's, as cells."""
    less = found.against_popular[name]["ndcg@10"]
    interval = "" if less.low is None else f" [{less.low:+.4f}, {less.high:+.4f}]"
    return f"{found.metrics[name]['ndcg@10'].mean:.4f} | {less.mean:+.4f}{interval}"


def recommenders(given: argparse.Namespace) -> None:
    data = films(given)
    train, ids = data.train, data.ids
    print("\n| model | α | leave | share of clients in a sum | NDCG@10 | less the pooled fit's |")
    print("|---|---|---|---|---|---|")
    for kind in ("als", "ease"):
        lists = {"popular": build_recommender(kind, RETRIEVAL).fit(train).recommend_from(train, 10)}
        shares = {}
        for alpha, dropout in variants():
            shards = {
                name: recommender_shard(kind, RETRIEVAL, part, ids)
                for name, part in data.parts(given, alpha).items()
            }
            task = recommender_task(kind, RETRIEVAL, ids)
            state, shares[alpha, dropout] = run_rounds(task, shards, settings(given), dropout)
            lists[f"{alpha:g} {dropout:.0%}"] = task.model(dict(state)).recommend_from(train, 10)
        found = data.compare(lists)
        print(f"| {kind} | pooled | | | {found.metrics['popular']['ndcg@10'].mean:.4f} | |")
        for alpha, dropout in variants():
            row = f"{alpha:g} | {dropout:.0%} | {shares[alpha, dropout]:.0%}"
            print(f"| {kind} | {row} | {cells(found, f'{alpha:g} {dropout:.0%}')} |", flush=True)


def private(given: argparse.Namespace) -> None:
    data = films(given)
    catalog = data.ids.ids.to_pylist()
    print("\n| model, ε = 4 | leave | NDCG@10 | less the pooled private fit's |\n|---|---|---|---|")
    privacy = PrivacyConfig(epsilon=4, delta=1e-5)
    for kind in ("item_knn", "ease", "als"):
        pooled = [fit_private(kind, RETRIEVAL, privacy, data.train, catalog) for _ in range(given.draws)]
        lists = {"popular": [model.recommend_from(data.train, 10) for model in pooled]}
        for dropout in (0.0, 0.3):
            lists[f"{dropout:.0%}"] = []
            for _ in range(given.draws):
                task = PrivateSums(kind, RETRIEVAL, privacy, data.ids)
                shards = {
                    name: PrivateShard(kind, privacy, part, data.ids)
                    for name, part in data.parts(given, 100.0).items()
                }
                state, _ = run_rounds(task, shards, settings(given), dropout)
                lists[f"{dropout:.0%}"].append(task.model(dict(state)).recommend_from(data.train, 10))
        found = data.compare(lists)
        print(f"| {kind} | pooled | {found.metrics['popular']['ndcg@10'].mean:.4f} | |")
        for dropout in ("0%", "30%"):
            print(f"| {kind} | {dropout} | {cells(found, dropout)} |", flush=True)


@dataclass(frozen=True)
class RankerShop:
    """Log of a simulated shop, its pooled ranker, and the ranker that clients start from."""

    given: argparse.Namespace
    features: RankingFeatures
    labels: ImpressionLabels
    place: npt.NDArray[np.int64]
    """(N,) 0 for training, 1 for validation and 2 for test impressions."""
    groups: npt.NDArray[np.str_]
    """Category that each shopper clicked most."""
    pooled: NetworkRanker
    start: NetworkRanker
    first: npt.NDArray[np.float64]
    """Initial weights."""

    def part(self, mask: npt.NDArray[np.bool_]) -> Examples:
        rows = np.flatnonzero(mask)
        return self.features.take(rows), self.labels.take(rows)

    @property
    def users(self) -> list[str]:
        return sorted(set(self.labels.user.astype(str).tolist()))

    def shards(self, config: FederatedConfig, alpha: float) -> dict[str, FederatedShard]:
        owners = dirichlet_shards(self.groups, self.given.clients, alpha, self.given.seed)
        owner = owners[np.searchsorted(self.users, self.labels.user.astype(str))]
        found: dict[str, FederatedShard] = {}
        for one in range(self.given.clients):
            own, held_out = (self.part((self.place == split) & (owner == one)) for split in (0, 1))
            if len(own[1]):
                found[f"client-{one:02}"] = RankerShard(self.start, config, own, held_out)
        return found

    def run(self, config: FederatedConfig, shards: Mapping[str, FederatedShard], dropout: float) -> str:
        """Return the best round, and the difference to the pooled ranker's AUC, as cells."""
        task = RankerSums(self.start, config, weights=self.first)
        state, _ = run_rounds(task, shards, config, dropout)
        test, labels = self.part(self.place == 2)
        chances, reference = (
            model.predict(test, at_logged_positions=True).p_click
            for model in (task.model(dict(state)), self.pooled)
        )
        less = compare_rankers(chances, reference, labels.click, labels.user, RankerMetricsConfig()).auc
        best = f"{int(state['best_round'][0])} of {self.given.rounds}"
        return f"{best} | {less.value:+.4f} [{less.low:+.4f}, {less.high:+.4f}]"


def ranker_shop(given: argparse.Namespace) -> RankerShop:
    drawn = simulate(
        SimulationConfig(
            users=given.users, videos=150, requests_per_user=8, slots=6, categories=6, seed=given.seed
        )
    )
    content, profiles = CatalogContent(drawn.videos, drawn.embeddings), ProfilesConfig()
    facts = video_metadata(content)
    counts = replay_video_counts(drawn.events, facts, profiles)
    requests = list(replay_requests(drawn.events, counts, facts, profiles))
    labels = build_labels(drawn.events, drawn.videos, LabelsConfig())
    ends = np.quantile(labels.at, [0.7, 0.8])
    config = RankerConfig.model_validate(NETWORK)
    early = [request for request in requests if request.context.at < ends[0]]
    before = drawn.events.filter(pc.less(drawn.events["at"].cast(pa.int64()), int(ends[0])))
    space = fit_space(before, early, content, config.features)
    features = FeatureBuilder(space, CatalogFeatures.from_content(content, space)).build(requests)
    place = np.digitize(labels.at, ends)
    train, valid = (
        (features.take(rows), labels.take(rows)) for rows in (np.flatnonzero(place == n) for n in (0, 1))
    )
    pooled = fit_network_ranker(config, space, content, train=train, valid=valid)
    names, kinds = (drawn.videos[name].to_pylist() for name in ("video_id", "category"))
    categories = dict(zip(names, kinds, strict=True))
    shown = [categories[video] for request in requests for video in request.video_ids]
    clicked = pl.DataFrame({"user_id": labels.user.astype(str), "group": shown}).filter(
        pl.Series(labels.click > 0)
    )
    groups = favourites(sorted(set(labels.user.astype(str).tolist())), clicked)
    start = copy(pooled)
    start.config = config.model_copy(update={"training": config.training.model_copy(update=LOCAL)})
    first = fresh_weights(pooled, train[1])
    shop = RankerShop(given, features, labels, place, groups, pooled, start, first)
    sizes = f"{len(train[1]):,} impressions to train on, {int((place == 2).sum()):,} to test on"
    print(f"\n{sizes}, {len(shop.users):,} shoppers")
    return shop


def ranker(given: argparse.Namespace) -> None:
    shop = ranker_shop(given)
    runs: list[tuple[float, float, dict[str, object]]] = [(*one, {}) for one in variants()]
    runs += [(0.1, 0.0, {"method": "fedprox", "proximal": 0.1})]
    runs += [(0.1, 0.0, {"method": "fedadam", "server_learning_rate": 0.03})]
    print("\n| method | α | leave | best round | AUC less the pooled fit's |\n|---|---|---|---|---|")
    for alpha, dropout, more in runs[:1] if given.even else runs:
        config = settings(given, **more)
        cells = shop.run(config, shop.shards(config, alpha), dropout)
        print(f"| {config.method} | {alpha:g} | {dropout:.0%} | {cells} |", flush=True)


class Poisoned:
    """Client whose software turns its update round and makes it longer, whatever the bound is."""

    def __init__(self, shard: FederatedShard) -> None:
        self.shard = shard

    def contribute(self, state: Arrays, number: int) -> Arrays:
        sent = self.shard.contribute(state, number)
        return sent | ({UPDATE: sent[UPDATE] * -10} if UPDATE in sent else {})


def poisoned(given: argparse.Namespace) -> None:
    shop = ranker_shop(given)
    plain: dict[str, object] = {"secure": False}
    runs: list[tuple[str, dict[str, object]]] = [
        ("masked mean", {}),
        ("masked mean, bound in clients", {"norm_bound": 2.0}),
        ("plain mean, bound in the coordinator", {**plain, "norm_bound": 2.0}),
        ("plain trimmed mean", {**plain, "aggregation": "trimmed_mean"}),
        ("plain median", {**plain, "aggregation": "median"}),
    ]
    print("\n| average | poisoned clients | best round | AUC less the pooled fit's |\n|---|---|---|---|")
    for name, more in runs:
        for count in (0, 1):
            config = settings(given, retries=0, **more)
            shards = shop.shards(config, 100.0)
            for bad in sorted(shards)[:count]:
                shards[bad] = Poisoned(shards[bad])
            try:
                cells = shop.run(config, shards, 0.0)
            except FederatedError as error:
                cells = f"{str(error)[:50]}… |"
            print(f"| {name} | {count} of {len(shards)} | {cells} |", flush=True)


def masked(vectors: Mapping[str, npt.NDArray[np.uint64]]) -> npt.NDArray[np.uint64]:
    """Return the sum of vectors by masks."""
    threshold = len(vectors) // 2 + 1
    clients = {name: SumClient(name, b"session") for name in vectors}
    hub = SumCoordinator(b"session", len(next(iter(vectors.values()))), threshold)
    keys = hub.take_keys({name: one.advertise() for name, one in clients.items()})
    shares = hub.take_shares({name: one.share(keys, threshold) for name, one in clients.items()})
    inside = hub.take_vectors({name: one.mask(vectors[name], shares[name]) for name, one in clients.items()})
    return hub.take_reveals({name: clients[name].reveal(inside) for name in inside})


def masks(given: argparse.Namespace) -> None:
    print("\n| clients | numbers | CPU ms by participant | of all together | of a plain sum |")
    print("|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for clients, length in ((5, 100_000), (10, 100_000), (30, 100_000), (10, 1_000_000)):
        vectors = {
            f"{number:03}": rng.integers(0, 2**64, length, dtype=np.uint64) for number in range(clients)
        }
        sides = {"masked": partial(masked, vectors), "plain": partial(np.add.reduce, [*vectors.values()])}
        taken = interleaved_times(sides, 3)
        total, plain = (1000 * min(cpu for _, cpu in taken[side]) for side in sides)
        print(
            f"| {clients} | {length:,} | {total / (clients + 1):.1f} | {total:.0f} | {plain:.2f} |",
            flush=True,
        )


PARTS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "recommenders": recommenders,
    "private": private,
    "ranker": ranker,
    "poisoned": poisoned,
    "masks": masks,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--parts", nargs="*", default=["recommenders", "private", "ranker", "poisoned", "masks"]
    )
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--local-epochs", type=int, default=1)
    parser.add_argument("--draws", type=int, default=3, help="draws of the noise of private fits")
    parser.add_argument("--even", action="store_true", help="even shards alone, to choose settings by")
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for name in given.parts:
        {
            "recommenders": recommenders,
            "private": private,
            "ranker": ranker,
            "poisoned": poisoned,
            "masks": masks,
        }[name](given)


if __name__ == "__main__":
    main()
