"""Features as tensors: what a head is given, brought to one scale."""

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
"""Videos whose frames are read at once to find their mean: bounds memory."""


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """B videos as a head sees them, float32 on the head's device."""

    frames: Tensor
    """(B, T, D); zeros from `lengths` on."""
    lengths: Tensor
    """(B,) int64."""
    audio: Tensor
    """(B, D)."""
    text: Tensor
    """(B, D)."""
    has: Mapping[Modality, Tensor]
    """(B,) bool."""

    def __len__(self) -> int:
        return len(self.lengths)


class FeatureTensors:
    """A FeatureSet of which batches are taken; the whole stays in the CPU's memory, as it is."""

    def __init__(self, features: FeatureSet, device: torch.device, dims: Mapping[Modality, int]) -> None:
        """`dims` are the lengths that a head wants: of a modality that all videos lack it gets zeros."""
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
        """Some videos by their rows, each in a view of its own, or all in one."""
        at, view = torch.from_numpy(rows), torch.from_numpy(np.broadcast_to(views, rows.shape).copy())
        has: dict[Modality, Tensor] = {m: found[at].to(self.device) for m, found in self._has.items()}
        return FeatureBatch(
            self._rows["frames"][at, view].to(self.device).float(),
            self._lengths[at].to(self.device),
            self._rows["audio"][at].to(self.device),
            self._rows["text"][at].to(self.device),
            has,
        )


class FeatureScaler(nn.Module):
    """Vectors of a modality less the catalogue's mean, at a mean square of 1 a number.

    One scale for all numbers, not one each: it keeps the geometry of the features, and a number that hardly
    varies does not count as much as one that does. Without the mean, neighbours are better even of features
    that nothing was trained on.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, sums: npt.NDArray[np.float64], squares: float, count: int) -> None:
        """Takes centre and scale from the sum of `count` vectors, (D,), and of their squared lengths."""
        centre = sums / count
        spread = squares / count - float(centre @ centre)
        self.centre.copy_(torch.from_numpy(centre))
        # Vectors that are all the same have no spread: they are brought to zero and stay there.
        self.scale.fill_((len(centre) / spread) ** 0.5 if spread > 1e-9 * squares / count else 1.0)

    def forward(self, vectors: Tensor) -> Tensor:
        """The vectors, (…, D), centred and scaled."""
        return (vectors - self.centre) * self.scale


def fit_scaler(scaled: FeatureScaler, features: FeatureSet, modality: Modality) -> None:
    """Fits a modality's centre and scale to the videos that have it; of frames, all that are there."""
    sums, squares, count = np.zeros(len(scaled.centre)), 0.0, 0
    for start in range(0, len(features), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        if modality == "frames":
            there = np.arange(features.frames.shape[2]) < features.lengths[block, None]  # (B, T)
            vectors = features.frames[block, 0][there].astype(np.float64)
        else:
            rows: npt.NDArray[np.float32] = getattr(features, modality)[block]
            vectors = rows[features.has[modality][block]].astype(np.float64)
        sums += vectors.sum(axis=0)
        squares += float((vectors**2).sum())
        count += len(vectors)
    if count:
        scaled.fit(sums, squares, count)


def normalize_rows(vectors: Tensor) -> Tensor:
    """(B, dim) float32 rows of length 1."""
    return functional.normalize(vectors.float(), dim=1, eps=1e-12)


def frames_mean(frames: Tensor, lengths: Tensor) -> Tensor:
    """(B, D): the mean of (B, T, D) frames over those that are there; zeros of none."""
    mask = torch.arange(frames.shape[1], device=lengths.device) < lengths[:, None]
    return (frames * mask[:, :, None]).sum(dim=1) / lengths.clamp(min=1)[:, None]


def orthogonal_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear map that begins by keeping angles as well as a map to so many numbers can."""
    made = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(made.weight)
    nn.init.zeros_(made.bias)
    return made
