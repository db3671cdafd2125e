"""Defaults of the neighborhood models, EASE and ALS on public sets, beside the defaults of before.

Run as `OMP_NUM_THREADS=1 python benchmarks/sparse_defaults.py DATA sport_cloth ml100k`, where DATA is the
folder of the public sets; without names all sets are measured. Prints Markdown rows: recall@20 and NDCG@10
over the whole catalog, and what `auto` came to. Each user's last video is the test, or the published one; of
lastfm_social, which has no order, a random part of each user's artists. docs/experiments.md says on which
sets the rules were chosen.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.evaluation.offline.config import EvaluationConfig
from vrec.evaluation.offline.run import evaluate_recommendations
from vrec.events.config import InterestConfig, LeaveLastOutConfig, RandomSplitConfig
from vrec.events.datasets import (
    KUAIRAND_INTEREST_CONFIG,
    PublicDataset,
    kuairand_pure,
    microlens_50k,
    movielens_100k,
)
from vrec.events.interactions import aggregate_interactions, weigh_events
from vrec.events.plain_files import read_lists, read_pairs
from vrec.events.split import InteractionSplit, given_split, split_interactions
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import AlsConfig, EaseConfig, ItemKnnConfig, SimilarityConfig
from vrec.retrieval.models.als import Als
from vrec.retrieval.models.ease import Ease
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.models.user_knn import UserKnn

LAST, RANDOM = LeaveLastOutConfig(), RandomSplitConfig()
PUBLISHED = ("sport_cloth", "cloth_sport", "sport_phone", "phone_sport")
SETS = ("sport_cloth", "ml100k", *PUBLISHED[1:], "beauty5", "microlens50k", "kuairand_pure", "lastfm_social")
MODELS: dict[str, Callable[[], MatrixRecommender]] = {
    "popular": PopularRecommender,
    "item_knn, before": lambda: ItemKnn(ItemKnnConfig(popularity_penalty=1, shrink=0, weighting="none")),
    "item_knn": ItemKnn,
    "user_knn, before": lambda: UserKnn(SimilarityConfig(popularity_penalty=1, shrink=0, weighting="none")),
    "user_knn": UserKnn,
    "ease, before": lambda: Ease(EaseConfig(regularization=500)),
    "ease": Ease,
    "als, before": lambda: Als(AlsConfig(alpha=1, regularization=0.01)),
    "als": Als,
}


def weigh(data: PublicDataset, config: InterestConfig | None = None) -> pa.Table:
    return weigh_events(data.events, config or InterestConfig(), data.videos)


def split_of(folder: Path, name: str) -> InteractionSplit:
    """Return the split of a public set."""

    def parted(
        data: PublicDataset,
        how: LeaveLastOutConfig | RandomSplitConfig = LAST,
        config: InterestConfig | None = None,
    ) -> InteractionSplit:
        return split_interactions(weigh(data, config), how)

    if name in PUBLISHED:
        train, test = (
            weigh(read_pairs(folder / "disencdr" / f"{name}_{part}.txt")) for part in ("train", "test")
        )
        return given_split(train, test)
    if name == "beauty5":
        return parted(read_lists(folder / "beauty5" / "inter.json"))
    if name == "lastfm_social":
        return parted(read_pairs(folder / "lastfm_social" / "ratings.txt"), RANDOM)
    if name == "kuairand_pure":
        return parted(kuairand_pure(folder), LAST, KUAIRAND_INTEREST_CONFIG)
    return parted(microlens_50k(folder) if name == "microlens50k" else movielens_100k(folder))


def measure(folder: Path, name: str, models: list[str], most_users: int, ease_videos: int) -> None:
    """Print the rows of one set."""
    split = split_of(folder, name)
    train = aggregate_interactions(split.train, InterestConfig())
    known = pc.unique(train["user_id"])
    test = split.test.filter(pc.is_in(split.test["user_id"], value_set=known))
    users = sorted(set(test["user_id"].to_pylist()))
    if len(users) > most_users:
        users = sorted(np.random.default_rng(0).choice(users, most_users, replace=False).tolist())
        test = test.filter(pc.is_in(test["user_id"], value_set=pa.array(users)))
    videos = pc.count_distinct(train["video_id"]).as_py()
    lists: dict[str, pa.Table] = {}
    notes: dict[str, str] = {}
    for model, make in MODELS.items():
        if (model.startswith("ease") and videos > ease_videos) or model not in ("popular", *models):
            continue
        begun = time.process_time()
        fitted = make().fit(train)
        notes[model] = f"{time.process_time() - begun:.1f} s | " + ", ".join(
            f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in fitted.report.items()
            if key in ("weighting", "popularity_penalty", "relative_shrink", "regularization", "alpha")
        )
        lists[model] = fitted.recommend(users, 20)
    found = evaluate_recommendations(lists, train, test, EvaluationConfig(ks=(10, 20)))
    print(f"{name}: {len(known):,} users, {videos:,} videos, {train.num_rows:,} pairs, {len(users):,} tested")
    for model in lists:
        figures = found.overall.metrics[model]
        recall, ndcg = figures["recall@20"], figures["ndcg@10"]
        print(f"| {name} | {model} | {recall.mean:.4f} | {ndcg.mean:.4f} | {notes[model]} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("sets", nargs="*", default=SETS)
    parser.add_argument("--models", nargs="*", default=list(MODELS), metavar="MODEL")
    parser.add_argument("--users", type=int, default=5000, help="maximum number of users tested")
    parser.add_argument("--ease-videos", type=int, default=13_700, help="sets with more are without EASE")
    given = parser.parse_args()
    for name in given.sets:
        measure(given.data, name, given.models, given.users, given.ease_videos)


if __name__ == "__main__":
    main()
