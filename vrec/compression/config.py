"""Settings of `vrec compress`."""

from typing import Literal

from pydantic import Field

from vrec.compression.distill import DistillationConfig
from vrec.compression.prune import PruneConfig
from vrec.compression.quantize import QuantizeConfig
from vrec.core.config import BaseConfig

NetworkVariant = Literal["whole", "pruned", "smaller", "student"]
Int8Mode = Literal["none", "static", "dynamic"]
CompressionMethod = Literal[
    "dynamic",
    "static",
    "pruned",
    "pruned_static",
    "smaller",
    "smaller_static",
    "student",
    "student_static",
]

METHOD_STEPS: dict[CompressionMethod, tuple[NetworkVariant, Int8Mode]] = {
    "dynamic": ("whole", "dynamic"),
    "static": ("whole", "static"),
    "pruned": ("pruned", "none"),
    "pruned_static": ("pruned", "static"),
    "smaller": ("smaller", "none"),
    "smaller_static": ("smaller", "static"),
    "student": ("student", "none"),
    "student_static": ("student", "static"),
}
"""Network of each method, and its int8 mode."""
DISTILLED_VARIANTS: frozenset[NetworkVariant] = frozenset({"pruned", "student"})
"""Networks that are trained by distillation from the original."""


class StudentConfig(BaseConfig):
    """Input of smaller networks."""

    frame_px: int = Field(default=192, ge=32, le=1024)
    """Pixels per side of the pictures of `smaller` and `student`; the cost of a network grows with their
    square."""


class CompressConfig(BaseConfig):
    """Settings of the compressed networks to try, and of the choice among them."""

    methods: tuple[CompressionMethod, ...] = (
        "dynamic",
        "static",
        "pruned_static",
        "smaller_static",
        "student_static",
    )
    """Methods to try: `static` and `dynamic` are int8, `pruned` has fewer channels, `smaller` takes smaller
    pictures, and `student` too, but is trained on them; `_static` is the same in int8."""
    student: StudentConfig = Field(default_factory=StudentConfig)
    """Input of `smaller` and `student`."""
    prune: PruneConfig = Field(default_factory=PruneConfig)
    """Pruning of channels."""
    quantize: QuantizeConfig = Field(default_factory=QuantizeConfig)
    """Rounding to int8."""
    distill: DistillationConfig = Field(default_factory=DistillationConfig)
    """Training of a student or a pruned network."""
    videos: int = Field(default=500, ge=3)
    """Largest number of videos that are read; a random sample where the catalog has more."""
    frames: int = Field(default=24, ge=1, le=256)
    """Frames of each video that are used."""
    labels: str | None = None
    """CSV file with the columns `video_id` (or `file`), `label` and optionally `source`, for the 1-NN
    accuracy. None compares the nearest neighbors with those of the original network only."""
    rounds: int = Field(default=15, ge=1)
    """Rounds of timing; each round runs every network once, on the same video."""
    max_accuracy_loss: float = Field(default=0.02, ge=0, le=1)
    """Largest loss of 1-NN accuracy (0 to 1) that is accepted where there are labels."""
    min_recall: float = Field(default=0.85, ge=0, le=1)
    """Smallest accepted share (0 to 1) of the 10 nearest neighbors of a new video that stay, without
    labels."""
    seed: int = Field(default=0, ge=0)
    """Seed of the sample of videos."""
