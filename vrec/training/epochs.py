"""Training by epochs, alone or as one of several equal workers: progress, best weights, state."""

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


T = TypeVar("T")


def _identity(value: T) -> T:
    return value


@dataclass(frozen=True, slots=True)
class TrainingWorker:
    """Rank of a worker among several equal ones, and its connection to the others."""

    rank: int = 0
    world_size: int = 1
    """Number of workers."""
    wrap: Callable[[nn.Module], nn.Module] = _identity
    """Function that wraps a module so that its gradients are averaged over the workers, such as
    DistributedDataParallel."""
    reduce: Callable[[Doubles], Doubles] = _identity
    """Function that sums a float64 vector over all workers."""


SINGLE_WORKER = TrainingWorker()


@dataclass(frozen=True, slots=True)
class EpochResult:
    """Result of one epoch of training."""

    epoch: int
    """Number of the epoch, from 1."""
    losses: Mapping[str, float]
    """Mean losses over the steps of the epoch and all workers, by name and in `total`."""
    examples: int
    """Number of examples that this worker trained on."""
    seconds: float
    """Duration of the epoch on this worker, in seconds."""
    stopped: str | None = None
    """Reason why training ends here with the weights of the epoch before; None where it continues."""

    @property
    def examples_per_s(self) -> float:
        """Examples per second of this worker."""
        return self.examples / max(self.seconds, 1e-9)


N = TypeVar("N", bound=nn.Module)


class EpochTrainer(ABC, Generic[N]):
    """Trainer of a network, in place, epoch by epoch, until `done`.

    Several workers share an epoch in as many steps as one worker would take, each with its part of the
    examples of every step. Random draws of an epoch depend only on the seed, the epoch and the rank, so a
    trainer restored from `state` continues as if it had never stopped, to the last bit on a CPU.
    """

    network: N
    optimizer: torch.optim.Optimizer

    def __init__(self, *, epochs: int, patience: int, seed: int, worker: TrainingWorker) -> None:
        self._epochs, self._patience, self._seed = epochs, patience, seed
        self.worker = worker
        self.epoch, self.best_epoch, self.best_loss = 0, 0, np.inf
        self.best: Weights = {}
        self.stopped: str | None = None
        """Reason why training ended early with the last good weights; None where it did not."""

    @property
    def trained_module(self) -> nn.Module:
        """Module whose weights are trained and saved in `state`: the network, or one that contains it."""
        return self.network

    @abstractmethod
    def run_epoch(self) -> EpochResult:
        """Train one more epoch."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Return the validation losses and their `total`; remember the weights with the lowest total."""

    @property
    def done(self) -> bool:
        """True once all epochs are over, or `patience` epochs brought no lower validation loss."""
        return self.epoch >= self._epochs or self.epoch - self.best_epoch >= self._patience

    def run(self, on_epoch: Callable[[EpochResult, Mapping[str, float]], None] | None = None) -> N:
        """Train until `done` and return the network with its best weights.

        `on_epoch` is called after each epoch, with its result and the losses of `validate`.
        """
        while not self.done:
            result, validation = self.run_epoch(), self.validate()
            if on_epoch is not None:
                on_epoch(result, validation)
        return self.finish()

    def finish(self) -> N:
        """Restore the best weights, and return the network in evaluation mode."""
        if self.best:
            self.trained_module.load_state_dict(self.best)
        return self.network.eval()

    def state(self) -> Arrays:
        """Return the arrays by name that a trainer of the same config and examples needs to continue."""
        slots = self.optimizer.state_dict()["state"]
        optimizer = {f"{index}.{key}": value for index, slot in slots.items() for key, value in slot.items()}
        parts = {"network": self.trained_module.state_dict(), "best": self.best, "optimizer": optimizer}
        arrays: Arrays = {
            f"{part}.{name}": tensor.detach().cpu().numpy().copy()
            for part, tensors in parts.items()
            for name, tensor in tensors.items()
        }
        progress = {"epoch": self.epoch, "best_epoch": self.best_epoch, "best_loss": self.best_loss}
        return arrays | {name: np.asarray(value) for name, value in progress.items()}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the `state` of another trainer."""
        network, best, optimizer = (_part(state, part) for part in ("network", "best", "optimizer"))
        self.trained_module.load_state_dict(network)
        self.best = best
        slots: dict[int, Weights] = {}
        for name, tensor in optimizer.items():
            index, _, key = name.partition(".")
            slots.setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": slots})
        self.epoch, self.best_epoch = int(state["epoch"]), int(state["best_epoch"])
        self.best_loss = float(state["best_loss"])

    def record_validation(self, total: float) -> None:
        """Remember the weights if `total` is the lowest validation loss so far."""
        if total < self.best_loss:
            self.best_loss, self.best_epoch, self.best = total, self.epoch, copy_weights(self.trained_module)

    def epoch_seed(self) -> int:
        """Return the seed of the random draws of this worker in this epoch."""
        return int(np.random.SeedSequence([self._seed, self.epoch, self.worker.rank]).generate_state(1)[0])

    def steps(self, examples: int, batch_size: int, part: int = 0) -> Iterator[RowIndices]:
        """Return the rows of this worker, step by step: shuffled, and split evenly among the workers.

        All workers take the same number of steps. Examples in several parts have an order for each.
        """
        order = np.random.default_rng([self._seed, self.epoch, part]).permutation(examples)
        # A worker without rows would leave the others waiting: the first rows are used twice.
        order = np.append(order, order[: -len(order) % self.worker.world_size])
        rows = order[self.worker.rank :: self.worker.world_size]
        size = max(1, batch_size // self.worker.world_size)
        return iter(np.array_split(rows, -(-len(rows) // size)))

    def means(self, sums: Mapping[str, Tensor], counts: Mapping[str, float]) -> dict[str, float]:
        """Return the means over all workers by name, from the sums and counts of this worker."""
        names = sorted(sums)
        both = [float(sums[name]) for name in names] + [counts[name] for name in names]
        total, count = np.split(self.worker.reduce(np.array(both)), 2)
        return dict(zip(names, (total / np.maximum(count, 1)).tolist(), strict=True))


def copy_weights(network: nn.Module) -> Weights:
    """Return a copy of a network's weights by name."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def has_finite_weights(network: nn.Module) -> bool:
    """Return whether every weight of a network is finite."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in network.parameters())


def _part(state: Mapping[str, npt.NDArray[Any]], part: str) -> Weights:
    prefix = f"{part}."
    return {
        # A copy: arrays from an object store are read-only.
        name.removeprefix(prefix): torch.from_numpy(np.array(array))
        for name, array in state.items()
        if name.startswith(prefix)
    }
