"""The gates of EVENTS: batches are counted, and the counts are judged at the end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from vrec.robustness.gates.catalog import CatalogFacts, check_videos, summarize_videos
from vrec.robustness.gates.clock import clock_candidates
from vrec.robustness.gates.config import GatesConfig
from vrec.robustness.gates.drift import GateScope, day_candidates, hour_candidates, merge_hours, significant
from vrec.robustness.gates.features import FEATURES, ROW_FEATURES, Codes, feature_codes
from vrec.robustness.gates.findings import HOUR_US, GateFinding, GateReport, order_findings
from vrec.robustness.gates.heavy import HeavyHitters, bot_hours
from vrec.robustness.gates.hourly import DayCounts, HourlyCounts
from vrec.robustness.gates.profile import GoodDays
from vrec.robustness.gates.repeats import RowSample, early_clicks, id_conflicts, repeated_hours
from vrec.robustness.gates.rules import (
    EARLIEST_HOUR,
    RowExamples,
    constant_rules,
    early_rule,
    freshness_rule,
    funnel_rules,
    position_rules,
    row_rules,
    video_rules,
)

WATCHED_COLUMNS = ("user_id", "video_id", "kind", "position", "domain")
"""Columns of which it is noted whether they have several values."""
MIX = np.uint64(0x9E3779B97F4A7C15)
PASSIVE = "impression"


@dataclass
class EventsGate:
    """Counts of EVENTS that are judged when all of them were read."""

    config: GatesConfig
    videos: pa.Table | None = None
    has_clock: bool = True
    """Whether the times are real; without, nothing is compared by hour or day."""
    hourly: HourlyCounts = field(default_factory=HourlyCounts)
    actions: HeavyHitters = field(default_factory=HeavyHitters)
    clicks: HeavyHitters = field(default_factory=HeavyHitters)
    examples: RowExamples = field(default_factory=RowExamples)
    rows: int = 0
    _first: dict[str, object] = field(default_factory=dict)
    _counted: dict[str, int] = field(default_factory=dict)
    _varied: set[str] = field(default_factory=set)
    _ids: RowSample = field(default_factory=lambda: RowSample(3))
    _contents: RowSample = field(default_factory=lambda: RowSample(3))
    _requests: RowSample = field(default_factory=lambda: RowSample(3))

    def __post_init__(self) -> None:
        """Prepare the catalog."""
        self.facts = None if self.videos is None else CatalogFacts.from_videos(self.videos)

    def add(self, events: pl.DataFrame, numbers: npt.NDArray[np.int64] | None = None) -> None:
        """Count a batch of EVENTS.

        Args:
            events: EVENTS as a frame; `event_id` may be absent.
            numbers: (N,) numbers of the rows in the table, from 1; by default they go on from the last batch.
        """
        if not events.height:
            return
        if numbers is None:
            numbers = np.arange(self.rows + 1, self.rows + events.height + 1)
        if self.facts is not None:
            events = self.facts.join(events)
        at = events["at"].to_physical().to_numpy()
        hour = at // HOUR_US if self.has_clock else np.zeros(len(at), np.int64)
        hours, places = np.unique(hour, return_inverse=True)
        self.hourly.add_total(hours, places)
        codes = feature_codes(events, self.facts, self.config)
        for name, coded in codes.items():
            self.hourly.add(name, hours, places, coded, FEATURES[name].bins)
        self._note_rows(events, codes, numbers)
        self._note_values(events)
        counted = events.select("kind", "domain", group=pl.Series(hour))
        for column in ("kind", "domain"):
            self.hourly.add_named(column, counted.group_by("group", column).len().iter_rows())
        if self.has_clock:
            self._count_heavy(events, hour)
        self._sample(events, at, hour, numbers)
        self.rows += events.height

    def _note_rows(
        self, events: pl.DataFrame, codes: Mapping[str, Codes], numbers: npt.NDArray[np.int64]
    ) -> None:
        for feature in ROW_FEATURES:
            coded = codes.get(feature.name)
            held = self.examples.rows.setdefault(feature.name, [])
            if coded is not None and len(held) < 3:
                bad = np.flatnonzero(coded == 1)
                held += numbers[bad[: 3 - len(held)]].tolist()
        if self.facts is not None and len(self.examples.unknown) < 200:
            bad = pl.Series(codes["unknown_video"] == 1)
            self.examples.unknown |= set(events["video_id"].filter(bad).unique().head(50).to_list())

    def _note_values(self, events: pl.DataFrame) -> None:
        """Note which columns have several values; those of watches alone count for `value`."""
        columns = {name: events[name] for name in WATCHED_COLUMNS}
        columns["value"] = events["value"].filter(events["kind"] == "watch")
        for name, column in columns.items():
            if name in self._varied:
                continue
            present = column.drop_nulls()
            if len(present):
                first = self._first.setdefault(name, present[0])
                self._counted[name] = self._counted.get(name, 0) + len(present)
                if bool((present != first).any()):
                    self._varied.add(name)

    def _count_heavy(self, events: pl.DataFrame, hour: npt.NDArray[Any]) -> None:
        kind = events["kind"]
        grouped = events.select("user_id", "video_id", group=pl.Series(hour))
        self.actions.add(grouped.filter(kind != PASSIVE).group_by("group", name="user_id").len())
        clicked = grouped.filter(kind == "click").with_columns(pl.col("group") // 24)
        self.clicks.add(clicked.group_by("group", name="video_id").len())

    def _sample(
        self,
        events: pl.DataFrame,
        at: npt.NDArray[Any],
        hour: npt.NDArray[Any],
        numbers: npt.NDArray[np.int64],
    ) -> None:
        """Note samples of rows by hashes, which hold for this run alone."""
        hashes = {name: events[name].hash(seed=7).to_numpy() for name in ("user_id", "video_id", "kind")}
        content = hashes["user_id"] * MIX ^ hashes["video_id"]
        content = content * MIX ^ hashes["kind"]
        within = (content ^ _mixed(at % HOUR_US)) * MIX
        if "event_id" in events.columns:
            ids = events["event_id"].hash(seed=7).to_numpy()
            whole = ((content ^ _mixed(at)) * MIX).view(np.int64)
            self._ids.add(ids, whole, numbers)
        else:
            ids = (within ^ _mixed(at)) * MIX
        if self.has_clock:
            self._contents.add(within, hour, ids.view(np.int64))
            shown = (
                events["request_id"].is_not_null() & events["kind"].is_in(["impression", "click"])
            ).to_numpy()
            if shown.any():
                request = events["request_id"].hash(seed=7).to_numpy() * MIX ^ hashes["video_id"]
                click = (events["kind"] == "click").to_numpy().astype(np.int64)
                self._requests.add((request * MIX)[shown], at[shown], click[shown])

    def good_days(self) -> GoodDays:
        """Return the counted days as good ones, the newest first to be kept."""
        catalog = None if self.videos is None else summarize_videos(self.videos)
        return GoodDays(self._days(), tuple(sorted(self._varied)), catalog).newest(self.config.days)

    def _days(self) -> dict[int, DayCounts]:
        days = self.hourly.by_day() if self.has_clock else {}
        late = {day: held for day, held in days.items() if day * 24 >= EARLIEST_HOUR}
        days = late or days
        for day, held in days.items():
            held.top_video = self.clicks.share(day)
        return days

    def report(self, good: GoodDays | None = None, now: datetime | None = None) -> GateReport:
        """Judge what was counted.

        Args:
            good: Good days; without them the days of the table are compared with one another.
            now: The present; the clock's by default.
        """
        now = now or datetime.now(UTC)
        days = self._days()
        judged = (
            days if good is None else {d: held for d, held in days.items() if not _is_known(d, held, good)}
        )
        reference = list(days.values()) if good is None else list(good.days.values())
        scope = GateScope(judged, reference, good is None, self.config)
        found = [
            *row_rules(self.hourly, self.examples, self.facts, self.config),
            *self._other_rules(scope, good, now),
        ]
        tests = 0
        if judged and reference:
            # Tests of days are few: with those of hours in one family they would hardly find anything.
            families = [day_candidates(scope), hour_candidates(scope, self.hourly) + clock_candidates(scope)]
            tests = sum(map(len, families))
            drifted = [one for family in families for one in significant(family, self.config.alpha / 2)]
            hours = sum(int((held.hours > 0).sum()) for held in judged.values())
            named = {one.gate for one in found}
            found += [one for one in merge_hours(drifted, hours) if one.gate not in named]
        if self.videos is not None:
            found += check_videos(self.videos, now, None if good is None else good.catalog)
        known = 0 if good is None else len(good.days)
        return GateReport(self.rows, len(days), known, tests, order_findings(found))

    def _other_rules(self, scope: GateScope, good: GoodDays | None, now: datetime) -> list[GateFinding]:
        constant = {
            name: (rows, self._first[name])
            for name, rows in self._counted.items()
            if name not in self._varied
        }
        found = [
            *position_rules(self.hourly),
            *constant_rules(constant, () if good is None else good.varied),
        ]
        if conflict := id_conflicts(self._ids):
            found.append(conflict)
        if self.has_clock:
            found += [
                *early_rule(self.hourly),
                *funnel_rules(self.hourly),
                *video_rules(self.clicks, scope.judged, scope.reference),
                *bot_hours(self.actions),
                *repeated_hours(self._contents),
                *freshness_rule(self.hourly, now, self.config),
            ]
            if early := early_clicks(self._requests):
                found.append(early)
        return found


def _is_known(day: int, held: DayCounts, good: GoodDays) -> bool:
    """Return whether a day is among the good ones with the same number of events, up to late ones."""
    known = good.days.get(day)
    return (
        known is not None and abs(int(known.hours.sum()) - int(held.hours.sum())) <= 0.01 * known.hours.sum()
    )


def _mixed(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return (N,) uint64 hashes of whole numbers."""
    mixed = values.astype(np.int64).view(np.uint64) * MIX
    return (mixed ^ (mixed >> np.uint64(29))) * MIX
