"""Tuned settings against the default on the test part, which no trial saw; paired over the same users.

Run as `OMP_NUM_THREADS=1 python benchmarks/tuned.py cf --events DIR --dataset movielens_100k --model item_knn
--config best.yaml`, or `… ranker --events EVENTS.parquet --videos VIDEOS.parquet --config best.yaml`, with
the best.yaml that `vrec tune` wrote for the same events. Prints Markdown rows.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from harness import number_parser

from vrec.config.load import load_settings
from vrec.config.settings import Settings
from vrec.core.types import CatalogContent
from vrec.evaluation.offline.run import evaluate_recommendations
from vrec.evaluation.ranking.run import compare_rankers, evaluate_ranker
from vrec.evaluation.reports.wording import format_interval
from vrec.events.interactions import aggregate_interactions
from vrec.pipelines.cluster import connect_cluster
from vrec.pipelines.evaluate.validation import train_test_split
from vrec.pipelines.inputs import InputData, InputPaths, read_inputs
from vrec.pipelines.train.data_parallel import train_in_process
from vrec.pipelines.train.impressions import build_examples
from vrec.pipelines.train.ranker import METRICS_CONFIG, train_on_inputs
from vrec.ranking.network_ranker import NetworkRanker
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.registry import build_recommender


def test_cf(material: InputData, model: str, candidates: dict[str, Settings]) -> None:
    given = candidates["default"]
    parts = train_test_split(material, given)
    train = aggregate_interactions(parts.train, given.events.interest, parts.cutoff)
    users, depth = sorted(set(parts.test["user_id"].to_pylist())), max(given.evaluate.metrics.ks)
    known = set(train["user_id"].to_pylist())
    popular = PopularRecommender().fit(train, material.content)
    strangers = popular.recommend_unpersonalized([user for user in users if user not in known], depth)
    lists = {"popular": [pa.concat_tables([popular.recommend(users, depth), strangers])]}
    for name, settings in candidates.items():
        rows = aggregate_interactions(parts.train, settings.events.interest, parts.cutoff)
        fitted = build_recommender(model, settings.retrieval).fit(rows, material.content)
        lists[name] = [pa.concat_tables([fitted.recommend(users, depth), strangers])]
    config = given.evaluate.metrics
    seen = [user for user in users if user in known]
    found = evaluate_recommendations(
        lists, train, parts.test, config, user_slices={"users of the train part": seen}
    )
    for part in (found.overall, *found.slices):
        if part.side != "videos":
            for who, figures in part.metrics.items():
                m = figures[config.headline]
                interval = format_interval(m.low, m.high, m.outcomes)
                print(f"| {part.name}, {part.users} | {who} | {m.mean:.4f} {interval} |")
            for name, gaps in part.against_best.items():
                gap = gaps[config.headline]
                interval = format_interval(gap.low, gap.high, gap.outcomes)
                print(f"|  | {name} − {found.best_single} | {gap.mean:+.4f} {interval} |")


def test_ranker(material: InputData, candidates: dict[str, Settings]) -> None:
    content, predicted = material.content or CatalogContent(), {}
    found = build_examples(material.events, content, candidates["default"].train.ranker)
    labels = found.test.labels
    for name, settings in candidates.items():
        with TemporaryDirectory() as out:
            train_on_inputs(material, out, settings.train.ranker, train=train_in_process)
            predicted[name] = NetworkRanker.load(out).predict(found.test.features, at_logged_positions=True)
        metrics = evaluate_ranker(predicted[name], labels, found.cold, METRICS_CONFIG).overall.metrics
        print(f"| {name} | " + " | ".join(f"{key} {value:.4f}" for key, value in metrics.items()) + " |")
    tuned, default = predicted["tuned"].p_click, predicted["default"].p_click
    print(compare_rankers(tuned, default, labels.click, labels.user, METRICS_CONFIG))


def main() -> None:
    parser = number_parser(__doc__)
    parser.add_argument("kind", choices=["cf", "ranker"])
    parser.add_argument("--events", required=True)
    parser.add_argument("--dataset")
    parser.add_argument("--videos")
    parser.add_argument("--model", default="item_knn")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], help="settings that both have")
    given = parser.parse_args()
    candidates = {"default": load_settings(None, given.set), "tuned": load_settings(given.config)}
    where = InputPaths(given.events, given.dataset, videos=given.videos)
    settings = candidates["default"]
    material = read_inputs(where, settings.events, settings.fit.modality)
    if given.kind == "cf":
        test_cf(material, given.model, candidates)
        return
    with connect_cluster():
        test_ranker(material, candidates)


if __name__ == "__main__":
    main()
