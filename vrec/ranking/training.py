"""The training of ranking networks, one epoch at a time: alone, or as one of several equal workers."""

from collections.abc import Mapping
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from vrec.core.errors import RankError
from vrec.ranking.features.arrays import ImpressionLabels, RankingFeatures
from vrec.ranking.networks.layers import RankingBatch, to_batch, to_catalog_tensors
from vrec.ranking.networks.multitask import LabelTensors, RankerHeadsConfig, multitask_losses
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


class DeviceExamples:
    """Features and labels on a device."""

    def __init__(
        self,
        features: RankingFeatures,
        labels: ImpressionLabels,
        head: WatchHead | None,
        device: torch.device,
    ) -> None:
        """`head` gives the watch's targets, None without that head; raises RankError for other lengths."""
        if len(features) != len(labels):
            raise RankError(f"training: {len(labels):,} labels for {len(features):,} impressions")
        self.features = to_batch(features, device)
        watch = None if head is None else torch.from_numpy(head.targets(labels.watch_s, labels.duration_s))
        self.labels = LabelTensors(
            torch.from_numpy(labels.click).to(device),
            torch.from_numpy(labels.conversion).to(device),
            torch.from_numpy(labels.mature).to(device),
            None if watch is None else watch.to(device),
        )
        self.device = device

    def __len__(self) -> int:
        return len(self.features.video)

    def take(self, rows: npt.NDArray[np.int64]) -> tuple[RankingBatch, LabelTensors]:
        """The batch of (B,) rows. Each has a request of its own: finding those they share costs more."""
        chosen = torch.from_numpy(rows).to(self.device)
        f = self.features
        asked = f.request.index_select(0, chosen)
        candidates = (part.index_select(0, chosen) for part in (f.video, f.candidate, f.position))
        requests = (part.index_select(0, asked) for part in (f.context, f.user, f.history, f.history_dense))
        request = torch.arange(len(rows), dtype=torch.int32, device=self.device)
        labels = (None if part is None else part.index_select(0, chosen) for part in self.labels)
        return RankingBatch(request, *candidates, *requests), LabelTensors(*labels)  # type: ignore[arg-type]


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
        self.catalog = to_catalog_tensors(train[0].catalog, self.device)
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
                    self.module(batch, self.catalog), labels, self.heads, self._watch_loss
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
            found = multitask_losses(self.network(batch, self.catalog), labels, self.heads, self._watch_loss)
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


def check_trainable(heads: RankerHeadsConfig, labels: ImpressionLabels, part: str) -> None:
    """Raises RankError where a head has nothing to learn or be judged by: all or none clicked, or converted.

    `part` names the impressions in the message.
    """
    _check_both_outcomes(labels.click > 0, part, "impressions", "clicked")
    if "conversion" in heads.heads:
        _check_both_outcomes(labels.conversion[labels.mature] > 0, part, "mature impressions", "converted")


def heads_without_validation(heads: RankerHeadsConfig, labels: ImpressionLabels) -> dict[str, str]:
    """Of each head but the click's that a validation part cannot judge, why; none where it can judge all.

    Raises RankError where all impressions were clicked, or none.
    """
    _check_both_outcomes(labels.click > 0, "validation", "impressions", "clicked")
    try:
        check_trainable(heads, labels, "validation")
    except RankError as reason:
        return {"conversion": f"trained, but of no say in when to stop: {reason}"}
    return {}


def _check_both_outcomes(happened: npt.NDArray[np.bool_], part: str, rows: str, what: str) -> None:
    number = int(happened.sum())
    if number in (0, len(happened)):
        raise RankError(
            f"{part}: {number:,} of {len(happened):,} {rows} are {what}: there is nothing to tell apart",
            fix="give more events, or shorten labels.conversion_window_hours if too few are mature, "
            "or leave the head out of heads",
        )


def _optimizer(network: RankerNetwork, config: RankerTrainingConfig) -> torch.optim.Optimizer:
    slots = [] if network.positions is None else [network.positions.weight]
    rest = [weight for weight in network.parameters() if all(weight is not slot for slot in slots)]
    groups = [
        {"params": rest, "lr": config.learning_rate, "weight_decay": config.weight_decay},
        {"params": slots, "lr": config.position_learning_rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], fused=True)
