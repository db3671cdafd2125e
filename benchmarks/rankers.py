"""Rankers side by side on the latest part of a log: baselines, deep ones, with content, with all heads.

Run as `python benchmarks/rankers.py shop` (or `unfair`, or `steady`) or `… kuairand --data FOLDER`. Every
ranker is trained with several seeds on the same examples; a figure is the mean over seeds and its 95 %
interval (Student's t). On the shops, whose truth is known, `truth` is the share of pairs of videos
that are ranked for a shopper as the planted chance of a click in the first slot ranks them, which
position bias in the log does not touch: over all videos on offer when the test part begins, over
those that nobody had been shown in training, and over pairs that were shown together in the test part.

What position bias costs is told by a control (`slots alike`): the ranker that does not explain position, on
the log of the same slates in a shop where every slot is looked at alike and about as much is clicked. Where
it ranks no better there, the log has no bias to take away. The steady shop is drawn anew for every seed.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from harness import number_parser
from scipy import stats

from vrec.config.load import load_settings
from vrec.config.settings import Settings
from vrec.config.train_ranker import TrainRankerConfig
from vrec.core.compute import pc
from vrec.core.schema import TIMESTAMP
from vrec.core.types import CatalogContent
from vrec.evaluation.ranking.metrics import grouped_xauc
from vrec.evaluation.ranking.run import RankerMetricsConfig, evaluate_ranker
from vrec.events.datasets import kuairand_pure
from vrec.pipelines.cluster import connect_cluster
from vrec.pipelines.train.impressions import ImpressionDataset, build_examples
from vrec.profiles.profile import profiles_from_table
from vrec.profiles.update import ProfilesConfig, build_profiles
from vrec.ranking.config import RankerConfig
from vrec.ranking.features.arrays import RankerPredictions, RankingFeatures, RankingRequest, RequestContext
from vrec.ranking.features.video_counts import profile_counts
from vrec.ranking.labels import hash_user_id
from vrec.ranking.network_ranker import NetworkRanker, build_untrained
from vrec.ranking.training import RankerTrainer
from vrec.synthetic.shop.simulate import ShopSimulation, SimulatedShop, SimulationConfig, simulate

SHOP = SimulationConfig(
    users=1200, videos=500, requests_per_user=15, slots=8, cold_share=0.5, vector_weight=3.0, seed=1
)
"""A shop where looks count as much as the category, and half of the videos come out meanwhile."""
UNFAIR = SHOP.model_copy(update={"popularity_quality": 0.0, "popularity_skew": 1.2, "logging_taste": 0.0})
"""The same where what is shown on top is neither better nor nearer to taste."""
STEADY = UNFAIR.model_copy(update={"videos": 100, "temperature": 0.5})
"""The same where a video stays in about the same slots: where slots are drawn almost anew for every request,
as with 500 videos in a softmax, position bias takes and gives all videos much the same."""
SHOPS = {"shop": SHOP, "unfair": UNFAIR, "steady": STEADY}
UNEXPLAINED = ", position not explained"
SHOP_SETTINGS = [
    "train.ranker.labels.conversion_window_hours=24",
    "train.ranker.features.history=20",
    "train.ranker.training.epochs=20",
]
SHOPPERS = 300
"""Shoppers for whom every video is ranked, to hold the order against the truth."""
SMALL = {"width": 8, "hidden": [64, 32], "dropout": 0.2}
"""The deep networks' sizes in the shop, which has few impressions: the defaults learn it by heart."""
CLICK = {"heads": ["click"]}
MODELS = {
    "lr": (
        "plain",
        {"network": {"kind": "lr", "content": False}, "heads": CLICK, "training": {"learning_rate": 0.01}},
    ),
    "lr, position not explained": (
        "plain",
        {
            "network": {"kind": "lr", "content": False, "position": "none"},
            "heads": CLICK,
            "training": {"learning_rate": 0.01},
        },
    ),
    "dcn": ("plain", {"network": {"kind": "dcn", "content": False}, "heads": CLICK}),
    "din": ("plain", {"network": {"kind": "din", "content": False}, "heads": CLICK}),
    "din + content": ("content", {"network": {"kind": "din"}, "heads": CLICK}),
    "all heads": ("content", {"network": {"kind": "din"}}),
    "all heads, watch by d2q": ("content", {"network": {"kind": "din"}, "watch": {"kind": "d2q"}}),
    "all heads, watch raw": ("content", {"network": {"kind": "din"}, "watch": {"kind": "raw"}}),
    "din + content, position not explained": (
        "content",
        {"network": {"kind": "din", "position": "none"}, "heads": CLICK},
    ),
}
"""Of each ranker, which examples it sees (`plain`: no embeddings at all) and its settings."""
METRICS = (
    "click_auc", "click_gauc", "click_log_loss", "click_ece", "watch_mae", "watch_xauc",
    "watch_xauc_duration", "cvr_auc", "conv_auc", "conv_ece",
)  # fmt: skip


@dataclass(frozen=True)
class World:
    """Log as examples, without and with content, and the truth where it is known."""

    examples: dict[str, ImpressionDataset]
    contents: dict[str, CatalogContent]
    config: TrainRankerConfig
    truth: "Truth | None"


@dataclass(frozen=True)
class Truth:
    """Shoppers at the start of the test part, every video for each of them, and true click rates."""

    requests: list[RankingRequest]
    chances: npt.NDArray[np.float64]
    """(shoppers × videos,) planted chances of a click in the first slot."""
    shopper: npt.NDArray[np.int64]
    cold: npt.NDArray[np.bool_]
    shown: npt.NDArray[np.float64]
    """The same chances of the test part's impressions."""

    def scores(self, ranker: NetworkRanker, test: RankingFeatures) -> dict[str, float]:
        """Return the share of pairs of videos that a ranker has in the planted order."""
        found = ranker.predict_requests(self.requests).p_click
        rows = {"truth": np.ones(len(found), bool), "truth, cold": self.cold}
        scores = {
            name: grouped_xauc(self.chances[some], found[some], self.shopper[some])
            for name, some in rows.items()
        }
        slates = test.request.astype(np.int64)
        return scores | {"truth, shown": grouped_xauc(self.shown, ranker.predict(test).p_click, slates)}


def shop_world(config: SimulationConfig, settings: Settings) -> World:
    made = simulate(config)
    contents = {"plain": CatalogContent(made.videos), "content": CatalogContent(made.videos, made.embeddings)}
    with connect_cluster():
        examples = {n: build_examples(made.events, c, settings.train.ranker) for n, c in contents.items()}
    return World(examples, contents, settings.train.ranker, planted(made, examples["plain"]))


def planted(made: ShopSimulation, found: ImpressionDataset) -> Truth:
    shop, until = made.shop, found.split.test_from
    before = made.events.filter(pc.less(made.events.column("at").cast(pa.int64()), until))
    profiles = profiles_from_table(
        build_profiles(before, CatalogContent(made.videos, made.embeddings), ProfilesConfig())
    )
    users = [p for p in profiles if p.entity == "user"][:SHOPPERS]
    videos = {p.entity_id: p for p in profiles if p.entity == "video"}
    day = int(shop.days_of(pa.array([until], pa.int64()).cast(TIMESTAMP))[0])
    offer = shop.available_videos(day)
    ids = made.videos.column("video_id").take(pa.array(offer)).to_pylist()
    states = np.array([profile_counts(videos.get(i)) for i in ids])
    requests = [RankingRequest(user, RequestContext(until, "shop"), tuple(ids), states) for user in users]
    places = shop.user_indices(pa.array([user.entity_id for user in users]))
    shopper, video = np.repeat(places, len(offer)), np.tile(offer, len(users))
    known = set(found.train.video_ids.to_pylist())
    cold = np.tile([i not in known for i in ids], len(users))
    chances = shop.click_probability(shopper, video, 0, day)
    return Truth(requests, chances, shopper, cold, chances_of_shown(shop, found))


def chances_of_shown(shop: SimulatedShop, found: ImpressionDataset) -> npt.NDArray[np.float64]:
    places = {hash_user_id(name): place for place, name in enumerate(shop.users.to_pylist())}
    shopper = np.array([places[number] for number in found.test.labels.user.tolist()])
    days = shop.days_of(pa.array(found.test.labels.at, pa.int64()).cast(TIMESTAMP))
    return shop.click_probability(shopper, shop.video_indices(found.test.video_ids), 0, days)


def slots_alike(config: SimulationConfig) -> SimulationConfig:
    """Return the same shop and slates with equal attention to all slots and about as many clicks."""
    looks = np.power(np.arange(1.0, config.slots + 1.0), -config.examination_decay).mean()
    return config.model_copy(
        update={"examination_decay": 0.0, "click_rate": config.click_rate * float(looks)}
    )


def kuairand_world(folder: Path, settings: Settings) -> World:
    found = kuairand_pure(folder)
    contents = {"plain": CatalogContent(found.videos)}
    with connect_cluster():
        examples = {n: build_examples(found.events, c, settings.train.ranker) for n, c in contents.items()}
    return World(examples, contents, settings.train.ranker, None)


def run(world: World, name: str, seed: int) -> dict[str, float]:
    """Train one ranker with one seed and return its metrics."""
    examples, changes = MODELS[name]
    examples = examples if examples in world.examples else "plain"
    found = world.examples[examples]
    base = world.config.model.model_dump()
    training = base["training"] | changes.get("training", {}) | {"seed": seed}
    base |= changes | {"training": training}
    if world.truth is not None and base["network"]["kind"] != "lr":
        base["network"] = SMALL | base["network"]
    config = RankerConfig.model_validate(base)
    train, valid = ((part.features, part.labels) for part in (found.train, found.validation))
    network, head = build_untrained(config, train[0].shape, train[1])
    begun = time.perf_counter()
    trainer = RankerTrainer(network, config.heads, head, train=train, valid=valid, config=config.training)
    network = trainer.run()
    spent = time.perf_counter() - begun
    ranker = NetworkRanker.from_training(
        config, found.space, world.contents[examples], network, head, train=train, valid=valid
    )
    scores = judged(name, found, ranker.predict(found.test.features, at_logged_positions=True))
    if world.truth is not None:
        scores |= world.truth.scores(ranker, found.test.features)
    return scores | {"train_s": spent, "epochs": trainer.best_epoch}


def judged(name: str, found: ImpressionDataset, shown: RankerPredictions) -> dict[str, float]:
    said = evaluate_ranker(shown, found.test.labels, found.cold, RankerMetricsConfig())
    scores = {metric: said.overall.metrics[metric] for metric in METRICS if metric in said.overall.metrics}
    answered = MODELS.get(name, ("", {}))[1].get("heads")
    if answered == CLICK:
        scores = {metric: value for metric, value in scores.items() if metric.startswith("click")}
    if said.cold is not None:
        cold = said.cold.metrics
        scores |= {f"cold {m}": cold[m] for m in ("click_auc", "click_log_loss") if m in cold}
    return scores


def show(name: str, runs: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Print and return the mean and half the 95 % interval of each metric over seeds."""
    found: dict[str, tuple[float, float]] = {}
    for metric in runs[0]:
        values = np.array([scores[metric] for scores in runs])
        reach = 0.0
        if len(values) > 1:
            reach = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
        found[metric] = float(values.mean()), reach
    print(f"{name}: " + ", ".join(f"{m} {v:.4f} ± {r:.4f}" for m, (v, r) in found.items()), flush=True)
    return found


def worlds(log: str, data: Path, seeds: int, settings: Settings) -> Iterator[tuple[int, World, World | None]]:
    """Yield, for each seed, the log to learn from and, for a shop, its control with equal slots."""
    found: tuple[World, World | None] | None = None
    for seed in range(seeds):
        if log == "kuairand":
            found = found or (kuairand_world(data, settings), None)
        elif found is None or log == "steady":
            shop = SHOPS[log].model_copy(update={"seed": SHOPS[log].seed + seed})
            found = shop_world(shop, settings), shop_world(slots_alike(shop), settings)
        world, control = found
        yield seed, world, control


def main() -> None:
    parser = number_parser(__doc__, seeds=5)
    parser.add_argument("log", choices=[*SHOPS, "kuairand"])
    parser.add_argument("--data", type=Path, help="the folder of the public data sets")
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--config", type=Path, help="YAML settings")
    given = parser.parse_args()
    settings = load_settings(given.config, [] if given.log == "kuairand" else SHOP_SETTINGS)
    runs: dict[str, list[dict[str, float]]] = {}
    for seed, world, control in worlds(given.log, given.data, given.seeds, settings):
        first = next(iter(world.examples.values()))
        sizes = [len(part.labels) for part in (first.train, first.validation, first.test)]
        print(f"{sizes} impressions to train, validate and test on; {int(first.cold.sum())} of cold videos")
        runs.setdefault("counts alone", []).append(judged("counts alone", first, first.test.rates))
        for name in given.models:
            # Without content this is DIN alone.
            if name != "din + content" or "content" in world.examples:
                runs.setdefault(name, []).append(run(world, name, seed))
            if control is not None and name.endswith(UNEXPLAINED):
                runs.setdefault(f"{name}, slots alike", []).append(run(control, name, seed))
    for name in [name for name in runs if name + UNEXPLAINED in runs]:
        pairs = zip(runs[name], runs[name + UNEXPLAINED], strict=True)
        runs[f"{name}: gained by explaining position"] = [
            {metric: ours[metric] - theirs[metric] for metric in ours} for ours, theirs in pairs
        ]
    results = {name: show(name, scores) for name, scores in runs.items()}
    if given.out:
        given.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
