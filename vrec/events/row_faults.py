"""Batches of a table as EVENTS, without the rows that `read_events` would refuse, which are counted."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from vrec.core.schema import EVENTS
from vrec.events.columns import POLARS_TIMESTAMP, as_number, as_text, as_time, is_missing_id
from vrec.events.config import EventReadConfig
from vrec.events.polars_tables import to_polars

EXAMPLES = 3
_NUMBERS = {
    "value": (0.0, float("inf"), False),
    "propensity": (0.0, 1.0, True),
    "position": (0.0, 32_767.0, False),
}
"""Least and greatest value of numbers, and whether the least is invalid itself."""
_REASONS = {
    "value": "below 0, or no numbers",
    "propensity": "not above 0 and up to 1",
    "position": "no whole numbers from 0",
    "user_id": "empty or placeholders",
    "video_id": "empty or placeholders",
    "event_id": "empty",
    "kind": "of no known kind",
    "at": "that cannot be read as times",
    "future": "later than the present",
}


@dataclass
class RowFaults:
    """Rows of a table that cannot be used, by column."""

    counts: dict[str, int] = field(default_factory=dict)
    """By column; `future` are times later than the present."""
    rows: dict[str, list[int]] = field(default_factory=dict)
    """Numbers of the first ones, from 1."""
    examples: dict[str, str] = field(default_factory=dict)
    read: int = 0
    """Rows of the table."""

    def note(self, name: str, bad: pl.Series, values: pl.Series) -> None:
        """Note the invalid values of a batch."""
        count = int(bad.sum())
        if not count:
            return
        self.counts[name] = self.counts.get(name, 0) + count
        held = self.rows.setdefault(name, [])
        places = bad.arg_true()[: EXAMPLES - len(held)].to_numpy()
        held += (places + self.read + 1).tolist()
        value = values[int(bad.arg_max() or 0)]
        self.examples.setdefault(
            name, "null" if value is None else repr(value) if isinstance(value, str) else str(value)
        )

    def message(self, name: str) -> str:
        """Return what is wrong with a column."""
        return (
            f"{self.counts[name]:,} of {self.read:,} rows are {_REASONS[name]}, such as {self.examples[name]}"
        )


def usable_rows(
    raw: pl.DataFrame, config: EventReadConfig, kinds: Collection[str], latest: int, faults: RowFaults
) -> tuple[pl.DataFrame, np.ndarray]:
    """Return the usable rows of a batch as EVENTS, and their numbers in the table, from 1.

    Args:
        raw: Columns of EVENTS in any types; those of CSV are text.
        config: Defaults for absent columns.
        kinds: Known kinds.
        latest: The present with the tolerance, in µs since 1970.
        faults: Where other rows are noted.
    """
    columns: dict[str, pl.Series] = {}
    bad = pl.Series(np.zeros(raw.height, bool))
    for name in raw.columns:
        values, wrong = _cast(raw[name], name)
        if name == "kind":
            wrong |= ~values.is_in(list(kinds)).fill_null(value=False)
        faults.note(name, wrong, raw[name])
        columns[name] = values
        bad |= wrong
    late = (columns["at"].to_physical() > latest).fill_null(value=False)
    faults.note("future", late, columns["at"])
    numbers = np.arange(faults.read + 1, faults.read + raw.height + 1)
    faults.read += raw.height
    kept = ~(bad | late)
    return _complete(pl.DataFrame(columns), config).filter(kept), numbers[kept.to_numpy()]


def _cast(column: pl.Series, name: str) -> tuple[pl.Series, pl.Series]:
    """Return a column in its type, and (N,) bool, whether a value is invalid."""
    if name in _NUMBERS:
        least, most, above = _NUMBERS[name]
        number, _ = as_number(column, least, most, above=above)
        right = number.is_finite() & (number <= most) & ((number > least) if above else (number >= least))
        if name == "position":
            right &= number == number.floor()
            number = number.cast(pl.Int16, strict=False)
        return number, column.is_not_null() & ~right.fill_null(value=False)
    if name == "at":
        times = _times(column)
        return times, times.is_null()
    text, _ = as_text(column)
    if name in {"user_id", "video_id"}:
        return text, text.is_null() | (text == "").fill_null(value=False) | is_missing_id(text)
    if name == "request_id":
        return text, pl.Series(np.zeros(len(text), bool))
    return text, text.is_null() | (text == "").fill_null(value=False)


def _times(column: pl.Series) -> pl.Series:
    """Return times, null where a value is none."""
    times, problem = as_time(column)
    if problem is None or times.null_count() < len(times):
        return times
    numbers = column.cast(pl.Float64, strict=False)
    numbers = numbers.set(~((numbers >= 0) & (numbers < 1e17)).fill_null(value=False), None)
    return as_time(numbers)[0]


def _complete(frame: pl.DataFrame, config: EventReadConfig) -> pl.DataFrame:
    """Return a frame with the columns of EVENTS that it lacks, except `event_id`."""
    defaults: Mapping[str, str] = {"kind": config.kind, "domain": config.domain}
    frame = frame.with_columns(pl.lit(v).alias(n) for n, v in defaults.items() if n not in frame.columns)
    types = to_polars(EVENTS.arrow().empty_table()).schema
    absent = [n for n in types if n not in frame.columns and n != "event_id"]
    frame = frame.with_columns(pl.lit(None, types[n]).alias(n) for n in absent)
    return frame.with_columns(
        pl.col("at").cast(POLARS_TIMESTAMP), pl.col("value", "propensity").cast(pl.Float32)
    )
