"""Neural matrix factorization: a product of vectors combined with a network (He et al. 2017)."""

from collections.abc import Iterator
from itertools import chain, pairwise
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from vrec.core.types import CatalogContent
from vrec.retrieval.interaction_matrix import Indices, InteractionMatrix, Matrix
from vrec.retrieval.network_config import NeuMfConfig
from vrec.retrieval.topk import Scores
from vrec.retrieval.training import (
    NetworkRecommender,
    batches,
    seeded_rng,
)

VIDEO_BLOCK = 65_536
"""Videos scored at once for a user: memory is bounded by this many rows of the widest layer."""

Width = Annotated[int, Field(ge=1)]


class NeuMfNetwork(nn.Module):
    """Network from pairs of users and videos to logits, which combines the outputs of both parts."""

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
        """Return (P,) logits of (P,) users and videos, and the mean of the pairs' squared norms."""
        product = torch.stack([self.product_users(users), self.product_videos(videos)])  # (2, P, factors)
        layered = torch.cat([self.layer_users(users), self.layer_videos(videos)], dim=1)
        last = torch.cat([product[0] * product[1], self.deeper(self.first(layered))], dim=1)
        norms = (product.square().sum() + layered.square().sum()) / len(users)
        return self.last(last)[:, 0], norms

    def by_video(self, block: slice) -> Tensor:
        """Return the (V, layers[1]) videos' half of the first layer, which is linear in user and video."""
        half = self.layer_videos.embedding_dim
        return functional.linear(
            self.layer_videos.weight[block], self.first.weight[:, half:], self.first.bias
        )

    def rank(self, user: int, block: slice, by_video: Tensor) -> Tensor:
        """Return (V,) logits of one user for a block of videos, given the block's `by_video`."""
        half, factors = self.layer_users.embedding_dim, self.product_users.embedding_dim
        x = self.deeper(by_video + self.first.weight[:, :half] @ self.layer_users.weight[user])
        product, network = self.last.weight[0, :factors], self.last.weight[0, factors:]
        taste = product * self.product_users.weight[user]
        return self.product_videos.weight[block] @ taste + x @ network + self.last.bias


class NegativeSampler:
    """Sampler of videos that users have not watched, uniform and without retries.

    The r-th unwatched video of a user is preceded by the watched ones that have at most r unwatched ones
    before them. One binary search counts them for all users, since the keys ascend within and across users.
    """

    def __init__(self, watched: Matrix) -> None:
        """Prepare for (users, videos) interactions with ascending columns."""
        self.videos = watched.shape[1]
        self.starts = watched.indptr.astype(np.int64)
        self.counts = np.diff(self.starts)
        rows = np.repeat(np.arange(len(self.counts)), self.counts)
        unwatched_before = watched.indices - (np.arange(watched.nnz) - self.starts[rows])
        self.keys = rows * (self.videos + 1) + unwatched_before

    def draw(self, users: Indices, number: int, rng: np.random.Generator) -> Indices:
        """Draw (U, number) videos uniformly with replacement; −1 for a user who has watched all."""
        left = self.videos - self.counts[users, None]
        drawn = rng.integers(0, np.maximum(left, 1), (len(users), number))
        end = np.searchsorted(self.keys, users[:, None] * (self.videos + 1) + drawn, side="right")
        return np.where(left > 0, drawn + end - self.starts[users, None], -1)


class NeuMf(NetworkRecommender[NeuMfConfig, NeuMfNetwork]):
    """NeuMF: logits of interactions of fitted users; new users need another fit.

    He, Liao, Zhang, Nie, Hu & Chua, "Neural Collaborative Filtering", WWW 2017: both parts have their own
    vectors, and the loss is binary cross-entropy with sampled negatives. There is no pretraining. Weights and
    times of interactions are not used.
    """

    kind = "neumf"
    Config = NeuMfConfig
    inductive = False

    def _build_network(self) -> NeuMfNetwork:
        return NeuMfNetwork(len(self.users), len(self.videos), self.config.factors, self.config.layers)

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        negatives = NegativeSampler(histories.weights)
        with seeded_rng(self.config.seed) as rng:
            self._train(lambda _: self._losses(histories.weights, negatives, rng), self.config.epochs)

    def _losses(
        self, watched: Matrix, sampler: NegativeSampler, rng: np.random.Generator
    ) -> Iterator[Tensor]:
        rows = np.repeat(np.arange(watched.shape[0]), np.diff(watched.indptr))
        for chosen in batches(rng.permutation(watched.nnz), self.config.batch_interactions):
            users, seen = rows[chosen], watched.indices[chosen].astype(np.int64)
            unseen = sampler.draw(users, self.config.negatives, rng)
            videos = np.concatenate([seen[:, None], unseen], axis=1)
            valid = videos.ravel() >= 0
            pairs = np.repeat(users, videos.shape[1])[valid], videos.ravel()[valid]
            labels = np.zeros(videos.shape, np.float32)
            labels[:, 0] = 1
            logits, norms = self.network(*(torch.from_numpy(side).to(self.device) for side in pairs))
            targets = torch.from_numpy(labels.ravel()[valid]).to(self.device)
            yield functional.binary_cross_entropy_with_logits(logits, targets) + self.config.l2 * norms

    @torch.no_grad()
    def score_block(self, histories: InteractionMatrix, users: Indices) -> Scores:
        out = np.full((histories.users, histories.videos), -np.inf, np.float32)
        for start in range(0, histories.videos, VIDEO_BLOCK):
            block = slice(start, start + VIDEO_BLOCK)
            by_video = self.network.by_video(block)
            for row in np.flatnonzero(users >= 0):
                out[row, block] = self.network.rank(int(users[row]), block, by_video).cpu().numpy()
        return out
