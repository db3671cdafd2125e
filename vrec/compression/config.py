"""What `vrec compress` can be told."""

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
"""Which network a method takes, and how it is rounded."""
DISTILLED_VARIANTS: frozenset[NetworkVariant] = frozenset({"pruned", "student"})
"""Networks that learn from the original."""


class StudentConfig(BaseConfig):
    """What a student sees."""

    frame_px: int = Field(default=192, ge=32, le=1024)
    """Pixels a side of its pictures; the work of a network grows with their square."""


class CompressConfig(BaseConfig):
    """Which smaller networks are made of the one that sees frames, and which of them is taken."""

    methods: tuple[CompressionMethod, ...] = (
        "dynamic",
        "static",
        "pruned_static",
        "smaller_static",
        "student_static",
    )
    """What is tried: `static` and `dynamic` are int8, `pruned` has fewer channels, `smaller` sees fewer
    pixels, and `student` does too, but learns to make up for them; `_static` is the same in int8."""
    student: StudentConfig = Field(default_factory=StudentConfig)
    """What `smaller` and `student` see."""
    prune: PruneConfig = Field(default_factory=PruneConfig)
    """How many channels go."""
    quantize: QuantizeConfig = Field(default_factory=QuantizeConfig)
    """How a network is rounded to int8."""
    distill: DistillationConfig = Field(default_factory=DistillationConfig)
    """How a student or a pruned network learns."""
    videos: int = Field(default=500, ge=3)
    """Most videos that are read, drawn from the catalogue where it has more."""
    frames: int = Field(default=24, ge=1, le=256)
    """Frames of each that are learned from."""
    labels: str | None = None
    """A CSV file with the columns `video_id` (or `file`), `label` and perhaps `source`, by which neighbours
    are judged; None judges them by those of the original network alone."""
    rounds: int = Field(default=15, ge=1)
    """Rounds of timing; each runs every network once, on the same video."""
    max_accuracy_loss: float = Field(default=0.02, ge=0, le=1)
    """The most 1-NN accuracy that may be lost where there are labels."""
    min_recall: float = Field(default=0.85, ge=0, le=1)
    """Where there are none: the least share of a new video's 10 nearest that must stay."""
    seed: int = Field(default=0, ge=0)
    """Draws the videos that are read."""
