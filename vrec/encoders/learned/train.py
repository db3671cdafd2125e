"""The training of heads on frozen features, by epochs: alone, or as one of several equal workers."""

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn

from vrec.core.artifact import Arrays
from vrec.core.errors import FitError
from vrec.encoders.learned.batches import EncoderBatches
from vrec.encoders.learned.behavior import BehaviorSignals
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.heads.head import EncoderHead
from vrec.encoders.learned.heads.vae import VaeHead
from vrec.encoders.learned.objective import EncoderObjective, EncoderObjectiveConfig
from vrec.encoders.learned.split import split_videos
from vrec.encoders.learned.validation import no_validation_reason, validation_metrics
from vrec.training.config import TrainingConfig, seeded_rng, torch_device
from vrec.training.epochs import (
    SINGLE_WORKER,
    EpochResult,
    EpochTrainer,
    TrainingWorker,
    Weights,
    copy_weights,
    has_finite_weights,
)


class EncoderTrainingConfig(TrainingConfig):
    """How a head is trained."""

    objective: EncoderObjectiveConfig = Field(default_factory=EncoderObjectiveConfig)
    """What it is trained towards."""
    epochs: int = Field(default=50, ge=1)
    """The most passes over the videos, or over the pairs in `aligned`."""
    batch_size: int = Field(default=256, ge=4)
    """Videos or pairs a step, of all workers together. Each is told from the others of its worker's batch:
    larger batches make a harder task."""
    patience: int = Field(default=10, ge=1)
    """Epochs without a lower validation loss after which training stops; the best weights are kept."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Share of every weight, times the learning rate, that is taken off it in a step (AdamW)."""
    validation: float = Field(default=0.1, ge=0, lt=1)
    """Share of the videos that are held out to judge by, with all pairs that they are in."""
    mixed_precision: bool = True
    """Whether a GPU multiplies in bfloat16: about twice the rate. Losses are in float32; unused on a CPU."""


class EncoderTrainer(EpochTrainer[EncoderHead]):
    """Trains a head in place, epoch by epoch, until `done`.

    Where a loss or a weight is not a finite number, training stops with the weights of the epoch before:
    `stopped` and the epoch's result say so.
    """

    def __init__(
        self,
        head: EncoderHead,
        *,
        features: FeatureSet,
        behaviour: BehaviorSignals | None = None,
        config: EncoderTrainingConfig,
        worker: TrainingWorker = SINGLE_WORKER,
    ) -> None:
        """Every worker gets all features; `behaviour` is needed in `aligned` alone.

        Raises FitError where there is too little to learn from.
        """
        super().__init__(epochs=config.epochs, patience=config.patience, seed=config.seed, worker=worker)
        self.config = config
        device, aligned = torch_device(config.device), config.objective.kind == "aligned"
        usable = np.flatnonzero(np.any([features.has[m] for m in head.dims], axis=0))
        taught_by = _checked(behaviour, features) if aligned else None
        parts = split_videos(usable, taught_by, config.validation, config.seed)
        self.batches = EncoderBatches(
            features, taught_by, parts, config.objective.unwatched_weight > 0, device
        )
        if min(self.batches.examples, config.batch_size) < 2 * worker.world_size:
            raise FitError(
                f"training: {self.batches.examples:,} examples, {config.batch_size:,} a step, for "
                f"{worker.world_size} workers: each needs 2 to tell apart",
                fix="take fewer workers or a larger batch_size",
            )
        with seeded_rng(config.seed):
            self.objective = EncoderObjective(head, config.objective, features, self.batches.target_dim).to(
                device
            )
        self.objective.mixed_precision = config.mixed_precision and device.type == "cuda"
        self.network = self.objective.head
        self.module = worker.wrap(self.objective)
        self.optimizer = torch.optim.AdamW(
            self.objective.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.stopped: str | None = None
        """Why training ended early with the last good weights; None where it did not."""
        self.no_validation_reason = no_validation_reason(self.batches)
        """Why no held-out videos judge, and training's own loss does; None where they do."""
        self._trained_total = np.inf

    @property
    def trained_module(self) -> nn.Module:
        """The head, and what it needs in training alone."""
        return self.objective

    @property
    def done(self) -> bool:
        """Whether all epochs are over, `patience` of them did no good, or a loss was not finite."""
        return self.stopped is not None or super().done

    def run_epoch(self) -> EpochResult:
        """What one more epoch came to.

        Where a loss or a weight is no finite number the weights are as before the epoch, and training is
        `done`. Raises FitError where that is the first epoch: there is nothing good to keep.
        """
        self.epoch += 1
        before = copy_weights(self.objective)
        started, examples = perf_counter(), 0
        sums: dict[str, Tensor] = {}
        counts: dict[str, float] = {}
        self.objective.train()
        self.objective.beta = _beta(self.network, self.epoch)
        with seeded_rng(self.epoch_seed()) as rng:
            for rows in self.steps(self.batches.examples, self.config.batch_size):
                found = self.module(*self.batches.batch(rows, rng))
                self.optimizer.zero_grad(set_to_none=True)
                found["total"].backward()
                self.optimizer.step()
                for name, loss in found.items():
                    sums[name] = sums.get(name, 0.0) + loss.detach() * len(rows)
                    counts[name] = counts.get(name, 0.0) + len(rows)
                examples += len(rows)
        self.objective.eval()
        # Read once an epoch: reading each step's would have a GPU wait, and workers must stop together.
        means = self.means(sums, counts)
        if not (np.isfinite(list(means.values())).all() and has_finite_weights(self.objective)):
            self._stop("the loss is not a finite number", before)
        else:
            self._trained_total = means["total"]
        return EpochResult(self.epoch, means, examples, perf_counter() - started, self.stopped)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """The losses over what is held out by name, their `total`, and `mrr`, of which more is better.

        `mrr` is the mean reciprocal rank of a held-out video's partner: its other view, or in `aligned` one
        that was watched by the same shopper, among the others. Where nothing is held out there is the
        training loss alone. The weights with the lowest total are remembered. All workers get the same.
        """
        found = {"total": self._trained_total} if self.no_validation_reason else self._validation_metrics()
        if not np.isfinite(found["total"]) and self.stopped is None:
            self._stop("the validation loss is not a finite number", self.best)
        elif self.stopped is None:
            self.record_validation(found["total"])
        return found

    def state(self) -> Arrays:
        """What a trainer of the same config and features needs to go on from here, as arrays by name."""
        return super().state() | {"stopped": np.asarray(self.stopped or "")}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Takes up where the trainer was whose `state` this is."""
        super().restore(state)
        self.stopped = str(state["stopped"]) or None

    def _validation_metrics(self) -> dict[str, float]:
        self.objective.beta = _beta(self.network, None)
        with seeded_rng(self.config.seed):
            found = validation_metrics(self.objective, self.batches, self.config.batch_size)
        # Workers must agree, to the last bit, on when to stop: they take the first one's word.
        told = self.worker.reduce(np.array(list(found.values())) * (self.worker.rank == 0))
        return dict(zip(found, told.tolist(), strict=True))

    def _stop(self, why: str, kept: Weights) -> None:
        fix = f"lower learning_rate, which is {self.config.learning_rate:g}"
        if self.epoch == 1 or not kept:
            raise FitError(f"training: {why} in epoch {self.epoch}", fix=fix)
        self.objective.load_state_dict(kept)
        self.stopped = f"{why} in epoch {self.epoch}; the weights before it are kept: {fix}"


def _checked(behaviour: BehaviorSignals | None, features: FeatureSet) -> BehaviorSignals:
    """The behaviour to learn from; raises FitError where there is none, or it is of another catalogue."""
    if behaviour is None:
        raise FitError("training: objective.kind=aligned learns from what was watched", fix="give events")
    if len(behaviour.popularity) != len(features):
        raise FitError(
            f"training: behaviour of {len(behaviour.popularity):,} videos for features of {len(features):,}"
        )
    return behaviour


def _beta(head: EncoderHead, epoch: int | None) -> float:
    """The weight of a variational autoencoder's divergence in an epoch; None for the last."""
    if not isinstance(head, VaeHead):
        return 1.0
    return head.config.beta if epoch is None else head.beta(epoch)
