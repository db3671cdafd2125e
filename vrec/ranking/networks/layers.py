"""What the ranking networks have in common: features as tensors, embeddings of them, and dense layers."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from vrec.ranking.features.arrays import CatalogFeatureArrays, FeatureShape, RankingFeatures

Activation = Literal["dice", "prelu", "relu"]

EMBEDDING_STD = 0.05
"""Standard deviation of the embeddings' first weights. Much smaller ones make their products vanish, so that
what a history has to do with a candidate is learned late."""


class CatalogTensors(NamedTuple):
    """CatalogArrays on a device: moved there once, and shared by all batches."""

    fields: Tensor
    tags: Tensor
    dense: Tensor
    vectors: Tensor

    def take(self, rows: Tensor) -> "CatalogTensors":
        """Some videos, in the order of (U,) rows."""
        return CatalogTensors(*(part.index_select(0, rows) for part in self))


def to_catalog_tensors(arrays: CatalogFeatureArrays, device: torch.device) -> CatalogTensors:
    """The same catalog on a device."""
    parts = (arrays.fields, arrays.tags, arrays.dense, arrays.vectors)
    # What comes out of an object store is read-only, which torch warns of.
    own = (part if part.flags.writeable else part.copy() for part in parts)
    return CatalogTensors(*(torch.from_numpy(part).to(device) for part in own))


class RankingBatch(NamedTuple):
    """Features on a device, N candidates of R requests, apart from the catalog that their rows point to."""

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
    """The features on a device. Columns of the history that hold nothing but padding are left out."""
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
    """(U,) the rows that occur, ascending and 0 among them, and of each row its place there, as `rows` lie.

    Rows are below `size`. Marks take the place of a sort, which costs more than the rest of the embedding.
    """
    marks = torch.zeros(size, dtype=torch.int32, device=rows.device)
    marks[0] = 1
    marks.index_fill_(0, rows.flatten().long(), 1)
    places = marks.cumsum(0, dtype=torch.int32) - 1
    return marks.nonzero()[:, 0], places.index_select(0, rows.flatten()).view(rows.shape)


class FieldEmbedding(nn.Module):
    """(X, fields) places → (X, fields × width): a vector for each place of each field, in one table."""

    offsets: Tensor

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(sum(sizes), width)
        nn.init.normal_(self.table.weight, std=EMBEDDING_STD)
        starts = torch.tensor([0, *sizes], dtype=torch.int32).cumsum(0, dtype=torch.int32)[:-1]
        self.register_buffer("offsets", starts, persistent=False)
        self.width = len(sizes) * width

    def forward(self, places: Tensor) -> Tensor:
        return self.table(places + self.offsets).flatten(1)


class ItemEmbedding(nn.Module):
    """Videos as vectors: those of their fields, the mean of their tags', their content's, and their numbers.

    All but the numbers are blocks of one width, and come first. In training, ids are taken for unknown now
    and then, so that what is known of a video besides its id is made to serve for new ones (DropoutNet,
    Volkovs, Yu & Poutanen, NeurIPS 2017).
    """

    def __init__(
        self, shape: FeatureShape, width: int, *, content: bool, normed: bool, id_dropout: float
    ) -> None:
        super().__init__()
        self.fields = FieldEmbedding(shape.fields, width)
        self.tags = nn.EmbeddingBag(shape.tags, width, mode="mean", padding_idx=0) if shape.tags > 1 else None
        self.content = None
        if content and shape.dim:
            # Without a bias, all videos that have no vector are alike: the norm's own bias is theirs.
            linear = nn.Linear(shape.dim, width, bias=False)
            self.content = nn.Sequential(linear, nn.LayerNorm(width)) if normed else linear
        if self.tags is not None:
            nn.init.normal_(self.tags.weight, std=EMBEDDING_STD)
        self.id_dropout = id_dropout
        self.blocks = len(shape.fields) + (self.tags is not None) + (self.content is not None)
        self.width = self.blocks * width + shape.video

    def forward(self, videos: CatalogTensors) -> Tensor:
        """(U, width) for U videos."""
        places = videos.fields
        if self.training and self.id_dropout:
            known = torch.rand(len(places), device=places.device) >= self.id_dropout
            places = torch.cat([places[:, :1] * known[:, None], places[:, 1:]], dim=1)
        parts = [self.fields(places)]
        if self.tags is not None:
            parts.append(self.tags(videos.tags))
        if self.content is not None:
            parts.append(self.content(videos.vectors))
        return torch.cat([*parts, videos.dense], dim=1)


class EmbeddedBatch(NamedTuple):
    """A batch whose places are vectors."""

    item: Tensor
    """(N, d) the candidates."""
    candidate: Tensor
    """(N, Dc) numbers about them."""
    request: Tensor
    """(N,) the request of each."""
    context: Tensor
    """(R, u) vectors of the request's fields, then numbers about the shopper."""
    history: Tensor
    """(R, L, d) the videos of the history."""
    history_dense: Tensor
    """(R, L, Dh) numbers about its entries."""
    mask: Tensor
    """(R, L) bool, false in the padding."""


class EmbeddingWidths(NamedTuple):
    """The sizes of `Embedded`."""

    item: int
    context: int
    candidate: int
    history: int


def by_candidate(of_requests: Tensor, request: Tensor) -> Tensor:
    """(N, …) for each candidate what belongs to its request, of (R, …)."""
    if of_requests.shape[0] == 1:  # serving: a view is enough, where a copy costs a third of all time
        return of_requests.expand(request.shape[0], *of_requests.shape[1:])
    return of_requests.index_select(0, request)


class Dice(nn.Module):
    """x p + α x (1 − p), where p is the sigmoid of x normed over the batch (Zhou et al. 2018, section 5.3).

    In training, mean and variance are the batch's; else their moving averages, so that a row's answer does
    not depend on others.
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
        """(X, width) for (X, width)."""
        rest = -self.alpha + 1
        if self.training and len(x) > 1:  # one row has no variance
            normed = functional.batch_norm(
                x, self.mean, self.var, training=True, momentum=self.momentum, eps=self.epsilon
            )
        else:
            scale = torch.rsqrt(self.var + self.epsilon)
            normed = torch.addcmul(-self.mean * scale, x, scale)
        if not torch.is_grad_enabled():  # in place: fresh memory for each step costs more than the step
            share = normed.sigmoid_()
            return torch.addcmul(self.alpha, share, rest, out=share).mul_(x)
        return torch.addcmul(self.alpha, torch.sigmoid(normed), rest) * x


def build_activation(name: Activation, width: int) -> nn.Module:
    """The activation for rows of `width`."""
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
    """Linear layers of the widths given, each with its activation and dropout; none for no widths."""

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
        """(X, width) for (X, inputs)."""
        for linear, activation in zip(self.linears, self.activations, strict=True):
            x = functional.dropout(activation(linear(x)), self.dropout, self.training)
        return x
