"""Settings of the models of live streams. Imports no numerical library."""

from pydantic import Field, model_validator

from vrec.core.config import BaseConfig
from vrec.training.config import TrainingConfig


class LiveAttentionConfig(TrainingConfig):
    """Settings of the attention over what is live, and of its training."""

    learning_rate: float = Field(default=2e-3, gt=0, le=1)
    """Step size of Adam; halve it where the loss is not finite, or jumps."""
    dim: int = Field(default=32, ge=2)
    """Dimensions of the streamers' vectors and of the layers."""
    heads: int = Field(default=2, ge=1)
    """Number of attention heads; must divide `dim`."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of activations that are dropped in training."""
    max_length: int = Field(default=30, ge=1)
    """Newest views of a shopper that the network reads."""
    batch_views: int = Field(default=64, ge=1)
    """Views per step."""
    epochs: int = Field(default=6, ge=1)
    """Maximum number of passes over the views."""
    validation_share: float = Field(default=0.15, gt=0, lt=1)
    """Share of the views, the newest, by which training is stopped."""
    patience: int = Field(default=2, ge=1)
    """Epochs without a better validation NDCG after which training stops."""

    @model_validator(mode="after")
    def _heads_share_the_dimensions(self) -> "LiveAttentionConfig":
        if self.dim % self.heads:
            raise ValueError(f"dim is {self.dim}, which is no multiple of heads, {self.heads}")
        return self


class LiveConfig(BaseConfig):
    """Settings of the choice among the streams that are live at an instant."""

    learned_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of the log, its newest views, by which the weights of the features are learned; the similarity of
    streamers that they are learned with is that of the views before."""
    max_views: int = Field(default=10_000, ge=1)
    """Maximum number of views that the weights are learned by; of more, random ones are used. Memory and
    time of the fit grow with it."""
    max_candidates: int = Field(default=80, ge=2)
    """Maximum number of live streams that a view is compared with in the fit: those of streamers whom the
    shopper knows, and random others."""
    early_leave_s: float = Field(default=60.0, ge=0)
    """Seconds below which a view counts as left early, which says little for the stream."""
    early_weight: float = Field(default=0.25, ge=0, le=1)
    """Weight of a view that was left early in the fit; one that was not counts 1."""
    l2: float = Field(default=1.0, ge=0)
    """Factor of the squared norm of the weights in the loss, for features of deviation 1."""
    attention: LiveAttentionConfig | None = LiveAttentionConfig()
    """Attention over what is live, which adds to the scores where it ranks the newest views better; None for
    the weighted features alone, whose fit takes a fraction of the time."""
    max_history: int = Field(default=300, ge=1)
    """Newest views of a shopper that are used."""
