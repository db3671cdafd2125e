"""Messages about moments between the parts of the service."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from vrec.core.errors import VrecError
from vrec.core.types import Modality, Vectors
from vrec.serving.messages import RequestFilters

MomentSource = Literal["words", "meaning", "picture", "sound"]
By = Literal["picture", "sound"]


class MomentsMissing(VrecError):
    """Search for moments where there are none."""

    fix = "embed the catalog with `vrec embed --moments`, bundle it again, and name a video with such moments"


@dataclass(frozen=True, eq=False, slots=True)
class MomentExample:
    """Picture or clip to search by, as vectors of the bundle's encoders."""

    vectors: Mapping[Modality, Vectors]
    """(Q, dim) unit vectors by modality."""
    encoders: Mapping[Modality, str]
    """Name of the encoder of each modality."""


@dataclass(frozen=True, slots=True)
class MomentQuery:
    """Search for moments: by words in given videos, or by an example in all."""

    k: int
    at: int
    """µs since 1970."""
    filters: RequestFilters = field(default_factory=RequestFilters)
    text: str | None = None
    """Words; then `video_ids` are searched."""
    video_ids: tuple[str, ...] = ()
    example: MomentExample | None = None
    like: tuple[str, float, float] | None = None
    """Video of the catalog and the seconds of it that are the example."""
    by: By | None = None
    """Pictures or sound; None for pictures if the example has any."""
    per_video: int = 1
    """Most moments of one video in a search by example, and of each video in one by words."""


@dataclass(frozen=True, slots=True)
class FoundMoment:
    """Moment of a video, with its score in a search."""

    video_id: str
    start_s: float
    end_s: float
    source: MomentSource
    score: float
    text: str | None = None


@dataclass(frozen=True, slots=True)
class MomentResult:
    """Moments, best first."""

    moments: tuple[FoundMoment, ...]
    bundle: str
    """Version of the bundle."""
    degraded: tuple[str, ...] = ()
    """Parts that did not answer."""
    cpu_ms: float = 0.0
    """CPU milliseconds of the process that found them, if that is another one."""
