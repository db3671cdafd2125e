"""Anonymous copies of tables: read in batches as codes, decided as a whole, written in batches."""

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from vrec.core.casts import is_placeholder
from vrec.core.compute import pc
from vrec.core.errors import DataWarning, PrivacyError
from vrec.core.table_batches import BATCH_ROWS, TableBatches
from vrec.privacy.anonymous.classes import Codes, Mask, SensitiveCodes
from vrec.privacy.anonymous.config import AnonymousConfig
from vrec.privacy.anonymous.levels import LevelCodes, Leveler, build_levels, leveler_of
from vrec.privacy.anonymous.search import AnonymityProblem, search_levels
from vrec.privacy.anonymous.unicity import UnicityTable

KNOWN_EVENTS = (1, 2, 3, 4)
"""Numbers of known events for which the risk is measured."""
_ID_TYPES = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_null,
)
_LONELY_SHARE = 0.5
"""Share of rows whose sensitive value no other shopper has, above which there is a warning."""


@dataclass(frozen=True)
class AnonymousTable:
    """Anonymous rows of a table, and what they cost."""

    schema: pa.Schema
    report: Mapping[str, Any]
    """Counts of rows and shoppers, levels of columns, and the risk before and after, as JSON values."""
    _columns: Sequence[tuple[Codes, pa.Array]]
    _order: Codes

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows, in an order that says nothing."""
        for start in range(0, len(self._order), BATCH_ROWS):
            rows = self._order[start : start + BATCH_ROWS]
            arrays = [values.take(pa.array(codes[rows])) for codes, values in self._columns]
            yield pa.record_batch(arrays, schema=self.schema)


def anonymise_table(table: TableBatches, config: AnonymousConfig) -> AnonymousTable:
    """Return the anonymous rows of a table.

    Memory grows by the codes of rows and by the distinct values, not by the values of rows:
    quasi-identifiers are reduced to their finest level as they are read.

    Args:
        table: Rows of shoppers. Times among the quasi-identifiers are timestamps or dates.
        config: Settings of the columns.

    Raises:
        PrivacyError: A column is absent or of another type than its kind, no row is left, or no levels leave
            out few enough rows.
        SourceError: The table cannot be read.
    """
    check_columns(table, config)
    coded = _read(table, config)
    if not len(coded.shoppers):
        raise PrivacyError(
            f"{table.uri}: no row has a {config.shopper}", fix="name the column of shoppers' ids"
        )
    problem = _problem(coded, config)
    if config.max_suppressed is None:
        levels = problem.first_levels()
    else:
        levels = search_levels(problem, config.max_suppressed)
    kept = problem.rows(levels)
    if not kept.any():
        raise PrivacyError(
            f"{table.uri}: nothing is left at k = {config.k}"
            + (f" and diversity = {config.diversity}" if config.diversity > 1 else "")
            + f", of {len(kept):,} rows of {_count(coded.shoppers):,} shoppers; "
            + problem.describe_costs(levels),
            fix="lower k, give columns more general levels first, or set privacy.anonymous.max_suppressed, "
            "which searches levels",
        )
    _warn_of_lonely(coded)
    keys = problem.keys(levels)
    report = _report(coded, config, levels, kept, keys)
    return _written(coded, config, levels, kept, report | {"dropped": _dropped(table, config)})


def check_columns(table: TableBatches, config: AnonymousConfig) -> None:
    """Check that a table has the columns that the settings name; raises PrivacyError."""
    names = table.schema.names
    quasi, sensitive = config.quasi_identifiers, config.sensitive
    if not quasi and not sensitive:
        raise PrivacyError(
            f"{table.uri}: no column is to be written",
            fix=f"name some of {', '.join(names)} in privacy.anonymous.quasi_identifiers and "
            "privacy.anonymous.sensitive",
        )
    if missing := [name for name in (config.shopper, *quasi, *sensitive) if name not in names]:
        raise PrivacyError(
            f"{table.uri}: no column {', '.join(missing)}; the table has {', '.join(names)}",
            fix="correct privacy.anonymous",
        )
    held = table.schema.field(config.shopper).type
    held = held.value_type if pa.types.is_dictionary(held) else held
    if not any(test(held) for test in _ID_TYPES):
        raise PrivacyError(
            f"{table.uri}: {config.shopper} is {held}, which holds no ids", fix="cast ids to text first"
        )
    for name in (*quasi, *sensitive):
        if pa.types.is_nested(table.schema.field(name).type):
            raise PrivacyError(
                f"{table.uri}: {name} is a {table.schema.field(name).type}, and has no single values",
                fix="leave it out, or write one row per value",
            )


class _ColumnCodes:
    """Codes of one column, collected in batches."""

    def __init__(self, held: pa.DataType) -> None:
        held = held.value_type if pa.types.is_dictionary(held) else held
        # Arrow has no dictionaries of nulls, and selects no views.
        null, views = pa.types.is_null(held), pa.types.is_string_view(held)
        self._type = pa.large_string() if null or views else held
        self._chunks: list[pa.Array] = []

    def add(self, values: pa.Array) -> None:
        self._chunks.append(pc.dictionary_encode(pc.cast(values, self._type)))

    def finish(self) -> "_Coded":
        """Return the codes; the last value is null."""
        empty = pc.dictionary_encode(pa.array([], self._type))
        chunks = pa.chunked_array([empty, *self._chunks]).unify_dictionaries()
        values = chunks.chunk(0).dictionary
        codes = [chunk.indices.fill_null(len(values)).to_numpy() for chunk in chunks.chunks]
        return _Coded(np.concatenate(codes), pa.concat_arrays([values, pa.nulls(1, self._type)]))


@dataclass(frozen=True, slots=True)
class _Coded:
    codes: Codes
    values: pa.Array

    @property
    def missing(self) -> int:
        return len(self.values) - 1

    def take(self, rows: Mask) -> "_Coded":
        return _Coded(self.codes[rows], self.values)


@dataclass(frozen=True)
class _CodedTable:
    """Rows that have a shopper."""

    rows: int
    """Number of all rows."""
    shoppers: Codes
    raw: Codes
    """(N,) equal where quasi-identifiers are equal as they came."""
    quasi: Mapping[str, _Coded]
    sensitive: Mapping[str, _Coded]


def _read(table: TableBatches, config: AnonymousConfig) -> _CodedTable:
    levelers = {name: leveler_of(column) for name, column in config.quasi_identifiers.items()}
    types = {name: table.schema.field(name).type for name in (config.shopper, *config.sensitive)}
    kept = {name: _ColumnCodes(held) for name, held in types.items()}
    raw: list[Codes] = []
    reduced: dict[str, _ColumnCodes] = {}
    row = 1
    for batch in table:
        if not batch.num_rows:
            continue
        for name, codes in kept.items():
            codes.add(batch.column(name))
        for name, values in _reduced(batch, levelers, row).items():
            reduced.setdefault(name, _ColumnCodes(values.type)).add(values)
        raw.append(_hashed(batch, tuple(levelers)))
        row += batch.num_rows
    shoppers = kept.pop(config.shopper).finish()
    named = _stand_for_someone(shoppers.values)[shoppers.codes]
    return _CodedTable(
        len(named),
        shoppers.codes[named],
        np.concatenate([*raw, np.zeros(0, np.int64)])[named],
        {name: codes.finish().take(named) for name, codes in reduced.items()},
        {name: codes.finish().take(named) for name, codes in kept.items()},
    )


def _stand_for_someone(ids: pa.Array) -> Mask:
    """Return (V,) bool, whether an id is one, and no empty text and no placeholder such as "NULL"."""
    texts = pc.cast(ids, pa.string()).to_pylist()
    return np.array([bool(text) and not is_placeholder(text) for text in texts], np.bool_)


def _reduced(batch: pa.RecordBatch, levelers: Mapping[str, Leveler], row: int) -> dict[str, pa.Array]:
    found = {}
    for name, leveler in levelers.items():
        values = leveler.reduce(pl.Series(name, _plain(batch.column(name))), row).to_arrow()
        # Text of any width, so that all batches have one type.
        text = pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type)
        found[name] = pc.cast(values, pa.large_string()) if text else values
    return found


def _plain(values: pa.Array) -> pa.Array:
    return pc.cast(values, values.type.value_type) if pa.types.is_dictionary(values.type) else values


def _hashed(batch: pa.RecordBatch, names: Sequence[str]) -> Codes:
    """Return (N,) hashes that are equal where the named columns are."""
    if not names:
        return np.zeros(batch.num_rows, np.int64)
    frame = pl.DataFrame({name: pl.Series(name, _plain(batch.column(name))) for name in names})
    return frame.hash_rows(seed=0).to_numpy().view(np.int64)


def _problem(coded: _CodedTable, config: AnonymousConfig) -> AnonymityProblem:
    columns = {}
    for name, column in coded.quasi.items():
        values = pl.Series(name, column.values)
        levels = build_levels(config.quasi_identifiers[name], values, column.codes, coded.shoppers)
        columns[name] = (column.codes, levels)
    sensitive = {name: SensitiveCodes(one.codes, one.missing) for name, one in coded.sensitive.items()}
    return AnonymityProblem(columns, coded.shoppers, sensitive, config.k, config.diversity, config.numbers)


def _warn_of_lonely(coded: _CodedTable) -> None:
    """Warn of sensitive columns whose values mostly belong to one shopper each, as ids do."""
    for name, column in coded.sensitive.items():
        frame = pl.DataFrame({"value": column.codes, "shopper": coded.shoppers})
        lonely = frame.filter(pl.col("value") != column.missing).select(
            (pl.col("shopper").n_unique().over("value") == 1).mean()
        )
        if (lonely.item() or 0.0) > _LONELY_SHARE:
            warnings.warn(
                f"{name}: {lonely.item():.0%} of its values are those of one shopper each, and may name "
                "shoppers; they are written as they are, since the column is listed as sensitive",
                DataWarning,
                stacklevel=3,
            )


def _report(
    coded: _CodedTable, config: AnonymousConfig, levels: Mapping[str, LevelCodes], kept: Mask, keys: Codes
) -> dict[str, Any]:
    rng, risk = np.random.default_rng(0), {}
    for side, events, shoppers in (
        ("before", coded.raw, coded.shoppers),
        ("after", keys[kept], coded.shoppers[kept]),
    ):
        table = UnicityTable(events, shoppers)
        risk[side] = [table.measure(known, config.risk_samples, rng).as_json() for known in KNOWN_EVENTS]
    return {
        "rows": coded.rows,
        "written": int(kept.sum()),
        "suppressed": int((~kept).sum()),
        "without_shopper": coded.rows - len(kept),
        "shoppers": _count(coded.shoppers),
        "shoppers_left": _count(coded.shoppers[kept]),
        "classes": _count(keys[kept]),
        "k": config.k,
        "diversity": config.diversity,
        "numbers": config.numbers,
        "levels": {name: level.name for name, level in levels.items()},
        "sensitive": list(config.sensitive),
        "risk": risk,
    }


def _dropped(table: TableBatches, config: AnonymousConfig) -> list[str]:
    written = {*config.quasi_identifiers, *config.sensitive}
    return [name for name in table.schema.names if name not in written]


def _written(
    coded: _CodedTable,
    config: AnonymousConfig,
    levels: Mapping[str, LevelCodes],
    kept: Mask,
    report: Mapping[str, Any],
) -> AnonymousTable:
    columns: list[tuple[Codes, pa.Array]] = []
    fields: list[pa.Field] = []
    if config.numbers:
        _, places = np.unique(np.where(kept, coded.shoppers, coded.shoppers[kept][0]), return_inverse=True)
        numbers = 1 + _shuffled(_count(places))
        columns.append((places, pa.array(numbers)))
        fields.append(pa.field(config.shopper, pa.int64()))
    for name, level in levels.items():
        columns.append((level.codes[coded.quasi[name].codes], pa.array(level.labels, pa.string())))
        fields.append(pa.field(name, pa.string()))
    for name, column in coded.sensitive.items():
        columns.append((column.codes, column.values))
        fields.append(pa.field(name, column.values.type))
    rows = np.flatnonzero(kept)
    return AnonymousTable(pa.schema(fields), report, columns, rows[_shuffled(len(rows))])


def _shuffled(count: int) -> Codes:
    """Return 0 to count - 1 in an order that no seed gives away."""
    return np.argsort(np.frombuffer(os.urandom(8 * count), np.uint64), kind="stable")


def _count(codes: Codes) -> int:
    return len(np.unique(codes))
