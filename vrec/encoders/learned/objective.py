"""What a training step asks of a head: its losses, as one module whose gradients workers can share."""

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from vrec.core.config import BaseConfig
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


class EncoderObjectiveConfig(BaseConfig):
    """What heads are trained towards."""

    kind: Literal["self_supervised", "aligned"] = "self_supervised"
    """`self_supervised` needs nothing but the videos; `aligned` learns from what shoppers watched."""
    temperature: float = Field(default=0.1, gt=0)
    """Softness of the contrast of views in units of cosine; smaller ones dwell on the nearest others."""
    watched_temperature: float = Field(default=0.2, gt=0)
    """Softness of the contrast of watched pairs. One video that was watched tells of another far less surely
    than one view of a video tells of the next, and asking for too much is learned by heart."""
    audio_agreement: float = Field(default=0.2, ge=0)
    """Weight of finding a video's sound among others' by its picture, and the reverse; 0 leaves it out."""
    reversed_negatives: bool = True
    """Whether a clip must be told from its own reverse, where the head sees the frames' order."""
    popularity_correction: bool = True
    """Whether the chance with which a video comes up in a batch is taken off its scores (logQ)."""
    distillation: Literal["none", "likeness", "vector"] = "vector"
    """How the vectors of collaborative filtering teach: by themselves, through a linear map that is thrown
    away afterwards (van den Oord et al. 2013), or by their pairwise likeness (Park et al. 2019)."""
    distillation_weight: float = Field(default=1.0, ge=0)
    """Weight of that beside the contrast of watched pairs."""
    unwatched_weight: float = Field(default=0.05, ge=0)
    """Weight in `aligned` of the self-supervised losses, over videos that nobody has watched. They tell each
    video from all others, which is not what brings those together that are watched together."""


@dataclass(frozen=True, slots=True)
class ViewBatch:
    """B videos, each in two views."""

    one: FeatureBatch
    other: FeatureBatch


@dataclass(frozen=True, slots=True)
class PairBatch:
    """B pairs of videos that the same shoppers watched."""

    left: FeatureBatch
    right: FeatureBatch
    rows: tuple[Tensor, Tensor]
    """(B,) int64 of the left and the right videos, to tell videos apart."""
    log_q: tuple[Tensor, Tensor]
    """(B,) log chances of the left and the right videos to come up."""
    targets: Tensor | None
    """(2 B, k): the left videos', then the right ones'."""
    has_target: Tensor | None
    """(2 B,) bool."""


class EncoderObjective(nn.Module):
    """A head with what it needs in training alone."""

    def __init__(
        self, head: EncoderHead, config: EncoderObjectiveConfig, features: FeatureSet, targets: int
    ) -> None:
        """`targets` is the length of the collaborative vectors, 0 for none."""
        super().__init__()
        self.head, self.config = head, config
        self.beta = 1.0
        """Weight of the divergence in a variational autoencoder's loss; the trainer sets it."""
        self.mixed_precision = False
        """Whether the head multiplies in bfloat16; the losses never do."""
        heard = {"frames", "audio"} <= set(features.dims) and "frames" in head.dims
        self.uses_audio_agreement = bool(config.audio_agreement) and heard and not isinstance(head, VaeHead)
        self.hear: nn.Sequential | None = None
        if self.uses_audio_agreement and not isinstance(head, GatedHead):
            scaled = FeatureScaler(features.dims["audio"])
            fit_scaler(scaled, features, "audio")
            self.hear = nn.Sequential(scaled, orthogonal_linear(features.dims["audio"], head.dim))
        teaches = targets and config.kind == "aligned" and config.distillation == "vector"
        self.predict = nn.Linear(head.dim, targets) if teaches else None

    def forward(self, views: ViewBatch | None, pairs: PairBatch | None) -> dict[str, Tensor]:
        """The losses of a step by name, and their weighted sum in `total`."""
        found: dict[str, Tensor] = {}
        total = self._every_weight()
        if views is not None:
            own, weighted = self._self_supervised(views)
            found |= own
            total = total + weighted * (self.config.unwatched_weight if pairs is not None else 1.0)
        if pairs is not None:
            taught, weighted = self._aligned(pairs)
            found |= taught
            total = total + weighted
        return found | {"total": total}

    def _vectors(self, batch: FeatureBatch) -> Tensor:
        with self._precision(batch):
            return self.head(batch)

    def _precision(self, batch: FeatureBatch) -> torch.autocast:
        return torch.autocast(batch.lengths.device.type, torch.bfloat16, enabled=self.mixed_precision)

    def _every_weight(self) -> Tensor:
        # Workers that average gradients wait for those of all weights, also of what a batch has no use for.
        return torch.stack([weight.sum() for weight in self.parameters()]).sum() * 0.0

    def _self_supervised(self, views: ViewBatch) -> tuple[dict[str, Tensor], Tensor]:
        if isinstance(self.head, VaeHead):
            with self._precision(views.one):
                elbo = self.head.negative_elbo(views.one, self.beta)
            # Counted by number of evidence and not by video, it is of the size of a contrast.
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
        """The contrast of picture and sound, over the videos that have both; 0 where fewer than two do."""
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
        found = {"co_watch": contrast}
        total = found["co_watch"]
        if pairs.targets is not None and pairs.has_target is not None and config.distillation != "none":
            found["distillation"] = self._distilled(torch.cat([left, right]), pairs.targets, pairs.has_target)
            total = total + config.distillation_weight * found["distillation"]
        return found, total

    def _distilled(self, vectors: Tensor, targets: Tensor, known: Tensor) -> Tensor:
        if int(known.sum()) < 2:
            return vectors.new_zeros(())
        if self.predict is None:
            return similarity_distillation_loss(vectors[known], targets[known])
        return cosine_distillation_loss(self.predict(vectors[known]), targets[known])


def reversed_frames(batch: FeatureBatch) -> FeatureBatch:
    """The same videos played backwards."""
    places = torch.arange(batch.frames.shape[1], device=batch.lengths.device)
    backwards = (batch.lengths[:, None] - 1 - places).clamp(min=0)  # (B, T)
    frames = torch.take_along_dim(batch.frames, backwards[:, :, None], dim=1)
    frames = frames * (places < batch.lengths[:, None])[:, :, None]
    return FeatureBatch(frames, batch.lengths, batch.audio, batch.text, batch.has)
