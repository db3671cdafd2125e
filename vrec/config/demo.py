"""Settings for `vrec demo`."""

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.evaluation.reports.gallery.report import GalleryConfig
from vrec.media.posters import PosterConfig
from vrec.synthetic.live.broadcast import BroadcastConfig
from vrec.synthetic.shop.config import SimulationConfig
from vrec.synthetic.videos import SyntheticVideosConfig


class DemoRankerConfig(BaseConfig):
    """Differences of the demo's ranker from `train.ranker`: smaller, to suit a small log."""

    width: int = Field(default=8, ge=1)
    """Width of the network's embeddings; no effect on a network without embeddings."""
    hidden: tuple[int, ...] = (64, 32)
    """Widths of the dense layers."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout rate of the dense layers."""
    history: int = Field(default=20, ge=1)
    """Most recent videos of a shopper's history that the ranker sees."""
    epochs: int = Field(default=6, ge=1)
    """Maximum number of epochs."""
    conversion_window_hours: float = Field(default=24.0, gt=0)
    """Hours after a click within which a purchase counts; short, since the simulated log is short."""


class DemoConfig(BaseConfig):
    """Settings for `vrec demo`."""

    draw: SyntheticVideosConfig = Field(default_factory=SyntheticVideosConfig)
    """Synthetic catalog."""
    poster: PosterConfig = Field(default_factory=PosterConfig)
    """Poster pictures on the report page."""
    gallery: GalleryConfig = Field(default_factory=GalleryConfig)
    """Report page."""
    shop: SimulationConfig = Field(default_factory=lambda: SimulationConfig(users=600, slots=5))
    """Simulated shoppers."""
    live: BroadcastConfig = Field(default_factory=BroadcastConfig)
    """Live streams of `vrec demo --live`."""
    ranker: DemoRankerConfig = Field(default_factory=DemoRankerConfig)
    """Ranker trained on the simulated log."""
    least_videos: int = Field(default=20, ge=4)
    """Embedded videos that the simulation needs; with fewer, no shopper is simulated."""
