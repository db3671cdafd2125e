"""Counts of features by hour: what is kept of the events that were read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vrec.robustness.gates.statistics import Counts

MOST_NAMES = 64
"""Kinds and domains that are counted by name; others are left out."""


@dataclass
class HourlyCounts:
    """Histograms of features by hour since 1970 UTC, in memory bounded by the hours and not by the events."""

    features: dict[str, dict[int, Counts]] = field(default_factory=dict)
    """(bins,) counts by feature and hour."""
    totals: dict[int, int] = field(default_factory=dict)
    """Events by hour."""
    named: dict[str, dict[int, dict[str, int]]] = field(default_factory=dict)
    """Events by column (`kind`, `domain`), hour and value."""

    def add(
        self,
        name: str,
        hours: npt.NDArray[np.int64],
        places: npt.NDArray[np.int64],
        codes: npt.NDArray[np.int16],
        bins: int,
    ) -> None:
        """Count a batch.

        Args:
            name: Feature.
            hours: (H,) distinct hours.
            places: (N,) index of each row's hour.
            codes: (N,) bins, -1 where the feature does not apply.
            bins: Number of bins.
        """
        counted = np.bincount((places * (bins + 1) + codes + 1), minlength=len(hours) * (bins + 1)).reshape(
            len(hours), bins + 1
        )[:, 1:]
        into = self.features.setdefault(name, {})
        for row in np.flatnonzero(counted.any(axis=1)):
            hour = int(hours[row])
            into[hour] = into[hour] + counted[row] if hour in into else counted[row].copy()

    def add_total(self, hours: npt.NDArray[np.int64], places: npt.NDArray[np.int64]) -> None:
        """Count the events of a batch by hour."""
        for hour, count in zip(
            hours.tolist(), np.bincount(places, minlength=len(hours)).tolist(), strict=True
        ):
            self.totals[hour] = self.totals.get(hour, 0) + count

    def add_named(self, column: str, rows: Iterable[tuple[int, str, int]]) -> None:
        """Add counts of hours and values of a column."""
        into = self.named.setdefault(column, {})
        names = self.names(column)
        for hour, value, count in rows:
            if value in names or len(names) < MOST_NAMES:
                names.add(value)
                held = into.setdefault(hour, {})
                held[value] = held.get(value, 0) + count

    def names(self, column: str) -> set[str]:
        """Return the values of a column."""
        return {value for held in self.named.get(column, {}).values() for value in held}

    def by_day(self) -> dict[int, "DayCounts"]:
        """Return the counts by day since 1970 UTC."""
        days: dict[int, DayCounts] = {}
        for hour, count in self.totals.items():
            days.setdefault(hour // 24, DayCounts()).hours[hour % 24] += count
        for name, held in self.features.items():
            for hour, counts in held.items():
                days[hour // 24].add(name, counts)
        for column, by_hour in self.named.items():
            for hour, values in by_hour.items():
                for value, count in values.items():
                    days[hour // 24].add_named(column, value, hour % 24, count)
        return days


@dataclass
class DayCounts:
    """Counts of one day."""

    hours: Counts = field(default_factory=lambda: np.zeros(24, np.int64))
    """(24,) events by hour UTC."""
    features: dict[str, Counts] = field(default_factory=dict)
    named: dict[str, dict[str, Counts]] = field(default_factory=dict)
    """(24,) events by column, value and hour."""
    top_video: float = 0.0
    """Share of the clicks that the most clicked video has."""

    def add(self, name: str, counts: Counts) -> None:
        """Add an hour's histogram."""
        self.features[name] = self.features[name] + counts if name in self.features else counts.copy()

    def add_named(self, column: str, value: str, hour: int, count: int) -> None:
        """Add an hour's count of a value."""
        held = self.named.setdefault(column, {})
        held.setdefault(value, np.zeros(24, np.int64))[hour] += count

    def kind(self, name: str) -> int:
        """Return the events of a kind."""
        counts = self.named.get("kind", {}).get(name)
        return 0 if counts is None else int(counts.sum())

    def as_json(self) -> Mapping[str, object]:
        """Return JSON values; histograms are written sparsely."""
        return {
            "hours": self.hours.tolist(),
            "features": {
                name: {str(n): int(counts[n]) for n in np.flatnonzero(counts)}
                for name, counts in self.features.items()
            },
            "named": {
                column: {value: counts.tolist() for value, counts in held.items()}
                for column, held in self.named.items()
            },
            "top_video": round(self.top_video, 6),
        }
