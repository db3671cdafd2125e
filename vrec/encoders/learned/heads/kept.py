"""What a learned vector keeps of the features that it was made of."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vrec.core.protocols import Modality
from vrec.encoders.fusion import FusionWeights
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.heads.batch import ROWS, FeatureBatch, FeatureTensors, frames_mean, unit


class Kept(nn.Module):
    """The fused features of a video, as `Fusion` makes them, in the directions in which videos differ most.

    Principal components keep most of the cosines in a fraction of the numbers: an index of a million videos
    is to fit into memory.
    """

    components: Tensor

    def __init__(self, dims: Mapping[Modality, int], width: int) -> None:
        super().__init__()
        self.dims = dict(dims)
        shares = FusionWeights().model_dump()
        self.shares: dict[Modality, float] = {m: shares[m] for m in dims}
        self.register_buffer("components", torch.zeros(sum(dims.values()), width))

    def fit(self, features: FeatureSet, scaled: nn.ModuleDict) -> None:
        """Takes the components from the videos to train on, whose scales are known."""
        tensors = FeatureTensors(features, torch.device("cpu"), self.dims)
        products = torch.zeros(len(self.components), len(self.components), dtype=torch.float64)
        for rows in torch.arange(len(features)).split(ROWS):
            fused = self._fused(tensors.take(rows.numpy()), scaled).double()
            products += fused.T @ fused
        # Ascending, of a symmetric matrix: the last columns are the directions of most variance.
        _, vectors = torch.linalg.eigh(products)
        self.components.copy_(vectors.flip(1)[:, : self.components.shape[1]])

    def forward(self, batch: FeatureBatch, scaled: nn.ModuleDict) -> Tensor:
        """(B, width) float32 unit rows; zeros of a video that has none of the modalities."""
        return unit(self._fused(batch, scaled) @ self.components)

    def _fused(self, batch: FeatureBatch, scaled: nn.ModuleDict) -> Tensor:
        blocks = []
        for m in self.dims:
            rows = frames_mean(batch.frames, batch.lengths) if m == "frames" else getattr(batch, m)
            blocks.append(unit(scaled[m](rows)) * (batch.has[m] * self.shares[m] ** 0.5)[:, None])
        return torch.cat(blocks, dim=1)
