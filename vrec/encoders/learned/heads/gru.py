"""A recurrent head: it reads a video's frames in their order, from both ends."""

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from vrec.core.types import Modality
from vrec.encoders.learned.heads.batch import FeatureBatch, frames_mean, normalize_rows, orthogonal_linear
from vrec.encoders.learned.heads.head import EncoderHead, EncoderHeadConfig


class GruHeadConfig(EncoderHeadConfig):
    """A bidirectional GRU over the frames, beside a projection of their mean."""

    kind: Literal["gru"] = "gru"
    """A recurrent network over frames."""
    hidden: int = Field(default=128, ge=1, le=4096)
    """Numbers that the network keeps in mind, in each direction."""


class FrameGru(nn.Module):
    """Frames of one scale to a vector: what was read forwards and backwards, and the mean.

    The two directions have places of their own in what they are mapped from, so that a clip and its reverse
    differ (Cho et al. 2014; Schuster & Paliwal 1997). The mean beside them lets the network begin as good as
    the features are, and learn what the order adds.
    """

    def __init__(self, inputs: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.read = nn.GRU(inputs, hidden, batch_first=True, bidirectional=True)
        self.order = orthogonal_linear(2 * hidden, dim)
        self.mean = orthogonal_linear(inputs, dim)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, dim) from (B, T, D) frames of which (B,) are there; meaningless where none is."""
        if not frames.shape[1]:
            # No video of the batch has any: there must be something to read all the same.
            frames = frames.new_zeros(len(frames), 1, frames.shape[2])
        packed = pack_padded_sequence(
            frames, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
        )
        _, last = self.read(packed)  # (2, B, hidden): at the last frame, and at the first
        return self.mean(frames_mean(frames, lengths)) + self.order(torch.cat([last[0], last[1]], dim=1))


class GruHead(EncoderHead):
    """Frames to a unit vector that tells a clip from its reverse."""

    ordered = True

    def __init__(self, config: GruHeadConfig, dims: Mapping[Modality, int]) -> None:
        super().__init__({"frames": dims["frames"]}, config)
        self.dropout = nn.Dropout(config.dropout)
        self.frames = FrameGru(dims["frames"], config.hidden, config.dim)

    def forward(self, batch: FeatureBatch) -> Tensor:
        """(B, dim) float32 unit rows."""
        frames = self.dropout(self.scaled["frames"](batch.frames))
        return normalize_rows(self.frames(frames, batch.lengths))
