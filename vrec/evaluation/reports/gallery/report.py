"""Content of the gallery page as plain data: videos with their nearest neighbors, metrics, failures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.types import Modality


class GalleryConfig(BaseConfig):
    """Settings of the gallery page."""

    shown: int = Field(default=500, ge=1)
    """Largest number of videos with a card on the page, about 7 kB each; of a larger catalog, a sample is
    shown."""
    neighbours: int = Field(default=5, ge=1, le=20)
    """Nearest neighbors shown for each video."""
    center: bool = True
    """Subtract the mean vector of the catalog before comparing, which removes what all videos have in common
    (on labeled clips, 1-NN accuracy rose from .85 to .87)."""


@dataclass(frozen=True, slots=True)
class GalleryVideo:
    """Metadata, poster, map position and nearest neighbors of one video."""

    video_id: str
    title: str
    """The video_id where the catalog has no title."""
    category: str | None
    language: str | None
    kind: str | None
    duration_s: float | None
    poster: bytes | None
    """JPEG."""
    xy: tuple[float, float] | None
    """Map position, each coordinate in [-1, 1]; None for a video without a card."""
    neighbors: Mapping[Modality, Sequence[tuple[int, float]]]
    """Per modality, (index into `GalleryReport.videos`, cosine), nearest first; modalities without a vector
    are absent."""


@dataclass(frozen=True, slots=True)
class GalleryFailure:
    """Row of FAILURES with its fix."""

    video_id: str
    uri: str
    stage: str
    error: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class CategoryAgreement:
    """Share of videos whose nearest neighbor has the same category (1-NN accuracy)."""

    by_modality: Mapping[Modality, float]
    """Shares in [0, 1]; near-duplicates of a video do not count as its neighbors."""
    chance: float
    """Expected share of a random neighbor."""
    videos: int
    """Embedded videos with a known category."""


@dataclass(frozen=True, slots=True)
class GalleryReport:
    """Content of the gallery page.

    The first `shown` of `videos` have a card; the others are only referred to as neighbors or duplicates.
    """

    videos: Sequence[GalleryVideo]
    shown: int
    embedded: int
    failed: int
    total: int
    modalities: Sequence[Modality]
    """Modalities with vectors, in the order of the page: fused first."""
    categories: Sequence[tuple[str, int]]
    """Categories with their numbers of embedded videos, largest first."""
    agreement: CategoryAgreement | None
    """None if fewer than two videos have a category."""
    near_duplicates: Sequence[Sequence[int]]
    """Groups of indexes into `videos`."""
    failures: Sequence[GalleryFailure]
    encoders: Mapping[str, str]
    decoders: Mapping[str, int]
    timings: Mapping[str, float]
    """Seconds by name, from the manifest."""
    throughput: Mapping[str, float]
    machine: Mapping[str, object]
    config: Mapping[str, object]
    links: Mapping[str, str] = field(default_factory=dict)
    """URLs of other pages of the same run, by link text."""
