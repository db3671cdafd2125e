"""Settings of promotions, and of the watch after one."""

from typing import Literal

from pydantic import Field

from vrec.core.config import BaseConfig


class GuardsConfig(BaseConfig):
    """Tolerances of the guard metrics: by how much a challenger may be worse than the bundle in service."""

    coverage: float = Field(default=0.2, ge=0, le=1)
    """Share by which the coverage of the catalog may be lower."""
    new_videos: float = Field(default=0.3, ge=0, le=1)
    """Share by which the exposure of new videos may be lower: their share of all places in lists."""
    new_creators: float = Field(default=0.3, ge=0, le=1)
    """Share by which the exposure of new creators may be lower."""
    new_days: float = Field(default=14.0, gt=0)
    """Days before the evaluation within which a video was published, or a creator's first one, to be new."""
    calibration: float = Field(default=0.02, ge=0, le=1)
    """Amount by which the calibration error of click predictions may be higher, as a probability."""
    latency: float = Field(default=0.5, ge=0)
    """Share by which a request may take more CPU time, in the median over the evaluation's requests."""


class PromotionConfig(BaseConfig):
    """Settings of the test that a challenger has to pass."""

    metric: Literal["ndcg", "recall", "hit_rate", "map", "mrr", "precision"] = "ndcg"
    """Metric of lists on later interactions."""
    k: int = Field(default=10, ge=1, le=100)
    """Length of the lists."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Confidence level of the intervals. Of m challengers of one night, each is tested at 1 − (1 − level) / m
    (Bonferroni)."""
    min_outcomes: int = Field(default=30, ge=2)
    """Fewest shoppers for whom the two lists differ in the metric; with fewer nothing is promoted."""
    most_shoppers: int = Field(default=5_000, ge=10)
    """Shoppers who are evaluated; of more, as many are drawn at random."""
    confirm: bool = True
    """Whether a challenger that wins on the held-out part is promoted only by the next run, if it wins again
    on events that came after it was made. A model that saw the held-out part in any way wins only once. False
    promotes in the same run; the next one then compares both figures and rolls a leak back."""
    guards: GuardsConfig = Field(default_factory=GuardsConfig)
    """Guard metrics."""


class WatchConfig(BaseConfig):
    """Settings of the watch over the service after a promotion."""

    minutes: float = Field(default=60.0, ge=0)
    """Length of the watch; 0 for none."""
    poll_s: float = Field(default=60.0, gt=0)
    """Seconds between two looks."""
    baseline_days: int = Field(default=7, ge=1)
    """Days before whose same hours give the click rate to compare with."""
    tolerance: float = Field(default=0.1, ge=0, lt=1)
    """Share of the earlier click rate by which it may be lower, beyond the interval, before the service is
    rolled back. Click rates of the same hours of two days differ without any change of the bundle."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Confidence level, over all looks together."""
    min_users: int = Field(default=50, ge=2)
    """Fewest shoppers before and after the promotion for an interval of the click rate."""
    max_errors: float = Field(default=0.02, gt=0, le=1)
    """Share of responses with status 5xx above which the service is rolled back."""
    min_requests: int = Field(default=50, ge=1)
    """Fewest responses since the promotion for which that share counts."""
