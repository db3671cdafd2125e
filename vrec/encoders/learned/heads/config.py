"""Settings of the heads of learned encoders. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field

from vrec.core.config import BaseConfig


class EncoderHeadConfig(BaseConfig):
    """Settings that all heads share."""

    dim: int = Field(default=128, ge=2, le=4096)
    """Length of the learned part of a vector. Longer vectors lose less of the features and make an index
    larger."""
    keep: float = Field(default=0.5, ge=0, lt=1)
    """Share of the similarity of two videos that is that of the features themselves; the rest is learned.
    Heads trained on few videos, or on a single goal, lose other information of the features."""
    kept_dim: int = Field(default=256, ge=1, le=4096)
    """Largest number of principal components of the features that are kept."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout probability of each input feature in a training step."""


class FusionHeadConfig(EncoderHeadConfig):
    """Settings that heads over several modalities share."""

    frames: Literal["mean", "gru"] = "mean"
    """Input layer for frames: their mean, or a GRU that sees their order."""
    hidden: int = Field(default=128, ge=1, le=4096)
    """Size of the hidden state of the GRU in each direction; unused by `mean`."""


class MeanHeadConfig(EncoderHeadConfig):
    """Settings of the baseline head."""

    kind: Literal["mean"] = "mean"
    """Kind of the head: a linear map of the mean of the frames."""


class GruHeadConfig(EncoderHeadConfig):
    """Settings of the bidirectional GRU over the frames, with a projection of their mean."""

    kind: Literal["gru"] = "gru"
    """Kind of the head: a recurrent network over frames."""
    hidden: int = Field(default=128, ge=1, le=4096)
    """Size of the hidden state of the GRU in each direction."""


class GatedHeadConfig(FusionHeadConfig):
    """Settings of the gated fusion head."""

    kind: Literal["gated"] = "gated"
    """Kind of the head: a sum of the modalities, weighted by learned gates."""
    gate_hidden: int = Field(default=32, ge=1, le=4096)
    """Width of the hidden layer of the gates."""
    modality_dropout: float = Field(default=0.2, ge=0, lt=1)
    """Probability that a modality of a video is hidden in a training step, so that the head does not rely on
    a single one; never all of them are hidden."""


class VaeHeadConfig(FusionHeadConfig):
    """Settings of the variational autoencoder."""

    kind: Literal["vae"] = "vae"
    """Kind of the head: a variational autoencoder, whose posterior is a product of one expert per
    modality."""
    layer: int = Field(default=256, ge=1, le=4096)
    """Width of the hidden layer of encoders and decoders."""
    beta: float = Field(default=1.0, ge=0)
    """Weight of the divergence from the prior after warm-up (Higgins et al. 2017)."""
    warmup_epochs: int = Field(default=10, ge=1)
    """Epochs over which `beta` rises from 0. At full weight from the start, the latent vector collapses
    before the decoders learn to use it (Sønderby et al. 2016)."""
    evidence: float = Field(default=128.0, gt=0)
    """Number of independent observations that a modality's vector counts as, whatever its length; otherwise
    the 1280 numbers of the frames would outweigh the 60 of the sound. More make the posterior narrower and
    the vectors more detailed."""


AnyHeadConfig = Annotated[
    MeanHeadConfig | GruHeadConfig | GatedHeadConfig | VaeHeadConfig, Field(discriminator="kind")
]
"""Kind and size of a head."""
