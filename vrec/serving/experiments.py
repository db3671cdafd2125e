"""Live A/B tests: assignment of shoppers to arms, and statistics of the arms."""

import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar

import pyarrow as pa

from vrec.config.serve import ExperimentArmConfig, ExperimentConfig
from vrec.core.schema import CREATOR_PREFIX, EVENTS, conform
from vrec.evaluation.online import OnlineConfig
from vrec.profiles.profile import VideoMetadata
from vrec.profiles.stores.fold import VideoLookup
from vrec.serving.ab_test.log import assignment_digest
from vrec.serving.arm_days import DAY_US, REVENUE_COLUMN, ArmDayCounts
from vrec.serving.attribution import ImpressionTracker
from vrec.serving.ratio_counts import RateInterval, RatioCounts

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
    experiment: str
    """Digest of salt and arms of the A/B test that is counted; a change is counted a moment after it."""


class ArmCounts:
    """Running sums of EVENTS by arm, in the order of the log: the same events give the same sums.

    An outcome counts if it follows an impression of the same shopper, video and request (see
    `ImpressionTracker`): at most one click and one purchase, and the video's length of watching, for each. A
    refund takes the last purchase of its shopper and video back. A shopper counts from the first impression
    on.

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
        self._counts: RatioCounts[str] = RatioCounts(len(self.RATES), self._online, MAX_TRACKED_USERS)
        self._minutes: dict[str, dict[int, list[float]]] = {arm.name: {} for arm in config.arms}
        self.days = ArmDayCounts(tuple(arm.name for arm in config.arms), self._online)
        """The same outcomes by day."""
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
        arms = {user_id: assign_arm(user_id, self._config).name for user_id in {row[0] for row in rows}}
        by_day: dict[tuple[str, str, int, int], float] = defaultdict(float)
        for user_id, video_id, request_id, kind, value, moment in rows:
            counts = kind in _COLUMN or kind == "refund"
            # Lists of creators are no part of the figures, which are those of videos.
            if not counts or video_id.startswith(CREATOR_PREFIX) or not self._is_timely(moment, now):
                continue
            self._newest = max(self._newest, moment)
            if kind == "refund":
                taken = self._shown.refund(user_id, video_id, request_id, moment)
                if taken is not None:
                    arm, day = arms[user_id], taken.shown_at // DAY_US
                    self._count(arm, user_id, _COLUMN["purchase"], -1.0, min(taken.at, now))
                    by_day[user_id, arm, day, _COLUMN["purchase"]] -= 1.0
                    by_day[user_id, arm, day, REVENUE_COLUMN] -= taken.money
                continue
            if kind == "impression":
                amount, shown_at = float(self._shown.show(user_id, video_id, request_id, moment)), moment
            else:
                whole_s = self._length_s(facts.get(video_id)) if kind == "watch" else 1.0
                amount, shown_at = self._shown.credit(
                    user_id, video_id, request_id, moment,
                    outcome=kind, amount=(value or 0.0) if kind == "watch" else 1.0, limit=whole_s,
                    money=value or 0.0,
                )  # fmt: skip
            if amount:
                arm = arms[user_id]
                self._count(arm, user_id, _COLUMN[kind], amount, min(moment, now))
                by_day[user_id, arm, shown_at // DAY_US, _COLUMN[kind]] += amount
                if kind == "purchase" and value:
                    by_day[user_id, arm, shown_at // DAY_US, REVENUE_COLUMN] += value
        for (user_id, arm, day, column), amount in by_day.items():
            self.days.add(user_id, arm, day, column, amount)

    def _is_timely(self, at: int, now: int) -> bool:
        # Relative to the newest event and not to the clock: counted again after a restart, the same events
        # count.
        return max(self._since, self._newest - self._window_us) <= at <= now + MAX_LEAD_US

    def _length_s(self, facts: VideoMetadata | None) -> float:
        return (facts.duration_s if facts is not None else None) or self._config.longest_watch_s

    def snapshot(self, *, complete: bool = True) -> ArmStatistics:
        """Return the current sums and rates; `complete` says whether the whole log has been counted."""
        first = self._config.arms[0].name
        results = tuple(self._results(arm, first) for arm in self._config.arms)
        counted = assignment_digest(self._config)
        return ArmStatistics(self._online.level, results, self._since, complete, counted)

    def _count(self, arm: str, user_id: str, column: int, amount: float, at: int) -> None:
        if not self._counts.add(arm, user_id, column, amount):
            return
        minutes, minute = self._minutes[arm], at // MINUTE_US
        if minute not in minutes:
            if minutes and minute <= max(minutes) - SERIES_MINUTES:
                return
            minutes[minute] = [0.0] * 4
            for old in [m for m in minutes if m <= minute - SERIES_MINUTES]:
                del minutes[old]
        minutes[minute][column] += amount

    def _results(self, arm: ExperimentArmConfig, first: str) -> ArmResults:
        sums = self._counts.sums(arm.name)
        impressions, clicks, watch_s, conversions = sums.totals
        minutes = tuple(
            ArmMinute(at * MINUTE_US, int(row[0]), int(row[1]), row[2], int(row[3]))
            for at, row in sorted(self._minutes[arm.name].items())
        )
        against = {} if arm.name == first else self.RATES
        rate = self._counts.rate
        return ArmResults(
            arm.name, arm.share, sums.users, int(impressions), int(clicks), watch_s, int(conversions),
            **{name: rate(column, arm.name) for name, column in self.RATES.items()},
            against_first={name: rate(column, arm.name, first) for name, column in against.items()},
            minutes=minutes,
        )  # fmt: skip


def _no_facts(video_ids: Collection[str]) -> Mapping[str, VideoMetadata]:
    return {}
