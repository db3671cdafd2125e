"""What a learned vector keeps of the features that it was made of."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from vrec.core.types import Modality
from vrec.encoders.fusion import ModalityWeights
from vrec.encoders.learned.heads.batch import normalize_rows


class PcaResidual(nn.Module):
    """The fused features of a video, as `Fusion` makes them, in the directions in which videos differ most.

    Principal components keep most of the cosines in a fraction of the numbers: an index of a million videos
    is to fit into memory.
    """

    components: Tensor

    def __init__(self, dims: Mapping[Modality, int], width: int) -> None:
        super().__init__()
        shares = ModalityWeights().model_dump()
        self.shares: dict[Modality, float] = {m: shares[m] for m in dims}
        self.register_buffer("components", torch.zeros(sum(dims.values()), width))

    def fit(self, videos: Iterable[tuple[Mapping[Modality, Tensor], Mapping[Modality, Tensor]]]) -> None:
        """Takes the components from the videos to train on: what `forward` is given, in batches."""
        products = torch.zeros(len(self.components), len(self.components), dtype=torch.float64)
        for means, has in videos:
            fused = self._fused(means, has).double()
            products += fused.T @ fused
        # Ascending, of a symmetric matrix: the last columns are the directions of most variance.
        _, vectors = torch.linalg.eigh(products)
        self.components.copy_(vectors.flip(1)[:, : self.components.shape[1]])

    def forward(self, means: Mapping[Modality, Tensor], has: Mapping[Modality, Tensor]) -> Tensor:
        """(B, width) float32 unit rows, of (B, D) scaled features and (B,) bool who has them, by modality.

        Zeros of a video that has none of the modalities.
        """
        return normalize_rows(self._fused(means, has) @ self.components)

    def _fused(self, means: Mapping[Modality, Tensor], has: Mapping[Modality, Tensor]) -> Tensor:
        blocks = [
            normalize_rows(means[m]) * (has[m] * share**0.5)[:, None] for m, share in self.shares.items()
        ]
        return torch.cat(blocks, dim=1)
