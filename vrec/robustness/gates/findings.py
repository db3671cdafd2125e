"""Findings of data gates and their report."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

HOUR_US = 3_600_000_000
FindingLevel = Literal["fault", "notice"]


@dataclass(frozen=True, slots=True)
class GateFinding:
    """One fault of a table, with the columns, hours and rows that it is in."""

    gate: str
    """Name of the check, such as `watch_over_length`."""
    table: str
    columns: tuple[str, ...]
    message: str
    """What is wrong, with figures."""
    level: FindingLevel = "fault"
    """A `notice` stops nothing."""
    hours: tuple[int, ...] = ()
    """Hours since 1970 UTC that are at fault; empty where it is the whole table or single rows."""
    count: int = 0
    """Rows at fault."""
    rows: tuple[int, ...] = ()
    """Numbers of the first such rows, from 1 in the order of the table."""
    drop: str | None = None
    """Name of the row rule with which single rows can be left out."""

    def __str__(self) -> str:
        """Return it as one line."""
        where = f" [{hour_ranges(self.hours)}]" if self.hours else ""
        more = ", …" if self.count > len(self.rows) else ""
        rows = f" (rows {', '.join(f'{row:,}' for row in self.rows)}{more})"
        return f"{self.table} {', '.join(self.columns)}: {self.message}{where}{rows if self.rows else ''}"

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        found = asdict(self) | {"hours": [hour_text(hour) for hour in self.hours], "text": str(self)}
        return found | {"columns": list(self.columns), "rows": list(self.rows)}


@dataclass(frozen=True, slots=True)
class GateReport:
    """Findings about the tables of one command, the gravest first."""

    rows: int
    """Events that were checked."""
    days: int
    """Days with events."""
    good_days: int
    """Good days that they were compared with; 0 where the days were compared with one another."""
    tests: int
    """Tests of drift that were made."""
    findings: tuple[GateFinding, ...] = field(default=())

    @property
    def faults(self) -> tuple[GateFinding, ...]:
        """Findings that stop a fit."""
        return tuple(one for one in self.findings if one.level == "fault")

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        counts = {name: getattr(self, name) for name in ("rows", "days", "good_days", "tests")}
        return {
            **counts,
            "faults": len(self.faults),
            "findings": [finding.as_json() for finding in self.findings],
        }


def order_findings(findings: Sequence[GateFinding]) -> tuple[GateFinding, ...]:
    """Return findings with faults first, then those of the whole table, then by their number of rows."""
    return tuple(sorted(findings, key=lambda f: (f.level != "fault", bool(f.hours), -f.count, f.gate)))


def hour_text(hour: int) -> str:
    """Return an hour since 1970 as ISO 8601 to the minute."""
    return f"{datetime.fromtimestamp(hour * 3600, UTC):%Y-%m-%dT%H:%MZ}"


def hour_ranges(hours: Sequence[int], most: int = 4) -> str:
    """Return hours as ranges, such as `2025-01-03 14:00 to 16:00 UTC`, whose ends are exclusive."""
    runs: list[list[int]] = []
    for hour in sorted(hours):
        if runs and runs[-1][1] == hour:
            runs[-1][1] = hour + 1
        else:
            runs.append([hour, hour + 1])
    shown = []
    for begin, end in runs[:most]:
        first, last = (datetime.fromtimestamp(hour * 3600, UTC) for hour in (begin, end))
        same = first.date() == last.date()
        shown.append(
            f"{first:%Y-%m-%d %H:%M} to {last:%H:%M}"
            if same
            else f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}"
        )
    more = f" and {len(runs) - most} more" if len(runs) > most else ""
    return f"{', '.join(shown)} UTC{more}"
