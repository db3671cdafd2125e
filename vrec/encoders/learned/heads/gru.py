"""Recurrent head: a bidirectional GRU over the frames of a video."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from vrec.core.types import Modality
from vrec.encoders.learned.heads.batch import FeatureBatch, frames_mean, normalize_rows, orthogonal_linear
from vrec.encoders.learned.heads.config import GruHeadConfig
from vrec.encoders.learned.heads.head import EncoderHead


class FrameGru(nn.Module):
    """Network from scaled frames to a vector: a projection of both directions of a GRU, and of the mean.

    The directions have separate columns in the projection, so that a clip and its reverse differ (Cho et al.
    2014; Schuster & Paliwal 1997). With the projected mean the network starts as good as the features, and
    learns what the order adds.
    """

    def __init__(self, inputs: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.read = nn.GRU(inputs, hidden, batch_first=True, bidirectional=True)
        self.order = orthogonal_linear(2 * hidden, dim)
        self.mean = orthogonal_linear(inputs, dim)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Return (B, dim) from (B, T, D) frames, of which `lengths` are valid; undefined for length 0."""
        if not frames.shape[1]:
            # No video of the batch has frames, but the GRU needs at least one step.
            frames = frames.new_zeros(len(frames), 1, frames.shape[2])
        packed = pack_padded_sequence(
            frames, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
        )
        _, last = self.read(packed)  # (2, B, hidden): at the last frame, and at the first
        return self.mean(frames_mean(frames, lengths)) + self.order(torch.cat([last[0], last[1]], dim=1))


class GruHead(EncoderHead):
    """Head from frames to a unit vector that depends on their order."""

    ordered = True

    def __init__(self, config: GruHeadConfig, dims: Mapping[Modality, int]) -> None:
        super().__init__({"frames": dims["frames"]}, config)
        self.dropout = nn.Dropout(config.dropout)
        self.frames = FrameGru(dims["frames"], config.hidden, config.dim)

    def forward(self, batch: FeatureBatch) -> Tensor:
        """Return (B, dim) float32 unit rows."""
        frames = self.dropout(self.scaled["frames"](batch.frames))
        return normalize_rows(self.frames(frames, batch.lengths))
