"""Training of heads on frozen features by epochs, alone or as one of several equal workers."""

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from vrec.core.artifact import Arrays
from vrec.core.errors import FitError
from vrec.encoders.learned.batches import EncoderBatches
from vrec.encoders.learned.behavior import FIX as BEHAVIOR_FIX
from vrec.encoders.learned.behavior import BehaviorSignals
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.heads.head import EncoderHead
from vrec.encoders.learned.heads.vae import VaeHead
from vrec.encoders.learned.objective import EncoderObjective
from vrec.encoders.learned.split import split_videos
from vrec.encoders.learned.training_config import EncoderTrainingConfig
from vrec.encoders.learned.validation import no_validation_reason, validation_metrics
from vrec.training.device import seeded_rng, torch_device
from vrec.training.epochs import (
    SINGLE_WORKER,
    EpochResult,
    EpochTrainer,
    TrainingWorker,
    Weights,
    copy_weights,
    has_finite_weights,
)


class EncoderTrainer(EpochTrainer[EncoderHead]):
    """Trainer of a head, in place, epoch by epoch, until `done`.

    Where a loss or a weight is not finite, training stops with the weights of the epoch before; `stopped` and
    the result of the epoch give the reason.
    """

    def __init__(
        self,
        head: EncoderHead,
        *,
        features: FeatureSet,
        behavior: BehaviorSignals | None = None,
        config: EncoderTrainingConfig,
        worker: TrainingWorker = SINGLE_WORKER,
    ) -> None:
        """Prepare the training of a head.

        Args:
            head: Head to train.
            features: All features, on every worker.
            behavior: Watched pairs; required by the objective `aligned`, unused by others.
            config: Settings of the training.
            worker: Rank of this worker, and its connection to the others.

        Raises:
            FitError: There are too few videos or pairs, or `behavior` is missing or of another catalog.
        """
        super().__init__(epochs=config.epochs, patience=config.patience, seed=config.seed, worker=worker)
        self.config = config
        device, aligned = torch_device(config.device), config.objective.kind == "aligned"
        usable = np.flatnonzero(np.any([features.has[m] for m in head.dims], axis=0))
        signals = _checked_behavior(behavior, features) if aligned else None
        split = split_videos(usable, signals, config.validation, config.seed)
        self.batches = EncoderBatches(features, signals, split, config.objective.unwatched_weight > 0, device)
        if min(self.batches.examples, config.batch_size) < 2 * worker.world_size:
            raise FitError(
                f"training: {self.batches.examples:,} examples, {config.batch_size:,} per step, for "
                f"{worker.world_size} workers: each worker needs at least 2 per step",
                fix="use fewer workers or a larger batch_size",
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
        """Why the training loss stands in for a validation loss; None where there are held-out videos."""
        self._trained_total = np.inf

    @property
    def trained_module(self) -> nn.Module:
        """Head with the layers that only training needs."""
        return self.objective

    @property
    def done(self) -> bool:
        """True once all epochs are over, the loss stalled for `patience` epochs, or a loss was not finite."""
        return self.stopped is not None or super().done

    def run_epoch(self) -> EpochResult:
        """Train one more epoch.

        Where a loss or a weight is not finite, the weights are reset to those before the epoch, and training
        is `done`.

        Raises:
            FitError: A loss or a weight is not finite in the first epoch, so there are no good weights.
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
                losses = self.module(*self.batches.batch(rows, rng))
                self.optimizer.zero_grad(set_to_none=True)
                losses["total"].backward()
                self.optimizer.step()
                for name, loss in losses.items():
                    sums[name] = sums.get(name, 0.0) + loss.detach() * len(rows)
                    counts[name] = counts.get(name, 0.0) + len(rows)
                examples += len(rows)
        self.objective.eval()
        # Read once per epoch: reading after each step would stall a GPU, and workers must stop together.
        means = self.means(sums, counts)
        if not (np.isfinite(list(means.values())).all() and has_finite_weights(self.objective)):
            self._stop("the loss is not a finite number", before)
        else:
            self._trained_total = means["total"]
        return EpochResult(self.epoch, means, examples, perf_counter() - started, self.stopped)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Compute the validation metrics, and remember the weights with the lowest total.

        Returns:
            The held-out losses by name, their `total`, and `mrr`, of which higher is better: the mean
            reciprocal rank of the partner of a held-out video, which is its other view or, in `aligned`, a
            video watched by the same shopper. Where nothing is held out, only the training loss as `total`.
            The same on all workers.
        """
        metrics = {"total": self._trained_total} if self.no_validation_reason else self._validation_metrics()
        if not np.isfinite(metrics["total"]) and self.stopped is None:
            self._stop("the validation loss is not a finite number", self.best)
        elif self.stopped is None:
            self.record_validation(metrics["total"])
        return metrics

    def state(self) -> Arrays:
        """Return the arrays by name that a trainer of the same config and features needs to continue."""
        return super().state() | {"stopped": np.asarray(self.stopped or "")}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Continue from the `state` of another trainer."""
        super().restore(state)
        self.stopped = str(state["stopped"]) or None

    def _validation_metrics(self) -> dict[str, float]:
        self.objective.beta = _beta(self.network, None)
        with seeded_rng(self.config.seed):
            metrics = validation_metrics(self.objective, self.batches, self.config.batch_size)
        # Workers must agree to the last bit on when to stop: all use the numbers of worker 0.
        values = self.worker.reduce(np.array(list(metrics.values())) * (self.worker.rank == 0))
        return dict(zip(metrics, values.tolist(), strict=True))

    def _stop(self, reason: str, weights: Weights) -> None:
        fix = f"lower learning_rate, which is {self.config.learning_rate:g}"
        if self.epoch == 1 or not weights:
            raise FitError(f"training: {reason} in epoch {self.epoch}", fix=fix)
        self.objective.load_state_dict(weights)
        self.stopped = f"{reason} in epoch {self.epoch}; the weights before it are restored: {fix}"


def _checked_behavior(behavior: BehaviorSignals | None, features: FeatureSet) -> BehaviorSignals:
    """Return `behavior`; raise FitError where it is missing or of another catalog."""
    if behavior is None:
        raise FitError("training: objective.kind=aligned learns from watched videos", fix="give events")
    if len(behavior.popularity) != len(features):
        raise FitError(
            f"training: behavior of {len(behavior.popularity):,} videos for features of {len(features):,}",
            fix=BEHAVIOR_FIX,
        )
    return behavior


def _beta(head: EncoderHead, epoch: int | None) -> float:
    """Return the weight of a variational autoencoder's divergence in an epoch; None for the final weight."""
    if not isinstance(head, VaeHead):
        return 1.0
    return head.config.beta if epoch is None else head.beta(epoch)
