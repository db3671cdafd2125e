"""1-NN accuracy of embeddings on labeled clips: the measurements behind the encoders' defaults.

Run as `python benchmarks/one_nn_accuracy.py FOLDER`; the folder holds clips and `labels.csv` with the
columns file, label and source. Prints leave-one-out 1-NN accuracy, overall and with neighbors
from another source only (of the clips whose class has another source).
"""

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from harness import number_parser

from vrec.core.types import Clip, Modality
from vrec.encoders.audio import audible
from vrec.encoders.build import EncodersConfig, build_encoders
from vrec.encoders.cnn import CnnEncoderConfig
from vrec.encoders.fusion import ModalityFusion, ModalityFusionConfig, ModalityWeights
from vrec.evaluation.reports.gallery.neighbors import one_nn_accuracy
from vrec.media.decode import DecodeConfig, MediaConfig, decode
from vrec.media.frame_sampling import FrameSamplingConfig


@dataclass(frozen=True)
class LabeledClips:
    """Clips with their classes and sources."""

    clips: list[Clip]
    labels: list[str]
    sources: list[str]

    def only(self, keep: Sequence[bool]) -> "LabeledClips":
        """Return the clips where `keep` is true."""
        rows = [i for i, kept in enumerate(keep) if kept]
        return LabeledClips(
            [self.clips[i] for i in rows], [self.labels[i] for i in rows], [self.sources[i] for i in rows]
        )


def read(folder: Path, media: MediaConfig) -> LabeledClips:
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    clips = []
    for row in rows:
        decoded = decode(folder / row["file"], media)
        clips.append(Clip(row["file"], frames=decoded.frames, audio=decoded.audio))
    return LabeledClips(clips, [row["label"] for row in rows], [row["source"] for row in rows])


def report(name: str, vectors: np.ndarray, data: LabeledClips) -> None:
    sources_of: dict[str, set[str]] = {}
    for label, source in zip(data.labels, data.sources, strict=True):
        sources_of.setdefault(label, set()).add(source)
    eligible = sum(len(sources_of[label]) > 1 for label in data.labels)
    cells = []
    for center in (False, True):
        overall = one_nn_accuracy(vectors, data.labels, center=center)
        across = one_nn_accuracy(vectors, data.labels, data.sources, center=center)
        # A class of one source cannot be found in another: such clips are out of the question.
        cells.append(f"{overall:.3f} {across * len(data.labels) / eligible:.3f}")
    print(f"{name:34} n={len(data.labels):3} across={eligible:3}  plain {cells[0]}   centred {cells[1]}")


def stack(rows: Iterable[np.ndarray | None]) -> np.ndarray:
    return np.stack([row for row in rows if row is not None])


def frames_table(folder: Path) -> None:
    print("frames alone (plain: overall, across sources; centred: the same, catalogue mean subtracted)")
    for fit in ("crop", "squash"):
        for strategy in ("uniform", "keyframes"):
            sample = FrameSamplingConfig(strategy=strategy, frames=8)
            data = read(folder, MediaConfig(sample=sample, decode=DecodeConfig(fit=fit)))
            for pooling in ("mean", "attention"):
                config = EncodersConfig(
                    frames=CnnEncoderConfig(pooling=pooling), audio=None, text=None, fusion=None
                )
                found = build_encoders(config).encode(data.clips)
                report(f"{fit} {strategy} {pooling}", stack(found["frames"]), data)


def fused_table(folder: Path) -> None:
    data = read(folder, MediaConfig())
    encoders = build_encoders(EncodersConfig(text=None, fusion=None))
    found = encoders.encode(data.clips)
    heard = [audible(clip.audio) for clip in data.clips]
    print(f"sound alone, and frames and fused on the {sum(heard)} clips that are not silent")
    report("audio", stack(found["audio"]), data.only(heard))
    report("frames", stack(r for r, h in zip(found["frames"], heard, strict=True) if h), data.only(heard))
    fused = {share: fuse(share, found, encoders.names, encoders.dims) for share in (0.1, 0.25, 0.5, 1.0)}
    for share, rows in fused.items():
        report(f"fused, audio share {share}", rows[np.array(heard)], data.only(heard))
    print("all clips, silent ones without an audio block")
    report("frames", stack(found["frames"]), data)
    for share, rows in fused.items():
        report(f"fused, audio share {share}", rows, data)


def fuse(
    share: float,
    found: dict[Modality, list[np.ndarray | None]],
    names: dict[Modality, str],
    dims: dict[Modality, int],
) -> np.ndarray:
    config = ModalityFusionConfig(weights=ModalityWeights(frames=1.0, audio=share))
    return ModalityFusion(config, names, dims).fuse(found)


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = number_parser(__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    fused_table(folder)
    frames_table(folder)


if __name__ == "__main__":
    main()
