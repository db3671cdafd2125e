"""Epochs against arithmetic by hand: steps, means, the best weights, and when training ends."""

import numpy as np
import pytest
import torch
from torch import nn

from vrec.training.epochs import (
    SINGLE_WORKER,
    EpochResult,
    EpochTrainer,
    TrainingWorker,
    copy_weights,
    has_finite_weights,
)


class Scripted(EpochTrainer[nn.Linear]):
    """Trainer whose validation losses are given, and whose weight is the number of the epoch."""

    def __init__(self, losses=(), *, epochs=9, patience=9, seed=0, worker=SINGLE_WORKER) -> None:
        super().__init__(epochs=epochs, patience=patience, seed=seed, worker=worker)
        self.network = nn.Linear(1, 1, bias=False)
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.losses = losses

    def run_epoch(self) -> EpochResult:
        self.epoch += 1
        self.network.train()
        self.optimizer.zero_grad()
        self.network(torch.ones(1, 1)).sum().backward()
        self.optimizer.step()
        self.network.weight.data.fill_(self.epoch)
        return EpochResult(self.epoch, {"total": 1.0}, 10, 4.0)

    def validate(self) -> dict[str, float]:
        total = self.losses[self.epoch - 1]
        self.record_validation(total)
        return {"total": total}


@pytest.mark.parametrize(
    ("losses", "epochs", "patience", "ran", "best"),
    [
        ([3, 2, 1], 3, 9, 3, 3),
        ([1, 2, 3, 4, 5], 5, 2, 3, 1),
        ([3, 1, 2, 2, 0], 5, 2, 4, 2),
        ([3, 1, 2, 0, 5], 5, 2, 5, 4),
        ([1, 1, 1, 1], 4, 2, 3, 1),
        ([2, 3], 2, 1, 2, 1),
    ],
)
def test_training_ends_after_patience_epochs_without_a_lower_loss(losses, epochs, patience, ran, best):
    trainer = Scripted(losses, epochs=epochs, patience=patience)
    heard = []
    network = trainer.run(lambda result, validation: heard.append((result.epoch, validation["total"])))
    assert heard == [(epoch + 1, losses[epoch]) for epoch in range(ran)]
    assert (trainer.epoch, trainer.best_epoch, trainer.best_loss) == (ran, best, losses[best - 1])
    assert network.weight.item() == best
    assert not network.training


def test_without_a_validation_the_last_weights_stay():
    trainer = Scripted()
    trainer.run_epoch()
    assert trainer.finish().weight.item() == 1


def test_state_carries_progress_weights_and_the_optimizer():
    trainer, other = Scripted([2.0, 5.0]), Scripted([2.0, 5.0])
    for _ in range(2):
        trainer.run_epoch()
        trainer.validate()
    state = trainer.state()
    trainer.network.weight.data.fill_(99)
    other.restore(state)
    assert (other.epoch, other.best_epoch, other.best_loss) == (2, 1, 2.0)
    assert other.network.weight.item() == 2
    assert other.best["weight"].item() == 1
    slots = other.optimizer.state_dict()["state"]
    assert slots[0]["step"].item() == 2
    assert torch.equal(slots[0]["exp_avg"], trainer.optimizer.state_dict()["state"][0]["exp_avg"])
    # What was restored does not share memory with the state.
    other.network.weight.data.fill_(7)
    assert state["network.weight"].item() == 2


@pytest.mark.parametrize(("examples", "batch_size", "count"), [(10, 4, 3), (8, 4, 2), (3, 10, 1), (5, 1, 5)])
def test_one_worker_takes_every_example_once_in_steps_of_at_most_a_batch(examples, batch_size, count):
    steps = list(Scripted().steps(examples, batch_size))
    assert len(steps) == count
    assert max(map(len, steps)) <= batch_size
    assert sorted(np.concatenate(steps).tolist()) == list(range(examples))


def test_workers_take_equally_many_steps_and_rows():
    shares = [list(Scripted(worker=TrainingWorker(rank, 3)).steps(10, 6)) for rank in range(3)]
    sizes = [[len(step) for step in steps] for steps in shares]
    assert sizes == [[2, 2]] * 3  # 10 rows and 2 of them again, in batches of 6 for all
    rows = np.concatenate([row for steps in shares for row in steps])
    assert set(rows.tolist()) == set(range(10))
    assert len(list(Scripted(worker=TrainingWorker(0, 3)).steps(9, 2))) == 3  # never less than a row a step


def test_orders_follow_seed_and_epoch_and_draws_the_rank_too():
    def order(seed=0, epoch=1):
        trainer = Scripted(seed=seed)
        trainer.epoch = epoch
        return np.concatenate(list(trainer.steps(20, 4))).tolist()

    assert order() == order()
    assert len({tuple(order()), tuple(order(seed=1)), tuple(order(epoch=2))}) == 3
    seeds = set()
    for seed, epoch, rank in ((0, 1, 0), (1, 1, 0), (0, 2, 0), (0, 1, 1)):
        trainer = Scripted(seed=seed, worker=TrainingWorker(rank, 2))
        trainer.epoch = epoch
        seeds.add(trainer.epoch_seed())
        assert trainer.epoch_seed() == trainer.epoch_seed()
    assert len(seeds) == 4


def test_means_are_of_the_sums_and_counts_of_all_workers():
    other = np.array([10.0, 0.0, 3.0, 0.0])  # sums of a and b, then counts of a and b
    trainer = Scripted(worker=TrainingWorker(0, 2, reduce=lambda numbers: numbers + other))
    means = trainer.means({"b": torch.tensor(8.0), "a": torch.tensor(2.0)}, {"b": 4, "a": 1})
    assert means == {"a": 3.0, "b": 2.0}
    assert Scripted().means({"a": torch.tensor(0.0)}, {"a": 0}) == {"a": 0.0}


def test_examples_per_second():
    assert EpochResult(1, {}, 10, 4.0).examples_per_s == 2.5
    assert EpochResult(1, {}, 0, 0.0).examples_per_s == 0


def test_copied_weights_do_not_follow_the_network():
    network = nn.Linear(2, 1)
    copied = copy_weights(network)
    network.weight.data.add_(1)
    assert not torch.equal(copied["weight"], network.weight)
    assert copied.keys() == {"weight", "bias"}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_one_weight_that_is_not_finite_is_found(bad):
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert has_finite_weights(network)
    network[1].bias.data[1] = bad
    assert not has_finite_weights(network)
