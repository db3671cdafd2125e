"""Checks of the clock: empty hours, falls of the volume, and hours of the day that have moved."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from vrec.robustness.gates.drift import DriftCandidate, GateScope
from vrec.robustness.gates.findings import GateFinding
from vrec.robustness.gates.hourly import DayCounts
from vrec.robustness.gates.statistics import Counts, Floats, compare_histograms, low_count_p

LEAST_EXPECTED = 30.0
"""Events that an hour must be expected to have before its emptiness is judged."""
LONGEST_GAP = 14
"""Days without events from which it is no hole, but another log."""
EMPTY_SHARE = 0.1
VOLUME_SHARE = 0.4
"""Share of the usual events below which a day's volume counts as lost."""
LEAST_SHIFT_EVENTS = 300
WHOLE_DAY = 20
"""Hours between the first and the last event of a day that is compared by the hour of the day."""


def clock_candidates(scope: GateScope) -> list[DriftCandidate]:
    """Return the tests of hours and volumes."""
    if len(scope.reference) < 2 or (scope.within and len(scope.judged) < 3):
        return []
    found = [*_holes(scope), *_volumes(scope)]
    for column, name in _series(scope):
        found += _shifts(scope, column, name)
    return found


def _series(scope: GateScope) -> Iterator[tuple[str, str]]:
    """Yield the columns and values whose events are counted by hour; the empty column is all events."""
    yield "", ""
    for column in ("kind", "domain"):
        names = sorted({name for day in scope.reference for name in day.named.get(column, {})})
        if len(names) > 1:
            yield from ((column, name) for name in names)


def hours_of(day: DayCounts, column: str, name: str) -> Counts:
    """Return the (24,) events of a day, or those of one value of a column."""
    return day.named.get(column, {}).get(name, np.zeros(24, np.int64)) if column else day.hours


def _holes(scope: GateScope) -> Iterator[DriftCandidate]:
    """Yield the tests of runs of hours with too few events."""
    usual_all = _usual(scope, "", "")[0]
    first, last = _span(scope)
    days = _days_with_gaps(scope)
    levels = [_day_level(scope.judged.get(day, DayCounts()), usual_all) for day in days]
    for column, name in _series(scope):
        usual, fano = _usual(scope, column, name)
        hours = np.concatenate([np.arange(24) + day * 24 for day in days])
        mean = np.concatenate([usual * level for level in levels])
        held = [hours_of(scope.judged.get(day, DayCounts()), column, name) for day in days]
        observed = np.concatenate(held)
        judged = (mean >= LEAST_EXPECTED / 6) & (first < hours) & (hours < last)
        low = judged & (observed <= EMPTY_SHARE * mean)
        runs = [run for run in _runs(hours, low) if mean[run].sum() >= LEAST_EXPECTED]
        yield from (DriftCandidate(1.0, None) for _ in range(int(judged.sum()) - len(runs)))
        for run in runs:
            yield _hole(
                scope, (column, name), hours[run], (float(observed[run].sum()), float(mean[run].sum())), fano
            )


def _runs(hours: Counts, low: npt.NDArray[np.bool_]) -> list[Counts]:
    """Return the places of each run of consecutive hours that are low."""
    places = np.flatnonzero(low)
    return np.split(places, np.flatnonzero(np.diff(hours[places]) > 1) + 1) if len(places) else []


def _hole(
    scope: GateScope, series: tuple[str, str], hours: Counts, counts: tuple[float, float], fano: float
) -> DriftCandidate:
    """Return the test of a run of hours with counts observed and expected."""
    (column, name), (observed, mean) = series, counts
    p = float(low_count_p(np.array([observed]), np.array([mean]), fano)[0])
    what = f"events of the {column} {name}" if column else "events"
    message = f"{observed:,.0f} {what} in {len(hours)} h that usually have {mean:,.0f}"
    gate = f"hole_{name}" if column else "hole"
    columns = ("at", column) if column else ("at",)
    # The number of rows that are missing, since none is there to be counted.
    lost = int(mean - observed)
    named = tuple(hours.tolist())
    return DriftCandidate(p, GateFinding(gate, "EVENTS", columns, message, scope.level, named, lost))


def _days_with_gaps(scope: GateScope) -> list[int]:
    """Return the judged days and those without events between them, except in long gaps."""
    days = sorted(day for day, held in scope.judged.items() if held.hours.any())
    found = days[:1]
    for before, day in pairwise(days):
        found += range(before + 1, day) if day - before <= LONGEST_GAP else []
        found.append(day)
    return found


def _span(scope: GateScope) -> tuple[int, int]:
    days = [day for day, held in scope.judged.items() if held.hours.any()]
    first, last = min(days), max(days)
    begin = int(np.flatnonzero(scope.judged[first].hours)[0])
    end = int(np.flatnonzero(scope.judged[last].hours)[-1])
    return first * 24 + begin, last * 24 + end


def _usual(scope: GateScope, column: str, name: str) -> tuple[Floats, float]:
    """Return the (24,) usual events by hour of the day, and their variance over the mean."""
    rows = np.array([hours_of(day, column, name) for day in scope.reference], float)
    usual = np.median(rows, axis=0) if scope.within else rows.mean(axis=0)
    spread = ((rows - rows.mean(axis=0)) ** 2).sum() / max(rows.mean(axis=0).sum() * (len(rows) - 1), 1.0)
    seen = 24 * (len(rows) - 1)
    return usual, float((4 * 2.0 + seen * spread) / (4 + seen))


def _day_level(day: DayCounts, usual: Floats) -> float:
    """Return a day's volume over the usual one, by the median of its hours: a short sale hardly counts."""
    judged = usual >= 5
    if not judged.any() or not day.hours.any():
        return 1.0
    level = float(np.median(day.hours[judged] / usual[judged]))
    return min(level, 1.0) if level > 0 else 1.0


def _volumes(scope: GateScope) -> Iterator[DriftCandidate]:
    """Yield the tests of the volume of days."""
    usual, _ = _usual(scope, "", "")
    totals = np.array([day.hours.sum() for day in scope.reference], float)
    if scope.within:
        center = float(np.median(totals))
        spread = (float(np.median(np.abs(totals - center))) * 1.4826) ** 2 / max(center, 1.0)
    else:
        spread = float(totals.var(ddof=1)) / max(float(totals.mean()), 1.0)
    fano = (4 * 2.0 + (len(totals) - 1) * spread) / (3 + len(totals))
    for day, held in scope.judged.items():
        there = np.flatnonzero(held.hours)
        mean = float(usual[there[0] : there[-1] + 1].sum())
        observed = float(held.hours.sum())
        if mean < LEAST_EXPECTED * 4:
            continue
        p = float(low_count_p(np.array([observed]), np.array([mean]), fano)[0])
        hours = tuple(day * 24 + int(h) for h in there)
        message = f"{observed:,.0f} events in a day that usually has {mean:,.0f}"
        finding = GateFinding("volume", "EVENTS", ("at",), message, scope.level, hours, int(mean - observed))
        yield DriftCandidate(p, finding if observed <= VOLUME_SHARE * mean else None)


def _shifts(scope: GateScope, column: str, name: str) -> Iterator[DriftCandidate]:
    """Yield the tests of the hours of the day."""
    days = [day for day, held in scope.judged.items() if _is_whole(held)]
    reference = [hours_of(day, column, name) for day in scope.reference if _is_whole(day)]
    if not days or len(reference) < 2:
        return
    units = np.array([hours_of(scope.judged[day], column, name) for day in days])
    base = units if scope.within else np.array(reference)
    tests = compare_histograms(units, base, within=scope.within, ordered=True)
    for row, day in enumerate(days):
        n = int(units[row].sum())
        if n < LEAST_SHIFT_EVENTS:
            continue
        share = units[row] / n
        moved = [float(np.abs(np.roll(tests.expected[row], lag) - share).sum()) for lag in range(24)]
        lag = int(np.argmin(moved))
        counts = moved[0] >= 0.3 and lag not in (0, 1, 23) and moved[lag] <= 0.5 * moved[0]
        lag = lag - 24 if lag > 12 else lag
        what = f"events of the {column} {name}" if column else "events"
        message = (
            f"{what} are {lag:+d} hours from their usual hours of the day: are their times of another zone?"
        )
        hours = tuple(day * 24 + int(h) for h in np.flatnonzero(units[row]))
        gate = f"time_zone_{name}" if column else "time_zone"
        columns = ("at", column) if column else ("at",)
        finding = GateFinding(gate, "EVENTS", columns, message, scope.level, hours, n)
        yield DriftCandidate(float(tests.p[row]), finding if counts else None)


def _is_whole(day: DayCounts) -> bool:
    there = np.flatnonzero(day.hours)
    return len(there) > 0 and int(there[-1] - there[0]) + 1 >= WHOLE_DAY
