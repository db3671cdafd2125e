"""Gated fusion head: modalities are weighted by gates that see all of them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vrec.core.types import Modality
from vrec.encoders.learned.heads.batch import FeatureBatch, normalize_rows
from vrec.encoders.learned.heads.config import GatedHeadConfig
from vrec.encoders.learned.heads.head import EncoderHead
from vrec.encoders.learned.heads.modality_inputs import ModalityProjection, drop_modalities, modality_mask


class GatedHead(EncoderHead):
    """Gated fusion: the sum of gate times unit vector, the gates a softmax over the modalities of a video.

    After the gated multimodal unit of Arevalo et al. (2017), with one gate per modality, so that the gates of
    a video can be interpreted.
    """

    def __init__(self, config: GatedHeadConfig, dims: Mapping[Modality, int]) -> None:
        super().__init__(dims, config)
        self.ordered = "frames" in dims and config.frames == "gru"
        self.modality_dropout = config.modality_dropout
        self.dropout = nn.Dropout(config.dropout)
        self.readers = nn.ModuleDict(
            {m: ModalityProjection(m, width, config, config.dim) for m, width in dims.items()}
        )
        last = nn.Linear(config.gate_hidden, len(dims))
        # Equal gates at first, so that no modality is preferred at random.
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        inputs = len(dims) * (config.dim + 1)
        self.gate = nn.Sequential(nn.Linear(inputs, config.gate_hidden), nn.ReLU(), last)

    def parts(self, batch: FeatureBatch) -> dict[Modality, Tensor]:
        """Return the unit vectors of each modality in the common space, (B, dim)."""
        return {
            m: normalize_rows(self.readers[m](self.dropout(self.scaled[m](getattr(batch, m))), batch.lengths))
            for m in self.dims
        }

    def gates(self, parts: Mapping[Modality, Tensor], has: Tensor) -> Tensor:
        """Return (B, M) weights of modalities in the order of `dims`: a softmax over those in `has`."""
        stacked = torch.stack([parts[m] for m in self.dims], dim=1) * has[:, :, None]  # (B, M, dim)
        inputs = torch.cat([stacked.flatten(1), has.float()], dim=1)
        return torch.softmax(self.gate(inputs).float().masked_fill(~has, -1e9), dim=1) * has

    def forward(self, batch: FeatureBatch) -> Tensor:
        """Return (B, dim) float32 unit rows."""
        has = modality_mask(batch, self.dims)
        if self.training:
            has = drop_modalities(has, self.modality_dropout)
        parts = self.parts(batch)
        gates = self.gates(parts, has)
        stacked = torch.stack([parts[m] for m in self.dims], dim=1)
        return normalize_rows((gates[:, :, None] * stacked).sum(dim=1))
