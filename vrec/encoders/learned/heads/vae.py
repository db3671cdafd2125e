"""Multimodal variational autoencoder: one latent vector from any subset of the modalities."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from vrec.core.types import Modality
from vrec.encoders.learned.heads.batch import FeatureBatch, normalize_rows
from vrec.encoders.learned.heads.config import VaeHeadConfig
from vrec.encoders.learned.heads.head import EncoderHead
from vrec.encoders.learned.heads.modality_inputs import ModalityProjection, drop_modalities, modality_mask

LOG_VARIANCE = 8.0
"""Bound of the absolute log variance of an expert: beyond it an expert is certain, or without influence."""


class VaeHead(EncoderHead):
    """Variational autoencoder of the modalities, whose unit vector is the direction of the posterior mean.

    The posterior of a video is the product of the prior and of one expert for each modality that the video
    has (Wu & Goodman 2018), so that no modality is required. In training it is computed from all modalities,
    from each one, and from a random subset, and each of these must reconstruct all modalities of the video:
    each is a bound of the evidence of the same data.
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
        """Return the weight of the divergence in an epoch, counted from 1."""
        return self.config.beta * min(1.0, epoch / self.config.warmup_epochs)

    def expert_posteriors(self, batch: FeatureBatch) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the expert of each modality, (B, M, dim)."""
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
        """Return (B, dim) float32 unit rows."""
        has = modality_mask(batch, self.dims)
        if self.training:
            has = drop_modalities(has, 1 / (1 + len(self.dims)))
        mean, _ = product_of_experts(*self.expert_posteriors(batch), has)
        return normalize_rows(mean)

    def negative_elbo(self, batch: FeatureBatch, beta: float) -> Tensor:
        """Return the negative evidence lower bound, a mean over videos and over subsets of modalities."""
        has = modality_mask(batch, self.dims)
        means, log_variances = self.expert_posteriors(batch)
        targets = self.means(batch)
        total, count = means.new_zeros(()), has.new_zeros((), dtype=torch.long)
        for subset in _subsets(has):
            mean, log_variance = product_of_experts(means, log_variances, subset)
            latent = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
            loss = self._reconstruction_loss(latent, targets, has) + beta * kl_divergence(mean, log_variance)
            rows = subset.any(dim=1)
            total = total + (loss * rows).sum()
            count = count + rows.sum()
        return total / count.clamp(min=1)

    def _reconstruction_loss(self, latent: Tensor, targets: Mapping[Modality, Tensor], has: Tensor) -> Tensor:
        """Return (B,): the Gaussian reconstruction losses, summed over the modalities of a video."""
        total = latent.new_zeros(len(latent))
        for column, (m, target) in enumerate(targets.items()):
            error = ((self.decoders[m](latent).float() - target) ** 2).mean(dim=1)
            total = total + 0.5 * self.config.evidence * error * has[:, column]
        return total


def product_of_experts(means: Tensor, log_variances: Tensor, has: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and log variance, (B, dim), of N(0, 1) times the experts, (B, M, dim), in `has`, (B, M)."""
    precision = torch.exp(-log_variances) * has[:, :, None]
    total = 1 + precision.sum(dim=1)
    return (means * precision).sum(dim=1) / total, -torch.log(total)


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return (B,): KL(N(mean, variance) || N(0, 1)), summed over the dimensions of (B, dim)."""
    return 0.5 * (mean**2 + torch.exp(log_variance) - 1 - log_variance).sum(dim=1)


def _subsets(has: Tensor) -> Iterator[Tensor]:
    """Yield subsets of the modalities in `has`, (B, M): all, each alone, and a random one."""
    yield has
    if has.shape[1] == 1:
        return
    for column in range(has.shape[1]):
        alone = torch.zeros_like(has)
        alone[:, column] = has[:, column]
        yield alone
    yield drop_modalities(has, 0.5)
