"""The training of ranking networks, one epoch at a time: alone, or as one of several equal workers."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn

from vrec.core.artefact import Arrays
from vrec.core.errors import RankError
from vrec.ranking.examples import Examples, check_teaches, unjudged
from vrec.ranking.features.arrays import Features, Labels
from vrec.ranking.networks.layers import to_catalogue
from vrec.ranking.networks.multitask import HeadsConfig, losses
from vrec.ranking.networks.network import RankerNetwork
from vrec.ranking.networks.watch_heads import WatchHead
from vrec.retrieval.training import TrainingConfig, seeded, torch_device

Doubles = npt.NDArray[np.float64]
Weights = dict[str, Tensor]


class RankerTrainingConfig(TrainingConfig):
    """How a ranking network is trained."""

    epochs: int = Field(default=10, ge=1)
    """The most passes over the impressions."""
    batch_size: int = Field(default=1024, ge=2)
    """Impressions a step, of all workers together. Larger batches make an epoch shorter and less thorough."""
    patience: int = Field(default=2, ge=1)
    """Epochs without a lower validation loss after which training stops; the best epoch's weights are kept.
    Ranking networks are often at their best after one or two."""
    weight_decay: float = Field(default=1e-5, ge=0)
    """Share of every weight but the slots', times the learning rate, that is taken off it in a step (AdamW:
    Loshchilov & Hutter 2019), against learning shoppers and videos by heart."""
    position_learning_rate: float = Field(default=0.05, gt=0, le=1)
    """Learning rate of the slots' terms, few numbers of which every impression speaks. At the pace of the
    rest they are still under way when the rest begins to learn by heart, and as the validation loss goes on
    to fall with them, training would stop too late."""


def _itself(thing: Any) -> Any:
    return thing


@dataclass(frozen=True, slots=True)
class Worker:
    """Which of several equal workers a trainer is, and how it hears from the others."""

    rank: int = 0
    world: int = 1
    """How many there are."""
    wrap: Callable[[RankerNetwork], nn.Module] = _itself
    """Gives the module that is called in training, whose gradients are averaged over the workers, such as
    DistributedDataParallel."""
    reduce: Callable[[Doubles], Doubles] = _itself
    """Gives the sum over all workers of a float64 vector."""


ALONE = Worker()


@dataclass(frozen=True, slots=True)
class EpochResult:
    """What an epoch of training came to."""

    epoch: int
    """From 1."""
    losses: Mapping[str, float]
    """The mean over this epoch's steps and all workers, by head and in `total`."""
    examples: int
    """Impressions that this worker trained on."""
    seconds: float

    @property
    def examples_per_s(self) -> float:
        """Impressions a second of this worker."""
        return self.examples / max(self.seconds, 1e-9)


class Trainer:
    """Trains a network in place, epoch by epoch, until `done`.

    Several workers share an epoch in as many steps as one would take, each with its part of every step's
    impressions. What is drawn in an epoch depends on the seed, the epoch and the rank alone, so a trainer
    that was restored from `state` goes on as if it had never stopped, to the last bit on a CPU.
    """

    def __init__(
        self,
        network: RankerNetwork,
        heads: HeadsConfig,
        head: WatchHead | None,
        *,
        train: tuple[Features, Labels],
        valid: tuple[Features, Labels],
        config: RankerTrainingConfig,
        worker: Worker = ALONE,
    ) -> None:
        """`head` is the watch head, None without one. Every worker gets all the impressions.

        Raises RankError for impressions that cannot teach: all or none clicked, or converted, or fewer than
        workers; and for validation impressions that are all clicked or none.
        """
        check_teaches(heads, train[1], "training")
        self.unjudged = unjudged(heads, valid[1])
        """Heads that the validation part cannot judge, and why: they do not count in when to stop."""
        self.config, self.heads, self.head, self.worker = config, heads, head, worker
        self.device = torch_device(config.device)
        self.network = network.to(self.device)
        self.module = worker.wrap(self.network)
        self.catalogue = to_catalogue(train[0].catalogue, self.device)
        self.train, self.valid = (Examples(*part, head, self.device) for part in (train, valid))
        if (least := min(len(self.train), len(self.valid))) < worker.world:
            raise RankError(f"training: {least:,} impressions for {worker.world} workers")
        self.optimizer = _optimizer(self.network, config)
        self.epoch, self.best_epoch, self.best_loss = 0, 0, np.inf
        self.best: Weights = {}

    @property
    def done(self) -> bool:
        """Whether all epochs are over, or `patience` of them brought no better validation loss."""
        return self.epoch >= self.config.epochs or self.epoch - self.best_epoch >= self.config.patience

    def run(self, each: Callable[[EpochResult, Mapping[str, float]], None] | None = None) -> RankerNetwork:
        """The network with its best weights, trained until `done`; `each` hears of epochs, see `validate`."""
        while not self.done:
            result, judged = self.run_epoch(), self.validate()
            if each is not None:
                each(result, judged)
        return self.finish()

    def run_epoch(self) -> EpochResult:
        """What one more epoch came to.

        Raises RankError where a loss or a weight is no finite number; the network is then as it was before
        the epoch.
        """
        self.epoch += 1
        before = _copied(self.network)
        started, examples = perf_counter(), 0
        sums: dict[str, Tensor] = {}
        self.network.train()
        with seeded(_seed(self.config.seed, self.epoch, self.worker.rank)):
            for rows in self._steps():
                batch, labels = self.train.take(rows)
                found = losses(self.module(batch, self.catalogue), labels, self.heads, self._watch_loss)
                self.optimizer.zero_grad(set_to_none=True)
                found["total"].backward()
                self.optimizer.step()
                for name, loss in found.items():
                    sums[name] = sums.get(name, 0.0) + loss.detach() * len(rows)
                examples += len(rows)
        self.network.eval()
        # Read once an epoch: reading each step's would have a GPU wait, and workers must stop together.
        means = self._means(sums, dict.fromkeys(sums, float(examples)))
        if not (np.isfinite(list(means.values())).all() and _finite(self.network)):
            self.network.load_state_dict(before)
            raise RankError(
                f"training: the loss is not a finite number in epoch {self.epoch}",
                mend=f"lower learning_rate, which is {self.config.learning_rate:g}",
            )
        return EpochResult(self.epoch, means, examples, perf_counter() - started)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """The validation losses by head but those `unjudged`, and their `total`, for positions as they were.

        The weights with the lowest total are remembered. Each worker judges its share, and all get the same
        answer.
        """
        self.network.eval()
        sums: dict[str, Tensor] = {}
        counts: dict[str, float] = {}
        mine = np.arange(self.worker.rank, len(self.valid), self.worker.world)
        for rows in np.array_split(mine, -(-len(mine) // self.config.batch_size)):
            batch, labels = self.valid.take(rows)
            found = losses(self.network(batch, self.catalogue), labels, self.heads, self._watch_loss)
            for name, loss in found.items():
                if name in self.unjudged:
                    continue
                weight = float(labels.mature.sum()) if name == "conversion" else float(len(rows))
                sums[name] = sums.get(name, 0.0) + loss * weight
                counts[name] = counts.get(name, 0.0) + weight
        means = self._means(sums, counts)
        means["total"] = self._total(means)
        if not np.isfinite(means["total"]):
            raise RankError(
                f"validation: the loss is not a finite number after epoch {self.epoch}",
                mend=f"lower learning_rate, which is {self.config.learning_rate:g}",
            )
        if means["total"] < self.best_loss:
            self.best_loss, self.best_epoch, self.best = means["total"], self.epoch, _copied(self.network)
        return means

    def finish(self) -> RankerNetwork:
        """The network, its best weights put back, in eval mode."""
        if self.best:
            self.network.load_state_dict(self.best)
        return self.network.eval()

    def state(self) -> Arrays:
        """What a trainer of the same config and impressions needs to go on from here, as arrays by name."""
        slots = self.optimizer.state_dict()["state"]
        optimizer = {f"{place}.{key}": value for place, slot in slots.items() for key, value in slot.items()}
        parts = {"network": self.network.state_dict(), "best": self.best, "optimizer": optimizer}
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
        self.network.load_state_dict(network)
        self.best = best
        slots: dict[int, Weights] = {}
        for name, tensor in optimizer.items():
            place, _, key = name.partition(".")
            slots.setdefault(int(place), {})[key] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": slots})
        self.epoch, self.best_epoch = int(state["epoch"]), int(state["best_epoch"])
        self.best_loss = float(state["best_loss"])

    def _steps(self) -> Iterator[npt.NDArray[np.int64]]:
        """This worker's rows, step by step: shuffled, evenly dealt, in as many steps as all workers take."""
        order = np.random.default_rng([self.config.seed, self.epoch]).permutation(len(self.train))
        # Workers that ran out of rows would leave the others waiting: the first rows are dealt twice.
        order = np.append(order, order[: -len(order) % self.worker.world])
        mine = order[self.worker.rank :: self.worker.world]
        size = max(1, self.config.batch_size // self.worker.world)
        return iter(np.array_split(mine, -(-len(mine) // size)))

    def _watch_loss(self, out: Tensor, targets: Tensor) -> Tensor:
        assert self.head is not None
        return self.head.loss(out, targets)

    def _means(self, sums: Mapping[str, Tensor], counts: Mapping[str, float]) -> dict[str, float]:
        names = sorted(sums)
        both = [float(sums[name]) for name in names] + [counts[name] for name in names]
        total, count = np.split(self.worker.reduce(np.array(both)), 2)
        return dict(zip(names, (total / np.maximum(count, 1)).tolist(), strict=True))

    def _total(self, means: Mapping[str, float]) -> float:
        # The blocks' totals weigh conversions by impressions, not by mature ones.
        weights = {
            "click": 1.0,
            "watch": self.heads.watch_weight,
            "conversion": self.heads.conversion_weight,
        }
        return sum(weights[name] * loss for name, loss in means.items() if name in weights)


def _optimizer(network: RankerNetwork, config: RankerTrainingConfig) -> torch.optim.Optimizer:
    slots = [] if network.positions is None else [network.positions.weight]
    rest = [weight for weight in network.parameters() if all(weight is not slot for slot in slots)]
    groups = [
        {"params": rest, "lr": config.learning_rate, "weight_decay": config.weight_decay},
        {"params": slots, "lr": config.position_learning_rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], fused=True)


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def _copied(network: nn.Module) -> Weights:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _finite(network: nn.Module) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in network.parameters())


def _part(state: Mapping[str, npt.NDArray[Any]], part: str) -> Weights:
    prefix = f"{part}."
    return {
        # A copy: what comes out of an object store must not be written to.
        name.removeprefix(prefix): torch.from_numpy(np.array(array))
        for name, array in state.items()
        if name.startswith(prefix)
    }
