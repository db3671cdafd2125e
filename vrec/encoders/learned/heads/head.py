"""What every head is: a network from features to one unit vector a video."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from vrec.core.config import BaseConfig
from vrec.core.types import Modality
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.heads.batch import (
    BLOCK_ROWS,
    FeatureBatch,
    FeatureScaler,
    FeatureTensors,
    fit_scaler,
    frames_mean,
)
from vrec.encoders.learned.heads.pca_residual import PcaResidual


class EncoderHeadConfig(BaseConfig):
    """What all heads have in common."""

    dim: int = Field(default=128, ge=2, le=4096)
    """Length of what is learned. Longer ones lose less of the features, and cost as much more in an index."""
    keep: float = Field(default=0.5, ge=0, lt=1)
    """Share of the likeness of two videos that stays that of the features themselves; the rest is learned.
    What is learned of few videos, or of one goal alone, forgets what else the features knew."""
    kept_dim: int = Field(default=256, ge=1, le=4096)
    """The most numbers that are kept of the features, in which their videos differ most."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of the features' numbers that is hidden in a training step."""


class EncoderHead(nn.Module, ABC):
    """A network from the features of a video's modalities to a unit vector."""

    ordered = False
    """Whether the order of the frames is seen."""

    def __init__(self, dims: Mapping[Modality, int], config: EncoderHeadConfig) -> None:
        """`dims` are the lengths of the features of the modalities that it takes."""
        super().__init__()
        self.dims, self.dim, self.keep = dict(dims), config.dim, config.keep
        self.scaled = nn.ModuleDict({modality: FeatureScaler(width) for modality, width in dims.items()})
        self.kept = PcaResidual(dims, min(config.kept_dim, sum(dims.values()))) if config.keep else None

    def fit_scales(self, features: FeatureSet) -> None:
        """Takes the means and scales of the modalities, and what is kept, from the features to train on."""
        for modality in self.dims:
            scaled = self.scaled[modality]
            assert isinstance(scaled, FeatureScaler)
            fit_scaler(scaled, features, modality)
        if self.kept is not None:
            tensors = FeatureTensors(features, torch.device("cpu"), self.dims)
            blocks = (tensors.take(rows.numpy()) for rows in torch.arange(len(features)).split(BLOCK_ROWS))
            self.kept.fit((self.means(block), block.has) for block in blocks)

    def means(self, batch: FeatureBatch) -> dict[Modality, Tensor]:
        """The scaled features of each modality, (B, D); of frames, the mean of those that are there."""
        found: dict[Modality, Tensor] = {}
        for modality in self.dims:
            scaled = self.scaled[modality](getattr(batch, modality))
            found[modality] = frames_mean(scaled, batch.lengths) if modality == "frames" else scaled
        return found

    def vectors(self, batch: FeatureBatch) -> Tensor:
        """(B, dim + what is kept) float32 unit rows: what is learned beside what is kept, each with its share
        of the likeness of two videos. What it gives for a video that is not `usable` means nothing."""
        learned = self(batch)
        if self.kept is None:
            return learned
        kept = self.kept(self.means(batch), batch.has)
        return torch.cat([learned * (1 - self.keep) ** 0.5, kept * self.keep**0.5], dim=1)

    def has_input(self, has: Mapping[Modality, Tensor]) -> Tensor:
        """(B,) bool: which videos have any modality that the head takes."""
        found = [has[modality] for modality in self.dims]
        usable = found[0]
        for other in found[1:]:
            usable = usable | other
        return usable

    @abstractmethod
    def forward(self, batch: FeatureBatch) -> Tensor:
        """(B, dim) float32 unit rows, what is learned; nothing is meant by those of a video not `usable`."""
