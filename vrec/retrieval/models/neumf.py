"""Neural matrix factorisation: a product of vectors beside a network over them (He et al. 2017)."""

from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from vrec.core.types import CatalogContent
from vrec.retrieval.interaction_matrix import Indices, InteractionMatrix, Matrix
from vrec.retrieval.topk import Scores
from vrec.retrieval.training import (
    NetworkRecommender,
    TrainingConfig,
    batches,
    seeded_rng,
    torch_device,
    train_with_early_stopping,
)

VIDEO_BLOCK = 65_536
"""Videos that are scored at once for a user: memory is bounded by this many rows of the widest layer."""

Width = Annotated[int, Field(ge=1)]


class NeuMfConfig(TrainingConfig):
    """How the two parts are built and trained."""

    factors: int = Field(default=32, ge=1)
    """Dimensions of the users' and videos' vectors in the product part."""
    layers: tuple[Width, ...] = Field(default=(64, 32, 16), min_length=2)
    """Widths in the network part: first its input, half of it the user's vector and half the video's, then
    its layers."""
    negatives: int = Field(default=4, ge=1)
    """Videos not watched by the user that are drawn anew in each epoch for every one watched."""
    l2: float = Field(default=0.0, ge=0)
    """Weight in the loss of the squared norms of a pair's vectors, against learning pairs by heart."""
    batch_interactions: int = Field(default=512, ge=1)
    """Interactions a step, each beside its negatives."""
    epochs: int = Field(default=20, ge=1)
    """Passes over the interactions; too many learn them by heart."""

    @field_validator("layers")
    @classmethod
    def _halves(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if layers[0] % 2:
            raise ValueError(
                f"the first of layers is {layers[0]}, but the user and the video share it evenly"
            )
        return layers


class NeuMfNetwork(nn.Module):
    """Users and videos → logits of an interaction, from the last layers of both parts side by side."""

    def __init__(self, users: int, videos: int, factors: int, layers: tuple[int, ...]) -> None:
        super().__init__()
        self.product_users = nn.Embedding(users, factors)
        self.product_videos = nn.Embedding(videos, factors)
        self.layer_users = nn.Embedding(users, layers[0] // 2)
        self.layer_videos = nn.Embedding(videos, layers[0] // 2)
        self.first = nn.Linear(layers[0], layers[1])
        deeper = [(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(layers[1:])]
        self.deeper = nn.Sequential(nn.ReLU(), *chain.from_iterable(deeper))
        self.last = nn.Linear(factors + layers[-1], 1)
        for name, weights in self.named_parameters():
            if weights.dim() == 1:
                nn.init.zeros_(weights)
            elif name.startswith(("product", "layer_")):
                nn.init.normal_(weights, std=0.01)
            else:
                nn.init.xavier_uniform_(weights)

    def forward(self, users: Tensor, videos: Tensor) -> tuple[Tensor, Tensor]:
        """(P,) logits for (P,) users and videos, and the mean of the pairs' squared norms, a scalar."""
        product = torch.stack([self.product_users(users), self.product_videos(videos)])  # (2, P, factors)
        layered = torch.cat([self.layer_users(users), self.layer_videos(videos)], dim=1)
        last = torch.cat([product[0] * product[1], self.deeper(self.first(layered))], dim=1)
        norms = (product.square().sum() + layered.square().sum()) / len(users)
        return self.last(last)[:, 0], norms

    def by_video(self, block: slice) -> Tensor:
        """(V, first width) the videos' half of the first layer, which is linear in user and video."""
        half = self.layer_videos.embedding_dim
        return functional.linear(
            self.layer_videos.weight[block], self.first.weight[:, half:], self.first.bias
        )

    def rank(self, user: int, block: slice, by_video: Tensor) -> Tensor:
        """(V,) logits of one user for a block of videos and their `by_video`."""
        half, factors = self.layer_users.embedding_dim, self.product_users.embedding_dim
        x = self.deeper(by_video + self.first.weight[:, :half] @ self.layer_users.weight[user])
        product, network = self.last.weight[0, :factors], self.last.weight[0, factors:]
        taste = product * self.product_users.weight[user]
        return self.product_videos.weight[block] @ taste + x @ network + self.last.bias


class NegativeSampler:
    """Draws videos that users have not watched, exactly and without retries.

    The r-th unwatched video of a user comes after as many watched ones as have no more than r unwatched
    before them; one search finds that number for all users, since keys ascend within a user and between them.
    """

    def __init__(self, watched: Matrix) -> None:
        """`watched` has ascending columns."""
        self.videos = watched.shape[1]
        self.starts = watched.indptr.astype(np.int64)
        self.counts = np.diff(self.starts)
        rows = np.repeat(np.arange(len(self.counts)), self.counts)
        unwatched_before = watched.indices - (np.arange(watched.nnz) - self.starts[rows])
        self.keys = rows * (self.videos + 1) + unwatched_before

    def draw(self, users: Indices, number: int, rng: np.random.Generator) -> Indices:
        """(U, number) videos, drawn evenly with replacement; −1 for a user who has watched all."""
        left = self.videos - self.counts[users, None]
        drawn = rng.integers(0, np.maximum(left, 1), (len(users), number))
        place = np.searchsorted(self.keys, users[:, None] * (self.videos + 1) + drawn, side="right")
        return np.where(left > 0, drawn + place - self.starts[users, None], -1)


class NeuMf(NetworkRecommender[NeuMfConfig, NeuMfNetwork]):
    """Ranks videos by the logit of an interaction with a fitted user; new users need another fit.

    He, Liao, Zhang, Nie, Hu & Chua, "Neural Collaborative Filtering", WWW 2017: both parts have vectors of
    their own, the loss is binary cross-entropy with drawn negatives. Not pretrained. Weights and times of
    interactions are not used.
    """

    kind = "neumf"
    Config = NeuMfConfig
    inductive = False

    def _build_network(self) -> NeuMfNetwork:
        return NeuMfNetwork(len(self.users), len(self.videos), self.config.factors, self.config.layers)

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        unwatched = NegativeSampler(histories.weights)
        with seeded_rng(self.config.seed) as rng:
            self._place(torch_device(self.config.device))
            train_with_early_stopping(
                self.network,
                lambda _: self._losses(histories.weights, unwatched, rng),
                epochs=self.config.epochs,
                learning_rate=self.config.learning_rate,
                model_name=self.kind,
            )

    def _losses(
        self, watched: Matrix, unwatched: NegativeSampler, rng: np.random.Generator
    ) -> Iterator[Tensor]:
        rows = np.repeat(np.arange(watched.shape[0]), np.diff(watched.indptr))
        for chosen in batches(rng.permutation(watched.nnz), self.config.batch_interactions):
            users, seen = rows[chosen], watched.indices[chosen].astype(np.int64)
            unseen = unwatched.draw(users, self.config.negatives, rng)
            videos = np.concatenate([seen[:, None], unseen], axis=1)
            real = videos.ravel() >= 0
            pairs = np.repeat(users, videos.shape[1])[real], videos.ravel()[real]
            true = np.zeros(videos.shape, np.float32)
            true[:, 0] = 1
            logits, norms = self.network(*(torch.from_numpy(side).to(self.device) for side in pairs))
            wanted = torch.from_numpy(true.ravel()[real]).to(self.device)
            yield functional.binary_cross_entropy_with_logits(logits, wanted) + self.config.l2 * norms

    @torch.no_grad()
    def _scores(self, histories: InteractionMatrix, users: Indices) -> Scores:
        out = np.full((histories.users, histories.videos), -np.inf, np.float32)
        for start in range(0, histories.videos, VIDEO_BLOCK):
            block = slice(start, start + VIDEO_BLOCK)
            by_video = self.network.by_video(block)
            for row in np.flatnonzero(users >= 0):
                out[row, block] = self.network.rank(int(users[row]), block, by_video).cpu().numpy()
        return out
