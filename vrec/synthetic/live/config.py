"""Settings of simulated live streams."""

from datetime import UTC, datetime

from pydantic import AwareDatetime, Field

from vrec.core.config import BaseConfig


class LiveSimulationConfig(BaseConfig):
    """Settings of simulated streamers, their streams, and the shoppers who watch them."""

    seed: int = Field(default=0, ge=0)
    """Random seed; equal settings and seeds give equal logs."""
    shoppers: int = Field(default=2000, gt=0)
    """Number of shoppers."""
    streamers: int = Field(default=800, gt=0)
    """Number of streamers."""
    categories: int = Field(default=12, gt=1)
    """Number of categories of what streams show."""
    dim: int = Field(default=24, gt=0)
    """Length of the content vectors."""
    start: AwareDatetime = datetime(2025, 1, 6, tzinfo=UTC)
    """Start time of the log."""
    days: int = Field(default=28, gt=0)
    """Length of the log in days."""
    visits_per_day: float = Field(default=0.8, gt=0)
    """Mean number of visits of a shopper per day without a streamer in mind."""
    activity_spread: float = Field(default=0.7, ge=0)
    """Standard deviation of the log of shoppers' visits per day."""
    newcomer_share: float = Field(default=0.25, ge=0, le=1)
    """Share of shoppers, and of streamers, who appear on a random day of the log instead of its first."""
    popularity_spread: float = Field(default=1.2, ge=0)
    """Standard deviation of the log-popularity of streamers."""
    interests: float = Field(default=0.2, gt=0)
    """Dirichlet concentration of tastes over categories; a small value gives few and strong interests."""
    category_weight: float = Field(default=3.0, ge=0)
    """Log-odds that the favorite category adds to the choice of a stream that shows it now."""
    style_weight: float = Field(default=1.0, ge=0)
    """Standard deviation of the effect of a streamer's style on a shopper's choice, which no vector shows."""
    loyalty_weight: float = Field(default=1.5, ge=0)
    """Log-odds of a choice added per unit of log loyalty."""
    loyalty_days: float = Field(default=10.0, gt=0)
    """Half-life of loyalty, which half an hour of watching raises by 1."""
    return_rate: float = Field(default=0.7, ge=0, le=1)
    """Probability that a very loyal shopper comes for a stream of a streamer soon after its start."""
    considered: int = Field(default=40, gt=0)
    """Number of live streams that a shopper without a streamer in mind sees, drawn by popularity."""
    drift_share: float = Field(default=0.35, ge=0, le=1)
    """Share of streams that turn to another category on the way."""
    drift_s: float = Field(default=900.0, gt=0)
    """Seconds from one category to the other."""
    window_s: float = Field(default=600.0, gt=0)
    """Seconds between content vectors."""
    vector_noise: float = Field(default=0.6, ge=0)
    """Standard deviation, per vector of unit length, of a content vector's noise."""
    early_leave_s: float = Field(default=40.0, gt=0)
    """Mean seconds of a view that is left early."""
