"""Live figures after a promotion, and whether they have fallen."""

from dataclasses import dataclass

import numpy as np

from vrec.evaluation.intervals import Floats
from vrec.evaluation.online import OnlineConfig, difference_over_time
from vrec.evaluation.promotion.config import WatchConfig


@dataclass(frozen=True, eq=False, slots=True)
class ShopperClicks:
    """Clicks and impressions of U shoppers."""

    clicks: Floats
    """(U,)"""
    impressions: Floats
    """(U,)"""

    @property
    def rate(self) -> float:
        """Clicks per impression; NaN without impressions."""
        total = float(self.impressions.sum())
        return float(self.clicks.sum()) / total if total else float("nan")


@dataclass(frozen=True, slots=True)
class ResponseCounts:
    """Responses of the service since a promotion."""

    total: int = 0
    errors: int = 0
    """Responses with status 5xx."""


@dataclass(frozen=True, slots=True)
class WatchLook:
    """Outcome of one look."""

    before: float
    """Click rate of the same hours on earlier days; NaN if unknown."""
    after: float
    low: float | None
    """Interval of after − before; None with too few shoppers."""
    high: float | None
    responses: int
    errors: int
    fallen: str | None
    """Reason to roll back; None if there is none."""


def look(
    before: ShopperClicks, after: ShopperClicks, responses: ResponseCounts, config: WatchConfig
) -> WatchLook:
    """Compare the service since a promotion with the time before.

    The interval of the click rate is a confidence sequence over shoppers, so that looking often finds nothing
    that is not there (see `vrec.evaluation.sequential`). The service has fallen if the whole interval is
    below the earlier rate by more than the tolerance, or if too many responses are errors.

    Args:
        before: Shoppers of the same hours on earlier days.
        after: Shoppers since the promotion.
        responses: Responses since the promotion.
        config: Settings.
    """
    low, high = _interval(before, after, config)
    fallen = None
    if responses.total >= config.min_requests and responses.errors > config.max_errors * responses.total:
        fallen = f"{responses.errors:,} of {responses.total:,} responses are errors of the service"
    elif high is not None and high < -config.tolerance * before.rate:
        fallen = (
            f"click rate {after.rate:.4f} against {before.rate:.4f} before, difference at most {high:+.4f}"
        )
    return WatchLook(before.rate, after.rate, low, high, responses.total, responses.errors, fallen)


def _interval(
    before: ShopperClicks, after: ShopperClicks, config: WatchConfig
) -> tuple[float | None, float | None]:
    if not (before.impressions.sum() and after.impressions.sum()):
        return None, None
    online = OnlineConfig(level=config.level, min_users=config.min_users)
    clicks = np.concatenate([before.clicks, after.clicks])
    impressions = np.concatenate([before.impressions, after.impressions])
    treated = np.arange(len(clicks)) >= len(before.clicks)
    found = difference_over_time(clicks, impressions, treated, online, looks=[len(clicks)])
    low, high = float(found.low[-1]), float(found.high[-1])
    return (low, high) if np.isfinite(low) and np.isfinite(high) else (None, None)
