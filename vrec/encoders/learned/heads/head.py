"""Base of all heads: a network from the features of a video to one unit vector."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

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
from vrec.encoders.learned.heads.config import EncoderHeadConfig
from vrec.encoders.learned.heads.pca_residual import PcaResidual


class EncoderHead(nn.Module, ABC):
    """Network from the features of a video's modalities to a unit vector."""

    ordered = False
    """Whether the output depends on the order of the frames."""

    def __init__(self, dims: Mapping[Modality, int], config: EncoderHeadConfig) -> None:
        """Build a head; `dims` are the lengths of its input features by modality."""
        super().__init__()
        self.dims, self.dim, self.keep = dict(dims), config.dim, config.keep
        self.scaled = nn.ModuleDict({modality: FeatureScaler(width) for modality, width in dims.items()})
        self.kept = PcaResidual(dims, min(config.kept_dim, sum(dims.values()))) if config.keep else None

    def fit_scales(self, features: FeatureSet) -> None:
        """Fit the scalers and the principal components to the features to train on."""
        for modality in self.dims:
            scaler = self.scaled[modality]
            assert isinstance(scaler, FeatureScaler)
            fit_scaler(scaler, features, modality)
        if self.kept is not None:
            tensors = FeatureTensors(features, torch.device("cpu"), self.dims)
            blocks = (tensors.take(rows.numpy()) for rows in torch.arange(len(features)).split(BLOCK_ROWS))
            self.kept.fit((self.means(block), block.has) for block in blocks)

    def means(self, batch: FeatureBatch) -> dict[Modality, Tensor]:
        """Return the scaled features of each modality, (B, D); for frames, their mean."""
        means: dict[Modality, Tensor] = {}
        for modality in self.dims:
            scaled = self.scaled[modality](getattr(batch, modality))
            means[modality] = frames_mean(scaled, batch.lengths) if modality == "frames" else scaled
        return means

    def vectors(self, batch: FeatureBatch) -> Tensor:
        """Return (B, dim + kept components) float32 unit rows.

        The learned part and the PCA residual are concatenated, each with its share of the similarity of two
        videos. The rows of videos without input (see `has_input`) are undefined.
        """
        learned = self(batch)
        if self.kept is None:
            return learned
        kept = self.kept(self.means(batch), batch.has)
        return torch.cat([learned * (1 - self.keep) ** 0.5, kept * self.keep**0.5], dim=1)

    def has_input(self, has: Mapping[Modality, Tensor]) -> Tensor:
        """Return (B,) bool: whether a video has any modality that the head takes."""
        return torch.stack([has[modality] for modality in self.dims]).any(dim=0)

    @abstractmethod
    def forward(self, batch: FeatureBatch) -> Tensor:
        """Return (B, dim) float32 unit rows, the learned part; undefined for videos without input."""
