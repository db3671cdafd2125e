"""Value of a hybrid for cold-start videos: MicroLens-50k with some videos withheld.

All interactions with the withheld videos are removed from train; each user's last video is the test, withheld
or not. Every model ranks the whole catalogue. Prints accuracy overall and on the withheld videos, with
95 % bootstrap intervals over users, and the hybrid's paired difference to the best single model.

    python benchmarks/cold_videos.py FOLDER [--withheld 700] [--users 20000] [--models NAME ...]

FOLDER holds `microlens50k/`.
"""

import argparse

import numpy as np
import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.types import CatalogContent
from vrec.evaluation.offline.config import EvaluationConfig
from vrec.evaluation.offline.results import PopulationScores
from vrec.evaluation.offline.run import evaluate_recommendations
from vrec.evaluation.reports.wording import format_interval
from vrec.events.config import InterestConfig, LeaveLastOutConfig
from vrec.events.datasets import microlens_50k
from vrec.events.interactions import aggregate_interactions, weigh_events
from vrec.events.split import split_interactions
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.registry import build_recommender

MODELS = ("popular", "item_knn", "als", "content", "graph_filter", "multimodal", "hybrid")
MEMBERS = ("popular", "item_knn", "als", "content")
CONFIG = RetrievalConfig.model_validate(
    {
        "item_knn": {"recency_half_life": 3},
        "hybrid": {"holdout": "last", "holdout_share": 0.1, "members": MEMBERS},
    }
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--withheld", type=int, default=700)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    options = parser.parse_args()
    found = microlens_50k(options.folder)
    assert found.videos is not None
    parts = split_interactions(weigh_events(found.events, InterestConfig()), LeaveLastOutConfig())
    rng = np.random.default_rng(0)
    watched = sorted(set(parts.test.column("video_id").to_pylist()))
    withheld = pa.array(rng.choice(watched, options.withheld, replace=False).tolist())
    train = parts.train.filter(pc.invert(pc.is_in(parts.train.column("video_id"), value_set=withheld)))
    known = pc.is_in(parts.test.column("user_id"), value_set=train.column("user_id").unique())
    test = parts.test.filter(known)
    drawn = rng.permutation(test.num_rows)[: options.users]
    test = test.take(np.sort(drawn))
    train = aggregate_interactions(train, InterestConfig())
    users, content = test.column("user_id").to_pylist(), CatalogContent(found.videos)
    lists = {
        model: build_recommender(model, CONFIG).fit(train, content).recommend(users, 50)
        for model in options.models
    }
    result = evaluate_recommendations(
        lists,
        train,
        test,
        EvaluationConfig(ks=(10, 20, 50), headline_k=20, headline_metric="hit_rate"),
        catalog=found.videos.column("video_id").to_pylist(),
        video_slices={"withheld": withheld.to_pylist()},
    )
    for scores in (result.overall, *result.slices):
        report(scores, result.best_single)


def report(scores: PopulationScores, best: str) -> None:
    print(f"\n{scores.name}: {scores.users:,} users; against the best single model overall, {best}")
    for model, row in scores.metrics.items():
        words = [f"{model:10}"]
        for key in ("ndcg@10", "hit_rate@20", "hit_rate@50"):
            one = row[key]
            words.append(f"{key} {one.mean:.4f} {format_interval(one.low, one.high, one.outcomes)}")
        if model in scores.against_best:
            gap = scores.against_best[model]["hit_rate@20"]
            words.append(f"hit_rate@20 {gap.mean:+.4f} {format_interval(gap.low, gap.high, gap.outcomes)}")
        print("  ".join(words))


if __name__ == "__main__":
    main()
