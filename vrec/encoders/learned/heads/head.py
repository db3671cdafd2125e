"""What every head is: a network from features to one unit vector a video."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from pydantic import Field
from torch import Tensor, nn

from vrec.core.config import Config
from vrec.core.protocols import Modality
from vrec.encoders.learned.features import FeatureSet
from vrec.encoders.learned.heads.batch import FeatureBatch, Scaled, fit_scale


class HeadConfig(Config):
    """What all heads have in common."""

    dim: int = Field(default=128, ge=2, le=4096)
    """Length of the vectors. Longer ones lose less of the features, and cost as much more in an index."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of the features' numbers that is hidden in a training step."""


class Head(nn.Module, ABC):
    """A network from the features of a video's modalities to a unit vector."""

    ordered = False
    """Whether the order of the frames is seen."""

    def __init__(self, dims: Mapping[Modality, int], dim: int) -> None:
        """`dims` are the lengths of the features of the modalities that it takes."""
        super().__init__()
        self.dims, self.dim = dict(dims), dim
        self.scaled = nn.ModuleDict({modality: Scaled(width) for modality, width in dims.items()})

    def fit_scales(self, features: FeatureSet) -> None:
        """Takes the means and scales of the modalities from the features to train on."""
        for modality in self.dims:
            scaled = self.scaled[modality]
            assert isinstance(scaled, Scaled)
            fit_scale(scaled, features, modality)

    def usable(self, has: Mapping[Modality, Tensor]) -> Tensor:
        """(B,) bool: which videos have any modality that the head takes."""
        found = [has[modality] for modality in self.dims]
        usable = found[0]
        for other in found[1:]:
            usable = usable | other
        return usable

    @abstractmethod
    def forward(self, batch: FeatureBatch) -> Tensor:
        """(B, dim) float32 unit rows; what it gives for a video that is not `usable` means nothing."""
