"""Gain of encoders aligned with behavior on cold videos: NDCG@10 of `content` with each embedding.

    python benchmarks/learned_encoders_cold.py shop VIDEOS FEATURES [--seeds 5] [--tastes loud or quiet]
    python benchmarks/learned_encoders_cold.py microlens FOLDER [--seeds 3] [--users 20000]

`shop`: simulated shoppers in a catalogue (a VIDEOS table, or a labels.csv whose labels are the categories;
and features that `vrec train encoder` kept of it). Their tastes are planted over categories and, less, over
the frozen fused vectors themselves (`loud`: the frozen vectors are then the truth, and nothing can be
better), or over a few directions alone in which the frozen vectors differ little (`quiet`: most of what
videos look like says nothing). `the truth` are the vectors that tastes are over. Each seed is another shop
with other withheld videos; the 1-NN accuracy of the withheld ones' categories is printed too, neighbours
being all videos. `microlens`: FOLDER holds `microlens50k/`; titles alone.

All that shoppers did with the withheld videos is taken out of what anything learns from, before the cut and
after it; they are the cold videos, a fifth of the shop and 700 of MicroLens. The recommender is `content`, by
embeddings alone: each user's taste is the mean of what they watched. It ranks the cold videos among
themselves, and the whole catalogue. Nothing was chosen by these figures: all settings are defaults, but for
the sizes below. Prints, after every trial, means over test users who watched a cold video, with 95 %
intervals by bootstrap over users, and the paired difference from the frozen features, by user and with its
standard deviation over the trials.
"""

import argparse
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from learned_encoders import correct, frames_mean, frozen

from vrec.config.load import load_settings
from vrec.core.compute import pc
from vrec.core.schema import EMBEDDINGS, TIMESTAMP, VIDEOS, conform
from vrec.core.types import CatalogContent, Clip, Vectors
from vrec.encoders.fusion import ModalityFusionConfig
from vrec.encoders.learned.encoder import LearnedEncoder
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.text import TextEncoder, TextEncoderConfig, clip_text
from vrec.encoders.vectors import unit_rows
from vrec.evaluation.offline.ground_truth import GroundTruth
from vrec.evaluation.offline.metrics import ACCURACY
from vrec.events.config import InterestConfig, LeaveLastOutConfig, TimeSplitConfig
from vrec.events.datasets import microlens_50k
from vrec.events.interactions import aggregate_interactions, weigh_events
from vrec.events.split import InteractionSplit, split_interactions
from vrec.pipelines.demo_shop import embedded_videos
from vrec.pipelines.inputs import read_videos
from vrec.pipelines.train.encoder import EncoderInputs, build_training_task
from vrec.retrieval.config import ContentConfig
from vrec.retrieval.models.content import ContentRecommender
from vrec.synthetic.shop.config import SimulationConfig
from vrec.synthetic.shop.simulate import simulate
from vrec.training.epochs import SINGLE_WORKER

Floats = npt.NDArray[np.float64]
K = 10


@dataclass(frozen=True, slots=True)
class Trial:
    """Catalog and log with some videos withheld."""

    features: FeatureSet
    train: pa.Table
    """INTERACTIONS without the withheld videos."""
    test: pa.Table
    withheld: list[str]


def withhold(
    parts: InteractionSplit, count: int, seed: int, features: FeatureSet, users: int | None
) -> Trial:
    """Withhold this many of the test's videos; keep at most this many test users."""
    rng = np.random.default_rng(seed)
    watched = sorted(set(parts.test["video_id"].to_pylist()) & set(features.video_ids))
    withheld = pa.array(rng.choice(watched, count, replace=False).tolist())
    train = parts.train.filter(pc.invert(pc.is_in(parts.train["video_id"], value_set=withheld)))
    # Only those who watched one of them say anything of cold videos.
    test = parts.test.filter(pc.is_in(parts.test["video_id"], value_set=withheld))
    test = test.filter(pc.is_in(test["user_id"], value_set=train["user_id"].unique()))
    known = test["user_id"].unique().to_pylist()
    if users is not None and len(known) > users:
        kept = rng.choice(sorted(known), users, replace=False).tolist()
        test = test.filter(pc.is_in(test["user_id"], value_set=pa.array(kept)))
    return Trial(features, train, test, sorted(withheld.to_pylist()))


def judged(trial: Trial, vectors: Vectors, able: npt.NDArray[np.bool_]) -> dict[str, dict[str, Floats]]:
    """Return each metric per user (U,), among the withheld videos and in the whole catalog."""
    ids = [video for video, there in zip(trial.features.video_ids, able, strict=True) if there]
    rows = pa.FixedSizeListArray.from_arrays(pa.array(vectors[able].ravel(), pa.float32()), vectors.shape[1])
    repeated = [pa.repeat(pa.scalar(text), len(ids)) for text in ("fused", "any", "none")]
    embeddings = pa.Table.from_arrays(
        [pa.array(ids), *repeated, rows], schema=EMBEDDINGS.arrow(vectors.shape[1])
    )
    train = aggregate_interactions(trial.train, InterestConfig())
    model = ContentRecommender(ContentConfig(attributes_share=0)).fit(
        train, CatalogContent(embeddings=embeddings)
    )
    truth = GroundTruth(train, trial.test, set(trial.features.video_ids) | set(train["video_id"].to_pylist()))
    users, population = truth.users.ids.to_pylist(), truth.population()
    found: dict[str, dict[str, Floats]] = {}
    for name, among in (("cold", trial.withheld), ("all", None)):
        lists = truth.index_lists(model.recommend(users, K, candidates=among), "content")
        hits = truth.score_lists(truth.hits(lists), K, population)
        found[name] = {metric: ACCURACY[metric](hits, K) for metric in ("ndcg", "hit_rate")}
    return found


def learned(
    trial: Trial, options: Sequence[str], seed: int, *, aligned: bool
) -> tuple[Vectors, npt.NDArray[np.bool_]]:
    """Return the vectors of a head trained on the trial's features, and behavior if `aligned`."""
    settings = load_settings(overrides=[*options, f"train.encoder.training.seed={seed}"])
    material = EncoderInputs(trial.features, trial.train if aligned else None)
    lesson, watched = build_training_task(material, settings)
    trainer = lesson.trainer(SINGLE_WORKER)
    head = trainer.run()
    if watched is not None:
        print(
            f"  {watched.pairs:,} pairs, {watched.targets:,} targets, best epoch {trainer.best_epoch}",
            flush=True,
        )
    weights = {name: tensor.numpy() for name, tensor in head.state_dict().items()}
    return LearnedEncoder.from_weights(lesson.config.learned, trial.features, weights).encode_features(
        trial.features
    )


def alone(encoded: tuple[Vectors, npt.NDArray[np.bool_]]) -> tuple[Vectors, npt.NDArray[np.bool_]]:
    """Return the learned part of these vectors, without the frozen features beside it."""
    vectors, able = encoded
    config = load_settings().train.encoder.learned
    return vectors[:, : config.dim] / np.float32((1 - config.keep) ** 0.5), able


def interval(each: Floats, digits: int = 4) -> str:
    draws = np.random.default_rng(0).integers(0, len(each), (4000, len(each)))
    low, high = np.quantile(each[draws].mean(axis=1), (0.025, 0.975))
    return f"{each.mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def report(results: Sequence[Mapping[str, dict[str, dict[str, Floats]]]], base: str) -> None:
    """Print each encoder's metrics over the users of all trials, and its difference to the base."""
    users = sum(len(trial[base]["cold"]["ndcg"]) for trial in results)
    print(f"\n{users:,} test users of {len(results)} trials; differences are from {base!r}")
    for name in results[0]:
        cells = []
        told = (("cold", "ndcg"), ("cold", "hit_rate"), ("all", "ndcg"), ("cold", "1-NN"))
        for among, metric in told:
            if metric not in results[0][name][among]:
                continue
            ours = np.concatenate([trial[name][among][metric] for trial in results])
            theirs = np.concatenate([trial[base][among][metric] for trial in results])
            by_trial = [
                trial[name][among][metric].mean() - trial[base][among][metric].mean() for trial in results
            ]
            spread = f" ± {np.std(by_trial, ddof=1):.4f}" if len(by_trial) > 1 else ""
            cells.append(f"{among} {metric}@{K} {interval(ours)} ({interval(ours - theirs)}{spread})")
        print(f"{name:34} {'   '.join(cells)}", flush=True)


def catalogue(path: str) -> pa.Table:
    """Read VIDEOS of a table, or of a labels.csv: a label is a category, a source a creator."""
    if not path.endswith(".csv"):
        return read_videos(path)
    with Path(path).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    table = pa.table(
        {
            "video_id": [row["file"].rpartition(".")[0] for row in rows],
            "uri": [row["file"] for row in rows],
            "kind": pa.repeat("product", len(rows)),
            "product_ids": pa.array([[] for _ in rows], pa.list_(pa.string())),
            "creator_id": [row["source"] for row in rows],
            "domain": pa.repeat("clips", len(rows)),
            "category": [row["label"] for row in rows],
            "tags": pa.array([[] for _ in rows], pa.list_(pa.string())),
            "title": pa.nulls(len(rows), pa.string()),
            "language": pa.nulls(len(rows), pa.string()),
            "price": pa.nulls(len(rows), pa.float32()),
            "duration_s": pa.array([float(row["duration_s"]) for row in rows], pa.float32()),
            "published_at": pa.nulls(len(rows), TIMESTAMP),
            "available": pa.repeat(True, len(rows)),
        }
    )
    return conform(table, VIDEOS, stage=path)


QUIET = slice(8, 14)
"""Principal components of the frozen vectors that quiet tastes are over; the first eight tell categories."""


def quiet(fused: Vectors) -> Vectors:
    """Return (N, 6) unit vectors of directions in which the frozen vectors differ little."""
    scores, sizes, _ = np.linalg.svd((fused - fused.mean(axis=0)).astype(np.float64), full_matrices=False)
    share = (sizes[QUIET] ** 2).sum() / (sizes**2).sum()
    print(f"tastes are over {share:.1%} of the frozen vectors' variance", flush=True)
    return unit_rows(scores[:, QUIET])


def shop(options: argparse.Namespace) -> None:
    features, results = FeatureSet.load(options.features), []
    offer = embedded_videos(catalogue(options.videos), pa.table({"entity_id": pa.array(features.video_ids)}))
    fused, everyone = frozen(features, ModalityFusionConfig()), np.ones(len(features), bool)
    places = [features.video_ids.index(video) for video in offer["video_id"].to_pylist()]
    category = dict(zip(offer["video_id"].to_pylist(), offer["category"].to_pylist(), strict=True))
    labels = [category[video] for video in features.video_ids]
    chance = np.random.default_rng(0).normal(0, 1, (len(features), 32)).astype(np.float32)
    truth, tastes = fused, dict[str, float]()
    if options.tastes == "quiet":
        truth, tastes = quiet(fused), {"category_weight": 0.0, "vector_weight": 4.0}
    for seed in range(options.seeds):
        config = SimulationConfig.model_validate({"users": options.users, "slots": 5, "seed": seed, **tastes})
        made = simulate(config, offer, truth[places])
        rows = weigh_events(made.events, InterestConfig(), made.videos)
        trial = withhold(
            split_interactions(rows, TimeSplitConfig()), len(features) // 5, seed, features, None
        )
        ways = {
            "random vectors": (chance, everyone),
            "the truth": (truth, everyone),
            "frozen: CNN mean": (frames_mean(features), everyone),
            "frozen: concat": (frozen(features, ModalityFusionConfig(kind="concat")), everyone),
            "frozen: weighted": (fused, everyone),
        }
        for aligned, way in ((False, "self-supervised"), (True, "aligned")):
            for kind in options.heads:
                # Self-supervised, an epoch is the videos and not the pairs, and takes no time.
                head = [f"train.encoder.learned.kind={kind}", *(SHORT if aligned and kind == "gru" else [])]
                ways[f"{way}: {kind}"] = learned(trial, head, seed, aligned=aligned)
                if aligned:
                    ways[f"{way}: {kind}, nothing kept"] = alone(ways[f"{way}: {kind}"])
        found = {name: judged(trial, *way) for name, way in ways.items()}
        asked = np.isin(features.video_ids, trial.withheld)
        for name, (vectors, _) in ways.items():
            found[name]["cold"]["1-NN"] = correct(vectors, labels)[asked]
        results.append(found)
        print(f"shop {seed} done", flush=True)
        report(results, "frozen: weighted")


SHORT = ["train.encoder.training.epochs=10", "train.encoder.training.patience=3"]
"""Of the GRU, and of MicroLens with its many pairs: bounds how long they take."""


def microlens(options: argparse.Namespace) -> None:
    found = microlens_50k(options.folder)
    assert found.videos is not None
    ids = found.videos["video_id"].to_pylist()
    texts = [clip_text(title) for title in found.videos["title"].to_pylist()]
    encoder = TextEncoder(TextEncoderConfig())
    vectors = np.zeros((len(ids), encoder.dim), np.float32)
    there = [i for i, text in enumerate(texts) if text is not None]
    vectors[there] = encoder.encode([Clip(ids[i], text=texts[i]) for i in there])
    features = FeatureSet.from_embeddings(ids, {"text": vectors}, {"text": encoder.name})
    parts, results = (
        split_interactions(weigh_events(found.events, InterestConfig()), LeaveLastOutConfig()),
        [],
    )
    size = [*SHORT, "train.encoder.learned.kind=gated", "train.encoder.training.batch_size=1024"]
    size.append("train.encoder.behavior.pairs_per_user=10")
    chance = np.random.default_rng(0).normal(0, 1, (len(ids), 32)).astype(np.float32)
    for seed in range(options.seeds):
        trial = withhold(parts, 700, seed, features, options.users)
        aligned = learned(trial, size, seed, aligned=True)
        ways = {
            "random vectors": (chance, np.ones(len(ids), bool)),
            "frozen titles": (features.text, features.has["text"]),
            "aligned": aligned,
            "aligned, nothing kept": alone(aligned),
        }
        results.append({name: judged(trial, *one) for name, one in ways.items()})
        print(f"trial {seed} done", flush=True)
        report(results, "frozen titles")


def main() -> None:
    parser = argparse.ArgumentParser()
    modes = parser.add_subparsers(required=True)
    one = modes.add_parser("shop")
    one.add_argument("videos")
    one.add_argument("features")
    one.add_argument("--seeds", type=int, default=5)
    one.add_argument("--users", type=int, default=2000)
    one.add_argument("--tastes", choices=("loud", "quiet"), default="loud")
    one.add_argument("--heads", nargs="+", default=["mean", "gru", "vae", "gated"])
    one.set_defaults(run=shop)
    other = modes.add_parser("microlens")
    other.add_argument("folder")
    other.add_argument("--seeds", type=int, default=3)
    other.add_argument("--users", type=int, default=20_000)
    other.set_defaults(run=microlens)
    torch.set_num_threads(1)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
