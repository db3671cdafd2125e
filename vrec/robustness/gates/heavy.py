"""Counts of the heaviest shoppers of an hour and videos of a day, in bounded memory."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from vrec.robustness.gates.findings import GateFinding

COUNTERS = 64
LEAST_ACTIONS = 200
"""Clicks and other actions of one shopper in an hour that no person makes unless others nearly do."""
TIMES_TYPICAL = 8.0


@dataclass
class HeavyHitters:
    """Largest counts by group, at most n / COUNTERS too low in a group of n events (Misra and Gries 1982)."""

    groups: dict[int, dict[str, int]] = field(default_factory=dict)
    totals: dict[int, int] = field(default_factory=dict)

    def add(self, rows: pl.DataFrame) -> None:
        """Add counts: columns `group`, `name` and `len`."""
        for (group,), part in rows.group_by("group"):
            key = int(group)
            self.totals[key] = self.totals.get(key, 0) + int(part["len"].sum())
            held = self.groups.setdefault(key, {})
            best = part if part.height <= 4 * COUNTERS else part.top_k(4 * COUNTERS, by="len")
            for name, count in zip(best["name"].to_list(), best["len"].to_list(), strict=True):
                held[name] = held.get(name, 0) + count
            if len(held) > 4 * COUNTERS:
                less = sorted(held.values(), reverse=True)[COUNTERS]
                self.groups[key] = {name: count - less for name, count in held.items() if count > less}

    def top(self, group: int) -> tuple[str, int]:
        """Return the heaviest name of a group and its count."""
        held = self.groups.get(group) or {"": 0}
        name = max(held, key=lambda one: (held[one], one))
        return name, held[name]

    def share(self, group: int) -> float:
        """Return the share of a group's events that the heaviest name has."""
        return self.top(group)[1] / max(self.totals.get(group, 0), 1)


def bot_hours(heavy: HeavyHitters) -> list[GateFinding]:
    """Return the finding of hours in which one shopper acts as no person can."""
    tops = {hour: heavy.top(hour)[1] for hour in heavy.totals}
    if not tops:
        return []
    typical = float(np.median([count for count in tops.values() if count > 0] or [0]))
    bad = sorted(
        hour
        for hour, count in tops.items()
        if count >= LEAST_ACTIONS and count >= TIMES_TYPICAL * typical and heavy.share(hour) >= 0.2
    )
    if not bad or len(bad) > 0.5 * len(tops):
        return []
    worst = max(bad, key=lambda hour: tops[hour])
    message = (
        f"one shopper has {tops[worst]:,} of {heavy.totals[worst]:,} actions of an hour, against "
        f"{typical:,.0f} of the heaviest shopper of a usual hour"
    )
    count = sum(tops[hour] for hour in bad)
    return [GateFinding("bot_hour", "EVENTS", ("user_id",), message, hours=tuple(bad), count=count)]
