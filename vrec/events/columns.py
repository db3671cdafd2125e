"""Conversion of file columns to the types of EVENTS: text, numbers and times."""

import warnings

import polars as pl

from vrec.core.casts import FLOAT_ID, MAX_WHOLE_FLOAT, PLACEHOLDERS
from vrec.core.errors import DataWarning
from vrec.events.polars_tables import describe_invalid

CastResult = tuple[pl.Series, str | None]
"""The converted column, and a message about its invalid values (None where there are none)."""

POLARS_TIMESTAMP = pl.Datetime("us", "UTC")
"""The polars type of times in µs UTC."""

_UNITS = (("s", 1e11, 1e6), ("ms", 1e14, 1e3), ("µs", 1e17, 1.0))
"""Units of time since 1970: name, exclusive upper bound of its numbers, µs per unit."""

TIME_FIX = (
    "write times as ISO 8601, such as 2024-01-31 18:05:00+00:00, or as numbers since 1970; in pandas: "
    "df['at'] = pandas.to_datetime(df['at'], format=…, utc=True)"
)
"""Cast to apply where times cannot be read."""
MISSING = ("NaN", "nan", "NULL", "null", "None")

_ISO_TIME = (
    r"^\s*(?P<day>\d{4}(?:-\d\d-|/\d\d/)\d\d)"
    r"(?:(?:[Tt]|\s+)(?P<hour>\d\d:\d\d)(?P<second>:\d\d(?:[.,]\d{1,9})?)?"
    r"\s*(?P<zone>[Zz]|[+-]\d\d:?\d\d|[+-]\d\d)?\s*(?:UTC|GMT|utc|gmt)?)?\s*$"
)
_CALENDAR_DIGITS = (8, 12, 14)
"""Lengths of numbers that are written days and times: to the day, minute and second."""


def as_text(column: pl.Series) -> CastResult:
    """Convert a column to text without spaces around it.

    Whole numbers become their digits, so that 7 and "7" are one id, and so do columns of whole numbers that
    were written as floats, 7.0 or "7.0", as pandas does where a value is missing.
    """
    dtype = column.dtype
    if dtype == pl.String:
        text = column.str.strip_chars()
        is_float = text.str.contains(FLOAT_ID).fill_null(value=False)
        if is_float.any() and bool((is_float | text.is_null() | text.is_in(["", *MISSING])).all()):
            warnings.warn(
                f"{column.name}: its {int(is_float.sum()):,} numbers such as {text.filter(is_float)[0]} are "
                "read as whole ones, without the .0",
                DataWarning,
                stacklevel=2,
            )
            text = text.str.replace(r"\.0+$", "")
        return text, None
    if dtype.is_integer() or isinstance(dtype, pl.Null):
        return column.cast(pl.String), None
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return as_text(column.cast(pl.String))
    if dtype.is_float():
        present = column.fill_nan(None)
        whole = (present == present.floor()) & (present.abs() < MAX_WHOLE_FLOAT)
        bad = present.is_not_null() & ~whole.fill_null(value=False)
        problem = describe_invalid(column.to_frame(), column.name, bad, "not a whole number")
        return present.cast(pl.Int64, strict=False).cast(pl.String), problem
    return _reject(column, pl.String(), "text or whole numbers")


def is_missing_id(column: pl.Series) -> pl.Series:
    """Return (N,) bool, whether a text is a placeholder for a missing id, such as "NaN" or "NULL"."""
    placeholder = column.str.to_lowercase().is_in(list(PLACEHOLDERS)) | (column == "NA")
    return placeholder.fill_null(value=False)


def as_number(column: pl.Series, least: float, most: float, *, above: bool = False) -> CastResult:
    """Convert a column to float32; valid are finite numbers from `least` to `most`, both included.

    Args:
        column: Numbers, or text of numbers.
        least: Lower bound.
        most: Upper bound.
        above: Whether `least` itself is invalid.
    """
    dtype = column.dtype
    if not (dtype.is_numeric() or isinstance(dtype, pl.String | pl.Null)):
        return _reject(column, pl.Float32(), "numbers")
    text = column.str.strip_chars() if dtype == pl.String else column
    number = text.cast(pl.Float64, strict=False).cast(pl.Float32, strict=False)
    inside = number.is_finite() & (number <= most) & ((number > least) if above else (number >= least))
    bad = column.is_not_null() & ~inside.fill_null(value=False)
    bounds = f"{'above' if above else 'from'} {least:g}"
    bounds += f" to {most:g}" if most < float("inf") else ""
    return number, describe_invalid(column.to_frame(), column.name, bad, f"not a number {bounds}")


def as_whole_number(column: pl.Series, most: int) -> CastResult:
    """Convert a column to int16; valid are whole numbers from 0 to `most`."""
    number, problem = as_number(column, 0, most)
    if problem is None:
        bad = (number != number.floor()).fill_null(value=False)
        problem = describe_invalid(column.to_frame(), column.name, bad, "not a whole number")
    return number.cast(pl.Int16, strict=False), problem


def as_time(column: pl.Series) -> CastResult:
    """Convert dates, times, numbers since 1970, or text of either to µs UTC; no zone means UTC.

    The greatest number decides the unit: below 1e11 it is s, below 1e14 ms, below 1e17 µs. As seconds
    1e11 is the year 5138, as ms it is 1973. Numbers of more than one unit are invalid, as are numbers
    below 0. Where all of them have the 8, 12 or 14 digits of a day or time of the calendar, from 1970 to
    2099, they are read as such: 20240131 is a day, not a second of 1970. Text is ISO 8601: a day, optionally
    a time, optionally a zone, also written as "UTC" after the time.
    """
    dtype = column.dtype
    if isinstance(dtype, pl.Date):
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"), None
    if isinstance(dtype, pl.Datetime):
        plain = column.cast(pl.Datetime("us", dtype.time_zone))
        zoned = plain.dt.convert_time_zone("UTC") if dtype.time_zone else plain.dt.replace_time_zone("UTC")
        return zoned, None
    if dtype.is_integer() or dtype.is_float():
        return _since_1970(column)
    if isinstance(dtype, pl.String):
        number = column.str.strip_chars().cast(pl.Float64, strict=False)
        return _since_1970(number) if number.null_count() == column.null_count() else _parse_iso(column)
    return _reject(column, POLARS_TIMESTAMP, "times")


def _as_calendar(column: pl.Series) -> pl.Series | None:
    """Return times where every number is written as in a calendar, such as 20240131; None where not."""
    numbers = column.drop_nulls()
    whole = (numbers > 0) & (numbers < MAX_WHOLE_FLOAT) & (numbers == numbers.floor())
    if not len(numbers) or not bool(whole.all()):
        return None
    digits = numbers.cast(pl.Int64).cast(pl.String)
    for length in _CALENDAR_DIGITS:
        if bool(((digits.str.len_bytes() == length) & digits.str.contains("^(19[7-9]|20)")).all()):
            text = column.cast(pl.Int64, strict=False).cast(pl.String)
            padded = text.str.pad_end(14, "0")
            parts = [padded.str.slice(start, 2) for start in (4, 6, 8, 10, 12)]
            joined = padded.str.slice(0, 4) + "-" + parts[0] + "-" + parts[1]
            joined = joined + "T" + parts[2] + ":" + parts[3] + ":" + parts[4]
            times = joined.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
            return None if times.null_count() > column.null_count() else times.dt.replace_time_zone("UTC")
    return None


def _since_1970(column: pl.Series) -> CastResult:
    if (times := _as_calendar(column)) is not None:
        return times.alias(column.name), None
    problem = as_number(column, 0, _UNITS[-1][1])[1]
    greatest = column.cast(pl.Float64).max()
    if problem or not isinstance(greatest, float):
        return _nulls(column, POLARS_TIMESTAMP), problem
    name, _, micros = next((u for u in _UNITS if greatest < u[1]), _UNITS[-1])
    coarser = [limit for _, limit, size in _UNITS if size > micros]
    if coarser:
        reason = f"below {coarser[-1]:g}, another unit than the greatest ({column.max()}, read as {name}),"
        problem = describe_invalid(
            column.to_frame(), column.name, (column < coarser[-1]).fill_null(value=False), reason
        )
    numbers = column if column.dtype.is_integer() else column.cast(pl.Float64)
    return (numbers * micros).round().cast(pl.Int64).cast(POLARS_TIMESTAMP), problem


def _parse_iso(column: pl.Series) -> CastResult:
    parts = column.str.extract_groups(_ISO_TIME).struct.unnest()
    normalized = parts.select(
        pl.concat_str(
            pl.col("day").str.replace_all("/", "-", literal=True),
            pl.lit("T"),
            pl.col("hour").fill_null("00:00"),
            pl.col("second").str.replace(",", ".", literal=True).fill_null(":00"),
            pl.col("zone").str.replace("^[Zz]$", "+0000").fill_null("+0000"),
        ).alias(column.name)
    ).to_series()
    time = normalized.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", strict=False)
    bad = column.is_not_null() & time.is_null()
    return time.cast(POLARS_TIMESTAMP), describe_invalid(
        column.to_frame(), column.name, bad, "that cannot be read as a time"
    )


def _reject(column: pl.Series, dtype: pl.DataType, want: str) -> CastResult:
    return _nulls(column, dtype), f"{column.name} is {str(column.dtype).lower()}, want {want}"


def _nulls(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    return pl.Series(column.name, [None], dtype=dtype).new_from_index(0, len(column))
