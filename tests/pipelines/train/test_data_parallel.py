"""Workers and epochs of a training, with a trainer of the test's own instead of a network."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from ray.train import Checkpoint
from torch import nn

from vrec.pipelines.train.data_parallel import (
    train_epochs,
    train_in_process,
    worker_count,
    worker_resources,
)
from vrec.training.epochs import EpochResult, TrainingWorker
from vrec.training.workers import WorkersConfig


@pytest.mark.parametrize(
    ("settings", "gpus", "expected"),
    [
        ({}, 8, 1),
        ({"workers": 3}, 0, 3),
        ({"workers": 3, "gpus_per_worker": 1}, 8, 3),
        ({"gpus_per_worker": 1}, 4, 4),
        ({"gpus_per_worker": 0.5}, 3, 6),
        ({"gpus_per_worker": 3}, 8, 2),
        ({"gpus_per_worker": 2}, 1, 1),
    ],
)
def test_workers_are_as_many_as_set_or_as_gpus_hold(settings, gpus, expected):
    assert worker_count(WorkersConfig(**settings), gpus) == expected


def test_a_worker_asks_for_gpus_only_where_it_uses_some():
    assert worker_resources(WorkersConfig(cpus_per_worker=2)) == {"CPU": 2}
    assert worker_resources(WorkersConfig(gpus_per_worker=0.5)) == {"CPU": 1, "GPU": 0.5}


@dataclass
class Trainer:
    """Epochs with given validation losses; the weight is the number of the epoch."""

    totals: list[float]
    worker: TrainingWorker
    stopped: str | None = None
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float = np.inf
    network: nn.Linear = field(default_factory=lambda: nn.Linear(1, 1, bias=False))

    @property
    def done(self) -> bool:
        return self.epoch >= len(self.totals)

    def run_epoch(self) -> EpochResult:
        self.epoch += 1
        # Ten examples in two seconds, in the last epoch in one.
        return EpochResult(self.epoch, {}, 10, 1.0 if self.done else 2.0)

    def validate(self) -> dict[str, float]:
        total = self.totals[self.epoch - 1]
        if total < self.best_loss:
            self.best_loss, self.best_epoch = total, self.epoch
        return {"total": total, "other": -total}

    def finish(self) -> nn.Module:
        nn.init.constant_(self.network.weight, self.best_epoch)
        return self.network

    def state(self) -> dict[str, Any]:
        return {name: np.asarray(getattr(self, name)) for name in ("epoch", "best_epoch", "best_loss")}

    def restore(self, state) -> None:
        self.epoch, self.best_epoch = int(state["epoch"]), int(state["best_epoch"])
        self.best_loss = float(state["best_loss"])


@dataclass
class Task:
    totals: list[float]
    made: list[Trainer] = field(default_factory=list)
    workers_config: WorkersConfig = field(default_factory=WorkersConfig)

    def trainer(self, worker: TrainingWorker) -> Any:
        self.made.append(Trainer(self.totals, worker))
        return self.made[-1]


def test_the_result_is_that_of_the_best_epoch():
    trained = train_epochs(Task([3.0, 1.0, 2.0]), 0, 1, checkpoint=False)
    assert trained.weights["weight"].tolist() == [[2.0]]
    assert (trained.epochs, trained.best_epoch, trained.resumed_from) == (3, 2, 0)
    assert trained.losses == {"total": 1.0, "other": -1.0}
    assert (trained.workers, trained.examples_per_s) == (1, 10.0)


def test_each_worker_knows_its_rank_and_the_rate_is_of_all():
    task = Task([1.0])
    trained = train_epochs(task, 2, 4, checkpoint=False)
    assert (trained.workers, trained.examples_per_s) == (4, 40.0)
    assert (task.made[0].worker.rank, task.made[0].worker.world_size) == (2, 4)


def test_only_the_first_worker_writes_checkpoints(monkeypatch):
    reports: list[tuple[dict[str, Any], Any]] = []
    monkeypatch.setattr("ray.train.get_checkpoint", lambda: None)
    monkeypatch.setattr(
        "ray.train.report", lambda metrics, checkpoint=None: reports.append((metrics, checkpoint))
    )
    for rank in (0, 1):
        train_epochs(Task([2.0, 1.0]), rank, 2)
    assert [metrics for metrics, _ in reports] == [{"epoch": 1}, {"epoch": 2}] * 2
    assert [checkpoint is None for _, checkpoint in reports] == [False, False, True, True]


def test_a_training_that_goes_on_keeps_the_losses_of_an_earlier_best_epoch(monkeypatch, tmp_path):
    saved = tmp_path / "checkpoint"

    def report(metrics, checkpoint=None):
        if metrics["epoch"] == 2:
            checkpoint.to_directory(saved)

    monkeypatch.setattr("ray.train.get_checkpoint", lambda: None)
    monkeypatch.setattr("ray.train.report", report)
    train_epochs(Task([1.0, 2.0]), 0, 1)
    monkeypatch.setattr("ray.train.get_checkpoint", lambda: Checkpoint.from_directory(saved))
    trained = train_epochs(Task([9.0, 9.0, 3.0]), 0, 1)
    assert (trained.resumed_from, trained.epochs, trained.best_epoch) == (2, 3, 1)
    assert trained.losses == {"total": 1.0, "other": -1.0}
    assert trained.weights["weight"].tolist() == [[1.0]]


def test_training_in_the_process_uses_one_thread_and_gives_the_others_back(tmp_path):
    seen: list[int] = []

    class Failing(Task):
        def trainer(self, worker):
            seen.append(torch.get_num_threads())
            raise KeyError

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError):
            train_in_process(Failing([1.0]), "run", str(tmp_path))
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)
