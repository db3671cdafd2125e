"""Attacks on the content of videos: success with and without defences.

`python benchmarks/content_attacks.py frames --videos FOLDER` draws pairs of a clip and a target among real
clips of other classes, and changes the clip within 4/255 and 8/255 so that vrec's frame encoder puts it next
to the target. The changed clip is written as H.264, read by vrec's decoder and encoded by vrec's encoder.
Attacks are of three kinds: on the frames alone; through the codec, which is in every step; and through the
codec and the coarser view of the defence, of which the attacker knows how it is drawn and not the seed.
Success is that the clip is nearer to the target than every other clip of the catalog.

The threshold of `embed.checks` is the lowest agreement of the two views of any clean clip in the even half of
the clips; attacked clips and the clean ones whose false alarms are reported are in the odd half.

`… patch --videos FOLDER` fits a patch of 5 % of the picture on clips of the even half and lays it over those
of the odd half. `… sound --videos FOLDER` adds tones to sounds.
"""

import argparse
import csv
import itertools
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from vrec.core.errors import VrecError
from vrec.core.types import Clip, Frames, Vectors
from vrec.encoders.audio import AudioEncoder, AudioEncoderConfig, audible
from vrec.encoders.backbone import LITE0, FrameBackbone, load_backbone
from vrec.encoders.cnn import CnnEncoder, CnnEncoderConfig
from vrec.encoders.gradients import similarity_gradient
from vrec.media.audio import AudioConfig
from vrec.media.decode import MediaConfig, decode
from vrec.media.frame_sampling import FrameSamplingConfig, sample_indices
from vrec.robustness.content.codec import VideoChannel, write_h264
from vrec.robustness.content.config import ContentChecksConfig
from vrec.robustness.content.doctored import with_tone
from vrec.robustness.content.perturbation import (
    PerturbationBudget,
    perturb_frames,
    universal_patch,
    with_patch,
)
from vrec.robustness.content.views import second_view

VIDEO_FRAMES = 24
"""Frames of an attacked video; what arrives at the encoder is a few of them."""
CHECKS = ContentChecksConfig(min_agreement=-1)
COLUMNS = (
    "attack",
    "of 255",
    "cosine before",
    "no codec",
    "H.264",
    "next to the target, before",
    "no codec",
    "H.264",
    "flagged",
    "H.264, not flagged",
    "H.264, by the coarser view",
    "agreement",
)
ATTACKER = ContentChecksConfig(min_agreement=-1, seed=12345)
"""The defence as the attacker has it: with another seed."""


class Catalog:
    """Real clips with the vectors of their frames, and what is measured of a clip among them."""

    def __init__(self, videos: Path, frames: int) -> None:
        torch.set_num_threads(1)
        self.sample = FrameSamplingConfig(frames=frames)
        self.media = MediaConfig(audio=AudioConfig(enabled=False), sample=self.sample)
        whole = self.media.model_copy(update={"sample": FrameSamplingConfig(frames=VIDEO_FRAMES)})
        self.encoder = CnnEncoder(CnnEncoderConfig())
        rows = csv.DictReader((videos / "labels.csv").open())
        labels = {row["file"]: row["label"] for row in rows}
        self.names: list[str] = []
        self.labels: list[str] = []
        self.videos: list[Frames] = []
        for name, label in sorted(labels.items()):
            if name.startswith("neardup") and not name.startswith("neardup_chair_05"):
                continue
            try:
                video = decode(videos / name, whole).frames
            except VrecError as error:
                print(f"left out: {name}: {error}")
                continue
            if len(video) == VIDEO_FRAMES:
                self.names.append(name)
                self.labels.append(label)
                self.videos.append(video)
        self.places = sample_indices(self.sample, np.arange(VIDEO_FRAMES) / 12, ()).tolist()
        self.vectors = np.stack([self.vector(video[self.places]) for video in self.videos])

    def vector(self, frames: Frames) -> Vectors:
        """Return the (dim,) unit vector of frames."""
        return self.encoder.encode([Clip("clip", frames)])[0]

    def agreement(self, frames: Frames, key: str) -> float:
        """Return the cosine of frames and of their coarser view."""
        return float(self.vector(frames) @ self.vector(second_view(frames, CHECKS, key)))

    def place(self, vector: Vectors, source: int, target: int) -> int:
        """Return the number of clips, other than these two, that are nearer to the target."""
        likeness = self.vectors @ self.vectors[target]
        others = np.delete(likeness, [source, target])
        return int((others >= vector @ self.vectors[target]).sum())

    def pairs(self, count: int, seed: int) -> list[tuple[int, int]]:
        """Return sources in the odd half, each with a target of another class."""
        rng = np.random.default_rng(seed)
        sources = rng.permutation(np.arange(1, len(self.videos), 2))[:count].tolist()
        return [(source, int(rng.choice(self.others(source, 0, 1)))) for source in sources]

    def others(self, clip: int, start: int, step: int) -> list[int]:
        """Return every so many of the clips, those of other classes than a clip."""
        rows = range(start, len(self.videos), step)
        return [row for row in rows if self.labels[row] != self.labels[clip]]


def main() -> None:
    """Run one of the attacks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["frames", "patch", "sound"])
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=4, help="frames per video that are encoded")
    parser.add_argument("--pairs", type=int, default=10, help="attacked clips, or targets of a patch")
    parser.add_argument("--clips", type=int, default=10, help="clips that a patch is laid over")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=1e6, help="no further clip is attacked after them")
    parser.add_argument("--crf", type=int, default=23)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epsilon", type=float, nargs="+", default=[4.0, 8.0])
    parser.add_argument("--kinds", nargs="+", default=["frames", "codec", "codec and view"])
    given = parser.parse_args()
    {"frames": frames, "patch": patch, "sound": sound}[given.what](given)


def through_file(video: Frames, crf: int, catalog: Catalog) -> Frames:
    """Return the frames that vrec decodes of a video after it was written as H.264."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mp4"
        write_h264(path, video, crf=crf)
        return decode(path, catalog.media).frames


def frames(given: argparse.Namespace) -> None:
    """Print the success of attacks on frames."""
    catalog = Catalog(given.videos, given.frames)
    backbone = load_backbone(LITE0, 224)
    clean = [
        catalog.agreement(through_file(video, given.crf, catalog), name)
        for name, video in zip(catalog.names, catalog.videos, strict=True)
    ]
    threshold = min(clean[::2])
    alarms = sum(value < threshold for value in clean[1::2])
    print(f"{len(clean)} clips, {given.frames} frames each, H.264 at crf {given.crf}")
    print(f"agreement of views: lowest of the even half, the threshold: {threshold:.3f}")
    print(f"median agreement: {np.median(clean):.3f}")
    print(f"false alarms in the odd half: {alarms} of {len(clean[1::2])}")
    found: dict[tuple[str, float], list[AttackResult]] = {}
    gone = time.monotonic() + 60 * given.minutes
    for number, pair in enumerate(catalog.pairs(given.pairs, given.seed), 1):
        if time.monotonic() > gone:
            break
        for attack in itertools.product(given.kinds, given.epsilon):
            found.setdefault(attack, []).append(attack_pair(catalog, backbone, pair, attack, given))
        print(f"pair {number} of {given.pairs}", file=sys.stderr, flush=True)
        if number % 2 == 0 or number == given.pairs:
            print_attacks(found, threshold)


class AttackResult(NamedTuple):
    """One attack: the clip before, attacked, attacked and through H.264, and that by the coarser view."""

    cosines: list[float]
    """Similarity of each with the target."""
    is_next: list[bool]
    """Whether each is next to the target."""
    agreement: float
    """Agreement of the two views of what arrives."""


def print_attacks(found: dict[tuple[str, float], list[AttackResult]], threshold: float) -> None:
    """Print the table of attacks."""
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for (kind, epsilon), results in found.items():
        mean = np.mean([one.cosines for one in results], axis=0)
        success = np.sum([one.is_next for one in results], axis=0)
        flagged = [one.agreement < threshold for one in results]
        unflagged = sum(one.is_next[2] and not flag for one, flag in zip(results, flagged, strict=True))
        print(
            f"| {kind} | {epsilon:g} | {mean[0]:.2f} | {mean[1]:.2f} | {mean[2]:.2f} "
            f"| {success[0]} of {len(results)} | {success[1]} | {success[2]} | {sum(flagged)} | {unflagged} "
            f"| {success[3]} | {np.median([one.agreement for one in results]):.2f} |",
            flush=True,
        )


def attack_pair(
    catalog: Catalog,
    backbone: FrameBackbone,
    pair: tuple[int, int],
    attack: tuple[str, float],
    given: argparse.Namespace,
) -> AttackResult:
    """Attack a clip for the place next to its target."""
    (source, target), (kind, epsilon) = pair, attack
    channel = VideoChannel(catalog.videos[source], catalog.places, crf=given.crf)
    budget = PerturbationBudget(epsilon, given.steps, step_size=max(1.0, epsilon / 4))
    gradient = similarity_gradient(backbone, catalog.vectors[target])
    attacked = perturb_frames(channel.frames, gradient, budget, channels(kind, channel))
    before = through_file(catalog.videos[source], given.crf, catalog)
    arrived = through_file(channel.video(attacked), given.crf, catalog)
    view = second_view(arrived, CHECKS, catalog.names[source])
    vectors = [catalog.vector(one) for one in (before, attacked, arrived, view)]
    return AttackResult(
        [float(vector @ catalog.vectors[target]) for vector in vectors],
        [catalog.place(vector, source, target) == 0 for vector in vectors],
        float(vectors[2] @ vectors[3]),
    )


def channels(kind: str, channel: VideoChannel) -> list[Callable[[Frames], Frames]]:
    """Return what an attack goes through in each step."""
    if kind == "frames":
        return []
    if kind == "codec":
        return [channel]
    return [channel, lambda shown: second_view(channel(shown), ATTACKER, str(shown.ravel()[::997].sum()))]


def patch(given: argparse.Namespace) -> None:
    """Print what a universal patch does to clips that it was not fitted on."""
    catalog = Catalog(given.videos, given.frames)
    backbone = load_backbone(LITE0, 224)
    targets = np.random.default_rng(given.seed).permutation(np.arange(0, len(catalog.videos), 2))
    rows = []
    for target in targets[: given.pairs].tolist():
        gradient = similarity_gradient(backbone, catalog.vectors[target])
        fitted = [catalog.videos[i][catalog.places] for i in catalog.others(target, 0, 2)[:10]]
        laid = universal_patch(fitted, gradient, steps=given.steps)
        for source in catalog.others(target, 1, 2)[: given.clips]:
            video = catalog.videos[source]
            shown = [through_file(one, given.crf, catalog) for one in (video, with_patch(video, laid))]
            vectors = [catalog.vector(one) for one in shown]
            cosines = [float(vector @ catalog.vectors[target]) for vector in vectors]
            nearest = [float(catalog.place(vector, source, target) == 0) for vector in vectors]
            rows.append([*cosines, *nearest, catalog.agreement(shown[1], catalog.names[source])])
    table = np.array(rows)
    mean, total = table.mean(axis=0), table.sum(axis=0)
    print(f"patch of 5 % of the picture, H.264: cosine with the target {mean[0]:.2f}, then {mean[1]:.2f}")
    print(f"next to the target: {total[2]:.0f}, then {total[3]:.0f} of {len(table)} clips")
    print(f"agreement of views: median {np.median(table[:, 4]):.2f}, lowest {table[:, 4].min():.2f}")


def sound(given: argparse.Namespace) -> None:
    """Print how far tones move the vectors of sounds, and how many sounds get another nearest one."""
    media = MediaConfig(sample=FrameSamplingConfig(frames=1))
    encoder, waves = AudioEncoder(AudioEncoderConfig()), []
    for path in sorted(given.videos.iterdir()):
        if path.suffix != ".csv" and not path.stem.startswith("neardup"):
            try:
                video = decode(path, media)
            except VrecError:
                continue
            if audible(video.audio):
                waves.append(video.audio)
    clean = encoder.encode([Clip("clip", audio=wave) for wave in waves])
    nearest = np.argmax(clean @ clean.T - 2 * np.eye(len(clean)), axis=1)
    print(f"{len(waves)} sounds")
    for hz, level in ((50, 0.05), (440, 0.01), (440, 0.05), (8000 / 3, 0.05)):
        moved = encoder.encode([Clip("clip", audio=with_tone(wave, hz=hz, level=level)) for wave in waves])
        cosine = (moved * clean).sum(axis=1)
        other = np.argmax(moved @ clean.T - 2 * np.eye(len(clean)), axis=1) != nearest
        heard = f"{hz:.0f} Hz | {20 * np.log10(level):.0f} dB"
        print(f"| {heard} | cosine {np.median(cosine):.2f} | another nearest: {other.mean():.2f} |")


if __name__ == "__main__":
    main()
