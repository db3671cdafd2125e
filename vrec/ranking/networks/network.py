"""Ranking networks: logistic regression, DCNv2 and DIN with common inputs and outputs."""

from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from vrec.ranking.features.arrays import FeatureShape
from vrec.ranking.networks.config import (
    DcnConfig,
    DinConfig,
    LogisticRegressionConfig,
    NetworkConfig,
    RankerHeadsConfig,
)
from vrec.ranking.networks.dcn import DcnTrunk
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
from vrec.ranking.networks.multitask import HeadOutputs, TaskHeads

ITEM_BLOCK = 65_536
"""Videos embedded at once, which bounds memory."""

REFERENCE_POSITION = 1
"""Position index assumed when scoring: the first slot."""


class RankerNetwork(nn.Module):
    """Network from features to HeadOutputs; initial weights come from torch's global generator."""

    def __init__(
        self, shape: FeatureShape, config: NetworkConfig, heads: RankerHeadsConfig, watch_width: int
    ) -> None:
        """Build the network; `watch_width` is the output width of the watch head, no effect without it."""
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
        self.trunk, self.heads = _trunk_and_heads(shape, config, heads, watch_width, widths)
        self.positions = nn.Embedding(shape.positions, 1) if config.position == "additive" else None
        if self.positions is not None:
            nn.init.zeros_(self.positions.weight)
        self.position_dropout = config.position_dropout

    def forward(self, batch: RankingBatch, catalog: CatalogTensors) -> HeadOutputs:
        """Return the outputs at the positions in which the candidates were shown, for training."""
        rows = torch.cat([batch.video, batch.history.flatten()])
        # Each video is embedded once, even if it is in many histories.
        used, indices = unique_rows(rows, len(catalog.fields))
        count = len(batch.video)
        compact = batch._replace(video=indices[:count], history=indices[count:].view(batch.history.shape))
        outputs = self.score_embedded(compact, self.items_of(catalog.take(used)))
        if self.positions is None:
            return outputs
        position = batch.position
        if self.training and self.position_dropout:
            position = position * (torch.rand(count, device=position.device) >= self.position_dropout)
        return outputs._replace(click=outputs.click + self.positions(position)[:, 0])

    @torch.no_grad()
    def items(self, catalog: CatalogTensors) -> Tensor:
        """Embed all videos as (M, d) for `score`; call in eval mode, once per catalog."""
        rows = torch.arange(len(catalog.fields), device=catalog.fields.device)
        return torch.cat([self.items_of(catalog.take(some)) for some in rows.split(ITEM_BLOCK)])

    def score(self, batch: RankingBatch, items: Tensor) -> HeadOutputs:
        """Return the outputs as if each candidate were shown in the first slot; call in eval mode.

        `items` is the (M, d) result of `items` for the catalog. Where no position was known in training, the
        unknown position stands for the first slot.
        """
        outputs = self.score_embedded(batch, items)
        if self.positions is None:
            return outputs
        reference = min(REFERENCE_POSITION, self.positions.num_embeddings - 1)
        return outputs._replace(click=outputs.click + self.positions.weight[reference])

    def score_embedded(self, batch: RankingBatch, items: Tensor) -> HeadOutputs:
        """Return the outputs without the positions' part; `batch` refers to the rows of (M, d) `items`."""
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
    """Trunk of logistic regression: (N, outputs + numbers), summed vocabulary weights, then all numbers."""

    def __init__(self, outputs: int, item_blocks: int, context_blocks: int) -> None:
        super().__init__()
        self.outputs, self.item, self.context = outputs, item_blocks * outputs, context_blocks * outputs

    def forward(self, x: EmbeddedBatch) -> Tensor:
        context = by_candidate(x.context, x.request)
        weights = torch.cat([x.item[:, : self.item], context[:, : self.context]], dim=1)
        summed = weights.view(len(weights), -1, self.outputs).sum(dim=1)
        return torch.cat([summed, x.item[:, self.item :], context[:, self.context :], x.candidate], dim=1)


class LinearHeads(nn.Module):
    """Heads of logistic regression: the summed vocabulary weights plus a linear layer of the numbers."""

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


def _trunk_and_heads(
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
