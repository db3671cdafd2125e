"""Mult-VAE: a variational autoencoder of a user's whole history (Liang et al. 2018)."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vrec.core.types import CatalogContent
from vrec.retrieval.interaction_matrix import Indices, InteractionMatrix, Matrix
from vrec.retrieval.network_config import MultVaeConfig
from vrec.retrieval.topk import Scores
from vrec.retrieval.training import (
    BLOCK_ROWS,
    NetworkRecommender,
    batches,
    hold_out_validation_users,
    pad_block,
    seeded_rng,
)

Bags = tuple[Tensor, Tensor, Tensor]
"""Sparse rows in the form of nn.EmbeddingBag: (nnz,) videos, (B,) row starts, (nnz,) values."""


class MultVaeNetwork(nn.Module):
    """Network: videos → tanh hidden → mean and log-variance → tanh hidden → logits over videos."""

    def __init__(self, videos: int, hidden: int, latent: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        # The first layer's weights are stored by video: a row costs in proportion to its videos.
        self.first = nn.EmbeddingBag(videos, hidden, mode="sum")
        self.first_bias = nn.Parameter(torch.zeros(hidden))
        self.latent = nn.Linear(hidden, 2 * latent)
        self.decoder = nn.Linear(latent, hidden)
        self.last = nn.Linear(hidden, videos)
        for weights in (self.first.weight, self.latent.weight, self.decoder.weight, self.last.weight):
            nn.init.xavier_normal_(weights)
        for bias in (self.first_bias, self.latent.bias, self.decoder.bias, self.last.bias):
            nn.init.trunc_normal_(bias, std=0.001, a=-0.002, b=0.002)

    def encode(self, bags: Bags) -> tuple[Tensor, Tensor]:
        """Return the (B, latent) mean and log-variance of B histories, with dropout of videos in training."""
        videos, starts, values = bags
        values = functional.dropout(values, self.dropout, self.training)
        hidden = torch.tanh(self.first(videos, starts, per_sample_weights=values) + self.first_bias)
        mean, log_variance = self.latent(hidden).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        """Return (B, videos) logits for (B, latent)."""
        return self.last(torch.tanh(self.decoder(z)))

    def loss(self, bags: Bags, beta: float) -> Tensor:
        """Return the negative bound, with the KL term weighted by `beta`, averaged over users: a scalar."""
        mean, log_variance = self.encode(bags)
        logits = self.decode(mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance))
        return multinomial_loss(logits, bags) + beta * kl_divergence(mean, log_variance)


def multinomial_loss(logits: Tensor, bags: Bags) -> Tensor:
    """Return −Σ log softmax(logits) over each user's videos, averaged over users: a scalar in nats."""
    videos, starts, _ = bags
    counts = torch.diff(starts, append=starts.new_tensor([len(videos)]))
    rows = torch.repeat_interleave(torch.arange(len(starts), device=starts.device), counts)
    seen = logits[rows, videos].sum()
    return ((counts * torch.logsumexp(logits, dim=1)).sum() - seen) / len(starts)


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return KL(N(mean, exp(log_variance)) ‖ N(0, I)), averaged over users: a scalar in nats."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()


def unit_bags(histories: Matrix, device: torch.device) -> Bags:
    """Return (B, videos) histories as bags of equal values with L2 norm 1 per row; weights are not used."""
    counts = np.diff(histories.indptr)
    values = np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts).astype(np.float32)
    parts = (histories.indices.astype(np.int64), histories.indptr[:-1].astype(np.int64), values)
    videos, starts, scale = (torch.from_numpy(part).to(device) for part in parts)
    return videos, starts, scale


class MultVae(NetworkRecommender[MultVaeConfig, MultVaeNetwork]):
    """Mult-VAE: logits decoded from the mean of a history's latent distribution.

    Liang, Krishnan, Hoffman & Jebara, "Variational Autoencoders for Collaborative Filtering", WWW 2018.
    Histories are sets: weights and times are not used, except that the newest videos are held out for early
    stopping. Weights and the state of Adam take 24 bytes per video and hidden unit: 300 MB for 20,000 videos.
    """

    kind = "mult_vae"
    Config = MultVaeConfig

    def _build_network(self) -> MultVaeNetwork:
        config = self.config
        return MultVaeNetwork(len(self.videos), config.hidden, config.latent, config.dropout)

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        with seeded_rng(self.config.seed) as rng:
            holdout = hold_out_validation_users(histories, self.config, rng)
            self._train(
                lambda epoch: self._losses(holdout.kept.weights, epoch, rng), self.config.epochs, holdout
            )

    def _losses(self, shown: Matrix, epoch: int, rng: np.random.Generator) -> Iterator[Tensor]:
        config = self.config
        order = rng.permutation(shown.shape[0])
        steps = -(-len(order) // config.batch_users)
        for step, users in enumerate(batches(order, config.batch_users)):
            progress = (epoch - 1 + step / steps) / config.anneal_epochs if config.anneal_epochs else 1.0
            bags = unit_bags(shown[users], self.device)
            yield self.network.loss(bags, config.beta * min(1.0, progress))

    @torch.no_grad()
    def score_block(self, histories: InteractionMatrix, users: Indices) -> Scores:
        out = np.empty((histories.users, histories.videos), np.float32)
        for block in batches(np.arange(histories.users), BLOCK_ROWS):
            bags = unit_bags(histories.weights[pad_block(block)], self.device)
            mean, _ = self.network.encode(bags)
            out[block] = self.network.decode(mean).cpu().numpy()[: len(block)]
        return out
