"""Scans of whole tables for personal data, and tables without it; both in batches."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.table_batches import TableBatches
from vrec.privacy.pii.config import PiiScanConfig
from vrec.privacy.pii.detect import MAYBE, PiiKind, could_be, find_pii, mask, redact_text

_GATED: tuple[PiiKind, ...] = ("phone", "card")
_LEAST_FLOAT, _MOST_FLOAT = 1e6, 2.0**53


@dataclass
class ColumnPii:
    """Personal data in one column, or in one field of a nested one."""

    column: str
    """Name; `tags[]` are the elements of a list, `a.b` a field, `a{}` the values
    of a map, `a{key}` its keys."""
    values: int = 0
    sure: Counter[PiiKind] = field(default_factory=Counter)
    """Values with personal data that is more than bare digits."""
    bare: Counter[PiiKind] = field(default_factory=Counter)
    """Values that are bare digits of a valid number."""
    candidates: Counter[PiiKind] = field(default_factory=Counter)
    """Values that are bare digits of such a length."""
    examples: dict[PiiKind, str] = field(default_factory=dict)
    """One value of each kind, masked."""

    def counts_bare(self, kind: PiiKind, min_share: float) -> bool:
        """Return whether the bare digits of this column count as personal data of a kind."""
        return self.bare[kind] > 0 and self.bare[kind] >= min_share * self.candidates[kind]

    def rows(self, min_share: float) -> list[dict[str, Any]]:
        """Return a count by kind, and of look-alikes: bare digits that do not count."""
        found = []
        for kind in self.examples:
            counted = self.counts_bare(kind, min_share)
            found.append(
                {
                    "column": self.column,
                    "kind": kind,
                    "values": self.sure[kind] + (self.bare[kind] if counted else 0),
                    "look_alikes": 0 if counted else self.bare[kind],
                    "of": self.values,
                    "example": self.examples[kind],
                }
            )
        return found


def scan_table(table: TableBatches, config: PiiScanConfig) -> dict[str, ColumnPii]:
    """Return what is found in each column of text or numbers, nested ones included.

    Memory does not grow with the number of rows. Binary columns are not read.
    """
    found: dict[str, ColumnPii] = {}
    for batch in table:
        for name in batch.schema.names:
            for path, texts in _leaves(name, batch.column(name)):
                _count(found.setdefault(path, ColumnPii(path)), texts, config)
    return found


def redact_table(
    table: TableBatches, found: Mapping[str, ColumnPii], config: PiiScanConfig
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Return a table's columns and rows with personal data replaced by its kind, as in `[phone]`.

    Columns of numbers that hold some become text.
    """
    redactors = {}
    for path, column in found.items():
        bare = frozenset[PiiKind](kind for kind in _GATED if column.counts_bare(kind, config.min_share))
        if bare or column.sure:
            redactors[path] = _Redactor(bare, config.regions)
    schema = pa.schema([held.with_type(_retyped(held.type, held.name, redactors)) for held in table.schema])

    def rows() -> Iterator[pa.RecordBatch]:
        for batch in table:
            columns = [
                batch.column(n)
                if held.type == batch.schema.field(n).type and not _touched(held.name, redactors)
                else pa.array(
                    [
                        _walk(v, batch.schema.field(n).type, held.name, redactors)
                        for v in batch.column(n).to_pylist()
                    ],
                    held.type,
                )
                for n, held in enumerate(schema)
            ]
            yield pa.record_batch(columns, schema=schema)

    return schema, rows()


class _Redactor:
    """Function that replaces the personal data of one column's texts."""

    def __init__(self, bare: frozenset[PiiKind], regions: tuple[str, ...]) -> None:
        self._bare, self._regions = bare, regions

    def __call__(self, value: Any) -> str:
        return redact_text(_as_text(value), self._regions, self._bare)


def _count(column: ColumnPii, texts: pa.Array, config: PiiScanConfig) -> None:
    column.values += len(texts) - texts.null_count
    maybe = texts.filter(pc.match_substring_regex(texts, MAYBE))
    for row in pc.value_counts(maybe).to_pylist():
        text, times = row["values"], row["counts"]
        if text is None:
            continue
        kinds: dict[PiiKind, bool] = {}
        for one in find_pii(text, config.regions):
            kinds[one.kind] = kinds.get(one.kind, True) and one.bare
            column.examples.setdefault(one.kind, mask(text[one.start : one.end]))
        for kind, bare in kinds.items():
            (column.bare if bare else column.sure)[kind] += times
        for kind in _GATED:
            column.candidates[kind] += times if could_be(kind, text, config.regions) else 0


def _leaves(path: str, array: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """Yield the columns of text inside a column, with their paths; whole numbers become text."""
    held = array.type
    if pa.types.is_dictionary(held):
        yield from _leaves(path, array.dictionary_decode())
    elif pa.types.is_map(held):
        # `keys` and `items` of a slice are those of the whole array.
        entries = pa.concat_arrays([array])
        pairs = [pair for row in entries.to_pylist() if row for pair in row]
        yield from _leaves(f"{path}{{key}}", pa.array([key for key, _ in pairs], held.key_type))
        yield from _leaves(f"{path}{{}}", pa.array([value for _, value in pairs], held.item_type))
    elif pa.types.is_struct(held):
        for name, inner in zip(held.names, array.flatten(), strict=True):
            yield from _leaves(f"{path}.{name}", inner)
    elif pa.types.is_list(held) or pa.types.is_large_list(held) or pa.types.is_fixed_size_list(held):
        yield from _leaves(f"{path}[]", array.flatten())
    elif pa.types.is_integer(held) or pa.types.is_decimal(held):
        yield path, pc.cast(array, pa.string())
    elif pa.types.is_floating(held):
        # pandas writes whole numbers as floats where one is missing.
        wide = pc.cast(array, pa.float64())
        whole = pc.and_(pc.equal(pc.floor(wide), wide), pc.less(pc.abs(wide), _MOST_FLOAT))
        whole = pc.and_(whole, pc.greater_equal(wide, _LEAST_FLOAT))
        yield path, pc.cast(pc.cast(wide.filter(whole), pa.int64()), pa.string())
    elif pa.types.is_string(held) or pa.types.is_large_string(held) or pa.types.is_string_view(held):
        yield path, pc.cast(array, pa.large_string())


def _as_text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < _MOST_FLOAT:
        return str(int(value))
    return str(value)


def _touched(path: str, redactors: Mapping[str, _Redactor]) -> bool:
    return any(key == path or key.startswith((f"{path}[", f"{path}.", f"{path}{{")) for key in redactors)


def _retyped(held: pa.DataType, path: str, redactors: Mapping[str, _Redactor]) -> pa.DataType:
    """Return a type in which the leaves that are redacted are text."""
    if path in redactors:
        return pa.string()
    if not _touched(path, redactors):
        return held
    if pa.types.is_map(held):
        key = _retyped(held.key_type, f"{path}{{key}}", redactors)
        return pa.map_(key, _retyped(held.item_type, f"{path}{{}}", redactors))
    if pa.types.is_struct(held):
        return pa.struct([f.with_type(_retyped(f.type, f"{path}.{f.name}", redactors)) for f in held.fields])
    if pa.types.is_fixed_size_list(held):
        return pa.list_(_retyped(held.value_type, f"{path}[]", redactors), held.list_size)
    return pa.list_(_retyped(held.value_type, f"{path}[]", redactors))


def _walk(value: Any, held: pa.DataType, path: str, redactors: Mapping[str, _Redactor]) -> Any:
    """Return a value with its redacted leaves."""
    if value is None:
        return None
    if path in redactors:
        return redactors[path](value)
    if pa.types.is_map(held):
        return [
            (
                _walk(key, held.key_type, f"{path}{{key}}", redactors),
                _walk(one, held.item_type, f"{path}{{}}", redactors),
            )
            for key, one in value
        ]
    if pa.types.is_struct(held):
        return {f.name: _walk(value[f.name], f.type, f"{path}.{f.name}", redactors) for f in held.fields}
    if isinstance(value, list):
        return [_walk(one, held.value_type, f"{path}[]", redactors) for one in value]
    return value
