"""Gain of trained heads over frozen features on labeled clips: classes by nearest neighbor, and direction.

    python benchmarks/learned_encoders.py FOLDER FEATURES [--seeds 5] [--moving FEATURES]

FOLDER holds `labels.csv` with the columns file, label and source, and the clips; FEATURES is where their
features are kept, made by the first run. No head sees a label: all are trained self-supervised, with their
defaults, on all clips for the classes and on seven in ten, by seed, for the direction, which is then asked of
the other three; also of the clips of another catalogue, whose features `--moving` names. Prints leave-one-out
1-NN accuracy, overall and with neighbors from another source only, on vectors less their mean, with 95 %
intervals by bootstrap over clips of the mean over seeds, and the spread of seeds. What cold videos gain by
alignment with behavior is in `learned_encoders_cold.py`.
"""

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vrec.config.load import load_settings
from vrec.core.types import Modality, Vectors
from vrec.encoders.fusion import ModalityFusion, ModalityFusionConfig
from vrec.encoders.learned.encoder import LearnedEncoder
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.vectors import unit_rows
from vrec.pipelines.features.run import extract_features
from vrec.pipelines.train.encoder import EncoderInputs, build_training_task
from vrec.training.epochs import SINGLE_WORKER

Floats = npt.NDArray[np.float64]
HEADS = {
    "mean": ["train.encoder.learned.kind=mean"],
    "GRU": ["train.encoder.learned.kind=gru"],
    "gated": ["train.encoder.learned.kind=gated"],
    "gated, GRU within": ["train.encoder.learned.kind=gated", "train.encoder.learned.frames=gru"],
    "VAE": ["train.encoder.learned.kind=vae"],
    "VAE, GRU within": ["train.encoder.learned.kind=vae", "train.encoder.learned.frames=gru"],
}


def frames_mean(features: FeatureSet) -> Vectors:
    """Return (N, D) unit rows: the frame embeddings of `vrec embed`."""
    rows = features.frames[:, 0].astype(np.float64).sum(axis=1) / np.maximum(features.lengths, 1)[:, None]
    return unit_rows(rows)


def frozen(features: FeatureSet, config: ModalityFusionConfig) -> Vectors:
    """Return (N, dim) unit rows: the fused embeddings of `vrec embed`, without training."""
    blocks: dict[Modality, Vectors] = {"frames": frames_mean(features)}
    blocks |= {m: getattr(features, m) for m in ("audio", "text") if m in features.dims}
    fusion = ModalityFusion(config, features.names, {m: block.shape[1] for m, block in blocks.items()})
    return fusion.fuse(
        {
            m: [row if there else None for row, there in zip(block, features.has[m], strict=True)]
            for m, block in blocks.items()
        }
    )


def trained(features: FeatureSet, options: Sequence[str], seed: int) -> LearnedEncoder:
    """Train an encoder self-supervised on these features."""
    settings = load_settings(overrides=[*options, f"train.encoder.training.seed={seed}"])
    lesson, _ = build_training_task(EncoderInputs(features, None), settings)
    head = lesson.trainer(SINGLE_WORKER).run()
    weights = {name: tensor.numpy() for name, tensor in head.state_dict().items()}
    return LearnedEncoder.from_weights(lesson.config.learned, features, weights)


def correct(vectors: Vectors, labels: Sequence[str], sources: Sequence[str] | None = None) -> Floats:
    """Return (N,) 1 where a clip's nearest neighbor, of another source if given, is of its class."""
    rows = unit_rows(vectors - vectors.mean(axis=0, dtype=np.float64))
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    if sources is not None:
        names = np.array(sources)
        cosines[names[:, None] == names[None, :]] = -np.inf
    named = np.array(labels)
    return (named[cosines.argmax(axis=1)] == named).astype(float)


def interval(by_seed: Floats, seed: int = 0) -> str:
    """Return the mean of (seeds, N) values, its 95 % bootstrap interval over N, and the seeds' SD."""
    each = by_seed.mean(axis=0)
    draws = np.random.default_rng(seed).integers(0, len(each), (10_000, len(each)))
    low, high = np.quantile(each[draws].mean(axis=1), (0.025, 0.975))
    spread = f" ± {by_seed.mean(axis=1).std(ddof=1):.3f}" if len(by_seed) > 1 else ""
    return f"{each.mean():.3f} [{low:.3f}, {high:.3f}]{spread}"


def classes(features: FeatureSet, rows: Mapping[str, Mapping[str, str]], seeds: int) -> None:
    labels = [rows[video]["label"] for video in features.video_ids]
    sources = [rows[video]["source"] for video in features.video_ids]
    named = np.array(labels)
    alone = [label for label in set(labels) if labels.count(label) < 2]
    homes: dict[str, set[str]] = {}
    for label, source in zip(labels, sources, strict=True):
        homes.setdefault(label, set()).add(source)
    across = np.array([len(homes[label]) > 1 for label in labels])
    print(f"{len(labels)} clips of {len(set(labels))} classes; of one clip, which cannot be found: {alone}")
    print(f"{across.sum()} clips of {len(set(named[across]))} classes from more than one source")
    ways = {
        "CNN, mean of frames": [frames_mean(features)],
        "concat with sound": [frozen(features, ModalityFusionConfig(kind="concat"))],
        "weighted with sound": [frozen(features, ModalityFusionConfig())],
    }
    for name, options in HEADS.items():
        ways[name] = [trained(features, options, seed).encode_features(features)[0] for seed in range(seeds)]
    base: dict[str, Floats] = {}
    for name, found in ways.items():
        overall = np.stack([correct(vectors, labels) for vectors in found])
        other = np.stack([correct(vectors, labels, sources)[across] for vectors in found])
        base = base or {"overall": overall, "across": other}
        less = interval(overall - base["overall"][:1]), interval(other - base["across"][:1])
        print(
            f"{name:22} all {interval(overall):34} across {interval(other):34} less CNN: {less[0]}; {less[1]}"
        )


def backwards(features: FeatureSet) -> FeatureSet:
    """Return the same clips, and their augmented copies, played backwards."""
    frames = features.frames.copy()
    for row, length in enumerate(features.lengths):
        frames[row, :, :length] = features.frames[row, :, :length][:, ::-1]
    return FeatureSet(
        features.video_ids,
        frames,
        features.lengths,
        features.audio,
        features.text,
        features.has,
        features.names,
        features.embed,
    )


def second_view(features: FeatureSet) -> FeatureSet:
    """Replace each clip by its first augmented copy."""
    rest = features.lengths, features.audio, features.text, features.has, features.names, features.embed
    return FeatureSet(features.video_ids, features.frames[:, 1:2], *rest)


def direction(features: FeatureSet, seeds: int) -> None:
    """Print the accuracy of play direction from vectors of clips not used in training."""
    print("\ndirection, of clips not trained on; chance is .5, and a tie counts as half")
    for name in ("mean", "GRU", "gated, GRU within", "VAE, GRU within"):
        nearest, probed = [], []
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(features))
            cut = round(0.7 * len(features))
            ours, theirs = (features.select(np.sort(part)) for part in (order[:cut], order[cut:]))
            encoder = trained(ours, HEADS[name], seed)
            nearest.append(direction_by_neighbor(encoder, theirs))
            probed.append(direction_by_probe(encoder, ours, theirs))
        rates = [np.concatenate(found)[None] for found in (nearest, probed)]
        print(f"{name:22} a changed copy is nearer to its own direction {interval(rates[0])}", end="   ")
        print(f"linear probe {interval(rates[1])}")


def direction_by_neighbor(encoder: LearnedEncoder, theirs: FeatureSet) -> Floats:
    """Return (N,) 1 where a clip's augmented copy is nearer to it than to its reverse."""
    copy = encoder.encode_features(second_view(theirs))[0]
    forth, back = (encoder.encode_features(some)[0] for some in (theirs, backwards(theirs)))
    gap = (copy * forth).sum(axis=1) - (copy * back).sum(axis=1)
    return np.where(np.abs(gap) < 1e-5, 0.5, gap > 0)


def direction_by_probe(encoder: LearnedEncoder, ours: FeatureSet, theirs: FeatureSet) -> Floats:
    """Return (2 N,) 1 where a linear probe, fitted on other clips, predicts the direction."""
    parts = [
        np.concatenate([encoder.encode_features(some)[0] for some in (one, backwards(one))])
        for one in (ours, theirs)
    ]
    sides = [np.repeat([1, 0], len(part) // 2) for part in parts]
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)).fit(parts[0], sides[0])
    margin = probe.decision_function(parts[1])
    return np.where(np.abs(margin) < 1e-6, 0.5, (margin > 0) == sides[1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("features")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--moving")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with (options.folder / "labels.csv").open(encoding="utf-8") as file:
        rows = {row["file"].rpartition(".")[0]: row for row in csv.DictReader(file)}
    made = extract_features(str(options.folder), options.features, load_settings())
    classes(made.features, rows, options.seeds)
    direction(made.features, options.seeds)
    if options.moving:
        print(f"\n{options.moving}:", end="")
        direction(FeatureSet.load(options.moving), options.seeds)


if __name__ == "__main__":
    main()
