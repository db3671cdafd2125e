"""Products of features learned layer by layer: the deep and cross network, version 2 (Wang et al. 2021)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from vrec.ranking.networks.layers import EmbeddedBatch, EmbeddingWidths, Mlp, by_candidate

Structure = Literal["stacked", "parallel"]


class CrossLayers(nn.Module):
    """Cross layers with full matrices: x ← x₀ ∘ (W x + b) + x, each raising the degree of products by one."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def forward(self, first: Tensor) -> Tensor:
        """(N, width) for (N, width)."""
        x = first
        for linear in self.linears:
            x = torch.addcmul(x, first, linear(x))
        return x


class DcnTrunk(nn.Module):
    """The network's trunk: cross layers, with dense layers after them or beside them."""

    def __init__(
        self,
        widths: EmbeddingWidths,
        layers: int,
        hidden: Sequence[int],
        structure: Structure,
        dropout: float,
    ) -> None:
        super().__init__()
        inputs = 2 * widths.item + widths.context + widths.candidate
        self.cross = CrossLayers(inputs, layers)
        self.mlp = Mlp(inputs, hidden, dropout=dropout)
        self.stacked = structure == "stacked"
        self.width = self.mlp.width + (0 if self.stacked else inputs)

    def forward(self, x: EmbeddedBatch) -> Tensor:
        """(N, width)."""
        mean = by_candidate(history_mean(x), x.request)
        inputs = torch.cat([mean, x.item, by_candidate(x.context, x.request), x.candidate], dim=1)
        crossed = self.cross(inputs)
        if self.stacked:
            return self.mlp(crossed)
        return torch.cat([crossed, self.mlp(inputs)], dim=1)


def history_mean(x: EmbeddedBatch) -> Tensor:
    """(R, d) means of the histories' videos, zeros for a shopper without a history."""
    shown = x.mask.to(x.history.dtype)
    return torch.bmm(shown[:, None], x.history)[:, 0] / shown.sum(dim=1, keepdim=True).clamp(min=1)
