"""The training of ranking networks, one epoch at a time: alone, or as one of several equal workers."""

from collections.abc import Mapping
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from vrec.core.errors import RankError
from vrec.ranking.examples import DeviceExamples, check_trainable, heads_without_validation
from vrec.ranking.features.arrays import ImpressionLabels, RankingFeatures
from vrec.ranking.networks.layers import to_catalogue
from vrec.ranking.networks.multitask import RankerHeadsConfig, multitask_losses
from vrec.ranking.networks.network import RankerNetwork
from vrec.ranking.networks.watch_heads import WatchHead
from vrec.training.config import TrainingConfig, seeded_rng, torch_device
from vrec.training.epochs import (
    SINGLE_WORKER,
    EpochResult,
    EpochTrainer,
    TrainingWorker,
    copy_weights,
    has_finite_weights,
)

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


class RankerTrainer(EpochTrainer[RankerNetwork]):
    """Trains a ranking network in place, epoch by epoch, until `done`."""

    def __init__(
        self,
        network: RankerNetwork,
        heads: RankerHeadsConfig,
        head: WatchHead | None,
        *,
        train: tuple[RankingFeatures, ImpressionLabels],
        valid: tuple[RankingFeatures, ImpressionLabels],
        config: RankerTrainingConfig,
        worker: TrainingWorker = SINGLE_WORKER,
    ) -> None:
        """`head` is the watch head, None without one. Every worker gets all the impressions.

        Raises RankError for impressions that cannot teach: all or none clicked, or converted, or fewer than
        workers; and for validation impressions that are all clicked or none.
        """
        check_trainable(heads, train[1], "training")
        self.unjudged = heads_without_validation(heads, valid[1])
        """Heads that the validation part cannot judge, and why: they do not count in when to stop."""
        super().__init__(epochs=config.epochs, patience=config.patience, seed=config.seed, worker=worker)
        self.config, self.heads, self.head = config, heads, head
        self.device = torch_device(config.device)
        self.network = network.to(self.device)
        self.module = worker.wrap(self.network)
        self.catalogue = to_catalogue(train[0].catalogue, self.device)
        self.train, self.valid = (DeviceExamples(*part, head, self.device) for part in (train, valid))
        if (least := min(len(self.train), len(self.valid))) < worker.world_size:
            raise RankError(f"training: {least:,} impressions for {worker.world_size} workers")
        self.optimizer = _optimizer(self.network, config)

    def run_epoch(self) -> EpochResult:
        """What one more epoch came to.

        Raises RankError where a loss or a weight is no finite number; the network is then as it was before
        the epoch.
        """
        self.epoch += 1
        before = copy_weights(self.network)
        started, examples = perf_counter(), 0
        sums: dict[str, Tensor] = {}
        self.network.train()
        with seeded_rng(self.epoch_seed()):
            for rows in self.steps(len(self.train), self.config.batch_size):
                batch, labels = self.train.take(rows)
                found = multitask_losses(
                    self.module(batch, self.catalogue), labels, self.heads, self._watch_loss
                )
                self.optimizer.zero_grad(set_to_none=True)
                found["total"].backward()
                self.optimizer.step()
                for name, loss in found.items():
                    sums[name] = sums.get(name, 0.0) + loss.detach() * len(rows)
                examples += len(rows)
        self.network.eval()
        # Read once an epoch: reading each step's would have a GPU wait, and workers must stop together.
        means = self.means(sums, dict.fromkeys(sums, float(examples)))
        if not (np.isfinite(list(means.values())).all() and has_finite_weights(self.network)):
            self.network.load_state_dict(before)
            raise RankError(
                f"training: the loss is not a finite number in epoch {self.epoch}",
                fix=f"lower learning_rate, which is {self.config.learning_rate:g}",
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
        mine = np.arange(self.worker.rank, len(self.valid), self.worker.world_size)
        for rows in np.array_split(mine, -(-len(mine) // self.config.batch_size)):
            batch, labels = self.valid.take(rows)
            found = multitask_losses(
                self.network(batch, self.catalogue), labels, self.heads, self._watch_loss
            )
            for name, loss in found.items():
                if name in self.unjudged:
                    continue
                weight = float(labels.mature.sum()) if name == "conversion" else float(len(rows))
                sums[name] = sums.get(name, 0.0) + loss * weight
                counts[name] = counts.get(name, 0.0) + weight
        means = self.means(sums, counts)
        means["total"] = self._total(means)
        if not np.isfinite(means["total"]):
            raise RankError(
                f"validation: the loss is not a finite number after epoch {self.epoch}",
                fix=f"lower learning_rate, which is {self.config.learning_rate:g}",
            )
        self.record_validation(means["total"])
        return means

    def _watch_loss(self, out: Tensor, targets: Tensor) -> Tensor:
        assert self.head is not None
        return self.head.loss(out, targets)

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
