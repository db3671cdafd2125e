"""Settings of the training of heads. Imports no torch."""

from typing import Literal

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.training.config import TrainingConfig


class EncoderObjectiveConfig(BaseConfig):
    """Settings of the training objective."""

    kind: Literal["self_supervised", "aligned"] = "self_supervised"
    """Kind of the objective: `self_supervised` needs only the videos; `aligned` learns from what shoppers
    watched."""
    temperature: float = Field(default=0.1, gt=0)
    """Temperature of the contrast of views in units of cosine; smaller values weigh the nearest negatives
    more."""
    watched_temperature: float = Field(default=0.2, gt=0)
    """Temperature of the contrast of watched pairs in units of cosine. A watched pair is a weaker signal than
    two views of one video, and too small a value overfits."""
    audio_agreement: float = Field(default=0.2, ge=0)
    """Weight of the contrast between frames and sound of a video; 0 leaves it out."""
    reversed_negatives: bool = True
    """Whether the reversed clip is a negative of the clip, where the head sees the order of frames."""
    popularity_correction: bool = True
    """Whether scores are corrected by the log probability that a video appears in a batch (logQ)."""
    distillation: Literal["none", "likeness", "vector"] = "vector"
    """Loss towards the vectors of collaborative filtering: `vector` predicts them by a linear map that is
    dropped after training (van den Oord et al. 2013), `likeness` matches their pairwise cosines (Park et al.
    2019), `none` leaves it out."""
    distillation_weight: float = Field(default=1.0, ge=0)
    """Weight of the distillation loss, relative to the contrast of watched pairs."""
    unwatched_weight: float = Field(default=0.05, ge=0)
    """Weight in `aligned` of the self-supervised losses of videos that nobody has watched. These losses
    separate each video from all others, against the alignment of videos that are watched together; 0 leaves
    them out."""


class EncoderTrainingConfig(TrainingConfig):
    """Settings of the training of a head."""

    objective: EncoderObjectiveConfig = Field(default_factory=EncoderObjectiveConfig)
    """Training objective."""
    epochs: int = Field(default=50, ge=1)
    """Largest number of passes over the videos, or over the pairs in `aligned`."""
    batch_size: int = Field(default=256, ge=4)
    """Videos or pairs per step, of all workers together. The others of a worker's batch are the negatives:
    larger batches make a harder task."""
    patience: int = Field(default=10, ge=1)
    """Epochs without a lower validation loss after which training stops; the best weights are restored."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """Weight decay of AdamW: each step shrinks weights by this share times the learning rate."""
    validation: float = Field(default=0.1, ge=0, lt=1)
    """Share of the videos held out for validation, with all their pairs."""
    mixed_precision: bool = True
    """Whether a GPU multiplies in bfloat16: about twice as fast. Losses are in float32; unused on a CPU."""
