"""Training objective of a head: its losses, as one module whose gradients workers can share."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.heads.batch import (
    FeatureBatch,
    FeatureScaler,
    fit_scaler,
    normalize_rows,
    orthogonal_linear,
)
from vrec.encoders.learned.heads.gated import GatedHead
from vrec.encoders.learned.heads.head import EncoderHead
from vrec.encoders.learned.heads.vae import VaeHead
from vrec.encoders.learned.losses import (
    co_watch_loss,
    cosine_distillation_loss,
    info_nce,
    similarity_distillation_loss,
)
from vrec.encoders.learned.training_config import EncoderObjectiveConfig


@dataclass(frozen=True, slots=True)
class ViewBatch:
    """Batch of B videos, each in two views."""

    one: FeatureBatch
    other: FeatureBatch


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Batch of B pairs of videos that the same shoppers watched."""

    left: FeatureBatch
    right: FeatureBatch
    rows: tuple[Tensor, Tensor]
    """(B,) int64 rows of the left and the right videos in the FeatureSet."""
    log_q: tuple[Tensor, Tensor]
    """(B,) log probabilities that the left and the right videos appear in a batch."""
    targets: Tensor | None
    """(2 B, k) target vectors of the left videos, then of the right ones."""
    has_target: Tensor | None
    """(2 B,) bool whether a video has a target."""


class EncoderObjective(nn.Module):
    """Head with the layers and losses that only training needs."""

    def __init__(
        self, head: EncoderHead, config: EncoderObjectiveConfig, features: FeatureSet, targets: int
    ) -> None:
        """Prepare a head for training; `targets` is the length of the collaborative vectors, 0 for none."""
        super().__init__()
        self.head, self.config = head, config
        self.beta = 1.0
        """Weight of the divergence in the loss of a variational autoencoder; the trainer sets it."""
        self.mixed_precision = False
        """Whether the head multiplies in bfloat16; the losses never do."""
        has_both = {"frames", "audio"} <= set(features.dims) and "frames" in head.dims
        self.uses_audio_agreement = (
            bool(config.audio_agreement) and has_both and not isinstance(head, VaeHead)
        )
        self.hear: nn.Sequential | None = None
        if self.uses_audio_agreement and not isinstance(head, GatedHead):
            scaled = FeatureScaler(features.dims["audio"])
            fit_scaler(scaled, features, "audio")
            self.hear = nn.Sequential(scaled, orthogonal_linear(features.dims["audio"], head.dim))
        predicts = targets and config.kind == "aligned" and config.distillation == "vector"
        self.predict = nn.Linear(head.dim, targets) if predicts else None

    def forward(self, views: ViewBatch | None, pairs: PairBatch | None) -> dict[str, Tensor]:
        """Return the losses of a step by name, and their weighted sum in `total`."""
        losses: dict[str, Tensor] = {}
        total = self._zero_of_all_weights()
        if views is not None:
            parts, weighted = self._self_supervised(views)
            losses |= parts
            total = total + weighted * (self.config.unwatched_weight if pairs is not None else 1.0)
        if pairs is not None:
            parts, weighted = self._aligned(pairs)
            losses |= parts
            total = total + weighted
        return losses | {"total": total}

    def _vectors(self, batch: FeatureBatch) -> Tensor:
        with self._precision(batch):
            return self.head(batch)

    def _precision(self, batch: FeatureBatch) -> torch.autocast:
        return torch.autocast(batch.lengths.device.type, torch.bfloat16, enabled=self.mixed_precision)

    def _zero_of_all_weights(self) -> Tensor:
        # Workers that average gradients wait for those of all weights, also of unused weights.
        return torch.stack([weight.sum() for weight in self.parameters()]).sum() * 0.0

    def _self_supervised(self, views: ViewBatch) -> tuple[dict[str, Tensor], Tensor]:
        if isinstance(self.head, VaeHead):
            with self._precision(views.one):
                elbo = self.head.negative_elbo(views.one, self.beta)
            # Divided by the evidence per video, the ELBO is of the size of a contrast.
            return {"elbo": elbo}, elbo / self.head.config.evidence
        one, other = self._vectors(views.one), self._vectors(views.other)
        contrast = info_nce(one, other, self.config.temperature, self._reversed(one, views.other))
        if not self.uses_audio_agreement:
            return {"views": contrast}, contrast
        agreement = self._agreement(one, views.one)
        return {"views": contrast, "audio": agreement}, contrast + self.config.audio_agreement * agreement

    def _reversed(self, one: Tensor, other: FeatureBatch) -> Tensor | None:
        if not (self.head.ordered and self.config.reversed_negatives):
            return None
        cosines = (one * self._vectors(reversed_frames(other))).sum(dim=1)
        return cosines.masked_fill(other.lengths < 2, -torch.inf)

    def _agreement(self, vectors: Tensor, batch: FeatureBatch) -> Tensor:
        """Return the contrast of frames and sound over videos with both; 0 where fewer than two have both."""
        both = batch.has["frames"] & batch.has["audio"]
        if int(both.sum()) < 2:
            return vectors.new_zeros(())
        with self._precision(batch):
            if isinstance(self.head, GatedHead):
                parts = self.head.parts(batch)
                vectors, sound = parts["frames"], parts["audio"]
            else:
                assert self.hear is not None
                sound = normalize_rows(self.hear(batch.audio))
        return info_nce(vectors[both], sound[both], self.config.temperature)

    def _aligned(self, pairs: PairBatch) -> tuple[dict[str, Tensor], Tensor]:
        config = self.config
        left, right = self._vectors(pairs.left), self._vectors(pairs.right)
        log_q = pairs.log_q if config.popularity_correction else None
        contrast = co_watch_loss(left, right, pairs.rows, temperature=config.watched_temperature, log_q=log_q)
        losses, total = {"co_watch": contrast}, contrast
        if pairs.targets is not None and pairs.has_target is not None and config.distillation != "none":
            loss = self._distillation_loss(torch.cat([left, right]), pairs.targets, pairs.has_target)
            losses["distillation"] = loss
            total = total + config.distillation_weight * loss
        return losses, total

    def _distillation_loss(self, vectors: Tensor, targets: Tensor, known: Tensor) -> Tensor:
        if int(known.sum()) < 2:
            return vectors.new_zeros(())
        if self.predict is None:
            return similarity_distillation_loss(vectors[known], targets[known])
        return cosine_distillation_loss(self.predict(vectors[known]), targets[known])


def reversed_frames(batch: FeatureBatch) -> FeatureBatch:
    """Return the same videos with their frames in reverse order."""
    positions = torch.arange(batch.frames.shape[1], device=batch.lengths.device)
    backwards = (batch.lengths[:, None] - 1 - positions).clamp(min=0)  # (B, T)
    frames = torch.take_along_dim(batch.frames, backwards[:, :, None], dim=1)
    frames = frames * (positions < batch.lengths[:, None])[:, :, None]
    return FeatureBatch(frames, batch.lengths, batch.audio, batch.text, batch.has)
