"""Live A/B tests: assignment of shoppers to arms, and statistics of the arms."""

import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar

import pyarrow as pa

from vrec.config.serve import ExperimentArmConfig, ExperimentConfig
from vrec.core.schema import EVENTS, conform
from vrec.evaluation.online import OnlineConfig, confidence_radius

SERIES_MINUTES = 60
"""Length of the series in minutes."""
MINUTE_US = 60_000_000
MAX_TRACKED_USERS = 50_000
"""Maximum number of shoppers tracked per process, about 20 MB; one who comes back after that many others
counts as a new one."""
_COLUMN = {"impression": 0, "click": 1, "watch": 2, "purchase": 3}


def assign_arm(user_id: str, config: ExperimentConfig) -> ExperimentArmConfig:
    """Return a shopper's arm, which is always the same.

    The SHA-256 of salt and id is a point in [0, 1), which lies in the share of one arm. So an arm's share is
    the probability of its assignment.
    """
    digest = sha256(f"{config.salt}\0{user_id}".encode(errors="surrogatepass")).digest()
    point, end = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    for arm in config.arms:
        end += arm.share
        if point < end:
            return arm
    return config.arms[-1]


@dataclass(frozen=True, slots=True)
class RateInterval:
    """Rate per impression with its confidence interval."""

    value: float | None
    """The rate; None without impressions."""
    low: float | None
    """Lower end of the interval; None until the arm has `OnlineConfig.min_users`."""
    high: float | None
    """Upper end of the interval; None until the arm has `OnlineConfig.min_users`."""


@dataclass(frozen=True, slots=True)
class ArmMinute:
    """Sums of one minute."""

    at: int
    """Start of the minute, µs since 1970."""
    impressions: int
    clicks: int
    watch_s: float
    conversions: int


@dataclass(frozen=True, slots=True)
class ArmResults:
    """Sums and rates of one arm."""

    name: str
    share: float
    users: int
    impressions: int
    clicks: int
    watch_s: float
    conversions: int
    ctr: RateInterval
    """Clicks per impression."""
    watch_s_per_impression: RateInterval
    conversion: RateInterval
    """Purchases per impression."""
    against_first: dict[str, RateInterval]
    """Difference of ctr, watch_s_per_impression and conversion to the first arm; empty for the first arm."""
    minutes: tuple[ArmMinute, ...]
    """The last SERIES_MINUTES, ascending; minutes without events are left out."""


@dataclass(frozen=True, slots=True)
class ArmStatistics:
    """Statistics of all arms in the order of the configuration."""

    level: float
    """Coverage of an interval over all looks together."""
    arms: tuple[ArmResults, ...]


@dataclass(slots=True)
class _Sums:
    """Sums over an arm's shoppers, sufficient for ratios and their delta-method variances."""

    users: int = 0
    totals: list[float] = field(default_factory=lambda: [0.0] * 4)
    """Totals of impressions, clicks, watch seconds, purchases."""
    squares: list[float] = field(default_factory=lambda: [0.0] * 4)
    """Sums of the squares of the shoppers' totals."""
    products: list[float] = field(default_factory=lambda: [0.0] * 4)
    """Sums of the products of the shoppers' totals with their impressions."""
    minutes: dict[int, list[float]] = field(default_factory=dict)
    """Totals by minute since 1970."""

    def ratio(self, column: int) -> tuple[float, float]:
        """Return the ratio of a column's total to the impressions, and the ratio's variance.

        NaN without impressions; the variance is NaN with fewer than two shoppers.
        """
        n, y = self.totals[0], self.totals[column]
        if n <= 0 or self.users < 2:
            return (y / n if n > 0 else math.nan), math.nan
        value = y / n
        rest = self.squares[column] - 2 * value * self.products[column] + value**2 * self.squares[0]
        return value, max(0.0, rest) / n**2 * self.users / (self.users - 1)


class ArmCounts:
    """Running sums of EVENTS by arm. A shopper counts from the first impression on, with all later events.

    Shoppers are the unit of the analysis, since arms are assigned to them. Intervals hold at any number of
    looks (see `vrec.evaluation.online`) as far as shoppers are exchangeable and their sums settle: a shopper
    who is still active counts with the events so far, unlike in `vrec evaluate`, which uses windows. Add each
    event once.
    """

    RATES: ClassVar = {"ctr": 1, "watch_s_per_impression": 2, "conversion": 3}

    def __init__(self, config: ExperimentConfig, online: OnlineConfig | None = None) -> None:
        self._config, self._online = config, online or OnlineConfig()
        self._arms = {arm.name: _Sums() for arm in config.arms}
        self._users: OrderedDict[str, tuple[_Sums, list[float]]] = OrderedDict()

    def add(self, events: pa.Table, now: int | None = None) -> None:
        """Count EVENTS; those before a shopper's first impression are left out.

        Args:
            events: EVENTS, each added once.
            now: µs since 1970, by default from the clock; later events count as of now.

        Raises:
            SchemaError: The table has other columns.
        """
        table = conform(events, EVENTS, stage="ArmCounts.add")
        now = time.time_ns() // 1000 if now is None else now
        at = table.column("at").cast(pa.int64()).to_pylist()
        names = ("user_id", "kind", "value")
        rows = zip(*(table.column(name).to_pylist() for name in names), at, strict=True)
        for user_id, kind, value, moment in rows:
            if kind in _COLUMN:
                amount = (value or 0.0) if kind == "watch" else 1.0
                self._count(user_id, _COLUMN[kind], amount, min(moment, now))

    def snapshot(self) -> ArmStatistics:
        """Return the current sums and rates."""
        first = self._config.arms[0].name
        results = tuple(self._results(arm, self._arms[first]) for arm in self._config.arms)
        return ArmStatistics(self._online.level, results)

    def _count(self, user_id: str, column: int, amount: float, at: int) -> None:
        if user_id in self._users:
            self._users.move_to_end(user_id)
            sums, own = self._users[user_id]
        elif column:
            return
        else:
            sums, own = self._arms[assign_arm(user_id, self._config).name], [0.0] * 4
            self._users[user_id] = sums, own
            sums.users += 1
            if len(self._users) > MAX_TRACKED_USERS:
                self._users.popitem(last=False)
        _add(sums, own, column, amount)
        minute = at // MINUTE_US
        if minute not in sums.minutes:
            if sums.minutes and minute <= max(sums.minutes) - SERIES_MINUTES:
                return
            sums.minutes[minute] = [0.0] * 4
            for old in [m for m in sums.minutes if m <= minute - SERIES_MINUTES]:
                del sums.minutes[old]
        sums.minutes[minute][column] += amount

    def _results(self, arm: ExperimentArmConfig, first: _Sums) -> ArmResults:
        sums = self._arms[arm.name]
        impressions, clicks, watch_s, conversions = sums.totals
        ratios = {name: sums.ratio(column) for name, column in self.RATES.items()}
        against = {}
        if sums is not first:
            for name, column in self.RATES.items():
                value, variance = first.ratio(column)
                difference = (ratios[name][0] - value, ratios[name][1] + variance)
                against[name] = self._rate(*difference, [sums.users, first.users])
        rates = {name: self._rate(*ratio, [sums.users]) for name, ratio in ratios.items()}
        minutes = tuple(
            ArmMinute(at * MINUTE_US, int(row[0]), int(row[1]), row[2], int(row[3]))
            for at, row in sorted(sums.minutes.items())
        )
        return ArmResults(
            arm.name, arm.share, sums.users, int(impressions), int(clicks), watch_s, int(conversions),
            **rates, against_first=against, minutes=minutes,
        )  # fmt: skip

    def _rate(self, value: float, variance: float, users: Sequence[int]) -> RateInterval:
        if math.isnan(value):
            return RateInterval(None, None, None)
        if min(users) < self._online.min_users:
            return RateInterval(value, None, None)
        radius = float(confidence_radius(math.sqrt(variance), sum(users), self._online))
        return RateInterval(value, value - radius, value + radius)


def _add(sums: _Sums, own: list[float], column: int, amount: float) -> None:
    """Add to one shopper's total and update the arm's totals, squares and products."""
    before, impressions = own[column], own[0]
    own[column] += amount
    sums.totals[column] += amount
    sums.squares[column] += own[column] ** 2 - before**2
    if column:
        sums.products[column] += amount * impressions
        return
    sums.products[0] = sums.squares[0]
    for other in (1, 2, 3):
        sums.products[other] += own[other] * amount
