"""The ranking networks: one way in and out for logistic regression, DCNv2 and DIN."""

from typing import Annotated, Literal, assert_never

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from vrec.core.config import BaseConfig
from vrec.ranking.features.arrays import FeatureShape
from vrec.ranking.networks.dcn import DcnTrunk, Structure
from vrec.ranking.networks.din import DinTrunk
from vrec.ranking.networks.layers import (
    CatalogTensors,
    EmbeddedBatch,
    EmbeddingWidths,
    FieldEmbedding,
    ItemEmbedding,
    RankingBatch,
    by_candidate,
    unique_rows,
)
from vrec.ranking.networks.multitask import HeadOutputs, RankerHeadsConfig, TaskHeads, Width

ITEM_BLOCK = 65_536
"""Videos that are embedded at once: memory is bounded by this many rows."""

REFERENCE_POSITION = 1
"""The position that is assumed when scoring: the first slot."""


class NetworkInputConfig(BaseConfig):
    """What all networks see, and how."""

    content: bool = True
    """Whether a video's content vector is an input, where the catalog has vectors: what is known of a
    video that nobody has watched."""
    id_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the videos whose id is taken for unknown in a training step, so that the network learns to do
    without it."""
    position: Literal["none", "additive"] = "additive"
    """`additive` explains a part of the clicks by the slot in which a video was shown, and leaves it out of
    the order; `none` takes clicks at face value, and so repeats the order that was logged."""
    position_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the impressions whose position is taken for unknown in training."""


class LogisticRegressionConfig(NetworkInputConfig):
    """Logistic regression: a weight for each place and each number; of the history it sees nothing."""

    kind: Literal["lr"] = "lr"
    """Logistic regression."""


class DeepNetworkConfig(NetworkInputConfig):
    """What the networks with embeddings have in common."""

    width: int = Field(default=16, ge=1)
    """Length of the vector of each field, of the tags' mean and of the content."""
    hidden: tuple[Width, ...] = Field(default=(200, 80), min_length=1)
    """Widths of the dense layers."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the dense layers' activations dropped in training."""


class DcnConfig(DeepNetworkConfig):
    """Deep and cross network, version 2 (Wang et al. 2021); it sees the mean of the history."""

    kind: Literal["dcn"] = "dcn"
    """DCNv2."""
    cross_layers: int = Field(default=3, ge=1)
    """Cross layers: products of up to one more feature than this are learned."""
    structure: Structure = "stacked"
    """Whether the dense layers come after the cross layers (`stacked`) or beside them (`parallel`)."""


class DinConfig(DeepNetworkConfig):
    """Deep interest network (Zhou et al. 2018): what of the history counts depends on the candidate."""

    kind: Literal["din"] = "din"
    """DIN."""
    attention: tuple[Width, ...] = Field(default=(36,), min_length=1)
    """Widths of the layers of the local activation unit."""
    activation: Literal["dice", "prelu"] = "dice"
    """The activation of the dense layers and the local activation unit."""


NetworkConfig = Annotated[LogisticRegressionConfig | DcnConfig | DinConfig, Field(discriminator="kind")]
"""Which network, and how it is built."""


class RankerNetwork(nn.Module):
    """Features → Outputs. Weights are drawn from torch's generator."""

    def __init__(
        self, shape: FeatureShape, config: NetworkConfig, heads: RankerHeadsConfig, watch_width: int
    ) -> None:
        """`watch_width` is the outputs that the watch head wants; of no effect without that head."""
        super().__init__()
        outputs = sum(heads.outputs(watch_width).values())
        linear = isinstance(config, LogisticRegressionConfig)
        width = outputs if linear else config.width
        self.items_of = ItemEmbedding(
            shape, width, content=config.content, normed=not linear, id_dropout=config.id_dropout
        )
        self.context_of = FieldEmbedding(shape.context, width)
        widths = EmbeddingWidths(
            self.items_of.width, self.context_of.width + shape.user, shape.candidate, shape.history
        )
        self.trunk, self.heads = _parts(shape, config, heads, watch_width, widths)
        self.positions = nn.Embedding(shape.positions, 1) if config.position == "additive" else None
        if self.positions is not None:
            nn.init.zeros_(self.positions.weight)
        self.position_dropout = config.position_dropout

    def forward(self, batch: RankingBatch, catalog: CatalogTensors) -> HeadOutputs:
        """The outputs for the positions in which the candidates were shown: for training and its losses."""
        rows = torch.cat([batch.video, batch.history.flatten()])
        # Each video is embedded once, however many histories it is in.
        used, places = unique_rows(rows, len(catalog.fields))
        number = len(batch.video)
        found = batch._replace(video=places[:number], history=places[number:].view(batch.history.shape))
        outputs = self._outputs(found, self.items_of(catalog.take(used)))
        if self.positions is None:
            return outputs
        position = batch.position
        if self.training and self.position_dropout:
            position = position * (torch.rand(number, device=position.device) >= self.position_dropout)
        return outputs._replace(click=outputs.click + self.positions(position)[:, 0])

    @torch.no_grad()
    def items(self, catalog: CatalogTensors) -> Tensor:
        """(M, d) the videos' vectors, which `score` takes; call it in eval mode, once a catalog."""
        rows = torch.arange(len(catalog.fields), device=catalog.fields.device)
        return torch.cat([self.items_of(catalog.take(some)) for some in rows.split(ITEM_BLOCK)])

    def score(self, batch: RankingBatch, items: Tensor) -> HeadOutputs:
        """The outputs as if each candidate were shown in the first slot; call it in eval mode.

        `items` is (M, d), what `items` gave for the catalog. Where no position was known in training, the
        first slot is as good as unknown.
        """
        outputs = self._outputs(batch, items)
        if self.positions is None:
            return outputs
        reference = min(REFERENCE_POSITION, self.positions.num_embeddings - 1)
        return outputs._replace(click=outputs.click + self.positions.weight[reference])

    def _outputs(self, batch: RankingBatch, items: Tensor) -> HeadOutputs:
        embedded = EmbeddedBatch(
            item=functional.embedding(batch.video, items),
            candidate=batch.candidate,
            request=batch.request,
            context=torch.cat([self.context_of(batch.context), batch.user], dim=1),
            history=functional.embedding(batch.history, items),
            history_dense=batch.history_dense,
            mask=batch.history != 0,
        )
        return self.heads(self.trunk(embedded))


class LinearTrunk(nn.Module):
    """Logistic regression's trunk: (N, outputs + numbers), the places' weights summed, then all numbers."""

    def __init__(self, outputs: int, item_blocks: int, context_blocks: int) -> None:
        super().__init__()
        self.outputs, self.item, self.context = outputs, item_blocks * outputs, context_blocks * outputs

    def forward(self, x: EmbeddedBatch) -> Tensor:
        context = by_candidate(x.context, x.request)
        weights = torch.cat([x.item[:, : self.item], context[:, : self.context]], dim=1)
        summed = weights.view(len(weights), -1, self.outputs).sum(dim=1)
        return torch.cat([summed, x.item[:, self.item :], context[:, self.context :], x.candidate], dim=1)


class LinearHeads(nn.Module):
    """(N, outputs + numbers) → Outputs: the summed weights and a weight for each number."""

    def __init__(self, numbers: int, config: RankerHeadsConfig, watch_width: int) -> None:
        super().__init__()
        self.sizes = config.outputs(watch_width)
        self.linear = nn.Linear(numbers, sum(self.sizes.values()))

    def forward(self, x: Tensor) -> HeadOutputs:
        outputs = self.linear.out_features
        out = x[:, :outputs] + self.linear(x[:, outputs:])
        parts = dict(zip(self.sizes, out.split(list(self.sizes.values()), dim=1), strict=True))
        conversion = parts["conversion"][:, 0] if "conversion" in parts else None
        last = torch.cat([x[:, :1], x[:, outputs:]], dim=1)
        return HeadOutputs(parts["click"][:, 0], conversion, parts.get("watch"), last)


def _parts(
    shape: FeatureShape,
    config: NetworkConfig,
    heads: RankerHeadsConfig,
    watch_width: int,
    widths: EmbeddingWidths,
) -> tuple[nn.Module, nn.Module]:
    match config:
        case LogisticRegressionConfig():
            outputs = sum(heads.outputs(watch_width).values())
            blocks = (widths.item - shape.video) // outputs
            numbers = shape.video + shape.user + shape.candidate
            return LinearTrunk(outputs, blocks, len(shape.context)), LinearHeads(numbers, heads, watch_width)
        case DcnConfig():
            trunk = DcnTrunk(widths, config.cross_layers, config.hidden, config.structure, config.dropout)
        case DinConfig():
            trunk = DinTrunk(widths, config.attention, config.hidden, config.activation, config.dropout)
        case _:
            assert_never(config)
    return trunk, TaskHeads(trunk.width, heads, watch_width)
