"""Figures of an A/B test by day and arm."""

from dataclasses import dataclass
from typing import ClassVar

from vrec.evaluation.online import OnlineConfig
from vrec.serving.ratio_counts import RateInterval, RatioCounts

DAY_US = 86_400_000_000
MAX_DAYS = 92
"""Days that are kept, the newest ones."""
MAX_TRACKED_SHOPPER_DAYS = 100_000
"""Maximum number of shoppers tracked, each once per day; about 50 MB."""

REVENUE_COLUMN = 4
"""Column of the revenue in `ArmDayCounts`."""


@dataclass(frozen=True, slots=True)
class ArmDay:
    """Sums and rates of one arm for the impressions of one day (UTC)."""

    at: int
    """Start of the day, µs since 1970."""
    arm: str
    users: int
    impressions: int
    clicks: int
    watch_s: float
    conversions: int
    revenue: float
    """Values of the purchases that count."""
    ctr: RateInterval
    watch_s_per_impression: RateInterval
    conversion: RateInterval
    revenue_per_impression: RateInterval
    since: int = 0
    """Start of the A/B test, µs since 1970."""


class ArmDayCounts:
    """Running sums by arm and day. An outcome counts for the day of its impression.

    Intervals of a day are those of an A/B test on the shoppers of that day, see `RatioCounts`.
    """

    RATES: ClassVar = {
        "ctr": 1,
        "watch_s_per_impression": 2,
        "conversion": 3,
        "revenue_per_impression": REVENUE_COLUMN,
    }

    def __init__(self, arms: tuple[str, ...], online: OnlineConfig) -> None:
        """Build the counts of these arms without events."""
        self._arms = arms
        self._counts: RatioCounts[tuple[int, str]] = RatioCounts(
            len(self.RATES), online, MAX_TRACKED_SHOPPER_DAYS
        )
        self._cache: dict[tuple[int, str], tuple[list[float], ArmDay]] = {}

    def add(self, user_id: str, arm: str, day: int, column: int, amount: float) -> None:
        """Add to a shopper's impressions (column 0), or to an outcome: see `RATES`.

        `day` is that of the impression, in days since 1970.
        """
        self._counts.add((day, arm), user_id, column, amount)
        if len(self._counts.groups) > MAX_DAYS * len(self._arms):
            self._forget()

    def days(self, most: int) -> list[int]:
        """Return the last `most` days with events, ascending, in days since 1970."""
        return sorted({day for day, _ in self._counts.groups})[-most:]

    def has(self, day: int) -> bool:
        """Return whether a day has events."""
        return any((day, arm) in self._counts.groups for arm in self._arms)

    def figures(self, day: int) -> list[ArmDay]:
        """Return the figures of a day for each arm."""
        return [self._day(day, arm) for arm in self._arms]

    def _day(self, day: int, arm: str) -> ArmDay:
        sums = self._counts.sums((day, arm))
        cached = self._cache.get((day, arm))
        # Intervals take milliseconds each, and most days do not change any more.
        if cached is not None and cached[0] == sums.totals:
            return cached[1]
        impressions, clicks, watch_s, conversions, revenue = sums.totals
        rates = {name: self._counts.rate(column, (day, arm)) for name, column in self.RATES.items()}
        found = ArmDay(
            day * DAY_US, arm, sums.users, int(impressions), int(clicks), watch_s, int(conversions), revenue,
            **rates, since=0,
        )  # fmt: skip
        self._cache[day, arm] = (list(sums.totals), found)
        return found

    def _forget(self) -> None:
        """Drop the days before the newest MAX_DAYS."""
        kept = self.days(MAX_DAYS)
        for group in [group for group in self._counts.groups if group[0] not in kept]:
            del self._counts.groups[group]
            self._cache.pop(group, None)
