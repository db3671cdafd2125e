"""Training epoch by epoch, alone or as one of several equal workers: progress, the best weights, state."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vrec.core.artifact import Arrays

Doubles = npt.NDArray[np.float64]
RowIndices = npt.NDArray[np.int64]
Weights = dict[str, Tensor]


def _itself(thing: Any) -> Any:
    return thing


@dataclass(frozen=True, slots=True)
class TrainingWorker:
    """Which of several equal workers a trainer is, and how it hears from the others."""

    rank: int = 0
    world_size: int = 1
    """How many there are."""
    wrap: Callable[[nn.Module], nn.Module] = _itself
    """Gives the module that is called in training, whose gradients are averaged over the workers, such as
    DistributedDataParallel."""
    reduce: Callable[[Doubles], Doubles] = _itself
    """Gives the sum over all workers of a float64 vector."""


SINGLE_WORKER = TrainingWorker()


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What an epoch of training came to."""

    epoch: int
    """From 1."""
    losses: Mapping[str, float]
    """The mean over this epoch's steps and all workers, by head and in `total`."""
    examples: int
    """Examples that this worker trained on."""
    seconds: float
    stopped: str | None = None
    """Why training ends here with the weights of the epoch before; None where it goes on."""

    @property
    def examples_per_s(self) -> float:
        """Examples a second of this worker."""
        return self.examples / max(self.seconds, 1e-9)


N = TypeVar("N", bound=nn.Module)


class EpochTrainer(ABC, Generic[N]):
    """Trains a network in place, epoch by epoch, until `done`.

    Several workers share an epoch in as many steps as one would take, each with its part of every step's
    examples. What is drawn in an epoch depends on the seed, the epoch and the rank alone, so a trainer that
    was restored from `state` goes on as if it had never stopped, to the last bit on a CPU.
    """

    network: N
    optimizer: torch.optim.Optimizer

    def __init__(self, *, epochs: int, patience: int, seed: int, worker: TrainingWorker) -> None:
        self._epochs, self._patience, self._seed = epochs, patience, seed
        self.worker = worker
        self.epoch, self.best_epoch, self.best_loss = 0, 0, np.inf
        self.best: Weights = {}
        self.stopped: str | None = None
        """Why training ended early with the last good weights; None where it did not."""

    @property
    def trained_module(self) -> nn.Module:
        """What is trained, and goes into `state`: the network, or more than it."""
        return self.network

    @abstractmethod
    def run_epoch(self) -> EpochResult:
        """What one more epoch came to."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """The validation losses and their `total`; the weights with the lowest total are remembered."""

    @property
    def done(self) -> bool:
        """Whether all epochs are over, or `patience` of them brought no better validation loss."""
        return self.epoch >= self._epochs or self.epoch - self.best_epoch >= self._patience

    def run(self, on_epoch: Callable[[EpochResult, Mapping[str, float]], None] | None = None) -> N:
        """The network with its best weights, trained until `done`; `each` hears of epochs, see `validate`."""
        while not self.done:
            result, judged = self.run_epoch(), self.validate()
            if on_epoch is not None:
                on_epoch(result, judged)
        return self.finish()

    def finish(self) -> N:
        """The network, its best weights put back, in eval mode."""
        if self.best:
            self.trained_module.load_state_dict(self.best)
        return self.network.eval()

    def state(self) -> Arrays:
        """What a trainer of the same config and examples needs to go on from here, as arrays by name."""
        slots = self.optimizer.state_dict()["state"]
        optimizer = {f"{place}.{key}": value for place, slot in slots.items() for key, value in slot.items()}
        parts = {"network": self.trained_module.state_dict(), "best": self.best, "optimizer": optimizer}
        arrays: Arrays = {
            f"{part}.{name}": tensor.detach().cpu().numpy().copy()
            for part, tensors in parts.items()
            for name, tensor in tensors.items()
        }
        progress = {"epoch": self.epoch, "best_epoch": self.best_epoch, "best_loss": self.best_loss}
        return arrays | {name: np.asarray(value) for name, value in progress.items()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Takes up where the trainer was whose `state` this is."""
        network, best, optimizer = (_part(state, part) for part in ("network", "best", "optimizer"))
        self.trained_module.load_state_dict(network)
        self.best = best
        slots: dict[int, Weights] = {}
        for name, tensor in optimizer.items():
            place, _, key = name.partition(".")
            slots.setdefault(int(place), {})[key] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": slots})
        self.epoch, self.best_epoch = int(state["epoch"]), int(state["best_epoch"])
        self.best_loss = float(state["best_loss"])

    def record_validation(self, total: float) -> None:
        """Remembers the weights where `total` is the lowest validation loss so far."""
        if total < self.best_loss:
            self.best_loss, self.best_epoch, self.best = total, self.epoch, copy_weights(self.trained_module)

    def epoch_seed(self) -> int:
        """The seed of what this worker draws in this epoch."""
        return int(np.random.SeedSequence([self._seed, self.epoch, self.worker.rank]).generate_state(1)[0])

    def steps(self, examples: int, batch_size: int) -> Iterator[RowIndices]:
        """This worker's rows, step by step: shuffled, evenly dealt, in as many steps as all workers take."""
        order = np.random.default_rng([self._seed, self.epoch]).permutation(examples)
        # Workers that ran out of rows would leave the others waiting: the first rows are dealt twice.
        order = np.append(order, order[: -len(order) % self.worker.world_size])
        mine = order[self.worker.rank :: self.worker.world_size]
        size = max(1, batch_size // self.worker.world_size)
        return iter(np.array_split(mine, -(-len(mine) // size)))

    def means(self, sums: Mapping[str, Tensor], counts: Mapping[str, float]) -> dict[str, float]:
        """The means over all workers by name, of sums and counts of each."""
        names = sorted(sums)
        both = [float(sums[name]) for name in names] + [counts[name] for name in names]
        total, count = np.split(self.worker.reduce(np.array(both)), 2)
        return dict(zip(names, (total / np.maximum(count, 1)).tolist(), strict=True))


def copy_weights(network: nn.Module) -> Weights:
    """A copy of a network's weights by name."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def has_finite_weights(network: nn.Module) -> bool:
    """Whether every weight is a finite number."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in network.parameters())


def _part(state: Mapping[str, npt.NDArray[Any]], part: str) -> Weights:
    prefix = f"{part}."
    return {
        # A copy: what comes out of an object store must not be written to.
        name.removeprefix(prefix): torch.from_numpy(np.array(array))
        for name, array in state.items()
        if name.startswith(prefix)
    }
