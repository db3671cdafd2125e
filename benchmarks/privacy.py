"""Accuracy of private recommenders beside ordinary ones and beside popular, private and not.

Run as `OMP_NUM_THREADS=1 python benchmarks/privacy.py DATA ml100k sport_phone`, where DATA is the folder of
the public sets. Prints Markdown rows: NDCG@10 over the whole catalog, its difference to popular without
privacy and to popular with the same ε, each with a 95 % interval over users, of values averaged over seeds of
the noise, and the share of the ordinary gain over popular that is left. Of ml100k a random fifth of each
user's films is the test, drawn with --split. Settings were chosen on another draw of the same films;
benchmarks/RESULTS.md says which splits had been looked at.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.evaluation.offline.config import EvaluationConfig
from vrec.evaluation.offline.results import MetricDifference
from vrec.evaluation.offline.run import evaluate_recommendations
from vrec.events.config import InterestConfig, RandomSplitConfig
from vrec.events.datasets import PublicDataset, movielens_100k
from vrec.events.interactions import aggregate_interactions, weigh_events
from vrec.events.plain_files import read_pairs
from vrec.events.split import InteractionSplit, given_split, split_interactions
from vrec.privacy.config import PrivacyConfig
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.private_fit import fit_private
from vrec.retrieval.registry import build_recommender

PUBLISHED = ("sport_cloth", "cloth_sport", "sport_phone", "phone_sport")
NDCG = "ndcg@10"


def weigh(data: PublicDataset) -> pa.Table:
    return weigh_events(data.events, InterestConfig(), data.videos)


def split_of(folder: Path, name: str, seed: int) -> InteractionSplit:
    """Return the split of a public set."""
    if name in PUBLISHED:
        parts = (folder / "disencdr" / f"{name}_{part}.txt" for part in ("train", "test"))
        return given_split(*(weigh(read_pairs(part)) for part in parts))
    config = RandomSplitConfig(test_share=0.2, seed=seed)
    return split_interactions(weigh(movielens_100k(folder)), config)


def measure(folder: Path, name: str, given: argparse.Namespace) -> None:
    """Print the rows of one set."""
    split = split_of(folder, name, given.split)
    train = aggregate_interactions(split.train, InterestConfig())
    test = split.test.filter(pc.is_in(split.test["user_id"], value_set=pc.unique(train["user_id"])))
    tested = train.filter(pc.is_in(train["user_id"], value_set=pc.unique(test["user_id"])))
    # The catalog counts as public.
    catalog = sorted({*train["video_id"].to_pylist(), *test["video_id"].to_pylist()})
    models: Sequence[str] = ["popular", *given.models]
    config = RetrievalConfig()
    lists: dict[str, pa.Table | list[pa.Table]] = {
        kind: build_recommender(kind, config).fit(train).recommend_from(tested, 10) for kind in models
    }
    for epsilon in given.epsilons:
        privacy = PrivacyConfig(epsilon=epsilon, delta=given.delta, **dict(given.set))
        for kind in models:
            lists[f"{kind} {epsilon:g}"] = [
                fit_private(
                    kind, config, privacy, train, catalog, normals=np.random.default_rng(seed).standard_normal
                ).recommend_from(tested, 10)
                for seed in range(given.seeds)
            ]
    settings = EvaluationConfig(ks=(10,))
    found = evaluate_recommendations(lists, train, test, settings, catalog=catalog).overall
    users = pc.count_distinct(train["user_id"]).as_py()
    sizes = f"{users:,} shoppers, {len(catalog):,} videos, {train.num_rows:,} pairs"
    print(f"\n{name}, split {given.split}: {sizes}")
    print("\n| model | ε | NDCG@10 | above popular | above popular with this ε | gain left |")
    print("|---|---|---|---|---|---|")
    mean = {model: metrics[NDCG].mean or 0.0 for model, metrics in found.metrics.items()}
    for model, tables in lists.items():
        kind, _, epsilon = model.partition(" ")
        beside = ""
        if epsilon and kind != "popular":
            pair = {"popular": lists[f"popular {epsilon}"], model: tables}
            fair = evaluate_recommendations(pair, train, test, settings, catalog=catalog).overall
            beside = _interval(fair.against_popular[model][NDCG])
        gain = mean[kind] - mean["popular"]
        left = f"{(mean[model] - mean['popular']) / gain:.0%}" if epsilon and kind != "popular" else ""
        above = "" if model == "popular" else _interval(found.against_popular[model][NDCG])
        print(f"| {kind} | {epsilon or '∞'} | {mean[model]:.4f} | {above} | {beside} | {left} |", flush=True)


def _interval(difference: MetricDifference) -> str:
    if difference.low is None or difference.high is None:
        return f"{difference.mean:+.4f}"
    return f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"


def _setting(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    number = float(value)
    return name, int(number) if name == "gram_videos" else number


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("sets", nargs="*", default=("ml100k", "sport_phone"))
    parser.add_argument("--models", nargs="*", default=["item_knn", "ease", "als"])
    parser.add_argument("--epsilons", nargs="*", type=float, default=[1.0, 2.0, 4.0, 8.0])
    parser.add_argument("--delta", type=float, default=1e-5)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the noise")
    parser.add_argument("--split", type=int, default=1, help="seed of the split of ml100k")
    parser.add_argument(
        "--set", nargs="*", type=_setting, default=[], help="settings such as gram_videos=200"
    )
    given = parser.parse_args()
    for name in given.sets:
        measure(given.data, name, given)


if __name__ == "__main__":
    main()
