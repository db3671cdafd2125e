"""Settings of trending videos and popular searches."""

from pydantic import Field

from vrec.core.config import BaseConfig


class TrendingConfig(BaseConfig):
    """Trending videos."""

    min_shoppers: int = Field(default=2, ge=1)
    """Number of shoppers who must have chosen a video in the window for it to be listed."""
    smoothing: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """Shoppers by which the score of a video is smoothed: the larger, the more of them a rise takes."""


class PopularSearchesConfig(BaseConfig):
    """Popular searches."""

    min_shoppers: int = Field(default=5, ge=1)
    """Number of different shoppers who must have sent a text on one day for it to be shown to others."""
    most: int = Field(default=100_000, ge=1)
    """Maximum number of pairs of a text and a shopper that are counted, the last ones, about 25 MB."""
    write_after_s: float = Field(default=30.0, gt=0, le=600)
    """Seconds that searches wait to be stored together; a process that is killed loses those."""
