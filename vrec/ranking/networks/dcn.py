"""Deep and cross network, version 2 (DCNv2: Wang et al. 2021)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vrec.ranking.networks.config import Structure
from vrec.ranking.networks.layers import EmbeddedBatch, EmbeddingWidths, Mlp, by_candidate


class CrossLayers(nn.Module):
    """Cross layers with full matrices, x ← x₀ ∘ (W x + b) + x; each raises the degree of products by one."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def forward(self, first: Tensor) -> Tensor:
        """Map (N, width) to (N, width)."""
        x = first
        for linear in self.linears:
            x = torch.addcmul(x, first, linear(x))
        return x


class DcnTrunk(nn.Module):
    """DCNv2 trunk: cross layers, with dense layers after them or in parallel."""

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
        """Return (N, width)."""
        mean = by_candidate(history_mean(x), x.request)
        inputs = torch.cat([mean, x.item, by_candidate(x.context, x.request), x.candidate], dim=1)
        crossed = self.cross(inputs)
        if self.stacked:
            return self.mlp(crossed)
        return torch.cat([crossed, self.mlp(inputs)], dim=1)


def history_mean(x: EmbeddedBatch) -> Tensor:
    """Return (R, d) means of the videos of the histories, zeros for an empty history."""
    mask = x.mask.to(x.history.dtype)
    return torch.bmm(mask[:, None], x.history)[:, 0] / mask.sum(dim=1, keepdim=True).clamp(min=1)
