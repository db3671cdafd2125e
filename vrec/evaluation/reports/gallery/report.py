"""A run's results as plain data for one page: videos with their look-alikes, figures, failures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.types import Modality


class GalleryConfig(BaseConfig):
    """What the report page shows of a catalogue."""

    shown: int = Field(default=500, ge=1)
    """Most videos with a card on the page; of a bigger catalogue, a sample, and the page says so.
    Each costs about 7 kB of page."""
    neighbours: int = Field(default=5, ge=1, le=20)
    """Look-alikes beside each video."""
    center: bool = True
    """Subtract the catalogue's mean vector before comparing: what all videos share says nothing
    about which are alike (on the labelled clips here, 1-NN accuracy rose from .85 to .87)."""


@dataclass(frozen=True, slots=True)
class GalleryVideo:
    """One video as the page shows it."""

    video_id: str
    title: str
    """The video_id where the catalogue has no title."""
    category: str | None
    language: str | None
    kind: str | None
    duration_s: float | None
    poster: bytes | None
    """JPEG."""
    xy: tuple[float, float] | None
    """Its place on the map, each in [-1, 1]; None where it has no fused vector or no card."""
    neighbours: Mapping[Modality, Sequence[tuple[int, float]]]
    """Per modality, (index into `GalleryReport.videos`, cosine), nearest first; a modality that the
    video lacks is absent."""


@dataclass(frozen=True, slots=True)
class GalleryFailure:
    """One row of FAILURES with how to fix it."""

    video_id: str
    uri: str
    stage: str
    error: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True)
class CategoryAgreement:
    """How often a video's nearest neighbour is of its own category."""

    by_modality: Mapping[Modality, float]
    """Shares in [0, 1]; near-duplicates of a video do not count as its neighbours."""
    chance: float
    """The share that a random neighbour would reach."""
    videos: int
    """Embedded videos whose category is known."""


@dataclass(frozen=True, slots=True)
class GalleryReport:
    """All that the page says. The first `shown` of `videos` have a card; the others are only referred to."""

    videos: Sequence[GalleryVideo]
    shown: int
    embedded: int
    failed: int
    total: int
    modalities: Sequence[Modality]
    """Those with vectors, in the order in which the page offers them: fused first."""
    categories: Sequence[tuple[str, int]]
    """Category and how many embedded videos it has, most first."""
    agreement: CategoryAgreement | None
    """None where fewer than two videos have a category."""
    near_duplicates: Sequence[Sequence[int]]
    """Groups of indexes into `videos`."""
    failures: Sequence[GalleryFailure]
    encoders: Mapping[str, str]
    decoders: Mapping[str, int]
    timings: Mapping[str, float]
    """Seconds by name, as the manifest gives them."""
    throughput: Mapping[str, float]
    machine: Mapping[str, object]
    config: Mapping[str, object]
    links: Mapping[str, str] = field(default_factory=dict)
    """Other pages of the same run, by what is to be seen there."""
