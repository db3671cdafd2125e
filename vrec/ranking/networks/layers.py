"""Layers shared by the ranking networks: features as tensors, embeddings and dense layers."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from vrec.ranking.features.arrays import CatalogFeatureArrays, FeatureShape, RankingFeatures

Activation = Literal["dice", "prelu", "relu"]

EMBEDDING_STD = 0.05
"""Standard deviation of the initial embedding weights. Much smaller ones make products of embeddings vanish,
so that the relation of history and candidate is learned late."""


class CatalogTensors(NamedTuple):
    """CatalogFeatureArrays on a device, moved once and shared by all batches."""

    fields: Tensor
    tags: Tensor
    dense: Tensor
    vectors: Tensor

    def take(self, rows: Tensor) -> "CatalogTensors":
        """Select videos in the order of (U,) rows."""
        return CatalogTensors(*(part.index_select(0, rows) for part in self))


def to_catalog_tensors(arrays: CatalogFeatureArrays, device: torch.device) -> CatalogTensors:
    """Move the catalog features to a device."""
    parts = (arrays.fields, arrays.tags, arrays.dense, arrays.vectors)
    # Arrays from an object store are read-only, which torch warns about.
    own = (part if part.flags.writeable else part.copy() for part in parts)
    return CatalogTensors(*(torch.from_numpy(part).to(device) for part in own))


class RankingBatch(NamedTuple):
    """Features of N candidates of R requests on a device, without the catalog that their rows refer to."""

    request: Tensor
    """(N,) int32."""
    video: Tensor
    """(N,) int32."""
    candidate: Tensor
    """(N, Dc) float32."""
    position: Tensor
    """(N,) int32."""
    context: Tensor
    """(R, K) int32."""
    user: Tensor
    """(R, Du) float32."""
    history: Tensor
    """(R, L) int32; 0 is padding."""
    history_dense: Tensor
    """(R, L, Dh) float32."""


def to_batch(features: RankingFeatures, device: torch.device) -> RankingBatch:
    """Move the features to a device, without history columns that hold only padding."""
    used = (features.history != 0).any(axis=0).nonzero()[0]
    length = int(used[-1]) + 1 if len(used) else 0
    parts = (
        features.request,
        features.video,
        features.candidate,
        features.position,
        features.context,
        features.user,
        features.history[:, :length],
        features.history_dense[:, :length],
    )
    return RankingBatch(*(torch.from_numpy(part).to(device) for part in parts))


def unique_rows(rows: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Find the distinct rows, always including 0, without a sort.

    Marking is used because a sort costs more than the rest of the embedding.

    Args:
        rows: Integer rows below `size`, in any shape.
        size: Number of rows of the catalog.

    Returns:
        (U,) int64 distinct rows in ascending order, and int32 of the shape of `rows`: the index of each row
        among them.
    """
    marks = torch.zeros(size, dtype=torch.int32, device=rows.device)
    marks[0] = 1
    marks.index_fill_(0, rows.flatten().long(), 1)
    indices = marks.cumsum(0, dtype=torch.int32) - 1
    return marks.nonzero()[:, 0], indices.index_select(0, rows.flatten()).view(rows.shape)


class FieldEmbedding(nn.Module):
    """Embedding of (X, fields) vocabulary indices as (X, fields × width), with one table for all fields."""

    offsets: Tensor

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(sum(sizes), width)
        nn.init.normal_(self.table.weight, std=EMBEDDING_STD)
        starts = torch.tensor([0, *sizes], dtype=torch.int32).cumsum(0, dtype=torch.int32)[:-1]
        self.register_buffer("offsets", starts, persistent=False)
        self.width = len(sizes) * width

    def forward(self, indices: Tensor) -> Tensor:
        return self.table(indices + self.offsets).flatten(1)


class ItemEmbedding(nn.Module):
    """Embedding of videos: of their fields, the mean of their tags, their content vector, and their numbers.

    The embeddings are blocks of one width and come before the numbers. In training, ids are dropped at random
    (replaced by unknown), so that the other inputs also serve new videos (DropoutNet: Volkovs, Yu & Poutanen,
    NeurIPS 2017).
    """

    def __init__(
        self, shape: FeatureShape, width: int, *, content: bool, normed: bool, id_dropout: float
    ) -> None:
        super().__init__()
        self.fields = FieldEmbedding(shape.fields, width)
        self.tags = nn.EmbeddingBag(shape.tags, width, mode="mean", padding_idx=0) if shape.tags > 1 else None
        self.content = None
        if content and shape.dim:
            # No bias: videos without a vector are all represented by the bias of the norm.
            linear = nn.Linear(shape.dim, width, bias=False)
            self.content = nn.Sequential(linear, nn.LayerNorm(width)) if normed else linear
        if self.tags is not None:
            nn.init.normal_(self.tags.weight, std=EMBEDDING_STD)
        self.id_dropout = id_dropout
        self.blocks = len(shape.fields) + (self.tags is not None) + (self.content is not None)
        self.width = self.blocks * width + shape.video

    def forward(self, videos: CatalogTensors) -> Tensor:
        """Return (U, width) for U videos."""
        indices = videos.fields
        if self.training and self.id_dropout:
            known = torch.rand(len(indices), device=indices.device) >= self.id_dropout
            indices = torch.cat([indices[:, :1] * known[:, None], indices[:, 1:]], dim=1)
        parts = [self.fields(indices)]
        if self.tags is not None:
            parts.append(self.tags(videos.tags))
        if self.content is not None:
            parts.append(self.content(videos.vectors))
        return torch.cat([*parts, videos.dense], dim=1)


class EmbeddedBatch(NamedTuple):
    """Batch after embedding."""

    item: Tensor
    """(N, d) candidates."""
    candidate: Tensor
    """(N, Dc) numbers about the candidates."""
    request: Tensor
    """(N,) request of each candidate."""
    context: Tensor
    """(R, u) embedded request fields, then numbers about the user."""
    history: Tensor
    """(R, L, d) videos of the history."""
    history_dense: Tensor
    """(R, L, Dh) numbers about the history entries."""
    mask: Tensor
    """(R, L) bool, false in the padding."""


class EmbeddingWidths(NamedTuple):
    """Widths of `EmbeddedBatch`."""

    item: int
    context: int
    candidate: int
    history: int


def by_candidate(by_request: Tensor, request: Tensor) -> Tensor:
    """Return (N, …): for each candidate, the entry of its request in (R, …)."""
    if by_request.shape[0] == 1:  # serving: a view, as a copy costs a third of the time
        return by_request.expand(request.shape[0], *by_request.shape[1:])
    return by_request.index_select(0, request)


class Dice(nn.Module):
    """Dice activation: x p + α x (1 − p), p the sigmoid of x normalized over the batch.

    See Zhou et al. 2018, section 5.3. Mean and variance are those of the batch in training, and their moving
    averages in evaluation, so that the output of a row does not depend on other rows.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, width: int, epsilon: float = 1e-8, momentum: float = 0.1) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("var", torch.ones(width))
        self.epsilon, self.momentum = epsilon, momentum

    def forward(self, x: Tensor) -> Tensor:
        """Map (X, width) to (X, width)."""
        rest = -self.alpha + 1
        if self.training and len(x) > 1:  # a single row has no variance
            normed = functional.batch_norm(
                x, self.mean, self.var, training=True, momentum=self.momentum, eps=self.epsilon
            )
        else:
            scale = torch.rsqrt(self.var + self.epsilon)
            normed = torch.addcmul(-self.mean * scale, x, scale)
        if not torch.is_grad_enabled():  # in place, as allocating memory costs more than the step
            share = normed.sigmoid_()
            return torch.addcmul(self.alpha, share, rest, out=share).mul_(x)
        return torch.addcmul(self.alpha, torch.sigmoid(normed), rest) * x


def build_activation(name: Activation, width: int) -> nn.Module:
    """Build the activation for rows of `width`."""
    match name:
        case "dice":
            return Dice(width)
        case "prelu":
            return nn.PReLU(width)
        case "relu":
            return nn.ReLU()
        case _:
            assert_never(name)


class Mlp(nn.Module):
    """Dense layers of the given widths, each with activation and dropout; identity without widths."""

    def __init__(
        self, inputs: int, widths: Sequence[int], activation: Activation = "relu", dropout: float = 0.0
    ) -> None:
        super().__init__()
        sizes = [inputs, *widths]
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.activations = nn.ModuleList(build_activation(activation, b) for b in widths)
        self.dropout = dropout
        self.width = sizes[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Map (X, inputs) to (X, width)."""
        for linear, activation in zip(self.linears, self.activations, strict=True):
            x = functional.dropout(activation(linear(x)), self.dropout, self.training)
        return x
