"""Input layers of fusion heads, and modality dropout."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vrec.core.types import Modality
from vrec.encoders.learned.heads.batch import FeatureBatch, frames_mean, orthogonal_linear
from vrec.encoders.learned.heads.config import FusionHeadConfig
from vrec.encoders.learned.heads.gru import FrameGru


class ModalityProjection(nn.Module):
    """Projection of the scaled features of one modality to a vector of length `dim`."""

    def __init__(self, modality: Modality, inputs: int, config: FusionHeadConfig, dim: int) -> None:
        super().__init__()
        self.modality = modality
        ordered = modality == "frames" and config.frames == "gru"
        self.read = FrameGru(inputs, config.hidden, dim) if ordered else orthogonal_linear(inputs, dim)

    def forward(self, scaled: Tensor, lengths: Tensor) -> Tensor:
        """Return (B, dim) from (B, D), or from (B, T, D) frames, of which (B,) `lengths` are valid."""
        if isinstance(self.read, FrameGru):
            return self.read(scaled, lengths)
        return self.read(frames_mean(scaled, lengths) if self.modality == "frames" else scaled)


def modality_mask(batch: FeatureBatch, dims: Mapping[Modality, int]) -> Tensor:
    """Return (B, M) bool: whether the videos have the modalities of `dims`, in its order."""
    return torch.stack([batch.has[modality] for modality in dims], dim=1)


def drop_modalities(has: Tensor, probability: float) -> Tensor:
    """Return (B, M) bool: `has` with each modality dropped with a probability, but never all of a video."""
    kept = has & (torch.rand(has.shape, device=has.device) >= probability)
    return torch.where(kept.any(dim=1, keepdim=True), kept, has)
