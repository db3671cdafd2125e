"""Settings of the recommenders that are networks. Imports no numerical library."""

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from vrec.training.config import TrainingConfig

Width = Annotated[int, Field(ge=1)]


class EarlyStoppingConfig(TrainingConfig):
    """Settings of training with early stopping on held-out interactions."""

    validation_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the users whose newest fifth of videos is held out from the fit to validate epochs; 0 disables
    early stopping. Users with fewer than 5 videos are not used. Recommendations use the full history."""
    max_validation_users: int = Field(default=1000, ge=1)
    """Maximum number of validation users; more make validation slower and little more precise."""
    patience: int = Field(default=10, ge=1)
    """Epochs without a better validation NDCG after which training stops; the best epoch's weights are
    used."""


class MultVaeConfig(EarlyStoppingConfig):
    """Settings of Mult-VAE's network and training."""

    hidden: int = Field(default=600, ge=1)
    """Units of the hidden layer of the encoder, and of that of the decoder."""
    latent: int = Field(default=200, ge=1)
    """Dimensions of the latent variable."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of a history's videos that is hidden from the encoder in training."""
    beta: float = Field(default=0.2, ge=0)
    """Final weight of the KL term: 1 is the variational bound, 0 an autoencoder with noise."""
    anneal_epochs: int = Field(default=50, ge=0)
    """Epochs in which the KL term's weight rises linearly from 0 to `beta`; 0 starts with `beta`."""
    batch_users: int = Field(default=100, ge=1)
    """Users per step; a step takes memory for this many rows of the catalog's length."""
    epochs: int = Field(default=100, ge=1)
    """Maximum number of passes over the users."""


class NeuMfConfig(TrainingConfig):
    """Settings of NeuMF's network and training."""

    factors: int = Field(default=32, ge=1)
    """Dimensions of the vectors of users and videos in the product part."""
    layers: tuple[Width, ...] = Field(default=(64, 32, 16), min_length=2)
    """Widths of the network part: of its input, one half for the user's vector and one for the video's, then
    of its layers."""
    negatives: int = Field(default=4, ge=1)
    """Number of unwatched videos drawn per interaction and epoch."""
    l2: float = Field(default=0.0, ge=0)
    """Factor in the loss of the squared norms of a pair's vectors, against overfitting."""
    batch_interactions: int = Field(default=512, ge=1)
    """Interactions per step, without their negatives."""
    epochs: int = Field(default=20, ge=1)
    """Number of passes over the interactions; too many overfit."""

    @field_validator("layers")
    @classmethod
    def _halves(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if layers[0] % 2:
            raise ValueError(
                f"the first of layers is {layers[0]}, but the user and the video have half of it each"
            )
        return layers


class SASRecConfig(EarlyStoppingConfig):
    """Settings of SASRec's network and training."""

    max_length: int = Field(default=100, ge=1)
    """Number of newest videos of a history that the network sees; older ones are ignored."""
    dim: int = Field(default=64, ge=1)
    """Dimensions of the videos' vectors and of the layers."""
    layers: int = Field(default=2, ge=1)
    """Number of transformer layers."""
    heads: int = Field(default=2, ge=1)
    """Number of attention heads per layer; must divide `dim`."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of activations that are dropped in training."""
    negatives: int | None = Field(default=4096, ge=1)
    """Number of negative videos drawn per step; None, or a number not below the catalog's size, uses all
    videos. Time and memory of a step grow with it."""
    batch_windows: int = Field(default=64, ge=1)
    """Windows per step: a history is one window, or several of `max_length` videos if it is longer."""
    epochs: int = Field(default=100, ge=1)
    """Maximum number of passes over the histories."""

    @model_validator(mode="after")
    def _heads_share_the_dimensions(self) -> "SASRecConfig":
        if self.dim % self.heads:
            raise ValueError(f"dim is {self.dim}, which is no multiple of heads, {self.heads}")
        return self
