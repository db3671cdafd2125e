"""Events and profiles as bytes, exactly, the same in every store: MessagePack, and vectors as they are."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgpack
import numpy as np
import pyarrow as pa

from vrec.core.errors import StoreError
from vrec.core.schema import EVENTS, TIMESTAMP
from vrec.profiles.profile import EventRecord, InterestEvent, Profile
from vrec.profiles.update import validate_events

FORMAT = 1
"""The first number of every packed profile and event; another is refused."""
NAMES = tuple(column.name for column in EVENTS.columns)
PROFILE_VALUES = 6
"""Values of a packed profile after the format."""

EventRow = tuple[Any, ...]
"""One event's values in the order of EVENTS, `at` as µs since 1970."""


def event_key(event_id: str) -> bytes:
    """16 bytes that stand for an event's id for ever, also when the id itself has been erased."""
    return blake2b(event_id.encode(), digest_size=16).digest()


def rows_from_table(events: pa.Table) -> list[EventRow]:
    """The rows of EVENTS; raises SchemaError, and EventsError for unknown kinds and impossible values."""
    table = validate_events(events)
    columns = [table.column(name) for name in NAMES]
    plain = [column.cast(pa.int64()) if column.type == TIMESTAMP else column for column in columns]
    return list(zip(*(column.to_pylist() for column in plain), strict=True))


def table_from_rows(rows: Sequence[EventRow]) -> pa.Table:
    """EVENTS of rows, in their order; the inverse of `rows_of`."""
    columns = zip(*rows, strict=True) if rows else [()] * len(NAMES)
    schema = EVENTS.arrow()
    arrays = [
        pa.array(column, pa.int64()).cast(TIMESTAMP)
        if field.type == TIMESTAMP
        else pa.array(column, field.type)
        for column, field in zip(columns, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def event_from_row(row: EventRow) -> EventRecord:
    """The event as profiles look at it."""
    event_id, user_id, video_id, kind, value, _, _, _, domain, at = row
    return EventRecord(event_id, user_id, video_id, kind, value, domain, at)


def pack_row(row: EventRow) -> bytes:
    """An event's bytes."""
    return _packed((FORMAT, *row))


def unpack_row(data: bytes) -> EventRow:
    """The event that `pack_row` packed; raises StoreError for other bytes."""
    return _unpacked(data, "an event", len(NAMES))


def pack_profile(profile: Profile) -> bytes:
    """A profile's bytes."""
    vector = None if profile.vector is None else profile.vector.astype("<f4").tobytes()
    rest = (dict(profile.counts), profile.seen, profile.history)
    return _packed((FORMAT, profile.entity, profile.entity_id, vector, *rest))


def unpack_profile(data: bytes) -> Profile:
    """The profile that `pack_profile` packed, equal to the last bit; raises StoreError for other bytes."""
    entity, name, packed, counts, seen, history = _unpacked(data, "a profile", PROFILE_VALUES)
    vector = None if packed is None else np.frombuffer(packed, "<f4").astype(np.float32)
    return Profile(entity, name, vector, counts, seen, tuple(map(InterestEvent._make, history)))


def _packed(values: EventRow) -> bytes:
    packed = msgpack.packb(values)
    assert packed is not None  # it is None for streaming packers only
    return packed


def _unpacked(data: bytes, what: str, count: int) -> EventRow:
    try:
        form, *rest = msgpack.unpackb(data, use_list=False)
        known = form == FORMAT and len(rest) == count
    except (ValueError, TypeError, msgpack.UnpackException):
        known, rest = False, []
    if not known:
        raise StoreError(
            f"the store holds {what} that this version of vrec cannot read",
            fix="open the store with the version of vrec that wrote it, or restore it from a backup",
        )
    return tuple(rest)
