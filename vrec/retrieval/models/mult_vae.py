"""Mult-VAE: a variational autoencoder over a user's whole history (Liang et al. 2018)."""

from collections.abc import Iterator

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from vrec.core.types import CatalogContent
from vrec.retrieval.interaction_matrix import Indices, InteractionMatrix, Matrix
from vrec.retrieval.topk import Scores
from vrec.retrieval.training import (
    BLOCK_ROWS,
    EarlyStoppingConfig,
    NetworkRecommender,
    batches,
    hold_out_validation_users,
    pad_block,
    seeded_rng,
    torch_device,
    train_with_early_stopping,
)

Bags = tuple[Tensor, Tensor, Tensor]
"""Sparse rows as an embedding bag takes them: (nnz,) videos, (B,) row starts, (nnz,) values."""


class MultVaeConfig(EarlyStoppingConfig):
    """How the autoencoder is built and trained."""

    hidden: int = Field(default=600, ge=1)
    """Units of the one hidden layer of the encoder and of the decoder."""
    latent: int = Field(default=200, ge=1)
    """Dimensions of the latent variable that a history is pressed into."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of a history's videos that the encoder does not get to see in training."""
    beta: float = Field(default=0.2, ge=0)
    """Final weight of the KL term: 1 is the true variational bound, 0 an autoencoder with noise."""
    anneal_epochs: int = Field(default=50, ge=0)
    """Epochs in which the KL term's weight rises evenly from 0 to `beta`."""
    batch_users: int = Field(default=100, ge=1)
    """Users a step; a step takes memory for this many rows of the catalogue's length."""
    epochs: int = Field(default=100, ge=1)
    """The most passes over the users."""


class MultVaeNetwork(nn.Module):
    """Videos → tanh hidden → mean and log-variance → tanh hidden → logits over videos."""

    def __init__(self, videos: int, hidden: int, latent: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        # The first layer's weights lie by video: a sparse row costs by its length, not by the catalogue's.
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
        """(B, latent) mean and log-variance for B histories of ones; drops videos out in training only."""
        videos, starts, values = bags
        values = functional.dropout(values, self.dropout, self.training)
        hidden = torch.tanh(self.first(videos, starts, per_sample_weights=values) + self.first_bias)
        mean, log_variance = self.latent(hidden).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        """(B, videos) logits for (B, latent)."""
        return self.last(torch.tanh(self.decoder(z)))

    def loss(self, bags: Bags, beta: float) -> Tensor:
        """The negative bound with the KL term weighted by `beta`, a scalar: the mean over users."""
        mean, log_variance = self.encode(bags)
        logits = self.decode(mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance))
        return multinomial_loss(logits, bags) + beta * kl_divergence(mean, log_variance)


def multinomial_loss(logits: Tensor, bags: Bags) -> Tensor:
    """−Σ log softmax(logits) over each user's videos, the mean over users: scalar, in nats."""
    videos, starts, _ = bags
    counts = torch.diff(starts, append=starts.new_tensor([len(videos)]))
    rows = torch.repeat_interleave(torch.arange(len(starts), device=starts.device), counts)
    seen = logits[rows, videos].sum()
    return ((counts * torch.logsumexp(logits, dim=1)).sum() - seen) / len(starts)


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL of N(mean, exp(log_variance)) from the standard normal, the mean over users: scalar, in nats."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()


def unit_bags(histories: Matrix, device: torch.device) -> Bags:
    """(B, videos) histories as bags whose rows have the L2 norm 1; weights are not used."""
    counts = np.diff(histories.indptr)
    values = np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts).astype(np.float32)
    parts = (histories.indices.astype(np.int64), histories.indptr[:-1].astype(np.int64), values)
    videos, starts, scale = (torch.from_numpy(part).to(device) for part in parts)
    return videos, starts, scale


class MultVae(NetworkRecommender[MultVaeConfig, MultVaeNetwork]):
    """Ranks videos by the logits that the mean of a history's latent distribution decodes to.

    Liang, Krishnan, Hoffman & Jebara, "Variational Autoencoders for Collaborative Filtering", WWW 2018.
    Histories count as sets: neither weights nor times are used, but that the newest videos judge when to
    stop. Weights and Adam take 24 bytes a video and hidden unit: 300 MB for 20,000 videos.
    """

    kind = "mult_vae"
    Config = MultVaeConfig

    def _build_network(self) -> MultVaeNetwork:
        config = self.config
        return MultVaeNetwork(len(self.videos), config.hidden, config.latent, config.dropout)

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        with seeded_rng(self.config.seed) as rng:
            shown, judges = hold_out_validation_users(histories, self.config, rng)
            self._place(torch_device(self.config.device))
            train_with_early_stopping(
                self.network,
                lambda epoch: self._losses(shown.weights, epoch, rng),
                epochs=self.config.epochs,
                learning_rate=self.config.learning_rate,
                model_name=self.kind,
                validate=(lambda: judges.ndcg(self._scores)) if judges else None,
                patience=self.config.patience,
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
    def _scores(self, histories: InteractionMatrix, users: Indices) -> Scores:
        out = np.empty((histories.users, histories.videos), np.float32)
        for block in batches(np.arange(histories.users), BLOCK_ROWS):
            bags = unit_bags(histories.weights[pad_block(block)], self.device)
            mean, _ = self.network.encode(bags)
            out[block] = self.network.decode(mean).cpu().numpy()[: len(block)]
        return out
