"""Principal components of the features, kept as a part of a learned vector."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from vrec.core.types import Modality
from vrec.encoders.fusion import ModalityWeights
from vrec.encoders.learned.heads.batch import normalize_rows


class PcaResidual(nn.Module):
    """Projection of the fused features of a video, as `ModalityFusion` makes them, on principal components.

    Principal components preserve most of the cosines in a fraction of the length, so that an index of a
    million videos fits into memory.
    """

    components: Tensor

    def __init__(self, dims: Mapping[Modality, int], width: int) -> None:
        super().__init__()
        shares = ModalityWeights().model_dump()
        self.shares: dict[Modality, float] = {m: shares[m] for m in dims}
        self.register_buffer("components", torch.zeros(sum(dims.values()), width))

    def fit(self, videos: Iterable[tuple[Mapping[Modality, Tensor], Mapping[Modality, Tensor]]]) -> None:
        """Fit the components to batches of videos, each a pair of the arguments of `forward`."""
        products = torch.zeros(len(self.components), len(self.components), dtype=torch.float64)
        for means, has in videos:
            fused = self._fused(means, has).double()
            products += fused.T @ fused
        # Eigenvalues ascend: the last columns are the directions of largest variance.
        _, vectors = torch.linalg.eigh(products)
        self.components.copy_(vectors.flip(1)[:, : self.components.shape[1]])

    def forward(self, means: Mapping[Modality, Tensor], has: Mapping[Modality, Tensor]) -> Tensor:
        """Return (B, width) float32 unit rows; zeros for a video that has none of the modalities.

        Args:
            means: (B, D) scaled features by modality.
            has: (B,) bool by modality, whether a video has it.
        """
        return normalize_rows(self._fused(means, has) @ self.components)

    def _fused(self, means: Mapping[Modality, Tensor], has: Mapping[Modality, Tensor]) -> Tensor:
        blocks = [
            normalize_rows(means[m]) * (has[m] * share**0.5)[:, None] for m, share in self.shares.items()
        ]
        return torch.cat(blocks, dim=1)
