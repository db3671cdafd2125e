"""Accuracy and coverage of the hybrid by the strength of its popularity calibration, beside popular and EASE.

    OMP_NUM_THREADS=1 python benchmarks/popularity_calibration.py --events DIR --dataset movielens_100k

Prints a Markdown row for each model and strength: NDCG@10 with its interval, recall@10 among head, mid and
tail videos (thirds of the interactions), coverage@10, the share of lists with the most shown video, and the
mean absolute difference between the shares of the three groups in a list and in the user's history.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from harness import number_parser

from vrec.config.load import load_settings
from vrec.evaluation.offline.results import OfflineEvaluation
from vrec.evaluation.offline.run import evaluate_recommendations
from vrec.evaluation.reports.wording import format_interval
from vrec.events.interactions import aggregate_interactions
from vrec.events.split import popularity_thirds
from vrec.pipelines.evaluate.validation import train_test_split
from vrec.pipelines.inputs import InputPaths, read_inputs
from vrec.retrieval.models.hybrid import HybridRecommender
from vrec.retrieval.registry import build_recommender

STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


def share_gap(lists: pa.Table, train: pa.Table, groups: dict[str, list[str]], k: int = 10) -> float:
    """Return the mean over users of the mean absolute difference of group shares in list and history."""
    group_of = {video: number for number, ids in enumerate(groups.values()) for video in ids}

    def shares(table: pa.Table) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        columns = table.column("user_id").to_pylist(), table.column("video_id").to_pylist()
        for user, video in zip(*columns, strict=True):
            if video in group_of:
                found.setdefault(user, np.zeros(len(groups)))[group_of[video]] += 1
        return {user: counts / counts.sum() for user, counts in found.items()}

    listed = shares(lists.filter(pa.array(lists.column("rank").to_numpy() <= k)))
    past = shares(train)
    return float(np.mean([np.abs(listed[user] - past[user]).mean() for user in listed if user in past]))


def compare(events: str, dataset: str | None, strengths: Sequence[float]) -> None:
    settings = load_settings()
    material = read_inputs(InputPaths(events, dataset), settings.events, settings.fit.modality)
    parts = train_test_split(material, settings)
    train = aggregate_interactions(parts.train, settings.events.interest, parts.cutoff)
    users = sorted(set(parts.test["user_id"].to_pylist()) & set(train["user_id"].to_pylist()))
    depth = max(settings.evaluate.metrics.ks)
    lists = {
        name: build_recommender(name, settings.retrieval).fit(train, material.content).recommend(users, depth)
        for name in ("popular", "ease")
    }
    hybrid = build_recommender("hybrid", settings.retrieval).fit(train, material.content)
    assert isinstance(hybrid, HybridRecommender)
    for strength in strengths:
        hybrid.config = hybrid.config.model_copy(update={"popularity_calibration": strength})
        lists[f"hybrid, {strength:g}"] = hybrid.recommend(users, depth)
    groups = popularity_thirds(train)
    test = parts.test.filter(pa.array(np.isin(parts.test["user_id"].to_pylist(), users)))
    catalog = {video for table in (train, test, *lists.values()) for video in table["video_id"].to_pylist()}
    found = evaluate_recommendations(
        lists, train, test, settings.evaluate.metrics, catalog=catalog, video_slices=groups
    )
    print(f"{events}: {len(users):,} users, {test.num_rows:,} test interactions\n")
    print("| model | NDCG@10 | recall@10 head | mid | tail | coverage@10 | top share@10 | share gap |")
    print("|---|---|---|---|---|---|---|---|")
    for name, table in lists.items():
        print_row(found, name, share_gap(table, train, groups))


def print_row(found: OfflineEvaluation, name: str, gap: float) -> None:
    score = found.overall.metrics[name]["ndcg@10"]
    recalls = [part.metrics[name]["recall@10"].mean for part in found.slices if name in part.metrics]
    beyond = [found.beyond[name][f"{key}@10"].mean for key in ("coverage", "top_share")]
    figures = " | ".join(f"{value:.4f}" for value in (*recalls, *beyond, gap))
    interval = format_interval(score.low, score.high, score.outcomes)
    print(f"| {name} | {score.mean:.4f} {interval} | {figures} |")


def main() -> None:
    parser = number_parser(__doc__)
    parser.add_argument("--events", required=True)
    parser.add_argument("--dataset")
    parser.add_argument("--strengths", type=float, nargs="+", default=STRENGTHS)
    given = parser.parse_args()
    compare(given.events, given.dataset, given.strengths)


if __name__ == "__main__":
    main()
