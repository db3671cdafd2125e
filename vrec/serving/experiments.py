"""Which arm of a live comparison a shopper is in, and what the arms' shoppers saw and did so far."""

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
"""How far back the series goes."""
MINUTE_US = 60_000_000
MAX_TRACKED_USERS = 50_000
"""Shoppers whose sums are kept apart in each process, about 20 MB; one who comes back after that many others
counts as another shopper."""
_COLUMN = {"impression": 0, "click": 1, "watch": 2, "purchase": 3}


def assign_arm(user_id: str, config: ExperimentConfig) -> ExperimentArmConfig:
    """The shopper's arm, always the same: a SHA-256 of salt and id is a point in [0, 1) that lies in one
    arm's share. The share is the chance with which the shopper got it."""
    digest = sha256(f"{config.salt}\0{user_id}".encode(errors="surrogatepass")).digest()
    point, upto = int.from_bytes(digest[:8], "big") / 2**64, 0.0
    for arm in config.arms:
        upto += arm.share
        if point < upto:
            return arm
    return config.arms[-1]


@dataclass(frozen=True, slots=True)
class RateInterval:
    """A sum over impressions, and where the truth lies."""

    value: float | None
    """None before there is an impression."""
    low: float | None
    """The interval; None before an arm has `OnlineConfig.min_users`."""
    high: float | None


@dataclass(frozen=True, slots=True)
class ArmMinute:
    """What happened in one minute."""

    at: int
    """Its beginning, µs since 1970."""
    impressions: int
    clicks: int
    watch_s: float
    conversions: int


@dataclass(frozen=True, slots=True)
class ArmResults:
    """One arm's sums and rates."""

    name: str
    share: float
    users: int
    impressions: int
    clicks: int
    watch_s: float
    conversions: int
    ctr: RateInterval
    """Clicks by impression."""
    watch_s_per_impression: RateInterval
    conversion: RateInterval
    """Purchases by impression."""
    against_first: dict[str, RateInterval]
    """Of every other arm than the first: how much greater its ctr, watch_s_per_impression and conversion are
    than the first one's."""
    minutes: tuple[ArmMinute, ...]
    """The last `MINUTES`, ascending; those without an event are left out."""


@dataclass(frozen=True, slots=True)
class ArmStatistics:
    """All arms in the order of the configuration."""

    level: float
    """How often an interval holds the truth at all looks together."""
    arms: tuple[ArmResults, ...]


@dataclass(slots=True)
class _Sums:
    """Sums over an arm's shoppers, enough for ratios and their variances by the delta method."""

    users: int = 0
    totals: list[float] = field(default_factory=lambda: [0.0] * 4)
    """Impressions, clicks, seconds, purchases."""
    squares: list[float] = field(default_factory=lambda: [0.0] * 4)
    crossed: list[float] = field(default_factory=lambda: [0.0] * 4)
    """Of each by the shopper's impressions."""
    minutes: dict[int, list[float]] = field(default_factory=dict)

    def ratio(self, column: int) -> tuple[float, float]:
        """(value, variance) of a column's total by the impressions; NaN where there is none."""
        n, y = self.totals[0], self.totals[column]
        if n <= 0 or self.users < 2:
            return (y / n if n > 0 else math.nan), math.nan
        value = y / n
        rest = self.squares[column] - 2 * value * self.crossed[column] + value**2 * self.squares[0]
        return value, max(0.0, rest) / n**2 * self.users / (self.users - 1)


class ArmCounts:
    """Sums of EVENTS by arm. Everyone with an impression counts, with all that they did after it.

    Shoppers are the unit, since arms are given to them. Intervals hold at however many looks (see
    `vrec.evaluation.online`) as far as shoppers are alike and their sums settle: a shopper who is still at it
    counts with what came until now, which `vrec evaluate`, with its windows, does not. Give each event once.
    """

    RATES: ClassVar = {"ctr": 1, "watch_s_per_impression": 2, "conversion": 3}

    def __init__(self, config: ExperimentConfig, online: OnlineConfig | None = None) -> None:
        self._config, self._online = config, online or OnlineConfig()
        self._arms = {arm.name: _Sums() for arm in config.arms}
        self._users: OrderedDict[str, tuple[_Sums, list[float]]] = OrderedDict()

    def add(self, events: pa.Table, now: int | None = None) -> None:
        """Returns when EVENTS are counted; what came before a shopper's first impression is left out.

        `now` is µs since 1970, the clock's by default: no event is later. Raises SchemaError.
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
        """The sums and rates as they are now."""
        first = self._config.arms[0].name
        figures = tuple(self._figures(arm, self._arms[first]) for arm in self._config.arms)
        return ArmStatistics(self._online.level, figures)

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

    def _figures(self, arm: ExperimentArmConfig, first: _Sums) -> ArmResults:
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
        half = float(confidence_radius(math.sqrt(variance), sum(users), self._online))
        return RateInterval(value, value - half, value + half)


def _add(sums: _Sums, own: list[float], column: int, amount: float) -> None:
    """Adds to one shopper's column and keeps the arm's sums of squares and products in step."""
    before, impressions = own[column], own[0]
    own[column] += amount
    sums.totals[column] += amount
    sums.squares[column] += own[column] ** 2 - before**2
    if column:
        sums.crossed[column] += amount * impressions
        return
    sums.crossed[0] = sums.squares[0]
    for other in (1, 2, 3):
        sums.crossed[other] += own[other] * amount
