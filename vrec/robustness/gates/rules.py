"""Rules that hold in any shop, whatever its other days are like."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from vrec.robustness.gates.catalog import CatalogFacts
from vrec.robustness.gates.config import GatesConfig
from vrec.robustness.gates.features import FEATURES
from vrec.robustness.gates.findings import GateFinding, hour_text
from vrec.robustness.gates.heavy import HeavyHitters
from vrec.robustness.gates.hourly import DayCounts, HourlyCounts
from vrec.robustness.gates.statistics import Counts

LEAST_ROWS = 10
"""Bad rows from which a share of rows counts."""
ROW_SHARE = 0.001
TABLE_SHARE, HOUR_SHARE = 0.2, 0.5
"""Shares of doubtful values from which a table and an hour are at fault."""
EXAMPLES = 3
EARLIEST_HOUR = 175_320
"""1990-01-01 in hours since 1970: no log of videos is older."""
NEWEST_DAYS = 3
"""Days, the newest, whose videos VIDEOS must have."""
LEAST_CLICKS = 100
TOP_VIDEO = 0.3
"""Share of a day's clicks on one video that is at fault if it is also three times the usual share."""


@dataclass
class RowExamples:
    """Numbers of the first rows at fault by feature, and unknown ids."""

    rows: dict[str, list[int]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)


def row_rules(
    hourly: HourlyCounts, examples: RowExamples, facts: CatalogFacts | None, config: GatesConfig
) -> Iterator[GateFinding]:
    """Yield the faults of rows: broken or swapped ids, unknown videos, watches and prices of another unit."""
    totals = {name: _total(hourly, name) for name in ("broken_text", "user_is_video", "user_known")}
    broken, rows = totals["broken_text"]
    if broken >= max(LEAST_ROWS, ROW_SHARE * rows):
        yield _rows_fault(
            "broken_text", f"{broken:,} of {rows:,} rows have ids in a broken encoding", hourly, examples
        )
    swapped, rows = totals["user_is_video"]
    alike = totals["user_known"][0] - swapped
    if swapped >= max(LEAST_ROWS, 0.002 * rows) and alike < 0.05 * rows:
        message = (
            f"{swapped:,} of {rows:,} rows have the id of a video as user_id and no known video: swapped?"
        )
        yield _rows_fault("user_is_video", message, hourly, examples)
    if facts is not None:
        yield from _unknown_videos(hourly, examples, facts, config)
    for name, words in (
        (
            "watch_over_length",
            "watches are far longer than their video, or than any: another unit than seconds?",
        ),
        (
            "price_mismatch",
            "purchases are at 20 times the video's price or more, or a 20th: another unit or currency?",
        ),
    ):
        yield from _doubtful_values(hourly, examples, name, words)


def _total(hourly: HourlyCounts, name: str) -> tuple[int, int]:
    """Return the hits of a share, and the rows that it is of."""
    counts = sum(hourly.features.get(name, {}).values(), np.zeros(2, np.int64))
    return int(counts[1]), int(counts.sum())


def _rows_fault(
    name: str, message: str, hourly: HourlyCounts, examples: RowExamples, hours: Sequence[int] | None = None
) -> GateFinding:
    """Return a fault of rows, in the hours with at least half of their rows at fault, or else single ones."""
    held = hourly.features[name]
    all_bad = sum(int(counts[1]) for counts in held.values())
    gross = (
        [h for h, c in held.items() if c[1] >= HOUR_SHARE * c.sum() and c[1] > 2]
        if hours is None
        else list(hours)
    )
    inside = sum(int(held[h][1]) for h in gross)
    named = tuple(sorted(gross)) if inside >= 0.9 * all_bad and len(gross) < 0.9 * len(held) else ()
    rows = tuple(examples.rows.get(name, ())[:EXAMPLES])
    return GateFinding(
        name,
        "EVENTS",
        FEATURES[name].columns,
        message,
        "fault",
        named,
        all_bad,
        rows,
        None if named else name,
    )


def _unknown_videos(
    hourly: HourlyCounts, examples: RowExamples, facts: CatalogFacts, config: GatesConfig
) -> Iterator[GateFinding]:
    """Yield the finding of events of unknown videos.

    Old events may be of videos that were removed since, so that only the newest days, and days and hours that
    have more unknown videos than earlier ones, are at fault.
    """
    unknown, rows = _total(hourly, "unknown_video")
    if unknown < LEAST_ROWS:
        return
    held = hourly.features["unknown_video"]
    last = max(held) // 24
    newest = sum((c for hour, c in held.items() if hour // 24 > last - NEWEST_DAYS), np.zeros(2, np.int64))
    whole = bool(newest[1] > config.unknown_most * newest.sum())
    bad = [] if whole else _worse_hours(held, config.unknown_most)
    sample = sorted(examples.unknown)
    short = bool(sample) and facts.cut_short(sample) >= 0.5 * len(sample) and unknown > ROW_SHARE * rows
    message = f"{unknown:,} of {rows:,} events are of videos that VIDEOS lacks"
    shown = tuple(examples.rows.get("unknown_video", ())[:EXAMPLES])
    if short:
        drop = None if whole or bad else "unknown_video"
        message += ": the ids are cut short"
        found = GateFinding("truncated_video_id", "EVENTS", ("video_id",), message, rows=shown, drop=drop)
        yield replace(found, hours=tuple(bad), count=unknown)
    elif whole or bad:
        message += ": is it the catalog of these events?"
        yield GateFinding(
            "unknown_video", "EVENTS", ("video_id",), message, "fault", tuple(bad), unknown, shown
        )
    elif unknown >= 0.05 * rows:
        yield GateFinding("unknown_video", "EVENTS", ("video_id",), message, "notice", count=unknown)


def _worse_hours(held: Mapping[int, Counts], most: float) -> list[int]:
    """Return the hours with far more unknown videos than an earlier day, or the rest of their day, had."""
    days: dict[int, Counts] = {}
    for hour, counts in held.items():
        days[hour // 24] = days.get(hour // 24, np.zeros(2, np.int64)) + counts
    best, found = 1.0, []
    for day in sorted(days):
        total = days[day]
        is_worse = total[1] >= LEAST_ROWS and total[1] > max(most, 2 * best) * total.sum()
        for hour in range(day * 24, day * 24 + 24):
            own = held.get(hour, np.zeros(2, np.int64))
            rest = total - own
            usual = min(best, rest[1] / rest.sum()) if rest.sum() >= 50 else best
            gross = own[1] >= LEAST_ROWS and own[1] > max(most, 2 * usual, HOUR_SHARE) * own.sum()
            if own[1] and (is_worse or gross):
                found.append(hour)
        if total.sum() >= 50:
            best = min(best, total[1] / total.sum())
    return found


def _doubtful_values(
    hourly: HourlyCounts, examples: RowExamples, name: str, words: str
) -> Iterator[GateFinding]:
    bad, rows = _total(hourly, name)
    held = hourly.features.get(name, {})
    hours = [hour for hour, c in held.items() if c[1] >= LEAST_ROWS and c[1] >= HOUR_SHARE * c.sum()]
    hours = sorted({*hours, *_bad_days(held)})
    if bad >= LEAST_ROWS * 2 and (bad >= TABLE_SHARE * rows or hours):
        message = f"{bad:,} of {rows:,} {words}"
        if len(hours) < 0.9 * len(held) and bad < TABLE_SHARE * rows:
            yield _rows_fault(name, message, hourly, examples, hours)
        else:
            yield _rows_fault(name, message, hourly, examples)


def _bad_days(held: Mapping[int, Counts]) -> list[int]:
    """Return the hours of days whose rows are mostly at fault: hours of a small shop have few rows."""
    days: dict[int, Counts] = {}
    for hour, counts in held.items():
        days[hour // 24] = days.get(hour // 24, np.zeros(2, np.int64)) + counts
    bad = {day for day, c in days.items() if c[1] >= 2 * LEAST_ROWS and c[1] >= HOUR_SHARE * c.sum()}
    return [hour for hour, counts in held.items() if hour // 24 in bad and counts[1]]


def funnel_rules(hourly: HourlyCounts) -> Iterator[GateFinding]:
    """Yield the faults of kinds that follow one another: more clicks than impressions."""
    held = hourly.named.get("kind", {})
    shown = sum(kinds.get("impression", 0) for kinds in held.values())
    clicked = sum(kinds.get("click", 0) for kinds in held.values())
    if not shown or clicked < LEAST_CLICKS:
        return
    if clicked > shown:
        message = (
            f"{clicked:,} clicks and {shown:,} impressions: impressions are lost, or not logged everywhere"
        )
        yield GateFinding(
            "clicks_above_impressions", "EVENTS", ("kind",), message, "notice", count=clicked - shown
        )
        return
    if clicked > 0.5 * shown:
        return
    bad = {
        h: k
        for h, k in held.items()
        if k.get("click", 0) >= 30 and k.get("click", 0) > k.get("impression", 0)
    }
    if bad:
        sums = [sum(kinds.get(kind, 0) for kinds in bad.values()) for kind in ("click", "impression")]
        message = f"{sums[0]:,} clicks and {sums[1]:,} impressions: impressions are lost"
        yield GateFinding(
            "clicks_above_impressions",
            "EVENTS",
            ("kind",),
            message,
            hours=tuple(sorted(bad)),
            count=sums[0] - sums[1],
        )


def position_rules(hourly: HourlyCounts) -> Iterator[GateFinding]:
    """Yield the fault of positions that do not begin at 0."""
    counts: Counts = sum(
        hourly.features.get("position", {}).values(), np.zeros(FEATURES["position"].bins, np.int64)
    )
    if counts.sum() >= 200 and counts[0] == 0 and counts[1] > 0:
        message = "no impression has position 0, the first place: do positions count from 1?"
        yield GateFinding("position_from_one", "EVENTS", ("position",), message, count=int(counts.sum()))


def constant_rules(
    constant: Mapping[str, tuple[int, object]], varied: Sequence[str]
) -> Iterator[GateFinding]:
    """Yield the faults of columns that have one value only.

    Args:
        constant: Number of rows and the one value, by column.
        varied: Columns that had several values on good days.
    """
    for name, (rows, value) in constant.items():
        least = 50 if name in {"user_id", "video_id", "value"} else 200
        if rows >= least and (name in {"user_id", "video_id", "value"} or name in varied):
            message = f"all {rows:,} values are {value!r}"
            yield GateFinding(f"constant_{name}", "EVENTS", (name,), message, count=rows)


def video_rules(
    clicks: HeavyHitters, judged: Mapping[int, DayCounts], reference: Sequence[DayCounts]
) -> Iterator[GateFinding]:
    """Yield the fault of days on which one video has most clicks."""
    usual = float(np.median([day.top_video for day in reference])) if reference else 0.0
    bad = [
        day
        for day in judged
        if clicks.totals.get(day, 0) >= LEAST_CLICKS
        and clicks.share(day) >= max(TOP_VIDEO, min(3 * usual, 0.9))
    ]
    if bad:
        worst = max(bad, key=clicks.share)
        name, count = clicks.top(worst)
        message = f"the video {name} has {count:,} of {clicks.totals[worst]:,} clicks of a day"
        message += f", against {usual:.1%} of the most clicked one usually"
        hours = (
            ()
            if len(bad) == len(judged)
            else tuple(day * 24 + int(h) for day in bad for h in np.flatnonzero(judged[day].hours))
        )
        yield GateFinding("top_video", "EVENTS", ("video_id",), message, hours=hours, count=count)


def early_rule(hourly: HourlyCounts) -> Iterator[GateFinding]:
    """Yield the fault of times long before those of the other events, such as of 1970."""
    early = {hour: count for hour, count in hourly.totals.items() if hour < EARLIEST_HOUR}
    if early and len(early) < len(hourly.totals):
        count = sum(early.values())
        rows = sum(hourly.totals.values())
        message = f"{count:,} of {rows:,} events are before 1990: are their times of another unit?"
        yield GateFinding("early_time", "EVENTS", ("at",), message, hours=tuple(sorted(early)), count=count)


def freshness_rule(hourly: HourlyCounts, now: datetime, config: GatesConfig) -> Iterator[GateFinding]:
    """Yield the fault of a table whose newest event is too old."""
    if config.fresh_hours is None or not hourly.totals:
        return
    newest = max(hourly.totals)
    age = now.timestamp() / 3600 - newest
    if age > config.fresh_hours + 1:
        message = f"the newest event is of {hour_text(newest)}, {age:,.0f} hours ago: later ones are missing"
        yield GateFinding("stale", "EVENTS", ("at",), message)
