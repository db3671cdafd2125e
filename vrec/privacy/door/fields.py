"""Fields of events that are dropped, hashed or made coarser, the same in requests and in tables."""

import hmac
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from vrec.core.compute import pc
from vrec.core.errors import PrivacyError
from vrec.core.schema import EVENTS
from vrec.privacy.door.config import FIXED_FIELDS, BandField, FieldRule, HashField, RoundedTime
from vrec.privacy.pseudonyms import derive_key

HASH_PREFIX = "h1-"
"""Beginning of every hashed text; the digit is the version of the scheme."""
_HASH_BYTES = 16
_UNITS_US = {"minute": 60_000_000, "hour": 3_600_000_000, "day": 86_400_000_000}
_PLACES = {column.name: place for place, column in enumerate(EVENTS.columns)}
_KIND = _PLACES["kind"]


class DoorFields:
    """Rules of a tenant's fields."""

    def __init__(self, rules: Mapping[str, FieldRule], key: bytes | None, tenant: str) -> None:
        """Take the rules by field, and the key of hashes.

        Raises:
            PrivacyError: A field is to be hashed, and there is no key.
        """
        self._rules, self._keys = dict(rules), dict[str, bytes]()
        for name, rule in self._rules.items():
            if isinstance(rule, HashField):
                if key is None:
                    raise PrivacyError(
                        f"serve.privacy.fields.{name} is to be hashed, and there is no key",
                        fix="give a key, or drop the field",
                    )
                self._keys[name] = derive_key(key, "field", tenant, name)
        self._changes = {name: self._change_of(name, rule) for name, rule in self._rules.items()}
        self._of_rows = [
            (_PLACES[name], frozenset(rule.kinds), self._changes[name])
            for name, rule in self._rules.items()
            if name in _PLACES
        ]

    def row(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """Return a row of EVENTS, `at` in µs since 1970, with its fields changed."""
        changed = list(row)
        for place, kinds, change in self._of_rows:
            if changed[place] is not None and (not kinds or row[_KIND] in kinds):
                changed[place] = change(changed[place])
        return tuple(changed)

    def value(self, name: str, value: Any, kind: str | None = None) -> Any:
        """Return a field's value, of an event of a kind, as it may be kept; None for one that is dropped.

        Times are µs since 1970. Whole numbers stay whole where the edges of their bands are.
        """
        rule = self._rules.get(name)
        if rule is None or value is None or (rule.kinds and kind is not None and kind not in rule.kinds):
            return value
        return self._changes[name](value)

    def apply(
        self, schema: pa.Schema, batches: Iterator[pa.RecordBatch]
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Return a table's columns and rows with the fields changed that it has.

        Columns of which only some kinds of events change stay, with nulls where a value is dropped.

        Raises:
            PrivacyError: A column has a type that its rule cannot change.
        """
        present = [name for name in schema.names if name in self._rules and name not in FIXED_FIELDS]
        out = schema
        for name in reversed(present):
            place, rule = out.get_field_index(name), self._rules[name]
            if rule.kind == "drop" and not rule.kinds:
                out = out.remove(place)
            else:
                out = out.set(place, _field_after(out.field(place), rule))
        kept = [name for name in out.names if name in present]

        def rows() -> Iterator[pa.RecordBatch]:
            for batch in batches:
                kinds = batch.column("kind").to_pylist() if "kind" in batch.schema.names else None
                columns = [
                    self._column(name, batch.column(name), kinds, out.field(name).type)
                    if name in kept
                    else batch.column(name)
                    for name in out.names
                ]
                yield pa.record_batch(columns, schema=out)

        return out, rows()

    def _change_of(self, name: str, rule: FieldRule) -> Callable[[Any], Any]:
        """Return the function that changes a value of a field."""
        if isinstance(rule, BandField):
            edges = (0.0, *rule.edges)
            return lambda value: type(value)(edges[bisect_right(rule.edges, value)])
        if isinstance(rule, RoundedTime):
            unit = _UNITS_US[rule.to]
            return lambda value: value - value % unit
        if isinstance(rule, HashField):
            return lambda value: _hashed(self._keys[name], value)
        return lambda _: None

    def _column(
        self, name: str, column: pa.Array, kinds: Sequence[Any] | None, held: pa.DataType
    ) -> pa.Array:
        rule = self._rules[name]
        if isinstance(rule, RoundedTime):
            changed = pc.cast(pc.floor_temporal(column, unit=rule.to), held)
            if not rule.kinds or kinds is None:
                return changed
            return pc.if_else(pa.array([kind in rule.kinds for kind in kinds]), changed, column)
        of_rows = kinds or [None] * len(column)
        pairs = zip(column.to_pylist(), of_rows, strict=True)
        return pa.array([self.value(name, value, kind) for value, kind in pairs], held)


def _hashed(key: bytes, value: Any) -> str:
    digest = hmac.digest(key, str(value).encode("utf-8", "surrogatepass"), "sha256")
    return HASH_PREFIX + digest[:_HASH_BYTES].hex()


def _field_after(field: pa.Field, rule: FieldRule) -> pa.Field:
    """Return the column of a field that its rule has changed; raises PrivacyError for a wrong type."""
    held = field.type
    if isinstance(rule, RoundedTime) and not pa.types.is_timestamp(held):
        raise PrivacyError(f"{field.name} is {held}, and times alone are rounded", fix="correct the rule")
    if isinstance(rule, BandField) and not (pa.types.is_integer(held) or pa.types.is_floating(held)):
        raise PrivacyError(f"{field.name} is {held}, and numbers alone have bands", fix="correct the rule")
    if isinstance(rule, HashField):
        return field.with_type(pa.string())
    return field.with_nullable(True)
