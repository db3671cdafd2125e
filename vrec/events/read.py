"""Reader of events from tables of any usual format: the one place that renames and casts columns."""

import difflib
import hashlib
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from vrec.core.casts import ID_FIX
from vrec.core.errors import DataWarning, EventsError, SchemaError
from vrec.core.schema import EVENT_KINDS, EVENTS
from vrec.events.columns import (
    TIME_FIX,
    as_number,
    as_text,
    as_time,
    as_whole_number,
    is_missing_id,
)
from vrec.events.config import EventReadConfig
from vrec.events.formats import load_columns
from vrec.events.interactions import to_micros
from vrec.events.polars_tables import describe_invalid, from_polars, to_polars

EVENT_COLUMNS = tuple(column.name for column in EVENTS.columns)
"""The columns of EVENTS."""
REQUIRED_COLUMNS = ("user_id", "video_id", "at")
"""Columns that a file must have; `kind` and `domain` have a default, and `event_id` a digest of the rest."""

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Shops have no log of video events that is older."""

_CONTENT = tuple(name for name in EVENT_COLUMNS if name != "event_id")


@dataclass(frozen=True, slots=True)
class ReadEvents:
    """Events that were read, and counts of those left out."""

    events: pa.Table
    """EVENTS, sorted by time, then event_id."""
    duplicates: int
    """Rows left out because another has the same event_id or, without event ids, the same content."""
    future: int
    """Events left out because they lie in the future (`future` is "drop")."""
    conflicts: tuple[int, str] = (0, "")
    """Number of duplicates whose content is another than that of the row with the same event_id that stays,
    and an example of such an event_id."""


def read_events(
    uri: str,
    mapping: Mapping[str, str] | None = None,
    config: EventReadConfig | None = None,
    now: datetime | None = None,
    *,
    own_kinds: Collection[str] = (),
) -> ReadEvents:
    """Read EVENTS from a Parquet file, a folder of them, or CSV, TSV or JSON lines, also compressed.

    Ids may be whole numbers, times anything that `as_time` reads; columns that EVENTS does not have are
    ignored. Of rows with the same event_id the earliest is used. Without a column event_id it is a digest of
    the row's content, so that the same event has the same id wherever and whenever it is read. The result
    does not depend on the order of the rows. Times that are hardly meant, before 2000 or all the same, give a
    DataWarning.

    Args:
        uri: Path or URI.
        mapping: The table's column for each column of EVENTS, where the names differ.
        config: Defaults for absent columns, and the handling of future events.
        now: The present; the clock's by default. Without a zone it is UTC.
        own_kinds: Names of the shop's own kinds of events (`events.interest.own_kinds`).

    Raises:
        SchemaError: A column is missing.
        EventsError: The table cannot be read or has no rows, a column in `mapping` is unknown, or there are
            nulls, unknown kinds, numbers that are NaN or out of range, unreadable times or events from the
            future. One message lists all problems.
    """
    config = config or EventReadConfig()
    raw = load_columns(uri, lambda names: choose_columns(uri, names, mapping or {}))
    cast = cast_columns(raw, uri, config, own_kinds)
    frame = with_ids(cast, uri, config)
    warn_of_missing_ids(cast.height - frame.height, cast.height, uri)
    at = frame["at"]
    warn_of_times(int((at < EARLIEST).sum()), len(at), (at.min(), at.max()), uri)
    unique = drop_duplicates(frame)
    duplicates = frame.height - unique.height
    past, future_count = without_future(unique, uri, config, now or datetime.now(UTC))
    events = from_polars(past.sort("at", "event_id"), EVENTS, f"events {uri}")
    return ReadEvents(events, duplicates, future_count, count_conflicts(frame))


def count_conflicts(frame: pl.DataFrame) -> tuple[int, str]:
    """Return the number of rows that share an event_id with another content, and such an event_id."""
    if "event_id" not in frame.columns:
        return 0, ""
    contents = frame.filter(frame["event_id"].is_duplicated()).unique()
    ids = contents.filter(contents["event_id"].is_duplicated())["event_id"]
    return len(ids) - ids.n_unique(), "" if ids.is_empty() else str(ids.min())


def choose_columns(uri: str, names: list[str], mapping: Mapping[str, str]) -> dict[str, str]:
    """Return the table's column for each column of EVENTS that it has.

    Raises:
        SchemaError: A required column is missing.
        EventsError: A column in `mapping` is unknown, or one name is that of several columns.
    """
    problems = [
        f"map: EVENTS has no {n}{_suggestion(n, EVENT_COLUMNS)}" for n in mapping if n not in EVENT_COLUMNS
    ]
    problems += [
        f"map: no column {s} for {n}{_suggestion(s, names)}" for n, s in mapping.items() if s not in names
    ]
    columns = {name: name for name in EVENT_COLUMNS if name in names} | dict(mapping)
    problems += [
        f"the column {source} appears {names.count(source)} times"
        for source in sorted(set(columns.values()))
        if names.count(source) > 1
    ]
    if problems:
        raise EventsError(f"{uri}: {'; '.join(problems)}", fix="correct the columns given to --map")
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    if missing:
        raise SchemaError(
            f"{uri}: missing {', '.join(missing)}; the table has {', '.join(names)}",
            fix=f"name the columns that hold them, as in --map {missing[0]}=COLUMN",
        )
    return columns


def _suggestion(name: str, names: Iterable[str]) -> str:
    matches = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]}?" if matches else ""


def cast_columns(
    raw: pl.DataFrame, uri: str, config: EventReadConfig, own_kinds: Collection[str] = ()
) -> pl.DataFrame:
    """Return the columns that `choose_columns` chose with the types of EVENTS, absent ones with defaults.

    A column event_id that is absent stays so.

    Args:
        raw: Rows of the table at `uri`.
        uri: Name of the table in messages.
        config: Defaults for absent columns.
        own_kinds: Names of the shop's own kinds of events.

    Raises:
        EventsError: Values are invalid; all problems are named.
    """
    kinds = (*EVENT_KINDS, *own_kinds)
    problems: list[str | None] = []
    columns: dict[str, pl.Series] = {}
    for name in raw.columns:
        column = raw[name]
        match name:
            case "at":
                columns[name], problem = as_time(column)
            case "value":
                columns[name], problem = as_number(column, 0, float("inf"))
            case "propensity":
                columns[name], problem = as_number(column, 0, 1, above=True)
            case "position":
                columns[name], problem = as_whole_number(column, np.iinfo(np.int16).max)
            case _:
                columns[name], problem = as_text(column)
        problems.append(problem)
        if name in {c.name for c in EVENTS.columns if not c.nullable} - _droppable(config):
            problems.append(_describe_empty(columns[name] if problem is None else column))
    frame = pl.DataFrame(columns)
    if "kind" in columns and frame["kind"].dtype == pl.String:
        unknown = ~frame["kind"].is_in(kinds) & frame["kind"].is_not_null()
        problems.append(describe_invalid(frame, "kind", unknown, f"none of {', '.join(kinds)}"))
    messages = list(dict.fromkeys(problem for problem in problems if problem))
    if messages:
        raise EventsError(f"{uri}: {'; '.join(messages)}", fix=_fix_for(messages))
    defaults = {"kind": config.kind, "domain": config.domain}
    frame = frame.with_columns(pl.lit(v).alias(n) for n, v in defaults.items() if n not in frame.columns)
    types = to_polars(EVENTS.arrow().empty_table()).schema
    return frame.with_columns(pl.lit(None, types[n]).alias(n) for n in _CONTENT if n not in frame.columns)


def _droppable(config: EventReadConfig) -> set[str]:
    return {"user_id", "video_id"} if config.missing_ids == "drop" else set()


def _fix_for(messages: list[str]) -> str | None:
    """Return the cast to apply where it is of times or ids, None for the usual fix."""
    times = [TIME_FIX] if any(m.startswith("at ") for m in messages) else []
    ids = (
        [ID_FIX] if any(m.startswith(("user_id is", "video_id is", "event_id is")) for m in messages) else []
    )
    return "; ".join([*times, *ids]) or None


def with_ids(frame: pl.DataFrame, uri: str, config: EventReadConfig) -> pl.DataFrame:
    """Return the rows that name a user and a video, as `missing_ids` says; raises EventsError for none."""
    if config.missing_ids == "keep":
        return frame
    missing = {name: is_missing_id(frame[name]) for name in ("user_id", "video_id")}
    if config.missing_ids == "refuse":
        reason = "that stand for a missing id"
        problems = [describe_invalid(frame, name, bad, reason) for name, bad in missing.items()]
        if messages := [problem for problem in problems if problem]:
            raise EventsError(
                f"{uri}: {'; '.join(messages)}",
                fix="leave these rows out with events.read.missing_ids=drop; `keep` takes them as ids",
            )
        return frame
    bad = missing["user_id"] | missing["video_id"]
    for name in missing:
        bad |= frame[name].is_null() | (frame[name] == "").fill_null(value=False)
    if bad.all():
        raise EventsError(f"{uri}: none of {frame.height:,} rows names a user and a video")
    return frame.filter(~bad)


def warn_of_missing_ids(missing: int, rows: int, uri: str) -> None:
    """Give a DataWarning for rows that were left out, as they name no user or video."""
    if missing:
        _warn(f"{uri}: {missing:,} of {rows:,} rows without a user or video are left out")


def warn_of_times(early: int, rows: int, span: tuple[Any, Any], uri: str) -> None:
    """Give a DataWarning for times that are hardly meant: before 2000, or all the same.

    Args:
        early: Number of events before 2000.
        rows: Number of events.
        span: The first time and the last.
        uri: Name of the table.
    """
    first, last = span
    if early:
        _warn(
            f"{uri}: {early:,} of {rows:,} events are before 2000, the first on {first:%Y-%m-%d}: "
            "is `at` in another unit or format?"
        )
    elif rows > 1 and first == last:
        _warn(
            f"{uri}: all {rows:,} events are at one instant, {first:%Y-%m-%d %H:%M:%S}, and so without "
            "order: they cannot be split by time"
        )


def _warn(message: str) -> None:
    warnings.warn(message, DataWarning, stacklevel=3)


def _describe_empty(column: pl.Series) -> str | None:
    empty = column.is_null()
    if column.dtype == pl.String:
        empty |= (column == "").fill_null(value=False)
    return describe_invalid(column.to_frame(), column.name, empty, "empty")


def drop_duplicates(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the earliest row of each event_id; rows without one are told apart by their content."""
    if "event_id" not in frame.columns:
        return with_event_ids(frame.unique(maintain_order=True))
    repeated = frame["event_id"].is_duplicated()
    # Sorted by content, so that the row that stays does not depend on the order of rows in the file.
    rows = frame.filter(repeated).sort("at", *(name for name in _CONTENT if name != "at"))
    return pl.concat([frame.filter(~repeated), rows.unique("event_id", keep="first", maintain_order=True)])


def with_event_ids(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows with a column event_id; where it is absent it is a digest of the row's content."""
    return frame if "event_id" in frame.columns else frame.with_columns(event_id=_digests(frame))


def _digests(frame: pl.DataFrame) -> pl.Series:
    # Texts carry their lengths, so that no two contents give the same text; float32 are written as their
    # bits, which no version of a library formats differently. No library promises a stable hash of a column.
    texts = [
        pl.concat_str(pl.col(n).str.len_bytes(), pl.lit(":"), pl.col(n)).fill_null("-")
        for n in ("user_id", "video_id", "kind", "request_id", "domain")
    ]
    bits = [
        pl.Series(n, (frame[n].to_numpy().astype(np.float32) + np.float32(0)).view(np.uint32)).cast(pl.String)
        for n in ("value", "propensity")
    ]
    bits = [b.zip_with(frame[b.name].is_not_null(), pl.Series(b.name, ["-"])) for b in bits]
    integers = [pl.col(n).to_physical().cast(pl.String).fill_null("-") for n in ("position", "at")]
    content = frame.select(pl.concat_str(*texts, *bits, *integers, separator=" ")).to_series()
    ids = [hashlib.blake2b(row.encode(), digest_size=12).hexdigest() for row in content]
    return pl.Series("event_id", ids, dtype=pl.String)


def without_future(
    frame: pl.DataFrame, uri: str, config: EventReadConfig, now: datetime
) -> tuple[pl.DataFrame, int]:
    """Return the events up to the present, and the number of others; raises EventsError as `future` says."""
    limit = to_micros(now) + round(config.future_tolerance_s * 1e6)
    future = frame["at"].to_physical() > limit
    count = int(future.sum())
    if count and config.future == "refuse":
        raise EventsError(
            f"{uri}: {describe_invalid(frame, 'at', future, f'later than the present, {now},')}",
            fix="correct the clock or the unit of `at`, or set events.read.future=drop to leave these out",
        )
    if count == frame.height:
        raise EventsError(f"{uri}: every event lies in the future, {count:,} of {count:,}")
    return frame.filter(~future), count
