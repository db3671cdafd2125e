"""Attention over what is live: each live stream looks at the shopper's history and at the other live streams.

After LiveRec (Rappaz, McAuley and Aberer 2021, "Recommendation on Live-Streaming Platforms: Dynamic
Availability and Repeat Consumption"), whose self-attention among the available items this has; the history is
read by cross-attention, so that a live stream finds the views that are about it. The network adds to the
scores of the conditional logit, and reads its features.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from vrec.core.artifact import Arrays
from vrec.retrieval.live.config import LiveAttentionConfig
from vrec.retrieval.live.features import LiveNow, ShopperViews
from vrec.retrieval.live.log import HOUR_US, Floats, Indices
from vrec.retrieval.training import batches, train_with_early_stopping
from vrec.training.device import seeded_rng, torch_device

PAST_FACTS = 3
"""Facts of a view beside its content: its age, its length, whether it was at this hour."""
LONGEST_S = 3600.0


@dataclass(frozen=True)
class LiveQuery:
    """A shopper and what is live, as the network reads it."""

    features: npt.NDArray[np.float32]
    """(C, F) features of the live streams."""
    base: npt.NDArray[np.float32]
    """(C,) scores that the network adds to."""
    streamer: Indices
    """(C,) streamers of the fit, −1 for unknown ones."""
    content: npt.NDArray[np.float32]
    """(C, D) content now; D may be 0."""
    past_streamer: Indices
    """(H,) streamers of the shopper's newest views."""
    past: npt.NDArray[np.float32]
    """(H, PAST_FACTS + D) facts and content of these views."""


def to_query(
    features: npt.NDArray[np.float32],
    views: ShopperViews,
    now: LiveNow,
    streamers: tuple[Indices, Indices],
    most: int,
) -> LiveQuery:
    """Return the query of a shopper and what is live, with a base of 0.

    Args:
        features: (C, F) features of the live streams.
        views: What the shopper watched.
        now: The live streams.
        streamers: (H,) and (C,) streamers of the fit, −1 for unknown ones.
        most: Newest views that are used.
    """
    newest = slice(-most, None)
    hours = (now.at - views.start[newest]) / HOUR_US
    facts = [np.log1p(hours), np.minimum(views.seconds[newest], LONGEST_S) / LONGEST_S]
    facts.append(np.cos(2 * np.pi * hours / 24))
    content = np.zeros((len(now.stream), 0), np.float32) if now.vectors is None else now.vectors
    past = np.stack(facts, axis=1)
    if content.shape[1]:
        assert views.vectors is not None
        past = np.hstack([past, views.vectors[newest]])
    base = np.zeros(len(features), np.float32)
    return LiveQuery(features, base, streamers[1], content, streamers[0][newest], past.astype(np.float32))


@dataclass(frozen=True)
class _Batch:
    """Queries padded to one size."""

    features: Tensor
    base: Tensor
    streamer: Tensor
    content: Tensor
    is_live: Tensor
    past_streamer: Tensor
    past: Tensor
    is_past: Tensor


class LiveAttentionNetwork(nn.Module):
    """Network of the scores that are added; its first output is 0 for every stream.

    Args:
        streamers: Number of streamers of the fit.
        features: Number of features of a live stream.
        content: Length of the content vectors, 0 for none.
        config: Sizes.
    """

    def __init__(self, streamers: int, features: int, content: int, config: LiveAttentionConfig) -> None:
        super().__init__()
        dim = config.dim
        self.streamers = nn.Embedding(streamers + 1, dim)  # the last one is for unknown streamers
        self.popularity = nn.Embedding(streamers + 1, 1)
        self.dropout = nn.Dropout(config.dropout)
        self.read_past = nn.Linear(PAST_FACTS + content, dim)
        self.read_content = nn.Linear(content, dim) if content else None
        self.read_features = nn.Linear(features, dim)
        self.nothing = nn.Parameter(torch.zeros(1, 1, dim))  # what a shopper without a history attends to
        self.to_past = nn.MultiheadAttention(dim, config.heads, batch_first=True)
        self.among_live = nn.TransformerEncoderLayer(
            dim, config.heads, 2 * dim, config.dropout, batch_first=True, norm_first=True
        )
        self.output = nn.Sequential(
            nn.LayerNorm(dim + features),
            nn.Linear(dim + features, dim),
            nn.GELU(),
            nn.Dropout(0.1),
            nn.Linear(dim, 1),
        )
        nn.init.normal_(self.streamers.weight, std=0.05)
        nn.init.zeros_(self.popularity.weight)
        final = self.output[-1]
        assert isinstance(final, nn.Linear)
        for parameter in final.parameters():
            nn.init.zeros_(parameter)

    def forward(self, batch: _Batch) -> Tensor:
        """Return (B, C) scores; what stands at padding means nothing."""
        past = self.dropout(self.streamers(batch.past_streamer) + self.read_past(batch.past))
        past = torch.cat([self.nothing.expand(len(past), -1, -1), past], dim=1)
        padding = functional.pad(~batch.is_past, (1, 0), value=False)
        live = self.streamers(batch.streamer)
        if self.read_content is not None:
            live = live + self.read_content(batch.content)
        live = self.dropout(live) + self.read_features(batch.features)
        found, _ = self.to_past(live, past, past, key_padding_mask=padding, need_weights=False)
        live = self.among_live(live + found, src_key_padding_mask=~batch.is_live)
        added = self.output(torch.cat([live, batch.features], dim=2)) + self.popularity(batch.streamer)
        return batch.base + added[..., 0]


class LiveAttention:
    """The network with what it needs to read queries."""

    def __init__(
        self, network: LiveAttentionNetwork, mean: Floats, scale: Floats, device: torch.device
    ) -> None:
        self.network, self.mean, self.scale, self.device = network, mean, scale, device

    @classmethod
    def fit(
        cls,
        queries: Sequence[LiveQuery],
        chosen: Indices,
        weights: Floats,
        streamers: int,
        config: LiveAttentionConfig,
    ) -> tuple[Self | None, dict[str, float]]:
        """Train the network, and stop when it gets no better on the newest queries.

        Args:
            queries: Q queries, in the order of time.
            chosen: (Q,) place of the stream that was watched among the live ones.
            weights: (Q,) weight of each query in the loss.
            streamers: Number of streamers of the fit.
            config: Sizes and training.

        Returns:
            The network, None where it is no better than the scores it adds to; and the NDCG@10 on the newest
            queries of the scores with and without it.
        """
        held = max(1, int(len(queries) * config.validation_share))
        kept, newest = np.arange(len(queries) - held), np.arange(len(queries) - held, len(queries))
        held_out = queries[len(kept) :]
        stacked = np.concatenate([query.features for query in queries])
        mean, scale = stacked.mean(axis=0, dtype=np.float64), stacked.std(axis=0, dtype=np.float64)
        scale = np.where(scale > 1e-6, scale, 1.0)
        with seeded_rng(config.seed) as rng:
            device = torch_device(config.device)
            sizes = queries[0].features.shape[1], queries[0].content.shape[1]
            network = LiveAttentionNetwork(streamers, *sizes, config).to(device)
            model = cls(network, mean, scale, device)

            def losses(_: int) -> Iterator[Tensor]:
                for rows in batches(rng.permutation(kept), config.batch_views):
                    batch = model._batch([queries[row] for row in rows])
                    scores = network(batch).masked_fill(~batch.is_live, -torch.inf)
                    targets = torch.from_numpy(chosen[rows]).to(device)
                    each = functional.cross_entropy(scores, targets, reduction="none")
                    yield (each * torch.from_numpy(weights[rows]).float().to(device)).mean()

            def validate() -> float:
                return _ndcg([model.score(query) for query in held_out], chosen[newest])

            train_with_early_stopping(
                network, losses, epochs=config.epochs, learning_rate=config.learning_rate,
                model_name="live attention", validate=validate, patience=config.patience,
            )  # fmt: skip
            found = validate()
        before = _ndcg([query.base for query in held_out], chosen[newest])
        return model if found > before else None, {"with_attention": found, "without_attention": before}

    @torch.no_grad()
    def score(self, query: LiveQuery) -> npt.NDArray[np.float32]:
        """Return the (C,) scores of a query's live streams."""
        if not len(query.base):
            return query.base
        return self.network(self._batch([query]))[0].cpu().numpy()

    def arrays(self) -> Arrays:
        """Return the fitted state as arrays."""
        state = {
            f"attention.{name}": tensor.cpu().numpy() for name, tensor in self.network.state_dict().items()
        }
        return state | {"attention_mean": self.mean, "attention_scale": self.scale}

    @classmethod
    def restore(cls, arrays: Arrays, config: LiveAttentionConfig) -> Self | None:
        """Return the model whose state `arrays` wrote; None where there is none."""
        if "attention_mean" not in arrays:
            return None
        weights = {
            name.removeprefix("attention."): torch.from_numpy(array)
            for name, array in arrays.items()
            if name.startswith("attention.")
        }
        streamers = len(weights["streamers.weight"]) - 1
        features = len(arrays["attention_mean"])
        content = weights["read_past.weight"].shape[1] - PAST_FACTS
        with seeded_rng(config.seed):
            network = LiveAttentionNetwork(streamers, features, content, config)
        network.load_state_dict(weights)
        # A model that was fitted on a GPU must load on a machine without one.
        device = torch_device("auto")
        return cls(network.to(device).eval(), arrays["attention_mean"], arrays["attention_scale"], device)

    def _batch(self, queries: Sequence[LiveQuery]) -> _Batch:
        size, live = len(queries), max(len(query.base) for query in queries)
        past = max(len(query.past_streamer) for query in queries)
        unknown = self.network.streamers.num_embeddings - 1
        first = queries[0]
        features = np.zeros((size, live, first.features.shape[1]), np.float32)
        base = np.zeros((size, live), np.float32)
        content = np.zeros((size, live, first.content.shape[1]), np.float32)
        streamer, is_live = np.full((size, live), unknown), np.zeros((size, live), bool)
        past_streamer, is_past = np.full((size, past), unknown), np.zeros((size, past), bool)
        facts = np.zeros((size, past, first.past.shape[1]), np.float32)
        for row, query in enumerate(queries):
            count, seen = len(query.base), len(query.past_streamer)
            features[row, :count] = (query.features - self.mean) / self.scale
            base[row, :count], content[row, :count], is_live[row, :count] = query.base, query.content, True
            streamer[row, :count] = np.where(query.streamer >= 0, query.streamer, unknown)
            past_streamer[row, :seen] = np.where(query.past_streamer >= 0, query.past_streamer, unknown)
            facts[row, :seen], is_past[row, :seen] = query.past, True
        arrays = (features, base, streamer, content, is_live, past_streamer, facts, is_past)
        return _Batch(*(torch.from_numpy(array).to(self.device) for array in arrays))


def _ndcg(scores: Sequence[npt.NDArray[np.float32]], chosen: Indices) -> float:
    """Return the mean NDCG@10 of one relevant entry per list, which comes last among equals."""
    ranks = np.array(
        [np.count_nonzero(each >= each[place]) for each, place in zip(scores, chosen, strict=True)]
    )
    return float(np.where(ranks <= 10, 1 / np.log2(1 + ranks), 0.0).mean())
