"""SASRec: causal self-attention over a user's last videos (Kang & McAuley 2018)."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from vrec.core.types import CatalogContent
from vrec.retrieval.interaction_matrix import Indices, InteractionMatrix
from vrec.retrieval.network_config import SASRecConfig
from vrec.retrieval.topk import Scores
from vrec.retrieval.training import (
    BLOCK_ROWS,
    NetworkRecommender,
    batches,
    hold_out_validation_users,
    pad_block,
    seeded_rng,
)

BATCHES_PER_SORT = 20
"""Batches whose windows are sorted by length together, so that short windows are padded little."""


class SASRecNetwork(nn.Module):
    """Transformer from videos in time order to a vector per position, close to those of likely next videos.

    Rows are padded at their end with any video: attention is causal, so that padding changes no earlier
    position and needs neither a special index nor a mask.
    """

    def __init__(self, videos: int, config: SASRecConfig) -> None:
        super().__init__()
        self.videos = nn.Embedding(videos, config.dim)
        self.positions = nn.Embedding(config.max_length, config.dim)
        self.dropout = nn.Dropout(config.dropout)
        layer = nn.TransformerEncoderLayer(
            config.dim,
            config.heads,
            dim_feedforward=config.dim,
            dropout=config.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(
            layer, config.layers, norm=nn.LayerNorm(config.dim), enable_nested_tensor=False
        )
        for weights in (self.videos.weight, self.positions.weight):
            nn.init.normal_(weights, std=0.02)

    def forward(self, videos: Tensor) -> Tensor:
        """Return (B, L, dim) vectors for (B, L) videos, L ≤ max_length."""
        length = videos.shape[1]
        x = self.dropout(self.videos(videos) + self.positions.weight[:length])
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=videos.device)
        return self.encoder(x, mask=mask, is_causal=True)

    def loss(self, videos: Tensor, targets: Tensor, negatives: Tensor | None) -> Tensor:
        """Return the mean cross-entropy of the true next videos, a scalar in nats.

        Args:
            videos: (B, L) videos in time order.
            targets: (B, L) next videos, −1 where there is none.
            negatives: (K,) distinct videos drawn uniformly; None uses all.
        """
        known = targets >= 0
        x, targets = self(videos)[known], targets[known]  # (T, dim), (T,)
        if negatives is None:
            return functional.cross_entropy(x @ self.videos.weight.T, targets)
        true = (x * self.videos(targets)).sum(dim=1, keepdim=True)  # (T, 1)
        others = x @ self.videos(negatives).T  # (T, K)
        same = targets[:, None] == negatives
        # The drawn videos represent all others; otherwise the true ones would look too likely (Petrov &
        # Macdonald 2023).
        share = (self.videos.num_embeddings - 1) / (len(negatives) - same.sum(dim=1, keepdim=True))
        others = (others + torch.log(share)).masked_fill(same, -torch.inf)
        return functional.cross_entropy(torch.cat([true, others], dim=1), torch.zeros_like(targets))


def windows(starts: Indices, max_length: int) -> tuple[Indices, Indices]:
    """Return windows that cover each video except every history's last one.

    Args:
        starts: (users + 1,) offsets of the histories.
        max_length: Length of the windows, counted from a history's end; only the oldest may be shorter.

    Returns:
        (W,) offsets of the windows' first videos, and (W,) lengths. Histories of one video have no window.
    """
    followed = np.maximum(np.diff(starts) - 1, 0)
    number = -(-followed // max_length)
    history = np.repeat(np.arange(len(followed)), number)
    back = np.arange(len(history)) - np.repeat(np.cumsum(number) - number, number)
    ends = starts[history] + followed[history] - back * max_length
    first = np.maximum(ends - max_length, starts[history])
    return first, ends - first


def window_batches(lengths: Indices, size: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """Yield one epoch's batches of at most `size` windows of similar length, in random order."""
    order = rng.permutation(len(lengths))
    parts: list[npt.NDArray[np.int64]] = []
    for group in batches(order, size * BATCHES_PER_SORT):
        parts.extend(batches(group[np.argsort(lengths[group], kind="stable")], size))
    for number in rng.permutation(len(parts)):
        yield parts[number]


class SASRec(NetworkRecommender[SASRecConfig, SASRecNetwork]):
    """SASRec: videos by their likelihood to follow a user's last ones; weights of interactions are not used.

    The network is that of Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018, with
    pre-normalization; the loss is the cross-entropy over all or many videos instead of one negative, which
    was its weakness (Klenitskiy & Vasilev, "Turning Dross Into Gold Loss", RecSys 2023). If no user of the
    fit has two videos, nothing can be learned, and no video is recommended.
    """

    kind = "sequence"
    Config = SASRecConfig

    def _build_network(self) -> SASRecNetwork:
        return SASRecNetwork(len(self.videos), self.config)

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        with seeded_rng(self.config.seed) as rng:
            holdout = hold_out_validation_users(histories, self.config, rng)
            self._train(lambda _: self._losses(holdout.kept, rng), self.config.epochs, holdout)

    def _losses(self, shown: InteractionMatrix, rng: np.random.Generator) -> Iterator[Tensor]:
        starts, videos = shown.by_time
        first, lengths = windows(starts, self.config.max_length)
        for chosen in window_batches(lengths, self.config.batch_windows, rng):
            within = np.arange(lengths[chosen].max())
            offsets = first[chosen, None] + np.minimum(within, lengths[chosen, None] - 1)  # (B, L)
            following = np.where(within < lengths[chosen, None], videos[offsets + 1], -1)
            yield self.network.loss(
                torch.from_numpy(videos[offsets].astype(np.int64)).to(self.device),
                torch.from_numpy(following.astype(np.int64)).to(self.device),
                self._negatives(rng),
            )

    def _negatives(self, rng: np.random.Generator) -> Tensor | None:
        number = self.config.negatives
        if number is None or number >= len(self.videos):
            return None
        return torch.from_numpy(rng.choice(len(self.videos), number, replace=False)).to(self.device)

    @torch.no_grad()
    def score_block(self, histories: InteractionMatrix, users: Indices) -> Scores:
        out = np.full((histories.users, histories.videos), -np.inf, np.float32)
        if np.diff(self.histories.weights.indptr).max() < 2:
            return out  # no video followed another in the fit, so that the network is untrained
        starts, videos = histories.by_time
        counts = np.minimum(np.diff(starts), self.config.max_length)
        first = starts[1:] - counts
        within = np.arange(self.config.max_length)
        for block in batches(np.flatnonzero(counts), BLOCK_ROWS):
            rows = pad_block(block)
            offsets = first[rows, None] + np.minimum(within, counts[rows, None] - 1)
            x = self.network(torch.from_numpy(videos[offsets].astype(np.int64)).to(self.device))
            last = x[torch.arange(len(rows)), torch.from_numpy(counts[rows] - 1)]
            out[block] = (last @ self.network.videos.weight.T).cpu().numpy()[: len(block)]
        return out
