"""Levels of quasi-identifiers: numbers in bands, shortened times, categories by hierarchy, prefixes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from vrec.core.errors import PrivacyError
from vrec.privacy.anonymous.config import (
    CategoryColumn,
    NumberColumn,
    PrefixColumn,
    QuasiColumn,
    TimeColumn,
    TimeUnit,
    depth_of,
)

Codes = npt.NDArray[np.int64]

HIDDEN, OTHER = "*", "other"
_FORMATS: Mapping[TimeUnit, str] = {  # strftime knows no quarters
    "hour": "%Y-%m-%dT%H",
    "day": "%Y-%m-%d",
    "week": "%G-W%V",
    "month": "%Y-%m",
    "year": "%Y",
}
_MOST_BANDS = 2.0**53


class Leveler(Protocol):
    """Levels of one column, from the finest on."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the levels."""
        ...

    def reduce(self, values: pl.Series, first_row: int = 1) -> pl.Series:
        """Return values without what no level shows, so that fewer distinct ones are held.

        Args:
            values: Values of a batch.
            first_row: Number of the batch's first row, for messages.

        Raises:
            PrivacyError: A value is none of the column's kind.
        """
        ...

    def label(self, values: pl.Series, level: int) -> pl.Series:
        """Return the text of reduced values at a level; nulls stay."""
        ...


def leveler_of(config: QuasiColumn) -> Leveler:
    """Return the levels of a column."""
    match config:
        case NumberColumn():
            return _NumberLevels(config)
        case TimeColumn():
            return _TimeLevels(config)
        case CategoryColumn():
            return _CategoryLevels(config)
        case PrefixColumn():
            return _PrefixLevels(config)


@dataclass(frozen=True, slots=True)
class LevelCodes:
    """One level of a column: each distinct value has the code of a label."""

    name: str
    codes: Codes
    """(V,) code of each distinct value of the column."""
    labels: tuple[str | None, ...]
    """Labels by code."""


def build_levels(config: QuasiColumn, values: pl.Series, codes: Codes, shoppers: Codes) -> list[LevelCodes]:
    """Return the levels of a column; the last hides it where that is allowed.

    Args:
        config: Settings of the column.
        values: (V,) distinct reduced values; the last is null.
        codes: (N,) rows of `values`.
        shoppers: (N,) codes of the rows' shoppers.
    """
    leveler = leveler_of(config)
    levels = []
    for number, name in enumerate(leveler.names):
        level = _coded(name, leveler.label(values, number).to_list())
        if isinstance(config, CategoryColumn) and config.rare > 1:
            level = _without_rare(level, codes, shoppers, config.rare)
        levels.append(level)
    if config.may_hide:
        levels.append(hidden_level(len(values)))
    return levels


def hidden_level(values: int) -> LevelCodes:
    """Return the level at which all of (values,) distinct values are `*`."""
    return LevelCodes("hidden", np.zeros(values, np.int64), (HIDDEN,))


def _coded(name: str, texts: list[str | None]) -> LevelCodes:
    places: dict[str | None, int] = {}
    codes = np.array([places.setdefault(text, len(places)) for text in texts], np.int64)
    return LevelCodes(name, codes, tuple(places))


def _without_rare(level: LevelCodes, codes: Codes, shoppers: Codes, least: int) -> LevelCodes:
    """Return a level at which labels of fewer than `least` shoppers are `other`."""
    pairs = pl.DataFrame({"label": level.codes[codes], "shopper": shoppers}).unique()
    counts = np.bincount(pairs["label"].to_numpy(), minlength=len(level.labels))
    texts = [
        label if label is None or counts[code] >= least else OTHER for code, label in enumerate(level.labels)
    ]
    return _coded(level.name, [texts[code] for code in level.codes])


def _as_text(values: pl.Series) -> pl.Series:
    try:
        return values.cast(pl.String)
    except pl.exceptions.PolarsError:
        raise PrivacyError(
            f"{values.name} is {str(values.dtype).lower()}, and has no text",
            fix="cast the column to text first, or leave it out",
        ) from None


def _refuse(values: pl.Series, bad: pl.Series, what: str, first_row: int) -> None:
    """Raise PrivacyError where values are bad; their text, which may be personal, is not repeated."""
    if bad.any():
        raise PrivacyError(
            f"{values.name}: the value of row {first_row + (bad.arg_max() or 0):,} is no {what}",
            fix="correct the table, or give the column another kind in privacy.anonymous.quasi_identifiers",
        )


class _NumberLevels:
    """Numbers in bands; a value is reduced to the number of its finest band."""

    def __init__(self, config: NumberColumn) -> None:
        self._widths = config.widths
        self.names = tuple(f"bands of {width:.12g}" for width in config.widths)

    def reduce(self, values: pl.Series, first_row: int = 1) -> pl.Series:
        text = values.str.strip_chars() if values.dtype == pl.String else values
        numbers = text.cast(pl.Float64, strict=False).fill_nan(None)
        present = values.is_not_null()
        if values.dtype.is_float():
            present &= values.is_not_nan().fill_null(value=False)
        # A price of 0.3 lies in the band from 0.3, although 0.3 / 0.1 is below 3.
        bands = (numbers / self._widths[0]).round(6).floor()
        _refuse(
            values, present & ~(bands.abs() < _MOST_BANDS).fill_null(value=False), "finite number", first_row
        )
        return bands.cast(pl.Int64)

    def label(self, values: pl.Series, level: int) -> pl.Series:
        width = self._widths[level]
        bands = values // round(width / self._widths[0])
        texts = [
            None if band is None else f"[{band * width:.12g}, {(band + 1) * width:.12g})"
            for band in bands.to_list()
        ]
        return pl.Series(values.name, texts, pl.String)


class _TimeLevels:
    """Shortened times; a value is reduced to its hour or day."""

    def __init__(self, config: TimeColumn) -> None:
        self.names = config.units
        self._finest = "1h" if "hour" in config.units else "1d"

    def reduce(self, values: pl.Series, first_row: int = 1) -> pl.Series:
        if not isinstance(values.dtype, pl.Datetime | pl.Date):
            raise PrivacyError(
                f"{values.name} is {str(values.dtype).lower()}, want times",
                fix="write times as ISO 8601, such as 2024-01-31 18:05:00+00:00",
            )
        if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone:
            values = values.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return values.cast(pl.Datetime("us")).dt.truncate(self._finest)

    def label(self, values: pl.Series, level: int) -> pl.Series:
        unit = self.names[level]
        if unit == "quarter":
            return values.dt.strftime("%Y-Q") + values.dt.quarter().cast(pl.String)
        return values.dt.strftime(_FORMATS[unit])


class _CategoryLevels:
    """Categories, and their ancestors one step after another; the highest stays."""

    def __init__(self, config: CategoryColumn) -> None:
        self._parents = config.parents
        self.names = tuple(
            "value" if step == 0 else f"ancestor {step}" for step in range(1 + depth_of(config.parents))
        )

    def reduce(self, values: pl.Series, first_row: int = 1) -> pl.Series:
        return _as_text(values)

    def label(self, values: pl.Series, level: int) -> pl.Series:
        return pl.Series(values.name, [self._ancestor(text, level) for text in values.to_list()], pl.String)

    def _ancestor(self, text: str | None, steps: int) -> str | None:
        for _ in range(steps):
            if text is None or text not in self._parents:
                break
            text = self._parents[text]
        return text


class _PrefixLevels:
    """Beginnings of texts; what is cut off becomes `*`."""

    def __init__(self, config: PrefixColumn) -> None:
        self._lengths = config.lengths
        self.names = tuple(f"first {length}" for length in config.lengths)

    def reduce(self, values: pl.Series, first_row: int = 1) -> pl.Series:
        # One character more tells whether something was cut off.
        return _as_text(values).str.slice(0, self._lengths[0] + 1)

    def label(self, values: pl.Series, level: int) -> pl.Series:
        length = self._lengths[level]
        texts = [
            text if text is None or len(text) <= length else f"{text[:length]}{HIDDEN}"
            for text in values.to_list()
        ]
        return pl.Series(values.name, texts, pl.String)
