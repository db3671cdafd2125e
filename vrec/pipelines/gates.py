"""Data gates before a fit or a bundle: the events are judged, and stopped, cut or only reported."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import pyarrow as pa

from vrec.core.errors import DataWarning, GateError
from vrec.core.tables import StorageFolder
from vrec.events.polars_tables import to_polars
from vrec.robustness.gates.check import EventsGate
from vrec.robustness.gates.config import GatePolicy, GatesConfig
from vrec.robustness.gates.cut import can_cut, cut_rows
from vrec.robustness.gates.findings import GateFinding, GateReport, order_findings
from vrec.robustness.gates.profile import GOOD_DAYS, GoodDays, find_good_days, good_days_text, read_good_days

_log = logging.getLogger(__name__)

BATCH_ROWS = 1 << 16
SHOWN = 3
"""Faults that an error names."""


@dataclass(frozen=True, slots=True)
class GateOptions:
    """Gates of one command."""

    folder: str | None = None
    """Folder whose good days the events are compared with, unless the settings name others."""
    policy: GatePolicy | None = None
    """Policy in the place of the settings'; `skip` in the settings stays."""

    def apply(self, config: GatesConfig) -> GatesConfig:
        """Return the settings with these options."""
        if self.policy is None or config.policy == "skip":
            return config
        return config.model_copy(update={"policy": self.policy})


@dataclass(frozen=True, slots=True)
class GateOutcome:
    """Judgement of the events of a command."""

    report: GateReport
    good: GoodDays
    """Days of the events, after cutting."""
    dropped: pa.Array
    """event_ids that were cut."""
    policy: GatePolicy

    def as_json(self) -> dict[str, Any]:
        """Return the entry `gates` of a manifest."""
        faults = [{"gate": f.gate, "message": str(f), "rows": f.count} for f in self.report.findings]
        return {
            "policy": self.policy,
            "checked": self.report.rows,
            "cut": len(self.dropped),
            "findings": faults,
        }

    def save(self, folder: str) -> None:
        """Write the good days into a model's folder."""
        StorageFolder(folder).write(GOOD_DAYS, good_days_text(self.good))


def gate_events(
    events: pa.Table,
    videos: pa.Table | None,
    config: GatesConfig,
    options: GateOptions,
    *,
    has_clock: bool = True,
    conflicts: tuple[int, str] = (0, ""),
) -> GateOutcome | None:
    """Judge the events of a command by the policy; return None where it is `skip`.

    Args:
        events: EVENTS.
        videos: VIDEOS, or None.
        config: Settings.
        options: Options of the command.
        has_clock: Whether times are real.
        conflicts: `ReadEvents.conflicts`.

    Raises:
        GateError: There are faults, and the policy is `stop`, or `cut` and they cannot be cut.
        SourceError: The good days cannot be read.
    """
    config = options.apply(config)
    if config.policy == "skip" or not events.num_rows:
        return None
    good = good_days_of(config, options.folder)
    frame = to_polars(events)
    gate = count_events(frame, videos, config, has_clock=has_clock)
    report = with_conflicts(gate.report(good), conflicts)
    faults = report.faults
    stop_at_faults(report, config)
    dropped = frame.clear()
    if faults and config.policy == "cut":
        dropped = _cut(frame, faults, gate, config)
        kept = frame.join(dropped.select("event_id"), on="event_id", how="anti", maintain_order="left")
        gate = count_events(kept, videos, config, has_clock=has_clock)
    show_findings(report, config)
    ids = dropped["event_id"].to_arrow().cast(pa.string())
    return GateOutcome(report, gate.good_days(), ids, config.policy)


def stop_at_faults(report: GateReport, config: GatesConfig) -> None:
    """Raise GateError for faults where the policy stops."""
    if report.faults and config.policy == "stop":
        raise GateError(f"data at fault, nothing is fitted: {_named(report.faults)}")


def show_findings(report: GateReport, config: GatesConfig) -> None:
    """Log the findings; give DataWarnings for faults where the policy is to warn."""
    for finding in report.findings:
        if config.policy == "warn" and finding.level == "fault":
            warnings.warn(f"data at fault: {finding}", DataWarning, stacklevel=3)
        else:
            _log.info("data check: %s", finding)


def good_days_of(config: GatesConfig, folder: str | None) -> GoodDays | None:
    """Return the good days that events are compared with, None without any; raises SourceError."""
    if config.against is not None:
        return read_good_days(config.against)
    return None if folder is None else find_good_days(folder)


def count_events(
    frame: pl.DataFrame, videos: pa.Table | None, config: GatesConfig, *, has_clock: bool = True
) -> EventsGate:
    """Return the counts of EVENTS, read in batches."""
    gate = EventsGate(config, videos, has_clock)
    for batch in batches_of(frame):
        gate.add(batch)
    return gate


def batches_of(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the rows in batches."""
    for first in range(0, frame.height, BATCH_ROWS):
        yield frame.slice(first, BATCH_ROWS)


def with_conflicts(report: GateReport, conflicts: tuple[int, str]) -> GateReport:
    """Return a report with the event_ids that several contents shared when the table was read."""
    count, example = conflicts
    if not count or count < 0.001 * report.rows:
        return report
    message = f"{count:,} rows have an event_id that another row with other content has, such as {example}"
    finding = GateFinding("event_id_conflict", "EVENTS", ("event_id",), message, count=count)
    return replace(report, findings=order_findings([finding, *report.findings]))


def _cut(
    frame: pl.DataFrame, faults: Sequence[GateFinding], gate: EventsGate, config: GatesConfig
) -> pl.DataFrame:
    """Return the events to leave out; raises GateError where leaving out rows does not help."""
    if whole := [finding for finding in faults if not can_cut(finding)]:
        raise GateError(f"data at fault beyond single hours and rows, nothing is fitted: {_named(whole)}")
    dropped = frame.filter(cut_rows(frame, faults, gate.facts, config))
    if dropped.height > config.cut_most * frame.height:
        raise GateError(
            f"data at fault in {dropped.height:,} of {frame.height:,} events, more than may be cut: "
            f"{_named(faults)}"
        )
    _log.info("data check: %s events are left out", f"{dropped.height:,}")
    return dropped


def _named(faults: Sequence[GateFinding]) -> str:
    """Return the first faults in words."""
    more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return "; ".join(map(str, faults[:SHOWN])) + more
