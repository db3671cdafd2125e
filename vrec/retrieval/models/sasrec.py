"""What is watched next: causal self-attention over a user's last videos (Kang & McAuley 2018)."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from vrec.core.types import CatalogContent
from vrec.retrieval.interaction_matrix import Indices, InteractionMatrix
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

BATCHES_PER_SORT = 20
"""Batches whose windows are sorted by length together, so that short ones are not padded to long ones."""


class SASRecConfig(EarlyStoppingConfig):
    """How the sequence model is built and trained."""

    max_length: int = Field(default=100, ge=1)
    """The newest videos of a history that it looks at; what is older does not count."""
    dim: int = Field(default=64, ge=1)
    """Dimensions of a video's vector and of the layers."""
    layers: int = Field(default=2, ge=1)
    """Transformer layers."""
    heads: int = Field(default=2, ge=1)
    """Attention heads of each layer; `dim` must be a multiple."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of activations dropped in training."""
    negatives: int | None = Field(default=4096, ge=1)
    """Videos drawn a step that the true next ones must outscore; all where the catalogue has no more, or
    for None. Time and memory of a step grow with it."""
    batch_windows: int = Field(default=64, ge=1)
    """Histories, or windows of `max_length` videos of long ones, a step."""
    epochs: int = Field(default=100, ge=1)
    """The most passes over the histories."""

    @model_validator(mode="after")
    def _heads_share_the_dimensions(self) -> "SASRecConfig":
        if self.dim % self.heads:
            raise ValueError(f"dim is {self.dim}, which is no multiple of heads, {self.heads}")
        return self


class SASRecNetwork(nn.Module):
    """Videos in time order → for each position, a vector near those of the videos likely to follow.

    Rows are filled up at their end: attention looks back only, so whatever the filling is, it changes nothing
    before it, and no video and no mask has to stand for it.
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

    def forward(self, places: Tensor) -> Tensor:
        """(B, L, dim) for (B, L) videos, L ≤ max_length."""
        length = places.shape[1]
        x = self.dropout(self.videos(places) + self.positions.weight[:length])
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=places.device)
        return self.encoder(x, mask=mask, is_causal=True)

    def loss(self, places: Tensor, targets: Tensor, negatives: Tensor | None) -> Tensor:
        """The cross-entropy of the true next video, the mean over positions with one: a scalar, in nats.

        `places` is (B, L); `targets` is (B, L), −1 where nothing follows; `negatives` are (K,) distinct
        videos drawn evenly, None for all.
        """
        known = targets >= 0
        x, targets = self(places)[known], targets[known]  # (T, dim), (T,)
        if negatives is None:
            return functional.cross_entropy(x @ self.videos.weight.T, targets)
        true = (x * self.videos(targets)).sum(dim=1, keepdim=True)  # (T, 1)
        others = x @ self.videos(negatives).T  # (T, K)
        same = targets[:, None] == negatives
        # The drawn stand for all others; else the true ones look too likely (Petrov & Macdonald 2023).
        share = (self.videos.num_embeddings - 1) / (len(negatives) - same.sum(dim=1, keepdim=True))
        others = (others + torch.log(share)).masked_fill(same, -torch.inf)
        return functional.cross_entropy(torch.cat([true, others], dim=1), torch.zeros_like(targets))


def windows(starts: Indices, max_length: int) -> tuple[Indices, Indices]:
    """(W,) first places and (W,) lengths of windows that cover each video but every history's last one.

    `starts` is (users + 1,). A history's windows have `max_length` places, counted from its end; only the
    oldest may be shorter. Histories of one video have none.
    """
    followed = np.maximum(np.diff(starts) - 1, 0)
    number = -(-followed // max_length)
    history = np.repeat(np.arange(len(followed)), number)
    back = np.arange(len(history)) - np.repeat(np.cumsum(number) - number, number)
    ends = starts[history] + followed[history] - back * max_length
    first = np.maximum(ends - max_length, starts[history])
    return first, ends - first


def window_batches(lengths: Indices, size: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """One epoch's batches of (≤ size,) windows in random order, each of windows of similar length."""
    order = rng.permutation(len(lengths))
    found: list[npt.NDArray[np.int64]] = []
    for some in batches(order, size * BATCHES_PER_SORT):
        found.extend(batches(some[np.argsort(lengths[some], kind="stable")], size))
    for place in rng.permutation(len(found)):
        yield found[place]


class SASRec(NetworkRecommender[SASRecConfig, SASRecNetwork]):
    """Ranks videos by how likely they follow a user's last ones; weights of interactions are not used.

    The network is SASRec's (Kang & McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018) with
    normalisation first; the loss is the cross-entropy over all videos, or many, in place of SASRec's one
    negative, which made it weak (Klenitskiy & Vasilev, "Turning Dross Into Gold Loss", RecSys 2023).
    Where no user has two videos there is nothing to learn, and no video is recommended.
    """

    kind = "sequence"
    Config = SASRecConfig

    def _build_network(self) -> SASRecNetwork:
        return SASRecNetwork(len(self.videos), self.config)

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        with seeded_rng(self.config.seed) as rng:
            shown, judges = hold_out_validation_users(histories, self.config, rng)
            self._place(torch_device(self.config.device))
            train_with_early_stopping(
                self.network,
                lambda _: self._losses(shown, rng),
                epochs=self.config.epochs,
                learning_rate=self.config.learning_rate,
                model_name=self.kind,
                validate=(lambda: judges.ndcg(self._scores)) if judges else None,
                patience=self.config.patience,
            )

    def _losses(self, shown: InteractionMatrix, rng: np.random.Generator) -> Iterator[Tensor]:
        starts, videos = shown.by_time
        first, lengths = windows(starts, self.config.max_length)
        for chosen in window_batches(lengths, self.config.batch_windows, rng):
            within = np.arange(lengths[chosen].max())
            places = first[chosen, None] + np.minimum(within, lengths[chosen, None] - 1)  # (B, L)
            following = np.where(within < lengths[chosen, None], videos[places + 1], -1)
            yield self.network.loss(
                torch.from_numpy(videos[places].astype(np.int64)).to(self.device),
                torch.from_numpy(following.astype(np.int64)).to(self.device),
                self._negatives(rng),
            )

    def _negatives(self, rng: np.random.Generator) -> Tensor | None:
        number = self.config.negatives
        if number is None or number >= len(self.videos):
            return None
        return torch.from_numpy(rng.choice(len(self.videos), number, replace=False)).to(self.device)

    @torch.no_grad()
    def _scores(self, histories: InteractionMatrix, users: Indices) -> Scores:
        out = np.full((histories.users, histories.videos), -np.inf, np.float32)
        if np.diff(self.histories.weights.indptr).max() < 2:
            return out  # nothing followed anything in the fit, so the network has learned nothing
        starts, videos = histories.by_time
        counts = np.minimum(np.diff(starts), self.config.max_length)
        first = starts[1:] - counts
        within = np.arange(self.config.max_length)
        for block in batches(np.flatnonzero(counts), BLOCK_ROWS):
            rows = pad_block(block)
            places = first[rows, None] + np.minimum(within, counts[rows, None] - 1)
            x = self.network(torch.from_numpy(videos[places].astype(np.int64)).to(self.device))
            last = x[torch.arange(len(rows)), torch.from_numpy(counts[rows] - 1)]
            out[block] = (last @ self.network.videos.weight.T).cpu().numpy()[: len(block)]
        return out
