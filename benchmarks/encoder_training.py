"""Speed of encoder training, and core utilization: one worker or two, one thread or two.

    python benchmarks/encoder_training.py [--videos 4000] [--epochs 4] [--head gru]

Features and pairs are drawn. "busy" is the share of an epoch in which a worker's training thread ran or was
ready to run, from the kernel's own account, so that what else the machine does leaves it as it is: waiting
for data or for another worker is what lowers it. Prints examples a second of all workers, and busy a worker.
"""

import argparse
import os
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vrec.config.load import load_settings
from vrec.encoders.learned.behavior import BehaviorSignals
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.train import EncoderTrainer
from vrec.pipelines.cluster import connect_cluster
from vrec.pipelines.train.data_parallel import train_network
from vrec.pipelines.train.encoder import EncoderTrainingTask
from vrec.training.epochs import EpochResult, TrainingWorker

WAYS = {"1 worker, 1 thread": (1, 1), "1 worker, 2 threads": (1, 2), "2 workers, 1 thread each": (2, 1)}


class Watched(EncoderTrainer):
    """Trainer that adds to each epoch's losses the share of time its thread was busy."""

    def run_epoch(self) -> EpochResult:
        before, begun = _ran_or_ready_s(), time.perf_counter()
        result = super().run_epoch()
        busy = (_ran_or_ready_s() - before) / (time.perf_counter() - begun)
        told = self.worker.reduce(np.array([busy]))[0] / self.worker.world_size
        print(
            f"busy {told:.3f}, {result.examples_per_s * self.worker.world_size:,.0f} examples/s", flush=True
        )
        with open(os.environ["VREC_BENCHMARK_LOG"], "a") as file:
            if self.worker.rank == 0:
                file.write(f"{told} {result.examples_per_s * self.worker.world_size}\n")
        return result


@dataclass(frozen=True, slots=True)
class WatchedLesson(EncoderTrainingTask):
    log: str = ""

    def trainer(self, worker: TrainingWorker) -> EncoderTrainer:
        os.environ["VREC_BENCHMARK_LOG"] = self.log
        made = EncoderTrainingTask.trainer(self, worker)
        made.__class__ = Watched
        return made


def _ran_or_ready_s() -> float:
    """Return the seconds that this thread has run, and was ready to while others ran."""
    with open("/proc/thread-self/schedstat") as file:
        ran, ready, _ = file.read().split()
    return (int(ran) + int(ready)) / 1e9


def drawn(videos: int, pairs: int) -> tuple[FeatureSet, BehaviorSignals]:
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 20, videos)
    centers = rng.normal(0, 1, (20, 1280))
    frames = centers[kinds][:, None, None] + rng.normal(0, 1, (videos, 2, 8, 1280)).astype(np.float16)
    has: dict[Any, Any] = {m: np.full(videos, m == "frames") for m in ("frames", "audio", "text")}
    nothing = np.zeros((videos, 0), np.float32)
    ids = tuple(f"v{i:07}" for i in range(videos))
    lengths = np.full(videos, 8, np.int16)
    features = FeatureSet(ids, frames.astype(np.float16), lengths, nothing, nothing, has, {"frames": "drawn"})
    left = rng.integers(0, videos, pairs)
    right = (left + rng.integers(1, videos, pairs)) % videos
    popularity = np.bincount(np.concatenate([left, right]), minlength=videos).astype(np.float64)
    return features, BehaviorSignals(left, right, popularity)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--head", default="gru")
    options = parser.parse_args()
    features, behavior = drawn(options.videos, 2 * options.videos)
    with connect_cluster():
        for name, (workers, threads) in WAYS.items():
            settings = load_settings(
                overrides=[
                    f"train.encoder.learned.kind={options.head}",
                    f"train.encoder.training.epochs={options.epochs}",
                    f"train.encoder.workers={workers}",
                    f"train.encoder.cpus_per_worker={threads}",
                    "train.encoder.training.objective.kind=aligned",
                ]
            )
            with tempfile.TemporaryDirectory() as folder:
                log = f"{folder}/log"
                lesson = WatchedLesson(settings.train.encoder, features, behavior, log)
                begun = time.perf_counter()
                train_network(lesson, "run", folder)
                took = time.perf_counter() - begun
                # The first epoch warms up.
                busy, rate = np.loadtxt(log, ndmin=2)[1:].mean(axis=0)
            print(f"{name:26} {rate:8,.0f} pairs/s   busy {busy:.1%}   {took:.1f} s in all", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
