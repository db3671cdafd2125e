"""`vrec check`: a table of events is read in batches and judged, with the videos and links beside it."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from vrec.config.events import EventsConfig
from vrec.core.errors import ConfigError, EventsError, SchemaError, SourceError
from vrec.core.table_batches import open_table
from vrec.core.tables import StorageFolder
from vrec.core.uris import absolute_uri, parent_uri, uri_name
from vrec.events.datasets import DATASETS, PublicDataset
from vrec.events.links import read_links
from vrec.events.plain_files import FILE_READERS
from vrec.events.polars_tables import to_polars
from vrec.events.read import choose_columns
from vrec.events.row_faults import RowFaults, usable_rows
from vrec.pipelines.gates import batches_of
from vrec.pipelines.inputs import InputPaths, read_videos
from vrec.robustness.gates.check import EventsGate
from vrec.robustness.gates.findings import GateFinding, GateReport, order_findings
from vrec.robustness.gates.html import report_html
from vrec.robustness.gates.links import check_links
from vrec.robustness.gates.profile import GOOD_DAYS, GoodDays, good_days_text, read_good_days

EARLIEST_US = 946_684_800_000_000
"""2000-01-01 in µs since 1970."""


def check(
    paths: InputPaths,
    config: EventsConfig,
    *,
    against: str | None = None,
    save: str | None = None,
    out: str | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Judge a table of events and return the report.

    Args:
        paths: Events, and VIDEOS and LINKS where there are any.
        config: Reading of events and the gates.
        against: Good days: a file that was saved, a model's folder, or another table of events.
        save: File to write the good days of this table to, where there are no faults.
        out: File for the report, `.json` or `.html`.
        now: The present; the clock's by default.

    Raises:
        EventsError, SchemaError, SourceError: A table cannot be read.
        ConfigError: `out` or `save` has another ending.
        OutputError: A file cannot be written.
    """
    for path, endings in ((out, (".json", ".html")), (save, (".json",))):
        if path is not None and not path.endswith(endings):
            raise ConfigError(f"{path}: no ending of a report", fix=f"end the name in {' or '.join(endings)}")
    begun = time.perf_counter()
    now = now or datetime.now(UTC)
    gate, faults, videos_finding = _count(paths, config, now)
    good_uri = against or config.gates.against
    good = None if good_uri is None else _read_good(good_uri, paths, config, now)
    report = gate.report(good, now)
    findings = [*_row_findings(faults), *videos_finding, *report.findings]
    if paths.links is not None:
        findings += check_links(read_links(paths.links), now)
    report = GateReport(faults.read, report.days, report.good_days, report.tests, order_findings(findings))
    values = report.as_json() | {"events": paths.events, "seconds": round(time.perf_counter() - begun, 3)}
    if save is not None and not report.faults:
        _write(save, good_days_text(gate.good_days()))
        values["saved"] = save
    if out is not None:
        text = (
            json.dumps(values, ensure_ascii=False, indent=1) if out.endswith(".json") else report_html(values)
        )
        _write(out, text.encode())
    return values


def _count(
    paths: InputPaths, config: EventsConfig, now: datetime
) -> tuple[EventsGate, RowFaults, list[GateFinding]]:
    """Read the events in batches and count them."""
    dataset = None if paths.dataset is None else _read_dataset(paths)
    videos = None if dataset is None else dataset.videos
    found: list[GateFinding] = []
    if paths.videos is not None:
        try:
            videos = read_videos(paths.videos)
        except SchemaError as error:
            # A catalog that no command can use is a fault among others, with the columns in its message.
            found.append(GateFinding("videos_unreadable", "VIDEOS", _named_columns(str(error)), str(error)))
    faults = RowFaults()
    gate = EventsGate(config.gates, videos, dataset is None or dataset.has_timestamps)
    for frame, numbers in _batches(paths, config, now, dataset, faults):
        gate.add(frame, numbers)
    if not faults.read:
        raise EventsError(f"{paths.events}: the table has no rows", fix="give a table with events in it")
    return gate, faults, found


def _write(uri: str, data: bytes) -> None:
    path = absolute_uri(uri)
    StorageFolder(parent_uri(path)).write(uri_name(path), data)


def _named_columns(message: str) -> tuple[str, ...]:
    words = message.replace(":", " ").replace(",", " ").split()
    names = ("video_id", "price", "duration_s", "title", "published_at", "available")
    return tuple(name for name in names if name in words) or ("video_id",)


def _read_dataset(paths: InputPaths) -> PublicDataset:
    readers = {**DATASETS, **FILE_READERS}
    if paths.dataset not in readers:
        raise ConfigError(
            f"--dataset {paths.dataset}: there is no reader of that name",
            fix=f"give one of {', '.join(readers)}",
        )
    return readers[paths.dataset](paths.events)


def _batches(
    paths: InputPaths, config: EventsConfig, now: datetime, dataset: PublicDataset | None, faults: RowFaults
) -> Iterator[tuple[pl.DataFrame, np.ndarray]]:
    """Yield the usable rows as EVENTS with their numbers; note the others."""
    latest = round((now.timestamp() + config.read.future_tolerance_s) * 1e6)
    if dataset is not None:
        for frame in batches_of(to_polars(dataset.events)):
            faults.read += frame.height
            yield frame, np.arange(faults.read - frame.height + 1, faults.read + 1)
        return
    table = open_table(paths.events)
    columns = choose_columns(paths.events, table.schema.names, paths.mapping or {})
    for batch in table:
        raw = pl.from_arrow(pa.Table.from_batches([batch]).select(sorted(set(columns.values()))))
        assert isinstance(raw, pl.DataFrame)
        renamed = raw.select(pl.col(source).alias(name) for name, source in columns.items())
        yield usable_rows(renamed, config.read, config.interest.known_kinds, latest, faults)


def _read_good(uri: str, paths: InputPaths, config: EventsConfig, now: datetime) -> GoodDays:
    """Return good days of a file, of a model's folder, or of a table of events with the same columns."""
    if uri.endswith(".json"):
        return read_good_days(uri)
    if StorageFolder(uri).exists(GOOD_DAYS):
        return read_good_days(uri)
    try:
        gate, _, _ = _count(InputPaths(uri, paths.dataset, paths.mapping, paths.videos), config, now)
    except SourceError as error:
        raise SourceError(
            str(error), fix="give --against good days, a model's folder or a table of events"
        ) from None
    return gate.good_days()


_GATES = {"future": ("future_time", "at"), "kind": ("unknown_kind", "kind"), "at": ("unreadable_time", "at")}


def _row_findings(faults: RowFaults) -> Iterator[GateFinding]:
    """Yield the findings of rows that no command reads."""
    for name, count in faults.counts.items():
        gate, column = _GATES.get(name, (f"invalid_{name}", name))
        yield GateFinding(
            gate, "EVENTS", (column,), faults.message(name), count=count, rows=tuple(faults.rows[name])
        )
