"""Settings of simulated shops."""

from datetime import UTC, datetime

from pydantic import AwareDatetime, Field

from vrec.core.config import BaseConfig


class SimulationConfig(BaseConfig):
    """Settings of a simulated shop, its shoppers and its logging policy."""

    seed: int = Field(default=0, ge=0)
    """Random seed; equal settings and seeds give equal shops and events."""
    users: int = Field(default=2000, gt=0)
    """Number of shoppers."""
    videos: int = Field(default=500, gt=0)
    """Number of videos of a generated catalog; ignored for a given catalog."""
    categories: int = Field(default=20, gt=0)
    """Number of categories of a generated catalog."""
    creators: int = Field(default=50, gt=0)
    """Number of creators of a generated catalog."""
    tags: int = Field(default=60, gt=0)
    """Number of distinct tags of a generated catalog, of which a video has at most three."""
    dim: int = Field(default=32, gt=0)
    """Length of the content vectors of a generated catalog."""
    start: AwareDatetime = datetime(2025, 1, 1, tzinfo=UTC)
    """Start time of the log."""
    days: int = Field(default=30, gt=0)
    """Length of the log in days."""
    requests_per_user: float = Field(default=15.0, gt=0)
    """Mean number of requests per shopper over all days; the total is exactly users × this, rounded."""
    activity_spread: float = Field(default=0.7, ge=0)
    """Standard deviation of the log of shoppers' activity; 0 makes all shoppers equally active."""
    slots: int = Field(default=8, gt=0)
    """Number of videos shown per request; 1 logs a contextual bandit."""
    click_rate: float = Field(default=0.08, gt=0, lt=1)
    """Mean click probability in the first slot over all shoppers and videos."""
    interests: float = Field(default=0.15, gt=0)
    """Dirichlet concentration of tastes over categories; a small value gives few and strong interests."""
    category_weight: float = Field(default=2.5, ge=0)
    """Log-odds of a click that the favorite category adds over a category without interest."""
    tag_weight: float = Field(default=0.4, ge=0)
    """Standard deviation of the effect of a video's tags on the log-odds of a click."""
    creator_weight: float = Field(default=0.4, ge=0)
    """Standard deviation of the effect of a video's creator on the log-odds of a click."""
    vector_weight: float = Field(default=1.0, ge=0)
    """Log-odds of a click that a content vector adds if it equals the shopper's ideal direction."""
    quality_spread: float = Field(default=0.5, ge=0)
    """Standard deviation of video quality: log-odds of a click that are equal for all shoppers."""
    drift: float = Field(default=0.0, ge=0, le=1)
    """Share of a shopper's taste that is replaced by the last day; 0 keeps tastes constant."""
    examination_decay: float = Field(default=0.8, ge=0)
    """Exponent of position bias: slot s (from 0) is examined with probability (s + 1)^-this; 0 is no bias."""
    popularity_skew: float = Field(default=0.8, ge=0)
    """Zipf exponent of the logging policy's preference over videos; 0 is no preference."""
    popularity_quality: float = Field(default=0.5, ge=-1, le=1)
    """Correlation of the logging policy's preference with video quality."""
    temperature: float = Field(default=1.0, gt=0)
    """Temperature of the logging policy's softmax; high is near uniform, low shows popular videos only."""
    logging_taste: float = Field(default=0.3, ge=0)
    """Weight of the shopper's true taste in the logging policy's scores."""
    cold_share: float = Field(default=0.2, ge=0, le=1)
    """Share of the videos without a publishing date that are released during the log, at a day's start."""
    watch_level: float = Field(default=0.4)
    """Log-odds of the share watched, for a video of median length at average taste."""
    watch_taste: float = Field(default=0.5)
    """Log-odds of the share watched added per unit of taste."""
    watch_duration: float = Field(default=0.6)
    """Log-odds of the share watched lost per unit of log duration."""
    watch_spread: float = Field(default=0.8, ge=0)
    """Standard deviation of the log-odds of the share watched."""
    cart_rate: float = Field(default=0.08, gt=0, lt=1)
    """Probability of a cart after a click, for a video of median price at average taste."""
    cart_taste: float = Field(default=0.5)
    """Log-odds of a cart added per unit of taste."""
    price_sensitivity: float = Field(default=0.5)
    """Log-odds of a cart lost per unit of log price."""
    purchase_rate: float = Field(default=0.4, ge=0, le=1)
    """Probability of a purchase after a cart."""
    purchase_delay_hours: float = Field(default=20.0, ge=0)
    """Mean hours from cart to purchase; purchases after the last day are not in the log."""

    @property
    def requests(self) -> int:
        """Number of requests in the whole log, at least 1."""
        return max(1, round(self.users * self.requests_per_user))
