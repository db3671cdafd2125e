"""Drift of days and hours against good days, or against the other days of the same table."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from vrec.robustness.gates.config import GatesConfig
from vrec.robustness.gates.features import FEATURES, FUNNEL, GateFeature
from vrec.robustness.gates.findings import FindingLevel, GateFinding
from vrec.robustness.gates.hourly import DayCounts, HourlyCounts
from vrec.robustness.gates.statistics import Counts, DriftTests, compare_histograms, holm, ks_p, odds_ratio

CountsOf = Callable[[DayCounts], Counts]
"""Function from a day to the histogram of a feature."""

LEAST_EVENTS, LEAST_VALUES = 20, 40
"""Events from which a day's share and a day's histogram of values are judged."""
LEAST_HOUR = 30
LEAST_HITS = 10.0
"""Expected rows from which the fall of a share is judged."""
WHOLE_HOURS = 8
"""Hours of a day at fault from which the whole day is."""
KS_LEAST = 0.15
KIND_ODDS, DOMAIN_ODDS = 1.5, 3.0
"""Powers of `odds` for the shares of kinds and of domains, which honest shops move more than their rates."""


@dataclass(frozen=True, slots=True)
class DriftCandidate:
    """Test with its p-value and, where the effect is large enough to count, its finding."""

    p: float
    finding: GateFinding | None


@dataclass(frozen=True, slots=True)
class GateScope:
    """Days that are judged, and those that they are compared with."""

    judged: Mapping[int, DayCounts]
    reference: Sequence[DayCounts]
    within: bool
    """Whether the reference is the judged days themselves."""
    config: GatesConfig

    @property
    def level(self) -> FindingLevel:
        """Level of drift: without good days nobody knows which of two days is right."""
        return "notice" if self.within else "fault"


def significant(candidates: Sequence[DriftCandidate], alpha: float) -> list[GateFinding]:
    """Return the findings of candidates that are significant among all tests."""
    if not candidates:
        return []
    kept = holm(np.array([one.p for one in candidates]), alpha)
    return [one.finding for one, yes in zip(candidates, kept, strict=True) if yes and one.finding is not None]


def hour_candidates(scope: GateScope, hourly: HourlyCounts) -> list[DriftCandidate]:
    """Return the tests of all features by hour."""
    return [one for feature in FEATURES.values() for one in _feature_hours(scope, feature, hourly)]


def day_candidates(scope: GateScope) -> list[DriftCandidate]:
    """Return the tests of all features by day."""
    found: list[DriftCandidate] = []
    for feature in FEATURES.values():
        found += _feature_days(scope, feature)
    for first, second in FUNNEL:
        about = f"{second} per {first}"
        feature = GateFeature(f"{second}_per_{first}", ("kind",), "share", about, honest_rise=True)
        found += _histogram_days(
            scope, feature, lambda day, a=first, b=second: np.array([day.kind(a), day.kind(b)])
        )
    for column, power in (("kind", KIND_ODDS), ("domain", DOMAIN_ODDS)):
        found += _named_shares(scope, column, power)
    return found


def _named_shares(scope: GateScope, column: str, power: float) -> list[DriftCandidate]:
    """Return the tests of the shares of a column's values."""
    days = [*scope.judged.values(), *scope.reference]
    names = sorted({name for day in days for name in day.named.get(column, {})})
    if len(names) < 2:
        return []
    found: list[DriftCandidate] = []
    for name in names:
        feature = GateFeature(
            f"{column}_{name}", (column,), "share", f"events of the {column} {name}", honest_rise=True
        )

        def counts(day: DayCounts, name: str = name) -> Counts:
            held = day.named.get(column, {}).get(name)
            own = 0 if held is None else int(held.sum())
            return np.array([int(day.hours.sum()) - own, own])

        found += _histogram_days(scope, feature, counts, power)
    return found


def _feature_days(scope: GateScope, feature: GateFeature) -> list[DriftCandidate]:
    empty = np.zeros(feature.bins, np.int64)
    return _histogram_days(scope, feature, lambda day: day.features.get(feature.name, empty))


def _histogram_days(
    scope: GateScope, feature: GateFeature, counts: CountsOf, power: float = 1.0
) -> list[DriftCandidate]:
    """Return the tests of one histogram by day, two for ordered bins."""
    days = list(scope.judged)
    units = np.array([counts(scope.judged[day]) for day in days])
    reference = units if scope.within else np.array([counts(day) for day in scope.reference])
    if (
        not len(units)
        or not len(reference)
        or reference.sum() < LEAST_EVENTS
        or (scope.within and len(days) < 3)
    ):
        return []
    tests = compare_histograms(units, reference, within=scope.within, ordered=feature.form == "ordered")
    odds = scope.config.odds**power
    effects = (
        _share_effects(units, tests, feature, odds)
        if feature.form == "share"
        else _value_effects(tests, scope.config.psi, KS_LEAST)
    )
    n, m = units.sum(axis=1), reference.sum()
    distances = ks_p(tests.ks, n, m, tests.dispersion) if feature.form == "ordered" else None
    found: list[DriftCandidate] = []
    for row, day in enumerate(days):
        if n[row] < (LEAST_EVENTS if feature.form == "share" else LEAST_VALUES):
            continue
        hours = tuple(day * 24 + int(h) for h in np.flatnonzero(scope.judged[day].hours))
        message = _message(feature, units[row], tests, row)
        count = int(units[row, 1] if feature.rises_alone else n[row])
        finding = GateFinding(feature.name, "EVENTS", feature.columns, message, scope.level, hours, count)
        found.append(DriftCandidate(float(tests.p[row]), finding if effects[row] else None))
        if distances is not None:
            found.append(DriftCandidate(float(distances[row]), finding if effects[row] else None))
    return found


def _feature_hours(scope: GateScope, feature: GateFeature, hourly: HourlyCounts) -> list[DriftCandidate]:
    """Return the tests of hours, of which only gross changes count: honest hours of a day differ."""
    held = hourly.features.get(feature.name, {})
    hours = [
        hour for hour, counts in held.items() if hour // 24 in scope.judged and counts.sum() >= LEAST_HOUR
    ]
    empty = np.zeros(feature.bins, np.int64)
    days = scope.judged.values() if scope.within else scope.reference
    reference = np.array([day.features.get(feature.name, empty) for day in days])
    if len(hours) < 3 or reference.sum() < LEAST_EVENTS:
        return []
    units = np.array([held[hour] for hour in hours])
    spread = compare_histograms(units, units, within=True).dispersion
    whole = reference.sum(axis=0, keepdims=True)
    tests = compare_histograms(units, whole, ordered=feature.form == "ordered", dispersion=spread)
    if feature.form == "share":
        share = units[:, 1] / units.sum(axis=1)
        effects = (share - tests.expected[:, 1] > 0.3) & _share_effects(units, tests, feature, 4.0)
    else:
        effects = (tests.psi >= 1) & (tests.ks >= 0.4)
    found = []
    for row, hour in enumerate(hours):
        message = _message(feature, units[row], tests, row)
        count = int(units[row, 1] if feature.form == "share" else units[row].sum())
        finding = GateFinding(feature.name, "EVENTS", feature.columns, message, scope.level, (hour,), count)
        found.append(DriftCandidate(float(tests.p[row]), finding if effects[row] else None))
    return found


def _share_effects(
    units: Counts, tests: DriftTests, feature: GateFeature, odds: float
) -> npt.NDArray[np.bool_]:
    """Return (U,) bool, whether a share has changed enough to count."""
    n = units.sum(axis=1)
    expected = tests.expected[:, 1]
    ratio = odds_ratio(units, tests.expected)
    share = units[:, 1] / np.maximum(n, 1)
    rise = (ratio >= (odds**3 if feature.honest_rise else odds)) & (units[:, 1] >= LEAST_HITS)
    rise &= share - expected >= (0.02 if feature.rises_alone else 0.002)
    fall = (ratio <= 1 / odds) & (expected * n >= LEAST_HITS)
    return rise if feature.rises_alone else rise | fall


def _value_effects(tests: DriftTests, psi: float, ks: float) -> npt.NDArray[np.bool_]:
    return (tests.psi >= psi) & ((tests.ks >= ks) | (tests.psi >= 1))


def _message(feature: GateFeature, counts: Counts, tests: DriftTests, row: int) -> str:
    """Return the change in words, with a hint where it looks like another unit."""
    now, usual = feature.typical(counts / max(counts.sum(), 1)), feature.typical(tests.expected[row])
    if feature.form == "share":
        if "_per_" in feature.name:
            return f"{feature.about} is {_odds(now)}, against {_odds(usual)} usually"
        return f"{now:.3%} {feature.about}, against {usual:.3%} usually"
    hint = _unit_hint(now, usual)
    return (
        f"{feature.about} have the median {now:,.4g}{feature.unit}, against {usual:,.4g}{feature.unit} "
        f"usually (PSI {tests.psi[row]:.2f}, KS {tests.ks[row]:.2f}){hint}"
    )


def _unit_hint(now: float, usual: float) -> str:
    for factor, unit in ((1000, "1,000 times"), (100, "100 times"), (60, "60 times")):
        if now > 0 and usual > 0 and 0.7 < max(now / usual, usual / now) / factor < 1.42:
            return f": about {unit}, another unit?"
    return ""


def _odds(share: float) -> str:
    return f"{share / (1 - share):.4g}" if share < 1 else "all"


def merge_hours(findings: Sequence[GateFinding], judged_hours: int) -> list[GateFinding]:
    """Return one finding per feature: that of its hours where these are found, else that of its days."""
    groups: dict[str, list[GateFinding]] = {}
    for finding in findings:
        groups.setdefault(finding.gate, []).append(finding)
    merged = []
    for group in groups.values():
        kept = group if group[0].gate.startswith("hole") else _hours_or_days(group)
        hours = sorted({hour for one in kept for hour in one.hours})
        worst = max(kept, key=lambda one: one.count)
        # One day or hour may be in two tests.
        count = sum({one.hours: one.count for one in kept}.values())
        named = () if len(hours) >= 0.9 * judged_hours else tuple(hours)
        merged.append(replace(worst, hours=named, count=count))
    return merged


def _hours_or_days(group: Sequence[GateFinding]) -> list[GateFinding]:
    """Return the findings of hours, and those of days of which no hour or many are found.

    Quiet hours are too small to be judged, and so a day of many bad hours is named whole.
    """
    single = Counter(one.hours[0] // 24 for one in group if len(one.hours) == 1)
    days = {one.hours[0] // 24 for one in group if len(one.hours) > 1}
    whole = {day for day in days if single[day] == 0 or single[day] >= WHOLE_HOURS}
    return [one for one in group if (len(one.hours) > 1) == (one.hours[0] // 24 in whole)]
