"""Features as tensors: input batches of heads, and their scaling."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from vrec.core.types import Modality
from vrec.encoders.learned.features import FeatureSet

BLOCK_ROWS = 4096
"""Videos per block when all features are read; bounds memory."""


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """Batch of B videos, float32 on the device of the head."""

    frames: Tensor
    """(B, T, D) features of frames; zeros from `lengths` on."""
    lengths: Tensor
    """(B,) int64 number of frames."""
    audio: Tensor
    """(B, D) features of the sound."""
    text: Tensor
    """(B, D) features of the text."""
    has: Mapping[Modality, Tensor]
    """(B,) bool whether a video has a modality."""

    def __len__(self) -> int:
        return len(self.lengths)


class FeatureTensors:
    """FeatureSet as tensors in CPU memory, of which batches are moved to a device."""

    def __init__(self, features: FeatureSet, device: torch.device, dims: Mapping[Modality, int]) -> None:
        """Wrap features; `dims` are a head's input lengths, zeros where all videos lack one."""
        self.device = device
        self.views = features.frames.shape[1]
        self._lengths = torch.from_numpy(features.lengths.astype(np.int64))
        self._has: dict[Modality, Tensor] = {
            m: torch.from_numpy(np.array(h)) for m, h in features.has.items()
        }
        self._rows: dict[Modality, Tensor] = {}
        for m in self._has:
            array = np.require(getattr(features, m), requirements="W")
            missing = m not in features.dims and m in dims
            shape = (*array.shape[:-1], dims[m]) if missing else array.shape
            self._rows[m] = torch.zeros(()).expand(shape) if missing else torch.from_numpy(array)

    def take(self, rows: npt.NDArray[np.int64], views: npt.NDArray[np.int64] | int = 0) -> FeatureBatch:
        """Return the batch of some rows; `views` is the view of each row, or of all."""
        at, view = torch.from_numpy(rows), torch.from_numpy(np.broadcast_to(views, rows.shape).copy())
        has: dict[Modality, Tensor] = {m: mask[at].to(self.device) for m, mask in self._has.items()}
        return FeatureBatch(
            self._rows["frames"][at, view].to(self.device).float(),
            self._lengths[at].to(self.device),
            self._rows["audio"][at].to(self.device),
            self._rows["text"][at].to(self.device),
            has,
        )


class FeatureScaler(nn.Module):
    """Centering and scaling of the vectors of a modality to mean 0 and a mean square of 1 per dimension.

    All dimensions share one scale: this keeps the geometry of the features, and a dimension that hardly
    varies does not count as much as one that does. Centering improves nearest neighbors even of untrained
    features.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, sums: npt.NDArray[np.float64], squares: float, count: int) -> None:
        """Set center and scale.

        Args:
            sums: (D,) sum of the vectors.
            squares: Sum of their squared lengths.
            count: Number of vectors, at least 1.
        """
        centre = sums / count
        variance = squares / count - float(centre @ centre)
        self.centre.copy_(torch.from_numpy(centre))
        # Vectors that are all the same have no variance: they become zeros at any scale.
        self.scale.fill_((len(centre) / variance) ** 0.5 if variance > 1e-9 * squares / count else 1.0)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the vectors, (..., D), centered and scaled."""
        return (vectors - self.centre) * self.scale


def fit_scaler(scaler: FeatureScaler, features: FeatureSet, modality: Modality) -> None:
    """Fit a scaler to the videos that have a modality; for frames, to every frame of view 0."""
    sums, squares, count = np.zeros(len(scaler.centre)), 0.0, 0
    for start in range(0, len(features), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        if modality == "frames":
            mask = np.arange(features.frames.shape[2]) < features.lengths[block, None]  # (B, T)
            vectors = features.frames[block, 0][mask].astype(np.float64)
        else:
            rows: npt.NDArray[np.float32] = getattr(features, modality)[block]
            vectors = rows[features.has[modality][block]].astype(np.float64)
        sums += vectors.sum(axis=0)
        squares += float((vectors**2).sum())
        count += len(vectors)
    if count:
        scaler.fit(sums, squares, count)


def normalize_rows(vectors: Tensor) -> Tensor:
    """Return (B, dim) float32 rows of length 1; rows of zeros stay zero."""
    return functional.normalize(vectors.float(), dim=1, eps=1e-12)


def frames_mean(frames: Tensor, lengths: Tensor) -> Tensor:
    """Return (B, D): the mean of the first `lengths` of (B, T, D) frames; zeros for a length of 0."""
    mask = torch.arange(frames.shape[1], device=lengths.device) < lengths[:, None]
    return (frames * mask[:, :, None]).sum(dim=1) / lengths.clamp(min=1)[:, None]


def orthogonal_linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer with a bias of zeros and an orthogonal weight, which preserves angles."""
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
