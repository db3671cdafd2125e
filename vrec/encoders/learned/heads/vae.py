"""A multimodal variational autoencoder: one latent vector from whichever modalities a video has."""

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from vrec.core.types import Modality
from vrec.encoders.learned.heads.batch import FeatureBatch, normalize_rows
from vrec.encoders.learned.heads.head import EncoderHead
from vrec.encoders.learned.heads.modality_inputs import (
    FusionHeadConfig,
    ModalityProjection,
    drop_modalities,
    modality_mask,
)

LOG_VARIANCE = 8.0
"""Bound of a log variance, either way: beyond it an expert is certain or says nothing."""


class VaeHeadConfig(FusionHeadConfig):
    """A variational autoencoder whose posterior is a product of experts, one a modality."""

    kind: Literal["vae"] = "vae"
    """A variational autoencoder."""
    layer: int = Field(default=256, ge=1, le=4096)
    """Width of the one hidden layer of encoders and decoders."""
    beta: float = Field(default=1.0, ge=0)
    """Weight of the divergence from the prior once it is warmed up (Higgins et al. 2017)."""
    warmup_epochs: int = Field(default=10, ge=1)
    """Epochs over which that weight rises from 0: from the start it would empty the latent vector before the
    decoders learned to use it (Sønderby et al. 2016)."""
    evidence: float = Field(default=128.0, gt=0)
    """How many independent numbers a modality's vector counts as, whatever its length: the picture's 1280
    would drown the sound's 60. More makes the posterior narrower and the vectors more detailed."""


class VaeHead(EncoderHead):
    """Modalities to one unit vector: the direction of the posterior's mean.

    The posterior of a video is the product of the prior and of an expert for each modality that is there (Wu
    & Goodman 2018), so that it needs no modality in particular. In training it is asked for from all, from
    each one and from a random part of the modalities, and each time has to explain all that are there: every
    one of these bounds the evidence of the same data.
    """

    def __init__(self, config: VaeHeadConfig, dims: Mapping[Modality, int]) -> None:
        super().__init__(dims, config)
        self.ordered = "frames" in dims and config.frames == "gru"
        self.config = config
        self.dropout = nn.Dropout(config.dropout)
        self.readers = nn.ModuleDict(
            {m: ModalityProjection(m, width, config, config.layer) for m, width in dims.items()}
        )
        self.experts = nn.ModuleDict(
            {m: nn.Sequential(nn.ReLU(), nn.Linear(config.layer, 2 * config.dim)) for m in dims}
        )
        self.decoders = nn.ModuleDict(
            {
                m: nn.Sequential(
                    nn.Linear(config.dim, config.layer), nn.ReLU(), nn.Linear(config.layer, width)
                )
                for m, width in dims.items()
            }
        )

    def beta(self, epoch: int) -> float:
        """The weight of the divergence in an epoch, from 1."""
        return self.config.beta * min(1.0, epoch / self.config.warmup_epochs)

    def expert_posteriors(self, batch: FeatureBatch) -> tuple[Tensor, Tensor]:
        """Mean and log variance of each modality's expert, (B, M, dim)."""
        means, log_variances = [], []
        for m in self.dims:
            scaled = self.dropout(self.scaled[m](getattr(batch, m)))
            mean, log_variance = (
                self.experts[m](self.readers[m](scaled, batch.lengths)).float().chunk(2, dim=1)
            )
            means.append(mean)
            log_variances.append(log_variance.clamp(-LOG_VARIANCE, LOG_VARIANCE))
        return torch.stack(means, dim=1), torch.stack(log_variances, dim=1)

    def forward(self, batch: FeatureBatch) -> Tensor:
        """(B, dim) float32 unit rows."""
        has = modality_mask(batch, self.dims)
        if self.training:
            has = drop_modalities(has, 1 / (1 + len(self.dims)))
        mean, _ = product_of_experts(*self.expert_posteriors(batch), has)
        return normalize_rows(mean)

    def negative_elbo(self, batch: FeatureBatch, beta: float) -> Tensor:
        """The negative evidence lower bound, the mean over videos and over what was shown of them."""
        has = modality_mask(batch, self.dims)
        means, log_variances = self.expert_posteriors(batch)
        targets = self.means(batch)
        total, count = means.new_zeros(()), has.new_zeros((), dtype=torch.long)
        for shown in _shown(has):
            mean, log_variance = product_of_experts(means, log_variances, shown)
            latent = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
            loss = self._unexplained(latent, targets, has) + beta * kl_divergence(mean, log_variance)
            rows = shown.any(dim=1)
            total = total + (loss * rows).sum()
            count = count + rows.sum()
        return total / count.clamp(min=1)

    def _unexplained(self, latent: Tensor, targets: Mapping[Modality, Tensor], has: Tensor) -> Tensor:
        """(B,): Gaussian reconstruction losses of the modalities that are there."""
        total = latent.new_zeros(len(latent))
        for place, (m, target) in enumerate(targets.items()):
            error = ((self.decoders[m](latent).float() - target) ** 2).mean(dim=1)
            total = total + 0.5 * self.config.evidence * error * has[:, place]
        return total


def product_of_experts(means: Tensor, log_variances: Tensor, has: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log variance, (B, dim), of N(0, 1) times those of (B, M, dim) experts that (B, M) `has`."""
    precision = torch.exp(-log_variances) * has[:, :, None]
    total = 1 + precision.sum(dim=1)
    return (means * precision).sum(dim=1) / total, -torch.log(total)


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """(B,): KL(N(mean, variance) || N(0, 1)), summed over the (B, dim) numbers."""
    return 0.5 * (mean**2 + torch.exp(log_variance) - 1 - log_variance).sum(dim=1)


def _shown(has: Tensor) -> Iterator[Tensor]:
    """What of `has`, (B, M), the posterior is asked for from: all, each alone, and a random part."""
    yield has
    if has.shape[1] == 1:
        return
    for place in range(has.shape[1]):
        alone = torch.zeros_like(has)
        alone[:, place] = has[:, place]
        yield alone
    yield drop_modalities(has, 0.5)
