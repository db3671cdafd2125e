"""Live A/B tests: assignment of shoppers to arms, and statistics of the arms."""

import math
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import ClassVar

import pyarrow as pa

from vrec.config.serve import ExperimentArmConfig, ExperimentConfig
from vrec.core.schema import EVENTS, conform
from vrec.evaluation.online import OnlineConfig, has_enough
from vrec.evaluation.sequential import RatioSums, UserLimits, difference_interval, ratio_interval
from vrec.profiles.profile import VideoMetadata
from vrec.profiles.stores.fold import VideoLookup
from vrec.serving.attribution import ImpressionTracker

SERIES_MINUTES = 60
"""Length of the series in minutes."""
MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
MAX_LEAD_US = 5 * MINUTE_US
"""Maximum lead of an event's time over the clock, as for `POST /v1/events`; with a greater one it does not
count."""
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
    """Lower end of the interval; None until the arm has 200 shoppers, 10 of them with an outcome."""
    high: float | None
    """Upper end of the interval; None likewise."""


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
    """Impressions with a click."""
    watch_s: float
    """Seconds watched, of each impression at most the video's length."""
    conversions: int
    """Impressions with a purchase."""
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
    since: int
    """Start of the A/B test, µs since 1970."""
    complete: bool
    """False while events from before a restart are still being counted."""


@dataclass(slots=True)
class _Sums:
    """Sums over an arm's shoppers."""

    users: int = 0
    totals: list[float] = field(default_factory=lambda: [0.0] * 4)
    """Totals of impressions, clicks, watch seconds, purchases."""
    ratios: tuple[RatioSums, ...] = field(default_factory=lambda: tuple(RatioSums() for _ in range(3)))
    """Of clicks, watch seconds and purchases per impression, each shopper weighted by the limits."""
    minutes: dict[int, list[float]] = field(default_factory=dict)
    """Totals by minute since 1970."""


@dataclass(slots=True)
class _Shopper:
    """A shopper's sums, and the limits at the first impression."""

    sums: _Sums
    own: list[float]
    """Impressions, clicks, watch seconds, purchases."""
    limits: tuple[UserLimits, ...]
    """Of clicks, watch seconds and purchases."""


class ArmCounts:
    """Running sums of EVENTS by arm, in the order of the log: the same events give the same sums.

    An outcome counts if it follows an impression of the same shopper, video and request (see
    `ImpressionTracker`): at most one click and one purchase, and the video's length of watching, for each. A
    shopper counts from the first impression on.

    Shoppers are the unit of the analysis, since arms are assigned to them. Intervals hold at any number of
    looks and for rare outcomes (see `vrec.evaluation.sequential`) as far as shoppers are exchangeable and
    their sums settle: a shopper who is still active counts with the events so far, unlike in
    `vrec.evaluation.online`, which uses windows. In intervals, a shopper with more impressions or outcomes
    than any before counts in part. Add each event once.
    """

    RATES: ClassVar = {"ctr": 1, "watch_s_per_impression": 2, "conversion": 3}

    def __init__(
        self,
        config: ExperimentConfig,
        online: OnlineConfig | None = None,
        *,
        facts: VideoLookup | None = None,
        since: int = 0,
    ) -> None:
        """Build the counts without events.

        Args:
            config: The A/B test.
            online: Settings of the intervals.
            facts: Lookup of the catalog's data of videos; without it all lengths are unknown.
            since: Start of the A/B test, µs since 1970; earlier events do not count.
        """
        self._config, self._online = config, online or OnlineConfig()
        self._facts, self._since = facts or _no_facts, since
        self._arms = {arm.name: _Sums() for arm in config.arms}
        self._users: OrderedDict[str, _Shopper] = OrderedDict()
        self._limits = tuple(UserLimits() for _ in range(3))
        self._window_us, self._newest = round(config.window_hours * HOUR_US), since
        self._shown = ImpressionTracker(self._window_us)

    def add(self, events: pa.Table, now: int | None = None) -> None:
        """Count EVENTS.

        Those do not count that are dated before the A/B test, more than the window before the newest event so
        far, or more than MAX_LEAD_US after `now`.

        Args:
            events: EVENTS in the order of the log, each added once.
            now: µs since 1970, by default from the clock.

        Raises:
            SchemaError: The table has other columns.
        """
        table = conform(events, EVENTS, stage="ArmCounts.add")
        now = time.time_ns() // 1000 if now is None else now
        at = table.column("at").cast(pa.int64()).to_pylist()
        names = ("user_id", "video_id", "request_id", "kind", "value")
        rows = list(zip(*(table.column(name).to_pylist() for name in names), at, strict=True))
        facts = self._facts({video_id for _, video_id, _, kind, _, _ in rows if kind == "watch"})
        for user_id, video_id, request_id, kind, value, moment in rows:
            if kind not in _COLUMN or not self._is_timely(moment, now):
                continue
            self._newest = max(self._newest, moment)
            if kind == "impression":
                amount = float(self._shown.show(user_id, video_id, request_id, moment))
            else:
                whole_s = self._length_s(facts.get(video_id)) if kind == "watch" else 1.0
                amount = self._shown.credit(
                    user_id, video_id, request_id, moment,
                    outcome=kind, amount=(value or 0.0) if kind == "watch" else 1.0, limit=whole_s,
                )  # fmt: skip
            if amount:
                self._count(user_id, _COLUMN[kind], amount, min(moment, now))

    def _is_timely(self, at: int, now: int) -> bool:
        # Relative to the newest event and not to the clock: counted again after a restart, the same events
        # count.
        return max(self._since, self._newest - self._window_us) <= at <= now + MAX_LEAD_US

    def _length_s(self, facts: VideoMetadata | None) -> float:
        return (facts.duration_s if facts is not None else None) or self._config.longest_watch_s

    def snapshot(self, *, complete: bool = True) -> ArmStatistics:
        """Return the current sums and rates; `complete` says whether the whole log has been counted."""
        first = self._config.arms[0].name
        results = tuple(self._results(arm, self._arms[first]) for arm in self._config.arms)
        return ArmStatistics(self._online.level, results, self._since, complete)

    def _count(self, user_id: str, column: int, amount: float, at: int) -> None:
        if user_id in self._users:
            self._users.move_to_end(user_id)
            shopper = self._users[user_id]
        elif column:
            return
        else:
            limits = tuple(replace(limits) for limits in self._limits)
            shopper = _Shopper(self._arms[assign_arm(user_id, self._config).name], [0.0] * 4, limits)
            self._users[user_id] = shopper
            shopper.sums.users += 1
            if len(self._users) > MAX_TRACKED_USERS:
                self._users.popitem(last=False)
        self._add(shopper, column, amount)
        sums = shopper.sums
        minute = at // MINUTE_US
        if minute not in sums.minutes:
            if sums.minutes and minute <= max(sums.minutes) - SERIES_MINUTES:
                return
            sums.minutes[minute] = [0.0] * 4
            for old in [m for m in sums.minutes if m <= minute - SERIES_MINUTES]:
                del sums.minutes[old]
        sums.minutes[minute][column] += amount

    def _add(self, shopper: _Shopper, column: int, amount: float) -> None:
        """Add to one shopper's total and update the arm's sums; an impression changes all ratios."""
        sums, own = shopper.sums, shopper.own
        places = (column - 1,) if column else range(3)
        for sign in (-1.0, 1.0):
            if sign > 0:
                own[column] += amount
                sums.totals[column] += amount
            for place in places:
                y, n = own[place + 1], own[0]
                if n:
                    weight = shopper.limits[place].weight(y, n)
                    sums.ratios[place].add(weight * y, weight * n, sign)
        for place in places:
            limits, own_limits = self._limits[place], shopper.limits[place]
            limits.update(min(own[place + 1], 2 * own_limits.outcome), min(own[0], 2 * own_limits.trials))

    def _results(self, arm: ExperimentArmConfig, first: _Sums) -> ArmResults:
        sums = self._arms[arm.name]
        impressions, clicks, watch_s, conversions = sums.totals
        minutes = tuple(
            ArmMinute(at * MINUTE_US, int(row[0]), int(row[1]), row[2], int(row[3]))
            for at, row in sorted(sums.minutes.items())
        )
        return ArmResults(
            arm.name, arm.share, sums.users, int(impressions), int(clicks), watch_s, int(conversions),
            **{name: self._rate(column, sums) for name, column in self.RATES.items()},
            against_first={}
            if sums is first
            else {name: self._rate(column, sums, first) for name, column in self.RATES.items()},
            minutes=minutes,
        )  # fmt: skip

    def _rate(self, column: int, sums: _Sums, other: _Sums | None = None) -> RateInterval:
        """Return the rate of an arm, or its difference to that of another, with the interval."""
        arms = [sums] if other is None else [sums, other]
        if not all(arm.totals[0] for arm in arms):
            return RateInterval(None, None, None)
        values = [arm.totals[column] / arm.totals[0] for arm in arms]
        value = values[0] - (values[1] if other else 0.0)
        ratios = [replace(arm.ratios[column - 1], limits=self._limits[column - 1]) for arm in arms]
        online = self._online
        if not all(has_enough(ratio, online) for ratio in ratios):
            return RateInterval(value, None, None)
        given = (online.level, online.expected_users)
        low, high = (
            ratio_interval(ratios[0], *given)
            if other is None
            else difference_interval(ratios[0], ratios[1], *given)
        )
        known = math.isfinite(low) and math.isfinite(high)
        return RateInterval(value, low, high) if known else RateInterval(value, None, None)


def _no_facts(video_ids: Collection[str]) -> Mapping[str, VideoMetadata]:
    return {}
