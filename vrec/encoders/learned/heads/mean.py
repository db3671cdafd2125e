"""Baseline head: a projection of the mean of a video's frames, independent of their order."""

from collections.abc import Mapping

from torch import Tensor, nn

from vrec.core.types import Modality
from vrec.encoders.learned.heads.batch import FeatureBatch, frames_mean, normalize_rows, orthogonal_linear
from vrec.encoders.learned.heads.config import MeanHeadConfig
from vrec.encoders.learned.heads.head import EncoderHead


class MeanHead(EncoderHead):
    """Linear map of the mean of a video's frames."""

    def __init__(self, config: MeanHeadConfig, dims: Mapping[Modality, int]) -> None:
        super().__init__({"frames": dims["frames"]}, config)
        self.dropout = nn.Dropout(config.dropout)
        self.project = orthogonal_linear(dims["frames"], config.dim)

    def forward(self, batch: FeatureBatch) -> Tensor:
        """Return (B, dim) float32 unit rows."""
        mean = self.scaled["frames"](frames_mean(batch.frames, batch.lengths))
        return normalize_rows(self.project(self.dropout(mean)))
