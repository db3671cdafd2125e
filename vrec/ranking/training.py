"""Training of ranking networks by epochs, in one process or data-parallel."""

from collections.abc import Iterator, Mapping
from time import perf_counter

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vrec.core.errors import RankError
from vrec.ranking.config import RankerTrainingConfig
from vrec.ranking.example_parts import ExampleParts, Examples, Outcomes, as_parts
from vrec.ranking.features.arrays import ImpressionLabels, RankingFeatures
from vrec.ranking.networks.config import RankerHeadsConfig, TaskName
from vrec.ranking.networks.layers import RankingBatch, to_batch, to_catalog_tensors
from vrec.ranking.networks.multitask import LabelTensors, multitask_losses
from vrec.ranking.networks.network import RankerNetwork
from vrec.ranking.networks.watch_heads import WatchHead
from vrec.training.device import seeded_rng, torch_device
from vrec.training.epochs import (
    SINGLE_WORKER,
    EpochResult,
    EpochTrainer,
    TrainingWorker,
    copy_weights,
    has_finite_weights,
)

Doubles = npt.NDArray[np.float64]
MIN_OUTCOMES = 10
"""Least training impressions with a watch, and with a conversion, for which `heads: auto` has that head."""
Weights = dict[str, Tensor]


class DeviceExamples:
    """Features and labels on a device, from which a batch costs an index per column."""

    def __init__(
        self,
        features: RankingFeatures,
        labels: ImpressionLabels,
        head: WatchHead | None,
        device: torch.device,
    ) -> None:
        """Move the examples to the device; raise RankError where features and labels differ in length.

        `head` makes the targets of watch time; None without that head.
        """
        if len(features) != len(labels):
            raise RankError(
                f"training: {len(labels):,} labels for {len(features):,} impressions",
                fix="build features and labels from the same events",
            )
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

    def parts(self) -> Iterator["DeviceExamples"]:
        """Yield the only part: all examples."""
        yield self

    def take(self, rows: npt.NDArray[np.int64]) -> tuple[RankingBatch, LabelTensors]:
        """Return the batch of (B,) rows, each its own request: finding shared requests costs more."""
        index = torch.from_numpy(rows).to(self.device)
        f = self.features
        request_index = f.request.index_select(0, index)
        candidates = (part.index_select(0, index) for part in (f.video, f.candidate, f.position))
        requests = (
            part.index_select(0, request_index) for part in (f.context, f.user, f.history, f.history_dense)
        )
        request = torch.arange(len(rows), dtype=torch.int32, device=self.device)
        labels = (None if part is None else part.index_select(0, index) for part in self.labels)
        return RankingBatch(request, *candidates, *requests), LabelTensors(*labels)  # type: ignore[arg-type]


class DeviceParts:
    """Examples of which one part at a time is moved to a device."""

    def __init__(self, parts: ExampleParts, head: WatchHead | None, device: torch.device) -> None:
        self._parts, self._head, self._device = parts, head, device

    def __len__(self) -> int:
        return sum(self._parts.sizes)

    def parts(self) -> Iterator[DeviceExamples]:
        """Yield the parts from the first to the last."""
        for part in self._parts:
            yield DeviceExamples(*part, self._head, self._device)


class RankerTrainer(EpochTrainer[RankerNetwork]):
    """Trainer of a ranking network, in place and epoch by epoch, until `done`."""

    def __init__(
        self,
        network: RankerNetwork,
        heads: RankerHeadsConfig,
        head: WatchHead | None,
        *,
        train: Examples | ExampleParts,
        valid: Examples | ExampleParts,
        config: RankerTrainingConfig,
        worker: TrainingWorker = SINGLE_WORKER,
    ) -> None:
        """Move the network to the device, and all examples that are in memory; others by part, as they come.

        Every worker gets all impressions. Those in parts are shuffled within their part, anew each epoch.

        Args:
            network: Network to train in place.
            heads: Heads of the network and their loss weights.
            head: Watch head, None without one.
            train: Examples to train on.
            valid: Examples for early stopping.
            config: Settings of the training.
            worker: This process among the workers.

        Raises:
            RankError: all or none of the training impressions are clicked or converted, there are fewer
                impressions than workers, or all or none of the validation impressions are clicked.
        """
        both = as_parts(train), as_parts(valid)
        check_trainable(heads, both[0].outcomes, "training")
        self.unjudged = heads_without_validation(heads, both[1].outcomes)
        """Heads without validation, with the reason: they have no part in early stopping."""
        super().__init__(epochs=config.epochs, patience=config.patience, seed=config.seed, worker=worker)
        self.config, self.heads, self.head = config, heads, head
        self.device = torch_device(config.device)
        self.network = network.to(self.device)
        self.module = worker.wrap(self.network)
        self.catalog = to_catalog_tensors(both[0].catalog, self.device)
        self.train, self.valid = (self._on_device(part) for part in (train, valid))
        if (least := min(*both[0].sizes, *both[1].sizes)) < worker.world_size:
            raise RankError(
                f"training: {least:,} impressions for {worker.world_size} workers",
                fix="use fewer workers, or a longer log",
            )
        self.optimizer = build_optimizer(self.network, config)

    def _on_device(self, examples: Examples | ExampleParts) -> DeviceExamples | DeviceParts:
        if isinstance(examples, tuple):
            return DeviceExamples(*examples, self.head, self.device)
        return DeviceParts(examples, self.head, self.device)

    def run_epoch(self) -> EpochResult:
        """Train one epoch and return its result.

        Raises:
            RankError: a loss or a weight is not finite; the network is then as it was before the epoch.
        """
        self.epoch += 1
        before = copy_weights(self.network)
        started, examples = perf_counter(), 0
        sums: dict[str, Tensor] = {}
        self.network.train()
        with seeded_rng(self.epoch_seed()):
            for number, part in enumerate(self.train.parts()):
                for rows in self.steps(len(part), self.config.batch_size, number):
                    for name, loss in self._step(*part.take(rows)).items():
                        sums[name] = sums.get(name, 0.0) + loss * len(rows)
                    examples += len(rows)
        self.network.eval()
        # Read once per epoch: reading each step's loss would stall a GPU, and workers must stop together.
        means = self.means(sums, dict.fromkeys(sums, float(examples)))
        if not (np.isfinite(list(means.values())).all() and has_finite_weights(self.network)):
            self.network.load_state_dict(before)
            raise RankError(
                f"training: the loss is not finite in epoch {self.epoch}",
                fix=f"lower learning_rate, which is {self.config.learning_rate:g}",
            )
        return EpochResult(self.epoch, means, examples, perf_counter() - started)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the validation losses at the logged positions: by head, and their weighted `total`.

        Heads without validation are left out. Each worker evaluates its share of the rows, and all get the
        same losses. The weights with the lowest total are kept.

        Raises:
            RankError: the total is not finite.
        """
        self.network.eval()
        sums: dict[str, Tensor] = {}
        counts: dict[str, float] = {}
        for batch, labels in self._validation_batches():
            losses = multitask_losses(self.network(batch, self.catalog), labels, self.heads, self._watch_loss)
            for name, loss in losses.items():
                if name in self.unjudged:
                    continue
                weight = float(labels.mature.sum()) if name == "conversion" else float(len(labels.click))
                sums[name] = sums.get(name, 0.0) + loss * weight
                counts[name] = counts.get(name, 0.0) + weight
        means = self.means(sums, counts)
        means["total"] = self._total(means)
        if not np.isfinite(means["total"]):
            raise RankError(
                f"validation: the loss is not finite after epoch {self.epoch}",
                fix=f"lower learning_rate, which is {self.config.learning_rate:g}",
            )
        self.record_validation(means["total"])
        return means

    def _step(self, batch: RankingBatch, labels: LabelTensors) -> dict[str, Tensor]:
        """Change the weights by one batch, and return its losses."""
        losses = multitask_losses(self.module(batch, self.catalog), labels, self.heads, self._watch_loss)
        self.optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        self.optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()}

    def _validation_batches(self) -> Iterator[tuple[RankingBatch, LabelTensors]]:
        """Yield the batches of this worker's share of each part of the validation split."""
        for part in self.valid.parts():
            share = np.arange(self.worker.rank, len(part), self.worker.world_size)
            for rows in np.array_split(share, -(-len(share) // self.config.batch_size)):
                yield part.take(rows)

    def _watch_loss(self, out: Tensor, targets: Tensor) -> Tensor:
        assert self.head is not None
        return self.head.loss(out, targets)

    def _total(self, means: Mapping[str, float]) -> float:
        # The totals of the batches weigh conversions by all impressions, not by mature ones.
        weights = {
            "click": 1.0,
            "watch": self.heads.watch_weight,
            "conversion": self.heads.conversion_weight,
        }
        return sum(weights[name] * loss for name, loss in means.items() if name in weights)


def select_heads(
    heads: RankerHeadsConfig, outcomes: Outcomes
) -> tuple[RankerHeadsConfig, dict[TaskName, str]]:
    """Return the config with the heads that training impressions can teach, where it says `auto`.

    Returns:
        The config with heads by name, and the reason of each head that is left out. A config that names its
        heads is returned as it is.
    """
    if heads.heads != "auto":
        return heads, {}
    reasons: dict[TaskName, str] = {}
    if outcomes.watched < MIN_OUTCOMES or outcomes.watch_s[0] == outcomes.watch_s[1]:
        reasons["watch"] = (
            f"{outcomes.watched:,} of {outcomes.impressions:,} training impressions have a watch time of "
            f"their own, want {MIN_OUTCOMES}"
        )
    if not MIN_OUTCOMES <= outcomes.converted < outcomes.mature:
        reasons["conversion"] = (
            f"{outcomes.converted:,} of {outcomes.mature:,} mature training impressions are converted, want "
            f"{MIN_OUTCOMES} and not all; train.ranker.labels.conversion_kinds says which events are "
            "conversions, and train.ranker.labels.conversion_window_hours when an impression is mature"
        )
    chosen = tuple(task for task in heads.tasks if task not in reasons)
    return heads.model_copy(update={"heads": chosen}), reasons


def check_trainable(heads: RankerHeadsConfig, outcomes: Outcomes, split: str) -> None:
    """Raise RankError where all or none of the impressions are clicked, or of the mature ones converted.

    `split` names the impressions in the message.
    """
    _check_both_outcomes(outcomes.clicked, outcomes.impressions, f"{split}: {{}} impressions are clicked")
    if "conversion" in heads.tasks:
        _check_both_outcomes(
            outcomes.converted, outcomes.mature, f"{split}: {{}} mature impressions are converted"
        )


def heads_without_validation(heads: RankerHeadsConfig, outcomes: Outcomes) -> dict[str, str]:
    """Return the heads that a validation split cannot evaluate, with the reason of each.

    Raises:
        RankError: all or none of the impressions are clicked, so that even clicks cannot be evaluated.
    """
    check_trainable(heads.model_copy(update={"heads": ("click",)}), outcomes, "validation")
    try:
        check_trainable(heads, outcomes, "validation")
    except RankError as reason:
        return {"conversion": f"trained, but without a part in early stopping: {reason}"}
    return {}


def _check_both_outcomes(count: int, total: int, message: str) -> None:
    if count in (0, total):
        raise RankError(
            f"{message.format(f'{count:,} of {total:,}')}, want some but not all",
            fix="train on a longer log, set train.ranker.labels.conversion_kinds to events that it has, or "
            "set train.ranker.labels.conversion_window_hours lower if too few are mature; "
            "train.ranker.heads.heads=auto leaves out what cannot be learned",
        )


def build_optimizer(network: RankerNetwork, config: RankerTrainingConfig) -> torch.optim.Optimizer:
    """Return AdamW for the weights of a network, with the position biases at a rate of their own."""
    biases = [] if network.positions is None else [network.positions.weight]
    rest = [weight for weight in network.parameters() if all(weight is not bias for bias in biases)]
    groups = [
        {"params": rest, "lr": config.learning_rate, "weight_decay": config.weight_decay},
        {"params": biases, "lr": config.position_learning_rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], fused=True)
